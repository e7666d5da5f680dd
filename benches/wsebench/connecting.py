"""How fast clients get in."""

from __future__ import annotations

from statistics import median

from wsebench.bench import CLIENT_FULL, Bench, wait_for_count
from wsebench.model import Measure, Sample
from wsebench.sides import Side

CLIENTS = 2000
# 2,000 connects take a tenth of a second and less: one sample is the median of some, each on a fresh server.
REPETITIONS = 3


def connect(*, at_once: int, jwt: bool = False) -> Measure:
    """Upgrade 2,000 clients, some at once; with JWT a client is in when `server_ready` has come."""

    def once(bench: Bench, side: Side) -> dict[str, float]:
        settings = (
            {"settle": 0.2, "window": at_once, "ready": 1} if jwt else {"settle": 0.2, "window": at_once}
        )
        users = 0 if jwt else None
        with (
            bench.serve(side, "idle", jwt=jwt) as server,
            bench.clients(server, "idle", CLIENTS, 0.5, first_user=users, settings=settings) as (
                load,
                connected,
            ),
        ):
            if not side.is_floor:
                wait_for_count(server, "connects", CLIENTS)
            load.line(30)
        return connected

    def measure(bench: Bench, side: Side) -> Sample:
        runs = [once(bench, side) for _ in range(REPETITIONS)]
        client_share = median(run["connect_client_cpu_s"] / run["connect_s"] for run in runs)
        sample = Sample(
            {
                "rate": median(run["conn_per_s"] for run in runs),
                "cpu_us": median(run["connect_srv_cpu_s"] for run in runs) / CLIENTS * 1e6,
                "client_cpu_percent": client_share * 100,
            }
        )
        if client_share > CLIENT_FULL:
            sample.problems.append("the client was at its limit, the server may do more")
        return sample

    return measure
