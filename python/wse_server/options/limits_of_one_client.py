"""The options of the group Limits of one client.

Generated from spec/options.toml by `python3 tools/generate.py`; edit that file and run it again.
"""

from __future__ import annotations

from wse_server.options.option import Option

__all__ = ["OPTIONS"]

OPTIONS: tuple[Option, ...] = (
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
)
"""In the order of the reference."""
