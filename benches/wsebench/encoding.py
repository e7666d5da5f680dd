"""Other forms than JSON text: what packing once for all costs a flood, and what `send_event` can do."""

from __future__ import annotations

from wsebench.bench import Bench, describe
from wsebench.model import Sample
from wsebench.process import DiedError
from wsebench.sides import Side

SUBSCRIBERS = 1000
EVENT_CLIENTS = 100


def msgpack_flood(bench: Bench, side: Side) -> Sample:
    """A flood to clients that asked for msgpack, against one of plain messages as long as theirs are then."""
    with bench.serve(side, "flood", clients=SUBSCRIBERS) as server:
        packed = bench.run(server, "fanout", SUBSCRIBERS, path="/wse?format=msgpack")
    size = round(packed["MB_per_s"] * 1e6 / packed["frames_per_s"])
    with bench.serve(
        side, "flood", clients=SUBSCRIBERS, more=["--message", "short", "--size", str(size - 2)]
    ) as server:
        plain = bench.run(server, "fanout", SUBSCRIBERS)
    return describe(
        packed,
        Sample(
            {
                "rate": packed["frames_per_s"],
                "plain": plain["frames_per_s"],
                "ratio": packed["frames_per_s"] / plain["frames_per_s"],
                "size": size,
                "plain_size": plain["MB_per_s"] * 1e6 / plain["frames_per_s"],
            }
        ),
    )


def events(bench: Bench, side: Side) -> Sample:
    """Events with ten fields from one Python thread to a hundred clients in turn, by `send_event`.

    Not to one: nobody holds back who sends to a single client, and a client can't read as fast as that.
    """
    with bench.serve(side, "events", clients=EVENT_CLIENTS) as server:
        result = bench.run(server, "fanout", EVENT_CLIENTS)
    if not result["frames"]:
        raise DiedError("no event arrived")
    return describe(result, Sample({"rate": result["frames_per_s"]}))
