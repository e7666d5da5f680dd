"""What clients send: how fast Python gets it, and how fast it gets an answer back."""

from __future__ import annotations

import time

from wsebench.bench import Bench, describe
from wsebench.model import Measure, Sample
from wsebench.process import DiedError, pairs
from wsebench.sides import Side

# About a hundred bytes each, like the messages of the floods.
JSON_MESSAGE = (
    '{"t":"chat","p":{"room":"lobby","n":123456,"price":5234.75,"ok":true,"text":"hello, how are you?"}}'
)
TEXT_MESSAGE = (
    "hello there, how are you? this is a text of about one hundred bytes that is no JSON at all, fine?"
)
SENDERS = 10


def flood(counted: str) -> Measure:
    """Clients that send without pause. What counts is what Python has seen, in `counted` events."""

    def measure(bench: Bench, side: Side) -> Sample:
        payload = JSON_MESSAGE if counted == "dicts" else TEXT_MESSAGE
        with bench.serve(side, "sink") as server:
            # The clients send from half a second before the first look until after the second.
            seconds, settings = bench.seconds + 1.5, {"settle": 0.2}
            sending = bench.clients(server, "flood", SENDERS, seconds, payload=payload, settings=settings)
            with sending as (load, first):
                time.sleep(0.2 + 0.5)
                before = server.ask(do="stats")
                time.sleep(bench.seconds)
                after = server.ask(do="stats")
                result = first | pairs(load.line(bench.seconds + 30))
            server.check()
        rate = (after[counted] - before[counted]) / (after["at"] - before["at"])
        sample = describe(result, Sample({"rate": rate}))
        if after["inbound_dropped"] > before["inbound_dropped"]:
            sample.problems.append("messages were dropped")
        return sample

    return measure


def echo(clients: int) -> Measure:
    """One text in flight per client, through Python and back."""

    def measure(bench: Bench, side: Side) -> Sample:
        with bench.serve(side, "echo") as server:
            result = bench.run(server, "echo", clients, payload=TEXT_MESSAGE)
        if "p50_ms" not in result:
            raise DiedError("it answered nobody")
        return describe(
            result,
            Sample(
                {
                    "rate": result["frames_per_s"],
                    "p50_us": result["p50_ms"] * 1000,
                    "p99_us": result["p99_ms"] * 1000,
                    "cpu_us": result["srv_cpu_s"] / result["frames"] * 1e6,
                }
            ),
        )

    return measure
