"""What is wrong, or worth knowing, about a deployment before it runs.

`look` has all of it; `secrets`, `exposure`, `certificates` and `machine` each look at one side. `command` is
`wse check`. `wse serve` looks too, starts with nothing that is a problem, and logs the rest.
"""

from __future__ import annotations

from wse_server.cli.check import certificates, exposure, machine, secrets
from wse_server.cli.settings import Deployment, Finding

__all__ = ["look"]


def look(deployment: Deployment) -> list[Finding]:
    """Everything that is found, what the settings themselves say first."""
    return [
        *deployment.findings,
        *secrets.look(deployment),
        *exposure.look(deployment),
        *certificates.look(deployment),
        *machine.look(deployment),
    ]
