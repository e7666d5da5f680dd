"""What the server hands out, as types for checkers: events, health, connections, subscriptions."""

from __future__ import annotations

from os import PathLike
from typing import Any, Literal, Required, TypeAlias, TypedDict

__all__ = [
    "ClusterIdentity",
    "ClusterOptions",
    "ClusterPeer",
    "ConnectionInfo",
    "DeadLetter",
    "DrainResult",
    "Event",
    "HealthSnapshot",
    "PresenceStats",
    "PresentUser",
    "RecoveryResult",
    "SubscribeResult",
    "TopicRecovery",
]

Event: TypeAlias = tuple[
    Literal[
        "connect",
        "auth_connect",
        "msg",
        "raw",
        "bin",
        "disconnect",
        "presence_join",
        "presence_leave",
        "authorize",
        "auth_refresh",
    ],
    str,
    Any,
]
"""One event of `drain_inbound`: its kind, the id of the connection, and what belongs to the kind.

- `connect`: a client was admitted; its cookies as a str, as it sent them.
- `auth_connect`: the same where tokens are checked; the user id as a str, which is the token's `sub`.
- `msg`: a JSON object as a dict, with the long names `type` and `payload` as `t` and `p`.
- `raw`: any other text, as a str.
- `bin`: a binary message, as bytes.
- `disconnect`: None. The connection has ended, and its id is never used again.
- `presence_join`: a user has come to a topic, by this connection; a dict with `topic`, `user_id` and `data`.
  The id is an empty str if that was at another node of the cluster.
- `presence_leave`: a user has left a topic, with this connection; the same dict, with the last data. The id
  is an empty str if that was at another node, or with a node that died.
- `authorize`, with `enable_drain_mode(authorize=True)`: a client waits to hear from `authorize_connection`
  what it may have; a dict with `action`, "subscribe" or "publish", and `topics`, a list of str.
- `auth_refresh`, with `enable_drain_mode(claims=True)`: a client has shown a fresh token; its claims, a dict.
  With it `auth_connect` has all claims too.

The third place is `Any`, so that the three can be unpacked and used at once: on unpacking, a checker forgets
that they belong together, and would ask for an `isinstance` after each look at the kind.
"""


class ConnectionInfo(TypedDict):
    """What `get_connection_info` knows about one connection."""

    address: str
    """The client's IP address, as far as `trusted_proxies` tell it where the client comes through them."""
    port: int | None
    """The client's port; None where a proxy told the address without it."""
    user_id: str | None
    """The `sub` of the client's token; None where no tokens are checked."""
    connected_at: float
    """When the client was admitted, in seconds since 1970."""
    format: Literal["json", "msgpack"]
    """How messages are encoded for it."""
    compressed: bool
    """Whether permessage-deflate was negotiated."""
    topics: list[str]
    """The topics and patterns that it is subscribed to, sorted."""
    queued_bytes: int
    """How many bytes wait to be sent to it."""


class SubscribeResult(TypedDict):
    """The answer of `subscribe_connection`."""

    subscribed: list[str]
    """Topics and patterns of the call that the connection has now, in the order of the call."""
    refused: dict[str, str]
    """The others, each with the reason."""
    confirmed: bool
    """Whether every reachable node of the cluster knows; on a single node always True."""


class TopicRecovery(TypedDict):
    """Where one topic stands, and whether what was missed is on its way."""

    epoch: str | None
    """Names the memory that counts the messages; None without history."""
    offset: int | None
    """The last message at this moment: with `epoch` the position to go on from. None without history."""
    recoverable: bool
    """Whether the topic has history."""
    recovered: bool
    """Whether every message after the position that was given is on its way."""
    count: int
    """How many messages are replayed."""


class RecoveryResult(TypedDict):
    """The answer of `subscribe_with_recovery`."""

    recovered: bool
    """Whether every topic of the call is recovered."""
    topics: dict[str, TopicRecovery]
    """The topics that the connection has now."""
    refused: dict[str, str]
    """The others, each with the reason."""


class PresentUser(TypedDict):
    """A user in the answer of `presence`."""

    data: dict[str, Any]
    """What the user shows: the data given last by one of its connections."""
    connections: int
    """By how many connections it is present, those to other nodes of the cluster included."""


class PresenceStats(TypedDict):
    """The answer of `presence_stats`."""

    num_users: int
    """Users that are present, in the whole cluster."""
    num_connections: int
    """Their connections."""


class DrainResult(TypedDict):
    """The answer of `drain`."""

    drained: int
    """Clients that are gone, with everything that was accepted for them."""
    cut: int
    """Clients that had not answered the close when their time was up."""


class ClusterOptions(TypedDict, total=False):
    """The arguments of `connect_cluster`, for `Server(cluster=...)`; what they mean is told there."""

    peers: Required[list[str] | tuple[str, ...]]
    """The other nodes, "host:port" each; empty with `seeds`."""
    tls_cert: str | PathLike[str] | None
    tls_key: str | PathLike[str] | None
    tls_ca: str | PathLike[str] | None
    cluster_port: int | None
    seeds: list[str] | tuple[str, ...] | None
    cluster_addr: str | None
    cluster_secret: bytes | str | None
    cluster_name: str
    cluster_host: str | None
    recovery_replicas: int
    heartbeat_interval: float
    dead_after: float
    tls_verify_name: bool


class ClusterPeer(TypedDict):
    """Another node in the answer of `cluster_info`, or an address behind which none was found yet."""

    address: str | None
    """Where it listens for other nodes, "host:port"; None as long as that is not known."""
    instance_id: str | None
    """16 hexadecimal digits, drawn anew whenever its process starts; None if it was not reached yet."""
    connected: bool
    """Whether messages reach it: its link stands, and it was heard lately."""
    state: Literal["alive", "suspect", "dead", "unreached"]
    """`suspect`: its link is lost, or it is silent for half of `dead_after`. `unreached`: never met."""
    leaving: bool
    """Whether it has said that it is about to go, as `drain` does."""
    since: float
    """Seconds in this state."""
    round_trip_ms: float | None
    """Milliseconds until it answers; None before the first answer."""
    bytes_received: int
    """Bytes received on the link that stands, from its beginning."""
    bytes_sent: int
    """Bytes sent on it."""
    queued_bytes: int
    """Bytes that wait to be sent on it."""


class ClusterIdentity(TypedDict):
    """The answer of `cluster_identity`: this node as the others know it."""

    instance_id: str
    """16 hexadecimal digits, drawn anew at each start."""
    address: str
    """Where it listens for other nodes, "host:port"."""


class DeadLetter(TypedDict):
    """A message that another node was not given, from `get_cluster_dlq_entries`."""

    topic: str
    """Its topic."""
    message: bytes
    """Its first 1,024 bytes."""
    bytes: int
    """How long all of it was."""
    peer: str
    """The `instance_id` of the node that did not get it."""
    reason: str
    """Why it did not."""
    timestamp: float
    """When it was given up, in seconds since 1970."""


class HealthSnapshot(TypedDict):
    """What `health_snapshot` and `GET /health` tell. What counts begins anew with every `start`."""

    connections: int
    """Clients that are admitted now."""
    inbound_queue_depth: int
    """Events that wait for the program. One that keeps growing means that the program is too slow."""
    inbound_dropped: int
    """Events that were lost: what nobody had taken when the server was stopped or started anew."""
    uptime_secs: float
    """Seconds since `start`; 0 while the server does not run."""
    ready: bool
    """Whether new clients are welcome: what `GET /ready` answers."""
    joining: bool
    """Whether this node is still to join its cluster: to find out who is there and who hears what."""
    draining: bool
    """Whether new clients are sent elsewhere, since `drain` was called."""
    draining_clients: int
    """Clients that a `drain` has still to send away."""
    topics: int
    """Topics that somebody is subscribed to by name."""
    outbound_queued_bytes: int
    """Bytes that wait to be sent, what several clients wait for counted once."""
    messages_compressed: int
    """Messages compressed for all who get them: once for each window size, however many clients."""
    messages_received: int
    """Text and binary messages from clients."""
    messages_sent: int
    """Messages put on their way to a client, each client counted."""
    bytes_received: int
    """Bytes read from sockets."""
    bytes_sent: int
    """Bytes written to sockets."""
    connections_accepted: int
    """Upgrades that were answered with 101 and admitted."""
    connections_rejected: int
    """Requests that were refused, for whatever reason."""
    auth_failures: int
    """Clients that came without a token where one is asked for, or with a bad one."""
    rate_limited: int
    """Messages refused by the rate limit."""
    slow_consumer_drops: int
    """Clients closed because they were too far behind."""
    slow_consumer_cuts: int
    """Clients of those to whom not even the close frame could be written."""
    slow_clients: int
    """Clients that miss something at this moment because they read too slowly."""
    slow_client_backlogs: int
    """How often a client's backlog was dropped because it read too slowly."""
    slow_client_messages_dropped: int
    """Messages that such clients did not get when it was their turn."""
    slow_client_messages_replayed: int
    """Of those, the ones that were sent again from a topic's history."""
    slow_client_gaps: int
    """Notices that told such clients what they miss."""
    queue_group_lost: int
    """Messages of queue groups lost with the member that had begun to get them, or for want of a member."""
    queue_group_maybe_lost: int
    """Messages of queue groups that had wholly been written to a member's socket and that its system had not
    acknowledged when the connection ended: each came or did not. On Linux; 0 elsewhere."""
    accept_pauses: int
    """How often accepting had to pause because the process had no file descriptors left."""
    api_enabled: bool
    """Whether there is an HTTP API."""
    api_connections: int
    """Connections of the HTTP API that stay between requests."""
    api_requests_waiting: int
    """Requests of the HTTP API that are worked on, or wait for something."""
    api_auth_failures: int
    """Requests of the HTTP API without its key."""
    recovery_enabled: bool
    """Whether topics keep a history."""
    recovery_topic_count: int
    """Topics with a history."""
    recovery_total_bytes: int
    """Bytes of all histories."""
    presence_enabled: bool
    """Whether presence is tracked."""
    presence_topics: int
    """Topics with somebody present, in the whole cluster: all nodes tell the same."""
    presence_total_users: int
    """Users present, summed over topics, in the whole cluster: all nodes tell the same."""
    cluster_connected: bool
    """Whether at least one other node is reachable."""
    cluster_peer_count: int
    """Other nodes that are reachable."""
    cluster_messages_sent: int
    """Messages given to the links to other nodes, each node counted."""
    cluster_messages_delivered: int
    """Messages of other nodes that were delivered here."""
    cluster_messages_dropped: int
    """Messages for other nodes that were given up, and those of queue groups that found no member there."""
    cluster_bytes_sent: int
    """Bytes sent to other nodes."""
    cluster_bytes_received: int
    """Bytes received from other nodes."""
    cluster_reconnect_count: int
    """How often a link to another node had to be made again."""
    cluster_unknown_message_types: int
    """Frames of other nodes that this one ignored: of kinds unknown to its version, or of presence without
    `presence_enabled`."""
    cluster_dlq_size: int
    """Messages in `get_cluster_dlq_entries`."""
