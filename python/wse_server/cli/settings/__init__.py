"""Everything that `wse serve` can be told, where it was told, and what is wrong with it.

`declaration` lists the settings; the options of the engine come from `wse_server.options`. `resolve` finds
what holds: a flag before the environment, the environment before the TOML file, that before the default.
`deployment` makes of it what a server is started with. Each of them notes what is wrong and goes on, so that
all of it is told at once.
"""

from __future__ import annotations

from wse_server.cli.settings.declaration import BY_NAME, SETTINGS, Setting
from wse_server.cli.settings.deployment import Deployment, deploy
from wse_server.cli.settings.problems import Finding, Level
from wse_server.cli.settings.resolve import Resolution, Value, resolve

__all__ = [
    "BY_NAME",
    "SETTINGS",
    "Deployment",
    "Finding",
    "Level",
    "Resolution",
    "Setting",
    "Value",
    "deploy",
    "resolve",
]
