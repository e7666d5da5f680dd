"""The options of the server, as data for tools.

Generated from spec/options.toml by `python3 tools/generate.py`; edit that file and run it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from wse_server.server_options import ServerOptions

__all__ = ["OPTIONS", "Option", "ServerOptions"]


@dataclass(frozen=True, slots=True)
class Option:
    """One option of the server, for whatever offers or explains it: a command line, a configuration file."""

    name: str
    """The keyword argument."""
    kind: Literal[
        "boolean", "bytes", "choice", "integer", "networks", "number", "origins", "seconds", "secret", "text"
    ]
    """What its value is: `bytes` and `integer` are an `int`, `seconds` and `number` a `float`, a `choice` is
    one of `choices`, `text` a `str`, a `secret` is `bytes` or `str` and shown to nobody, `origins` and
    `networks` are lists of `str`."""
    default: bool | int | float | str | tuple[str, ...] | None
    """What holds when it is not given."""
    unit: str
    """What one of it is."""
    allowed: str
    """The values allowed, in the words of the error about all others."""
    minimum: int | float | None
    """The least number allowed; None for what is no number."""
    maximum: int | float | None
    """The greatest number allowed; None for what is no number."""
    choices: tuple[str, ...]
    """The values of a choice; empty for all others."""
    nullable: bool
    """Whether it may be None."""
    for_now: str | None
    """What is not built yet, in a sentence; None if all of it is."""
    group: str
    """The heading under which the reference lists it."""
    summary: str
    """What it is, in a sentence."""
    advice: str
    """How to choose it, and what must hold."""


OPTIONS: tuple[Option, ...] = (
    Option(
        name="max_connections",
        kind="integer",
        default=1000,
        unit="connections",
        allowed="an integer from 1 to 16000000",
        minimum=1,
        maximum=16_000_000,
        choices=(),
        nullable=False,
        for_now=None,
        group="Admission",
        summary="How many connections the server admits at a time.",
        advice=(
            "Beyond it an upgrade is answered with HTTP 503 and Retry-After, and those already connected "
            "notice nothing. Choose what the machine can feed rather than what it can hold: an idle client "
            "costs little, a slow one up to `max_outbound_queue_bytes`. The process needs as many file "
            "descriptors (`ulimit -n`) and some to spare."
        ),
    ),
    Option(
        name="handshake_timeout",
        kind="seconds",
        default=10.0,
        unit="seconds",
        allowed="a number of seconds from 0.01 to 3600",
        minimum=0.01,
        maximum=3600.0,
        choices=(),
        nullable=False,
        for_now=None,
        group="Admission",
        summary="How long a client may take to send its whole upgrade request.",
        advice=(
            "A connection that has not finished its request by then is answered with HTTP 408 and closed. "
            "Lower it on a port that stands on the open internet, where idle sockets are a cheap attack; ten "
            "seconds leave room for a phone on a bad network."
        ),
    ),
    Option(
        name="allowed_origins",
        kind="origins",
        default=None,
        unit="origins",
        allowed=(
            "a list of origins such as 'https://app.example.com' (scheme, host and optional port; 'null'; or "
            "'*' alone), or None"
        ),
        minimum=None,
        maximum=None,
        choices=(),
        nullable=True,
        for_now=None,
        group="Admission",
        summary="The web origins whose pages may connect; None reads the variable ALLOWED_ORIGINS.",
        advice=(
            "A browser says in the Origin header which site's page opens the connection, and one that is not "
            "listed is refused with HTTP 403 before the upgrade. Without such a list any page on the web can "
            "connect with the cookies of a visitor who is logged in, so name your sites in production. An "
            "origin is a scheme, a host and a port (`https://app.example.com`); case and a trailing slash do "
            "not matter, and a default port equals none. There are no wildcards within an origin. `null`, "
            "which browsers send for sandboxed pages and files, passes only if listed. An empty list, an "
            "empty variable, or `*` alone allows all. A request without an Origin header comes from a "
            "program, not from a page, and passes. A list given here wins over the variable, which holds the "
            "same separated by commas. `set_allowed_origins` replaces it while the server runs."
        ),
    ),
    Option(
        name="path",
        kind="text",
        default=None,
        unit="path",
        allowed=(
            "a path such as '/wse' (it begins with '/' and has no '?', '#', spaces or control characters), "
            "or None"
        ),
        minimum=None,
        maximum=None,
        choices=(),
        nullable=True,
        for_now=None,
        group="Admission",
        summary="The only path at which an upgrade is accepted; None accepts any path.",
        advice=(
            "The documented path is `/wse`. Set it where the proxy in front forwards more than the "
            "WebSocket's own location; a request for any other path is then answered with HTTP 404. The "
            "query string is no part of it."
        ),
    ),
    Option(
        name="jwt_secret",
        kind="secret",
        default=None,
        unit="key",
        allowed=(
            "bytes or text (at least 32 bytes of secret for HS256, a PEM public key for RS256, ES256 and "
            "EdDSA), or None"
        ),
        minimum=None,
        maximum=None,
        choices=(),
        nullable=True,
        for_now=None,
        group="Authentication",
        summary="The key that tokens are checked with; None switches authentication off.",
        advice=(
            "For HS256 it is the secret shared with whoever issues the tokens, at least 32 bytes from a good "
            "random source (`openssl rand -base64 48`): who knows it can be anybody. For RS256, ES256 and "
            "EdDSA it is the issuer's public key in PEM. Text is taken as UTF-8. The server never prints or "
            "logs it. With None every client is admitted, so the other options about tokens are refused "
            "without a key: a forgotten environment variable must not open the door."
        ),
    ),
    Option(
        name="jwt_algorithm",
        kind="choice",
        default="HS256",
        unit="algorithm",
        allowed="'HS256', 'RS256', 'ES256' or 'EdDSA'",
        minimum=None,
        maximum=None,
        choices=("HS256", "RS256", "ES256", "EdDSA"),
        nullable=False,
        for_now=None,
        group="Authentication",
        summary="The one signature algorithm that is accepted.",
        advice=(
            "The server fixes it; what a token claims about itself is never believed. HS256 is right when "
            "the same people run issuer and server. Take ES256 or EdDSA (RS256 where the issuer leaves no "
            "choice) when the server should be able to check tokens but not to make them."
        ),
    ),
    Option(
        name="jwt_issuer",
        kind="text",
        default=None,
        unit="issuer",
        allowed="non-empty text or None",
        minimum=None,
        maximum=None,
        choices=(),
        nullable=True,
        for_now=None,
        group="Authentication",
        summary="The `iss` that a token must carry; None does not look at it.",
        advice=(
            "Set it when more than one issuer signs with the same key. A token without `iss` is then refused "
            "as well. It needs `jwt_secret`."
        ),
    ),
    Option(
        name="jwt_audience",
        kind="text",
        default=None,
        unit="audience",
        allowed="non-empty text or None",
        minimum=None,
        maximum=None,
        choices=(),
        nullable=True,
        for_now=None,
        group="Authentication",
        summary="The `aud` that a token must carry; None does not look at it.",
        advice=(
            "Set it when one issuer serves several applications, so that a token made for another one opens "
            "nothing here. In the token `aud` may be a string or a list that contains it; a token without "
            "`aud` is refused. It needs `jwt_secret`."
        ),
    ),
    Option(
        name="jwt_cookie_name",
        kind="text",
        default="access_token",
        unit="cookie",
        allowed="a cookie name (letters, digits and !#$%&'*+-.^_`|~), or None",
        minimum=None,
        maximum=None,
        choices=(),
        nullable=True,
        for_now=None,
        group="Authentication",
        summary="The cookie that is looked up first for a token; None looks at no cookie.",
        advice=(
            "The cookie comes first, then `Authorization: Bearer`, then the subprotocol pair; the first one "
            "present decides. A browser sends cookies from any page, so use a cookie together with "
            "`allowed_origins`."
        ),
    ),
    Option(
        name="jwt_previous_secret",
        kind="secret",
        default=None,
        unit="key",
        allowed=(
            "bytes or text (at least 32 bytes of secret for HS256, a PEM public key for RS256, ES256 and "
            "EdDSA), or None"
        ),
        minimum=None,
        maximum=None,
        choices=(),
        nullable=True,
        for_now=None,
        group="Authentication",
        summary="A second key that is accepted while keys are rotated.",
        advice=(
            "To change the key without cutting anybody: put the new one into `jwt_secret` and the old one "
            "here, by a restart or by `set_jwt_keys` while the server runs, let the issuer sign with the new "
            "one, and remove the old one when its last token has expired. It follows the rules of "
            "`jwt_secret` and needs it."
        ),
    ),
    Option(
        name="jwt_key_id",
        kind="text",
        default=None,
        unit="key id",
        allowed="non-empty text or None",
        minimum=None,
        maximum=None,
        choices=(),
        nullable=True,
        for_now=None,
        group="Authentication",
        summary="The `kid` that a token's header must carry; None does not look at it.",
        advice=(
            "With it a token that has another `kid`, or none, is refused. `mint_token` writes it into the "
            "tokens it makes. It needs `jwt_secret`."
        ),
    ),
    Option(
        name="jwt_private_key",
        kind="secret",
        default=None,
        unit="key",
        allowed=(
            "bytes or text (a PEM private key that belongs to jwt_algorithm RS256, ES256 or EdDSA), or None"
        ),
        minimum=None,
        maximum=None,
        choices=(),
        nullable=True,
        for_now=None,
        group="Authentication",
        summary="The private key with which `mint_token` signs under RS256, ES256 or EdDSA.",
        advice=(
            "Give it only to a server that issues tokens itself; checking them takes no more than the public "
            "key in `jwt_secret`, which is needed too. HS256 signs with `jwt_secret`, and a private key "
            "beside it is refused as a mistake. RSA keys are PKCS #1 or PKCS #8, the others PKCS #8 "
            "(`openssl pkcs8 -topk8 -nocrypt`)."
        ),
    ),
    Option(
        name="jwks",
        kind="text",
        default=None,
        unit="file or URL",
        allowed="the path of a file, a URL that begins with https:// or http://, or None",
        minimum=None,
        maximum=None,
        choices=(),
        nullable=True,
        for_now=None,
        group="Authentication",
        summary="A file or URL of the issuer's public keys (a JWK Set), in place of `jwt_secret`.",
        advice=(
            "For issuers that change their keys by themselves: the key of a token is found by its `kid`. The "
            "set is read when the server starts, every five minutes, and when a token names a key that is "
            "not in it, then at most once in five seconds; a reading that fails leaves the keys as they are. "
            "`jwt_algorithm` must say RS256, ES256 or EdDSA; keys for anything else are passed over. Use "
            "http:// only where nobody can stand between: who answers it decides who is let in."
        ),
    ),
    Option(
        name="max_message_size",
        kind="bytes",
        default=1_048_576,
        unit="bytes",
        allowed="an integer of bytes from 1 to 1073741824",
        minimum=1,
        maximum=1_073_741_824,
        choices=(),
        nullable=False,
        for_now=None,
        group="Limits of one client",
        summary="The largest message a client may send, reassembled and inflated.",
        advice=(
            "A larger one closes its connection with 1009 before the memory for it is spent. It limits what "
            "clients send, not what the server sends. Choose a little more than your largest real message. "
            "It must fit into `max_inbound_queue_bytes`."
        ),
    ),
    Option(
        name="rate_limit_capacity",
        kind="number",
        default=100000.0,
        unit="messages",
        allowed="a number from 1 to 1e+15",
        minimum=1.0,
        maximum=1000000000000000.0,
        choices=(),
        nullable=False,
        for_now=None,
        group="Limits of one client",
        summary="How many messages a client may send in one burst.",
        advice=(
            "It is the size of a token bucket per connection that `rate_limit_refill` fills again. A client "
            "is warned when 20 % are left, and what it sends with an empty bucket is refused with "
            "RATE_LIMITED and the time to wait. The default stops only programs gone wild; for people who "
            "type, 100 is plenty. A very large number, such as 1e12, switches the limit off."
        ),
    ),
    Option(
        name="rate_limit_refill",
        kind="number",
        default=10000.0,
        unit="messages per second",
        allowed="a number from 0.001 to 1e+15",
        minimum=0.001,
        maximum=1000000000000000.0,
        choices=(),
        nullable=False,
        for_now=None,
        group="Limits of one client",
        summary="How many messages a second a client may send for as long as it likes.",
        advice=(
            "It fills the bucket of `rate_limit_capacity`. Choose the rate your busiest honest client keeps "
            "up for minutes, and let the capacity take its bursts."
        ),
    ),
    Option(
        name="max_subscriptions_per_connection",
        kind="integer",
        default=0,
        unit="subscriptions",
        allowed="an integer from 0 to 16000000",
        minimum=0,
        maximum=16_000_000,
        choices=(),
        nullable=False,
        for_now=None,
        group="Limits of one client",
        summary=(
            "How many topics, patterns and queue groups one connection may have together; 0 is unlimited."
        ),
        advice=(
            "What goes beyond it is refused by name and the rest of the same call is subscribed. Set it when "
            "clients choose their topics themselves: each subscription costs memory on the server."
        ),
    ),
    Option(
        name="max_outbound_queue_bytes",
        kind="bytes",
        default=16_777_216,
        unit="bytes",
        allowed="an integer of bytes from 4096 to 1099511627776",
        minimum=4096,
        maximum=1_099_511_627_776,
        choices=(),
        nullable=False,
        for_now=None,
        group="Limits of one client",
        summary="How many bytes one client may be behind before `slow_client` decides.",
        advice=(
            "Messages that wait for several clients are stored once, but each client's backlog counts in "
            "full here. A larger value forgives longer stalls, a smaller one finds dead clients sooner. A "
            "single message that is larger than this can reach nobody. It must not exceed "
            "`max_outbound_total_bytes`."
        ),
    ),
    Option(
        name="slow_client",
        kind="choice",
        default="heal",
        unit="policy",
        allowed="'heal', 'gap' or 'close'",
        minimum=None,
        maximum=None,
        choices=("heal", "gap", "close"),
        nullable=False,
        for_now=None,
        group="Limits of one client",
        summary="What happens to a client that is further behind than `max_outbound_queue_bytes`.",
        advice=(
            '"heal" drops its backlog and replays it from the topic\'s history once the client reads again, '
            'or tells it what is missing where there is no history. "gap" always tells it what is missing. '
            '"close" ends the connection with 4408, and the client comes back. None of them is silent. What '
            "was sent to one client alone can't be replayed: too much of that closes with 4408 under each "
            "policy."
        ),
    ),
    Option(
        name="compression",
        kind="choice",
        default="shared",
        unit="mode",
        allowed="'off', 'shared' or 'full'",
        minimum=None,
        maximum=None,
        choices=("off", "shared", "full"),
        nullable=False,
        for_now=None,
        group="Limits of one client",
        summary="How permessage-deflate (RFC 7692) is negotiated with clients that offer it.",
        advice=(
            '"shared" compresses each message by itself, in both directions: a broadcast is compressed once '
            "for each window size that clients asked for, by whoever publishes it, and the bytes go to "
            'everybody; a quiet client costs nothing more. "full" keeps two contexts for each client, which '
            "compresses small messages that resemble each other far better and costs a third of a megabyte "
            'and each client\'s own compression. "off" is right on a fast network. Messages below 128 bytes '
            'are never compressed in "shared". A client that offers nothing is served plainly in any mode.'
        ),
    ),
    Option(
        name="ping_interval",
        kind="seconds",
        default=25.0,
        unit="seconds",
        allowed="a number of seconds from 0.01 to 86400",
        minimum=0.01,
        maximum=86400.0,
        choices=(),
        nullable=False,
        for_now=None,
        group="Keepalive",
        summary="How often the server pings a client.",
        advice=(
            "Choose less than the shortest idle time of any proxy, load balancer or NAT on the way; many "
            "forget a silent connection after 30 to 60 seconds. It must be shorter than `idle_timeout`, and "
            "half of it is a good choice, so that one lost ping does not cost a connection."
        ),
    ),
    Option(
        name="idle_timeout",
        kind="seconds",
        default=60.0,
        unit="seconds",
        allowed="a number of seconds from 0.02 to 604800",
        minimum=0.02,
        maximum=604800.0,
        choices=(),
        nullable=False,
        for_now=None,
        group="Keepalive",
        summary="How long a client may be silent before it is closed with 4410.",
        advice=(
            "Any byte from the client counts as life, and so does its answer to a ping. It bounds how long a "
            "client that lost its network is still counted and sent to. It must be longer than "
            "`ping_interval`, or healthy clients would be cut."
        ),
    ),
    Option(
        name="max_inbound_queue_size",
        kind="integer",
        default=131_072,
        unit="events",
        allowed="an integer from 1 to 1000000000",
        minimum=1,
        maximum=1_000_000_000,
        choices=(),
        nullable=False,
        for_now=None,
        group="Queues",
        summary="How many events may wait for the Python program.",
        advice=(
            "When the queue is full the server stops reading from clients whose next message does not fit; "
            "nothing is dropped because the program is slow. A longer queue rides out longer pauses and "
            "makes what is in it older."
        ),
    ),
    Option(
        name="max_inbound_queue_bytes",
        kind="bytes",
        default=268_435_456,
        unit="bytes",
        allowed="an integer of bytes from 1 to 1099511627776",
        minimum=1,
        maximum=1_099_511_627_776,
        choices=(),
        nullable=False,
        for_now=None,
        group="Queues",
        summary="How many bytes of events may wait for the Python program.",
        advice=(
            "The same limit as `max_inbound_queue_size`, counted in bytes; the one reached first holds. It "
            "must be at least `max_message_size`, or the largest allowed message could never be delivered."
        ),
    ),
    Option(
        name="max_outbound_total_bytes",
        kind="bytes",
        default=1_073_741_824,
        unit="bytes",
        allowed="an integer of bytes from 4096 to 1099511627776",
        minimum=4096,
        maximum=1_099_511_627_776,
        choices=(),
        nullable=False,
        for_now=None,
        group="Queues",
        summary="How many bytes may wait for all clients together.",
        advice=(
            "A message that waits for many clients counts once here. Beyond the limit the clients that are "
            "furthest behind go first, by the policy `slow_client`. Choose what the machine can spare: "
            "together with `max_inbound_queue_bytes` and `recovery_memory_budget` it bounds the memory of "
            "the process, and their sum is logged at start. It must be at least `max_outbound_queue_bytes`."
        ),
    ),
    Option(
        name="recovery_enabled",
        kind="boolean",
        default=False,
        unit="switch",
        allowed="True or False",
        minimum=None,
        maximum=None,
        choices=(),
        nullable=False,
        for_now=None,
        group="History",
        summary="Whether topics keep a history from which a client that comes back is sent what it missed.",
        advice=(
            "With it each publication is stamped with its topic, epoch and offset and kept in a ring per "
            "topic. Turn it on where a missed message matters; it costs the memory of "
            "`recovery_memory_budget` and the stamp in each message."
        ),
    ),
    Option(
        name="recovery_buffer_size",
        kind="integer",
        default=128,
        unit="messages",
        allowed="an integer from 1 to 16777216",
        minimum=1,
        maximum=16_777_216,
        choices=(),
        nullable=False,
        for_now=None,
        group="History",
        summary="How many messages of a topic are kept, rounded up to a power of two.",
        advice=(
            "Choose the busiest topic's messages a second times the seconds a client is usually away. It is "
            "a limit per topic; `recovery_memory_budget` is the one for all of them."
        ),
    ),
    Option(
        name="recovery_ttl",
        kind="seconds",
        default=300.0,
        unit="seconds",
        allowed="a number of seconds from 0.01 to 31536000",
        minimum=0.01,
        maximum=31536000.0,
        choices=(),
        nullable=False,
        for_now=None,
        group="History",
        summary="How long a message stays recoverable.",
        advice=(
            "Older messages are not replayed even if the ring still has them. Choose a little more than the "
            "longest absence after which a client should go on rather than load its state afresh."
        ),
    ),
    Option(
        name="recovery_max_messages",
        kind="integer",
        default=500,
        unit="messages",
        allowed="an integer from 1 to 16777216",
        minimum=1,
        maximum=16_777_216,
        choices=(),
        nullable=False,
        for_now=None,
        group="History",
        summary="How many messages one recovery may replay.",
        advice=(
            "A client that missed more is told so and loads its state afresh, which is cheaper for both; a "
            "recovery is never partial. With a `recovery_buffer_size` below it, the buffer is the limit."
        ),
    ),
    Option(
        name="recovery_memory_budget",
        kind="bytes",
        default=268_435_456,
        unit="bytes",
        allowed="an integer of bytes from 65536 to 1099511627776",
        minimum=65_536,
        maximum=1_099_511_627_776,
        choices=(),
        nullable=False,
        for_now=None,
        group="History",
        summary="How many bytes the histories of all topics may hold together.",
        advice=(
            "When they would hold more, the least recently used topics lose their history first: with their "
            "epoch where nobody is subscribed, else their messages only. Watch `recovery_total_bytes` in the "
            "health snapshot and raise the budget, or lower `recovery_ttl`, when it stays above 80 % of it."
        ),
    ),
    Option(
        name="presence_enabled",
        kind="boolean",
        default=False,
        unit="switch",
        allowed="True or False",
        minimum=None,
        maximum=None,
        choices=(),
        nullable=False,
        for_now=None,
        group="Presence",
        summary="Whether the server tracks which users are in a topic.",
        advice=(
            "With it a connection that is subscribed with `presence_data` makes its user present: "
            "subscribers hear who joins and leaves, and `presence(topic)` tells who is there. Users are "
            "tracked, not connections: a user with three tabs joins once."
        ),
    ),
    Option(
        name="presence_max_data_size",
        kind="bytes",
        default=4096,
        unit="bytes",
        allowed="an integer of bytes from 2 to 1048576",
        minimum=2,
        maximum=1_048_576,
        choices=(),
        nullable=False,
        for_now=None,
        group="Presence",
        summary="How large one user's presence data may be, as JSON.",
        advice=(
            "Data beyond it are refused with a logged warning, and make nobody present. They are sent to "
            "every subscriber when a user joins, so keep them to a name, a colour and a picture's address."
        ),
    ),
    Option(
        name="presence_max_members",
        kind="integer",
        default=0,
        unit="users",
        allowed="an integer from 0 to 16000000",
        minimum=0,
        maximum=16_000_000,
        choices=(),
        nullable=False,
        for_now=None,
        group="Presence",
        summary="How many users of one topic are tracked; 0 is unlimited.",
        advice=(
            "Users beyond it stay subscribed and hear everything, but are not listed; subscribing again asks "
            "for a place again. Each join is sent to all, so a topic with n users costs n times n messages "
            "while it fills: a limit keeps a very large room affordable."
        ),
    ),
    Option(
        name="client_subscriptions",
        kind="boolean",
        default=False,
        unit="switch",
        allowed="True or False",
        minimum=None,
        maximum=None,
        choices=(),
        nullable=False,
        for_now=None,
        group="Clients on their own",
        summary="Whether clients may subscribe to topics themselves.",
        advice=(
            "With it the server answers a client's `subscription_update` under the connection's ACL; without "
            "it the message reaches your program like any other. Without an ACL a client may then read every "
            "topic, so give the tokens a `wse_topics` claim or call `set_topic_acl`."
        ),
    ),
    Option(
        name="client_publish",
        kind="boolean",
        default=False,
        unit="switch",
        allowed="True or False",
        minimum=None,
        maximum=None,
        choices=(),
        nullable=False,
        for_now=None,
        group="Clients on their own",
        summary="Whether clients may publish to topics themselves.",
        advice=(
            "With it the server publishes what a client sends as `publish`, under the connection's ACL and "
            "without your program seeing it first; without it the message reaches your program like any "
            "other."
        ),
    ),
    Option(
        name="trusted_proxies",
        kind="networks",
        default=(),
        unit="networks",
        allowed="a list of networks such as '10.0.0.0/8' or addresses such as '192.0.2.7'",
        minimum=None,
        maximum=None,
        choices=(),
        nullable=False,
        for_now=None,
        group="Behind a proxy",
        summary="The networks whose X-Forwarded-For and X-Real-IP headers are believed.",
        advice=(
            "Name exactly the addresses of your own proxies, in CIDR or single: whoever is in these networks "
            "can claim any client address. The forwarded list is read from the right, and the first hop that "
            "is not trusted is the client; X-Real-IP counts only where there is no X-Forwarded-For, so a "
            "proxy must set or append the latter. The address is what `get_connection_info` tells."
        ),
    ),
    Option(
        name="proxy_protocol",
        kind="boolean",
        default=False,
        unit="switch",
        allowed="True or False",
        minimum=None,
        maximum=None,
        choices=(),
        nullable=False,
        for_now=None,
        group="Behind a proxy",
        summary="Whether connections from `trusted_proxies` begin with a PROXY header (version 1 or 2).",
        advice=(
            "Set it when the balancer in front forwards TCP and speaks the PROXY protocol (HAProxy "
            "`send-proxy`, AWS NLB). It needs `trusted_proxies`; a connection from there without the header "
            "is dropped, and one from elsewhere may have none."
        ),
    ),
    Option(
        name="shards",
        kind="integer",
        default=0,
        unit="threads",
        allowed="an integer from 0 to 64",
        minimum=0,
        maximum=64,
        choices=(),
        nullable=False,
        for_now=None,
        group="Engine",
        summary="How many threads serve sockets; 0 is one for each core.",
        advice=(
            "Each shard serves its share of the connections. One for each core is right for most; leave a "
            "core or two to Python where your program is busy itself."
        ),
    ),
    Option(
        name="api_key",
        kind="secret",
        default=None,
        unit="key",
        allowed="32 to 1024 visible ASCII characters without spaces, as bytes or text, or None",
        minimum=None,
        maximum=None,
        choices=(),
        nullable=True,
        for_now=None,
        group="Engine",
        summary="The key of the HTTP API; None leaves the API off.",
        advice=(
            "With it `POST /api/publish` and its siblings answer requests that carry the key as a bearer "
            "token or as `X-API-Key`, on the same port (see the page on the HTTP API). Make it from a good "
            "random source (`openssl rand -hex 32`) and treat it like a password: who knows it may publish "
            "to every topic, read every history and close every connection. The server never prints or logs "
            "it. `set_api_key` replaces it while the server runs."
        ),
    ),
)
"""All options, in the order of the reference."""
