"""What access lists and patterns cost those who publish and those who hear."""

from __future__ import annotations

from wsebench.bench import Bench, describe, wait_for_count
from wsebench.model import Sample
from wsebench.sides import Side

SUBSCRIBERS = 1000
PATTERNS = 10_000
# The pattern of the subscribers, of which an access list allows a part.
HEARD = "ben*"


def flood_with_lists(bench: Bench, side: Side) -> Sample:
    """A flood to 1,000 subscribers of a pattern: without access lists, with equal ones, with one for each.

    Each list allows only a part of the pattern. The flood without is measured before and after; its mean
    counts.
    """
    before, equal, each, after = (_flood(bench, side, acl) for acl in ("off", "equal", "each", "off"))
    off = (before["frames_per_s"] + after["frames_per_s"]) / 2
    return describe(
        equal,
        Sample(
            {
                "ratio": equal["frames_per_s"] / off,
                "each_ratio": each["frames_per_s"] / off,
                "rate": equal["frames_per_s"],
                "off": off,
            }
        ),
    )


def _flood(bench: Bench, side: Side, acl: str) -> dict[str, float]:
    more = ["--pattern", HEARD, "--acl", acl]
    with bench.serve(side, "flood", clients=SUBSCRIBERS, more=more) as server:
        return bench.run(server, "fanout", SUBSCRIBERS)


def publish_among_patterns(bench: Bench, side: Side) -> Sample:
    """The time of a publish that one client hears: through its topic, a single pattern, one of 10,000.

    Known topics are published to again and again; new ones never were before, so that the patterns have to
    be asked.
    """
    with (
        bench.serve(side, "idle") as server,
        bench.clients(server, "idle", 1, bench.seconds + 30) as (_, connected),
    ):
        wait_for_count(server, "connections", 1)
        took = {
            count: server.ask(60, do="publish_among", patterns=count, seconds=bench.seconds / 3)
            for count in (0, 1, PATTERNS)
        }
    none, one, many = (took[count] for count in (0, 1, PATTERNS))
    return describe(
        connected,
        Sample(
            {
                "ratio": many["known_us"] / none["known_us"],
                "new_ratio": many["new_us"] / one["new_us"],
                "none_us": none["known_us"],
                "many_us": many["known_us"],
                "one_new_us": one["new_us"],
                "many_new_us": many["new_us"],
            }
        ),
    )
