"""What the environment says, and what of it Kubernetes wrote."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping

from wse_server.cli.settings.declaration import OTHER_VARIABLES, POD_VARIABLES, SETTINGS
from wse_server.cli.settings.problems import Finding, Level, note

__all__ = ["is_of_a_service", "nearest", "strangers", "told"]

# Beside the names of settings: what tells where the pod is.
_KNOWN = {setting.variable for setting in SETTINGS} | set(POD_VARIABLES)
_SECRET_FILES = {f"{setting.variable}_FILE" for setting in SETTINGS if setting.kind == "secret"}

# For each Service of its namespace a container gets {SVC}_SERVICE_HOST, {SVC}_SERVICE_PORT, the same for each
# named port, and what Docker's links had: {SVC}_PORT and {SVC}_PORT_{n}_TCP with its parts.
_SERVICE_NAME = re.compile(
    r"WSE_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_SERVICE_VALUE = re.compile(r"(?:tcp|udp|sctp)://\S+:\d+")


def is_of_a_service(name: str, value: str) -> bool:
    """Whether Kubernetes wrote this variable, because a Service is called `wse` or `wse-...`.

    Such a Service would set WSE_PORT to "tcp://10.0.0.1:5007".
    """
    if name.startswith("WSE_") and name.endswith("_PORT") and _SERVICE_VALUE.fullmatch(value):
        return True
    return _SERVICE_NAME.fullmatch(name) is not None


def told(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that tell something, without those of Services."""
    names = _KNOWN | _SECRET_FILES | set(OTHER_VARIABLES.values())
    return {name: environ[name] for name in names & set(environ) if not is_of_a_service(name, environ[name])}


def strangers(
    environ: Mapping[str, str], elsewhere: Callable[[], Iterable[str]], level: Level
) -> list[Finding]:
    """What is said of variables that begin with WSE_ and mean nothing here.

    Args:
        environ: The environment.
        elsewhere: Tells the variables that other commands read; asked only if there is need.
        level: How much a name matters that nobody knows.
    """
    findings = []
    unknown, services = [], []
    for name in sorted(name for name in environ if name.startswith("WSE_")):
        if is_of_a_service(name, environ[name]):
            services.append(name)
        elif name not in _KNOWN | _SECRET_FILES:
            unknown.append(name)
    if services:
        why = "passed over, for Kubernetes wrote this for Services"
        findings.append(note(None, ", ".join(services), why))
    others = set(elsewhere()) if unknown else set()
    for name in unknown:
        if name in others:
            continue
        near = nearest(name, _KNOWN | _SECRET_FILES)
        hint = f"{near}?" if near else "wse serve --help names every variable"
        findings.append(Finding(level, None, name, "there is no such variable", hint))
    return findings


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like this one; None if none is."""
    return next(iter(difflib.get_close_matches(name, sorted(known), 1, 0.7)), None)
