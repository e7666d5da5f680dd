"""A Compose file, and its services as containers of `containers`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from containers import Container
from documents import ROOT
from images import image

COMPOSE = ROOT / "deploy/docker/compose.yaml"

DNS = "127.0.0.11"
"""Where Docker answers for names, in each container."""

# What becomes of a service in `run`.
DONE = {
    *("cap_drop", "command", "environment", "image", "read_only", "secrets", "security_opt", "tmpfs"),
    *("ulimits", "user", "volumes"),
}
# What is an affair of the engine's, or of the images of others. A word that is in neither is not passed over.
NOT_DONE = {
    *("build", "depends_on", "healthcheck", "mem_limit", "networks", "ports", "profiles", "restart"),
    "stop_grace_period",
}

Service = dict[str, Any]


def load(file: Path, environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A Compose file with its `${NAME:-default}` filled in."""

    def fill(found: re.Match[str]) -> str:
        return (environ or {}).get(found["name"]) or found["default"]

    text = re.sub(r"\$\{(?P<name>\w+):-(?P<default>[^}]*)\}", fill, file.read_text())
    told = yaml.safe_load(text)
    assert isinstance(told, dict)
    return told


def variables(service: Service) -> dict[str, str]:
    """The environment of a service, which may be a list or a map."""
    told = service.get("environment") or {}
    if isinstance(told, list):
        return dict(line.split("=", 1) for line in told)
    return {name: str(value) for name, value in told.items()}


def volumes(service: Service) -> dict[str, str]:
    """Place in the container -> what is mounted there."""
    return {line.split(":")[1]: line.split(":")[0] for line in service.get("volumes", ())}


def run(
    file: dict[str, Any],
    name: str,
    *,
    enter: Sequence[str],
    places: Mapping[str, Path],
    base: Path = COMPOSE.parent,
    command: Sequence[str] | None = None,
) -> Container:
    """Runs a service as the file says, on a host of a network.

    Args:
        file: What `load` gave.
        name: The service.
        enter: What goes before a command that is to run there.
        places: Source of a mount, as the file has it -> where it is in this test, if it is elsewhere.
        base: The directory of the file.
        command: What the image runs; without it what the one of this repository does.
    """
    service = file["services"][name]
    assert set(service) <= DONE | NOT_DONE, service
    mounts = {
        target: places.get(source) or (base / source).resolve() for target, source in volumes(service).items()
    }
    for secret in service.get("secrets", ()):
        source = file["secrets"][secret]["file"]
        mounts[f"/run/secrets/{secret}"] = places.get(source) or (base / source).resolve()
    own = image()
    return Container(
        command or own.command,
        enter=enter,
        environment=(own.environment if command is None else {}) | variables(service),
        mounts=mounts,
        files={"/etc/resolv.conf": f"nameserver {DNS}\n"},
        tmpfs=[place.partition(":")[0] for place in service.get("tmpfs", ())],
        user=service.get("user", own.user),
        hostname=name,
        directory=own.directory,
        descriptors=service.get("ulimits", {}).get("nofile"),
    )
