"""A process with a crowd of clients: places that are taken again as soon as somebody leaves."""

from __future__ import annotations

import asyncio
import traceback
from collections import Counter
from multiprocessing.connection import Connection
from typing import Any

from soak.hostile import KINDS, visit_once
from soak.pipe import obey
from soak.plan import Plan
from soak.polite import Pace, Visit
from soak.wire import ComplaintError

MAX_COMPLAINTS = 20


class Crowd:
    """The clients of one process.

    Attributes:
        tally: What happened how often.
        complaints: What the server did that it must not do.
    """

    def __init__(self, plan: Plan, number: int, count: int, port: int) -> None:
        self.tally: Counter[str] = Counter()
        self.complaints: list[str] = []
        self.pace = Pace()
        self._plan, self._number, self._count, self._port = plan, number, count, port
        self._tide = 0
        self._places: list[asyncio.Task[None]] = []

    async def flow(self) -> None:
        """Lets them come."""
        self._tide += 1
        self._places = [asyncio.create_task(self._place(number)) for number in range(self._count)]

    async def ebb(self) -> None:
        """Sends them all away, wherever they are."""
        for place in self._places:
            place.cancel()
        await asyncio.gather(*self._places, return_exceptions=True)
        self._places = []

    async def _place(self, number: int) -> None:
        lots = self._plan.lots("crowd", self._number, self._tide, number)
        visit = Visit(self._plan, self._port, lots, self.pace, self.tally)
        await visit.pause(0, 2)
        while True:
            kind = lots.choices(list(KINDS), list(KINDS.values()))[0]
            try:
                await visit_once(visit, kind)
            except ComplaintError as complaint:
                self._complain(f"{kind.__name__}: {complaint}")
            except Exception:  # noqa: BLE001 - whatever it is, the run must not end as if all were well
                self._complain(f"{kind.__name__}: {traceback.format_exc()}")
            await visit.pause(0.05, 0.5)

    def _complain(self, text: str) -> None:
        self.tally["complaints"] += 1
        if len(self.complaints) < MAX_COMPLAINTS:
            self.complaints.append(text)

    def state(self, pace: float) -> dict[str, Any]:
        """Takes the pace and returns what has happened so far."""
        self.pace.factor = pace
        return {"tally": dict(self.tally), "complaints": self.complaints}


def main(pipe: Connection, plan: Plan, number: int, count: int, port: int) -> None:
    """What the process does: `flow`, `ebb` and `state`, until the pipe ends."""
    asyncio.run(obey(pipe, Crowd(plan, number, count, port)))
