"""Every setting of `wse serve`: the options of the engine, the cluster, and the process itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from wse_server.options import OPTIONS, Option

__all__ = ["BY_NAME", "OTHER_VARIABLES", "POD_VARIABLES", "SETTINGS", "Kind", "Part", "Setting"]

Kind: TypeAlias = Literal[
    "addresses",
    "app",
    "boolean",
    "bytes",
    "choice",
    "file",
    "integer",
    "networks",
    "number",
    "origins",
    "seconds",
    "secret",
    "text",
]
Part: TypeAlias = Literal["engine", "cluster", "process"]
Default: TypeAlias = bool | int | float | str | tuple[str, ...] | None

LISTS = frozenset({"addresses", "networks", "origins"})
"""Kinds whose values are lists, separated by commas where they are text."""

POD_VARIABLES = ("WSE_POD_IP", "POD_IP")
"""Where the address of a pod is looked for, in this order."""

OTHER_VARIABLES = {"allowed_origins": "ALLOWED_ORIGINS"}
"""Variables that are read besides WSE_NAME, which wins over them."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing that `wse serve` can be told."""

    name: str
    """Unique; the flag and the variable are made from it."""
    kind: Kind
    """What its value is, as `wse_server.options.Option.kind`; `addresses` is a list of "host:port", `file` a
    path, `app` "module:name"."""
    default: Default
    """What holds when it is told nowhere."""
    unit: str
    """What one of it is."""
    allowed: str
    """The values allowed, in words that go after "must be"."""
    group: str
    """The heading under which `--help` lists it."""
    summary: str
    """What it is, in a sentence."""
    part: Part
    """To whom it goes: the engine, `connect_cluster`, or the process around them."""
    minimum: int | float | None = None
    """The least number allowed."""
    maximum: int | float | None = None
    """The greatest number allowed."""
    choices: tuple[str, ...] = ()
    """The values of a choice."""
    nullable: bool = False
    """Whether it may be None."""

    @property
    def flag(self) -> str:
        """As the command line has it."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """As the environment has it."""
        return "WSE_" + self.name.upper()

    @property
    def path(self) -> tuple[str, ...]:
        """Where the TOML file has it: a key, or a table and a key; () if it can't be there."""
        if self.name == "config":
            return ()
        if self.part == "cluster" or self.name == "tls_dir":
            return ("cluster", self.name.removeprefix("cluster_"))
        return (self.name,)

    @property
    def key(self) -> str:
        """The same as text, such as "cluster.port"."""
        return ".".join(self.path)


def _of_option(option: Option) -> Setting:
    return Setting(
        name=option.name,
        kind=option.kind,
        default=option.default,
        unit=option.unit,
        allowed=option.allowed.removesuffix(", or None").removesuffix(" or None"),
        group=option.group,
        summary=_SUMMARIES.get(option.name) or _without_none(option.summary),
        part="engine",
        minimum=option.minimum,
        maximum=option.maximum,
        choices=option.choices,
        nullable=option.nullable,
    )


# Where Python's words would be strange on a command line.
_SUMMARIES = {
    "allowed_origins": "The web origins whose pages may connect; without it all of them.",
    "client_subscriptions": "Whether clients may subscribe to topics themselves; `wse serve` lets them.",
    "recovery_enabled": (
        "Whether topics keep a history from which a client that comes back is sent what it missed; "
        "on in a cluster."
    ),
}


def _without_none(summary: str) -> str:
    """Without what None does: on a command line that is to leave the option out."""
    head, _, tail = summary.rstrip(".").partition("; None ")
    return f"{head}; without it: {tail}." if tail else summary


def _port(name: str, default: int, group: str, part: Part, summary: str) -> Setting:
    return Setting(
        name, "integer", default, "port", "an integer from 0 to 65535", group, summary, part, 0, 65535
    )  # fmt: skip


def _file(name: str, group: str, part: Part, summary: str, default: str | None = None) -> Setting:
    return Setting(name, "file", default, "path", "a path", group, summary, part, nullable=default is None)


_PROCESS = "Process"
_CLUSTER = "Cluster"

_ADDRESSES = "a list of addresses such as '10.0.0.2:9999'"
_SECONDS = "a number of seconds from 0.01 to 86400"

_OF_THE_PROCESS = (
    Setting(
        "host", "text", "0.0.0.0", "address", "an address or a name such as '127.0.0.1'", _PROCESS,  # noqa: S104
        "Address to listen on; 0.0.0.0 is all of IPv4.", "process",
    ),
    _port("port", 5007, _PROCESS, "process", "Port to listen on; 0 takes any that is free."),
    Setting(
        "app", "app", None, "module:name", "a module and a name in it, such as 'chat:server'", _PROCESS,
        "A Server of your own that is run, with its handlers.", "process", nullable=True,
    ),
    Setting(
        "drain_timeout", "seconds", 30.0, "seconds", "a number of seconds from 0 to 86400", _PROCESS,
        "Over how long clients are sent away after SIGTERM; 0 stops at once.", "process", 0.0, 86_400.0,
    ),
    Setting(
        "log_level", "choice", "info", "level", "debug, info, warning or error", _PROCESS,
        "What the log says, and everything above.", "process",
        choices=("debug", "info", "warning", "error"),
    ),
    Setting(
        "log_format", "choice", "text", "format", "text or json", _PROCESS,
        "The lines of the log: for people, or an object of JSON each.", "process", choices=("text", "json"),
    ),
    _file("config", _PROCESS, "process", "A TOML file with settings."),
)  # fmt: skip

_OF_THE_CLUSTER = (
    Setting(
        "peers", "addresses", (), "addresses", _ADDRESSES, _CLUSTER,
        "The other nodes; with peers or seeds the server is a node of a cluster.", "cluster",
    ),
    Setting(
        "seeds", "addresses", (), "addresses", _ADDRESSES, _CLUSTER,
        "Nodes that know the others; one that can be reached is enough.", "cluster",
    ),
    _port("cluster_port", 9999, _CLUSTER, "cluster", "Port to listen on for other nodes."),
    Setting(
        "cluster_addr", "text", None, "host:port", "an address such as '10.0.0.1:9999'", _CLUSTER,
        "Where others reach this node; without it the pod's address, or where it listens.", "cluster",
        nullable=True,
    ),
    Setting(
        "cluster_host", "text", None, "address", "an address or a name such as '10.0.0.1'", _CLUSTER,
        "Address to listen on for other nodes; without it as host.", "cluster", nullable=True,
    ),
    Setting(
        "cluster_name", "text", "wse", "name", "text of 1 to 255 bytes", _CLUSTER,
        "Nodes of another name are refused.", "cluster",
    ),
    Setting(
        "cluster_secret", "secret", None, "secret", "at least 16 bytes", _CLUSTER,
        "What all nodes know and prove to each other.", "cluster", nullable=True,
    ),
    _file("tls_ca", _CLUSTER, "cluster", "PEM file with the authorities that vouch for nodes."),
    _file("tls_cert", _CLUSTER, "cluster", "PEM file with this node's certificate."),
    _file("tls_key", _CLUSTER, "cluster", "PEM file with its key."),
    _file(
        "tls_dir", _CLUSTER, "process",
        "Where ca.pem, node.pem and node.key are taken from if all three are there and no file is named.",
        "/etc/wse",
    ),
    Setting(
        "tls_verify_name", "boolean", False, "switch", "True or False", _CLUSTER,
        "Whether the name that is dialled must stand in the other node's certificate.", "cluster",
    ),
    Setting(
        "recovery_replicas", "integer", 1, "copies", "an integer from 0 to 4", _CLUSTER,
        "Copies of a topic's history beside the one of its home.", "cluster", 0, 4,
    ),
    Setting(
        "heartbeat_interval", "seconds", 2.0, "seconds", _SECONDS, _CLUSTER,
        "How often each other node is asked whether it is there.", "cluster", 0.01, 86_400.0,
    ),
    Setting(
        "dead_after", "seconds", 8.0, "seconds", _SECONDS, _CLUSTER,
        "Seconds of silence after which a node is dead; at least twice the interval.", "cluster",
        0.01, 86_400.0,
    ),
)  # fmt: skip

SETTINGS: tuple[Setting, ...] = (*_OF_THE_PROCESS, *_OF_THE_CLUSTER, *map(_of_option, OPTIONS))
"""All settings, in the order of `--help`."""

BY_NAME: dict[str, Setting] = {setting.name: setting for setting in SETTINGS}
"""The same by name."""
