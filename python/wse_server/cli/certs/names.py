"""The names of nodes, as the command line gives them and as certificates carry them."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

__all__ = ["BadNameError", "IpAddress", "Name", "Node", "parse_name", "parse_node", "parse_nodes"]

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Name = str | IpAddress
"""What `subjectAltName` holds: a host's name in small letters, perhaps with a wildcard, or an address."""

# RFC 1123, and the underscore that services in Compose files have. 63 bytes for a label, 253 for the whole.
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_MAX_LENGTH = 253


class BadNameError(ValueError):
    """A name that no certificate can carry, or that no node would compare."""


@dataclass(frozen=True)
class Node:
    """A node, by the name that its directory has, with the names in its certificate."""

    name: str
    names: tuple[Name, ...]


def parse_name(text: str) -> Name:
    """Reads the name or the address of a host.

    Raises:
        BadNameError: It is neither; the message says why.
    """
    if not text:
        raise BadNameError("a name is empty")
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return _host(text)
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise BadNameError(f"{text!r}: a certificate names an address without its zone (%{address.scope_id})")
    return address


def _host(text: str) -> str:
    if not text.isascii():
        raise BadNameError(
            f"{text!r}: a certificate names hosts in ASCII; give the form that begins with xn--"
        )
    if re.search(r":\d+$", text):
        raise BadNameError(f"{text!r}: a certificate names hosts without ports")
    if len(text) > _MAX_LENGTH:
        raise BadNameError(
            f"{text[:30]!r}...: a name has at most {_MAX_LENGTH} characters, this has {len(text)}"
        )
    name = text.lower()
    labels = name.split(".")
    if labels[0] == "*":
        # A wildcard stands for exactly one label, and nodes compare it only before two others.
        labels = labels[1:]
        if len(labels) < 2:
            raise BadNameError(f"{text!r}: a wildcard needs two labels behind it, as in *.wse.local")
    for label in labels:
        if not _LABEL.fullmatch(label):
            raise BadNameError(
                f"{text!r}: {label!r} is no label of a host's name: 1 to 63 letters, digits, '-' and '_', "
                "without '-' at its ends"
            )
    if labels[-1].isdigit():
        raise BadNameError(
            f"{text!r} is neither an address nor a name: the last label of a name is no number"
        )
    return name


def parse_node(text: str) -> Node:
    """Reads `NAME`, or `NAME=HOST,HOST...` for a node that is dialled by other names than its own.

    Raises:
        BadNameError: One of the names is none.
    """
    name, equals, hosts = text.partition("=")
    if not equals:
        return Node(name, (parse_name(name),))
    return Node(name, _unique(tuple(parse_name(host.strip()) for host in hosts.split(","))))


def parse_nodes(arguments: tuple[str, ...], more: tuple[str, ...] = ()) -> list[Node]:
    """Reads all nodes of a command line.

    Args:
        arguments: `NAME` or `NAME=HOST,HOST...`, one for each node.
        more: `NAME=HOST,HOST...` that adds names to one of them.

    Raises:
        BadNameError: A name is none, a node is there twice, or names are added to one that is not there.
    """
    nodes: dict[str, Node] = {}
    for node in map(parse_node, arguments):
        if node.name in nodes:
            raise BadNameError(f"{node.name!r} is there twice")
        nodes[node.name] = node
    for text in more:
        if "=" not in text:
            raise BadNameError(f"--san {text!r}: allowed is NAME=HOST,HOST...")
        added = parse_node(text)
        if added.name not in nodes:
            raise BadNameError(f"--san {text!r}: there is no node {added.name!r} on this command line")
        nodes[added.name] = Node(added.name, _unique(nodes[added.name].names + added.names))
    return list(nodes.values())


def _unique(names: tuple[Name, ...]) -> tuple[Name, ...]:
    return tuple(dict.fromkeys(names))
