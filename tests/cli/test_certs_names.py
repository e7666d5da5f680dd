"""The names of nodes: whatever is accepted is what nodes compare, and nothing else is accepted."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wse_server.cli.certs.names import BadNameError, Node, parse_name, parse_node, parse_nodes

LABELS = st.text("ab9_-", min_size=1, max_size=63).filter(lambda label: label == label.strip("-"))
FEW = settings(max_examples=40)
HOSTS = (
    st.lists(LABELS, min_size=1, max_size=6)
    .map(".".join)
    .filter(lambda host: not host.split(".")[-1].isdigit())
)


@FEW
@given(HOSTS)
def test_a_hosts_name_is_itself_in_small_letters(host: str) -> None:
    assert parse_name(host) == host
    assert parse_name(host.upper()) == host


@given(st.ip_addresses())
def test_an_address_is_an_address_with_brackets_or_without(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    assert parse_name(str(address)) == address
    assert parse_name(f"[{address}]") == address


@FEW
@given(HOSTS)
def test_a_wildcard_stands_for_the_first_label_of_three(host: str) -> None:
    if "." in host:
        assert parse_name(f"*.{host}") == f"*.{host}"
    else:
        with pytest.raises(BadNameError, match="two labels behind it"):
            parse_name(f"*.{host}")
    for wrong in (f"{host}.*", f"a*.{host}", f"*a.{host}"):
        with pytest.raises(BadNameError):
            parse_name(wrong)


@given(st.text(max_size=300))
def test_whatever_is_typed_is_a_name_or_refused(text: str) -> None:
    try:
        name = parse_name(text)
    except BadNameError:
        return
    if isinstance(name, str):
        assert len(name) <= 253
        assert name == text.lower()
        assert all(0 < len(label) <= 63 for label in name.split("."))
    else:
        assert ipaddress.ip_address(text.strip("[]")) == name


@FEW
@given(st.lists(HOSTS, min_size=1, max_size=8), HOSTS)
def test_a_node_has_the_names_behind_its_own_in_order_and_once(hosts: list[str], name: str) -> None:
    assert parse_node(f"{name}={','.join(hosts)}") == Node(name, tuple(dict.fromkeys(hosts)))
    assert parse_node(name) == Node(name, (name,))
    (node,) = parse_nodes((name,), (f"{name}={','.join(hosts)}",))
    assert node.names == tuple(dict.fromkeys([name, *hosts]))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "a name is empty"),
        ("a..b", "'' is no label"),
        ("a.", "'' is no label"),
        ("-a", "without '-' at its ends"),
        ("a" * 64, "1 to 63 letters"),
        (".".join(["a" * 50] * 6), "at most 253"),
        ("münchen.example", "xn--"),
        ("wse-1:9999", "without ports"),
        ("10.0.0.256", "neither an address nor a name"),
        ("10.0.0", "neither an address nor a name"),
        ("fe80::1%eth0", "without its zone"),
        ("wse 1", "is no label"),
        ("a,b", "is no label"),
        ("a/b", "is no label"),
    ],
)
def test_what_no_certificate_can_carry_is_refused_with_its_reason(text: str, words: str) -> None:
    with pytest.raises(BadNameError, match=words):
        parse_name(text)


@pytest.mark.parametrize(
    ("arguments", "more", "words"),
    [
        (("a", "a"), (), "is there twice"),
        (("a=",), (), "a name is empty"),
        (("a=b,,c",), (), "a name is empty"),
        (("a",), ("a",), "allowed is NAME=HOST,HOST"),
        (("a",), ("b=c",), "there is no node 'b'"),
    ],
)
def test_a_command_line_that_means_nothing_is_refused(
    arguments: tuple[str, ...], more: tuple[str, ...], words: str
) -> None:
    with pytest.raises(BadNameError, match=words):
        parse_nodes(arguments, more)
