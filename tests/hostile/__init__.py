"""Attacks over real sockets, and what a hundred healthy clients notice of them.

`stage` puts a server into a process of its own, a hundred healthy subscribers beside it, and lets an attack
loose from a third process; `program` is what runs beside the server, `healthy` the readers, `crowd` the
sockets of an attacker. `HOSTILE_SCALE` multiplies the numbers of attackers and the time that they last.
"""

from __future__ import annotations

import os

SCALE = float(os.environ.get("HOSTILE_SCALE", "1"))
"""How much heavier than in `make test` the attacks are."""
