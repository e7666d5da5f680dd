"""permessage-deflate: what compressing once for all costs a flood."""

from __future__ import annotations

from wsebench.bench import Bench, describe
from wsebench.model import Sample
from wsebench.sides import Side

# What browsers say.
DEFLATE_OFFER = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
SUBSCRIBERS = 1000


def flood(bench: Bench, side: Side) -> Sample:
    """A flood of orders, compressed, against one of plain messages as long as those are then."""
    with bench.serve(side, "flood", clients=SUBSCRIBERS, more=["--message", "order"]) as server:
        compressed = bench.run(server, "fanout", SUBSCRIBERS, header=DEFLATE_OFFER)
    size = round(compressed["MB_per_s"] * 1e6 / compressed["frames_per_s"])
    with bench.serve(side, "flood", clients=SUBSCRIBERS, more=["--size", str(size - 4)]) as server:
        plain = bench.run(server, "fanout", SUBSCRIBERS)
    return describe(
        compressed,
        Sample(
            {
                "rate": compressed["frames_per_s"],
                "plain": plain["frames_per_s"],
                "ratio": compressed["frames_per_s"] / plain["frames_per_s"],
                "size": size,
                "plain_size": plain["MB_per_s"] * 1e6 / plain["frames_per_s"],
            }
        ),
    )
