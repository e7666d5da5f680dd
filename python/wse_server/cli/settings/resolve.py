"""What holds: a flag before the environment, the environment before the file, the file before the default."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wse_server.cli.settings import toml_file
from wse_server.cli.settings.declaration import BY_NAME, OTHER_VARIABLES, SETTINGS, Setting
from wse_server.cli.settings.environment import strangers, told
from wse_server.cli.settings.problems import Finding, Level, problem
from wse_server.cli.settings.values import Wrong, of_text, of_toml

__all__ = ["DEFAULT", "Resolution", "Value", "resolve"]

DEFAULT = "default"
"""The source of what was told nowhere."""

# A file with a secret that is longer than this is something else.
_LONGEST_SECRET = 64 * 1024


@dataclass(frozen=True, slots=True)
class Value:
    """What a setting is, and who said so."""

    value: Any
    source: str
    file: Path | None = None
    """The file that it was read from, if it is a secret that was given so."""

    @property
    def is_given(self) -> bool:
        """Whether somebody said so."""
        return self.source != DEFAULT


@dataclass(frozen=True, slots=True)
class _Said:
    """What one source says about a setting, before it is looked at."""

    raw: object
    source: str
    is_file: bool
    """Whether it is the path of a file that has the secret."""
    beside: Path | None
    """The TOML file that says so, whose paths begin where it lies; None for the other sources."""


@dataclass(slots=True)
class Resolution:
    """All settings with their sources, and what is wrong so far."""

    values: dict[str, Value] = field(default_factory=dict)
    """By name. What is wrong is not there."""
    findings: list[Finding] = field(default_factory=list)
    """In the order in which it was found."""

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - as the setting
        """What holds; the default if what was told is wrong."""
        return self.values[name].value if name in self.values else BY_NAME[name].default

    def source(self, name: str) -> str:
        """Who said so."""
        return self.values[name].source if name in self.values else DEFAULT

    def is_given(self, name: str) -> bool:
        """Whether it was told, and is right."""
        return name in self.values and self.values[name].is_given

    def is_wrong(self, name: str) -> bool:
        """Whether it was told, and is wrong."""
        return name not in self.values


def resolve(
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    elsewhere: Callable[[], Iterable[str]] = lambda: (),
) -> Resolution:
    """Finds what holds.

    A value that is overruled is not looked at.

    Args:
        flags: What the command line says, by the name of the setting; `NAME_file` for the file of a secret.
            Text as typed, or a value of the right type.
        environ: The environment.
        elsewhere: Tells the variables that other commands read.
    """
    result = Resolution()
    variables = told(environ)
    config = _config(result, flags, variables)
    content: dict[str, object] = {}
    if config is not None:
        content, findings = toml_file.read(config, result.source("config"))
        result.findings += findings
    for setting in SETTINGS:
        if setting.name != "config":
            _resolve_one(result, setting, flags, variables, (content, config))
    # A program of one's own may read variables of its own.
    level = Level.WARNING if result["app"] is not None else Level.PROBLEM
    result.findings += strangers(environ, elsewhere, level)
    return result


def _config(result: Resolution, flags: Mapping[str, object], variables: Mapping[str, str]) -> Path | None:
    _resolve_one(result, BY_NAME["config"], flags, variables, ({}, None))
    path = result["config"]
    return None if path is None else Path(path)


def _resolve_one(
    result: Resolution,
    setting: Setting,
    flags: Mapping[str, object],
    variables: Mapping[str, str],
    toml: tuple[Mapping[str, object], Path | None],
) -> None:
    for said in (_by_flags(setting, flags), _by_variables(setting, variables), _by_toml(setting, *toml)):
        if len(said) > 1:
            both = " and ".join(one.source for one in said)
            result.findings.append(problem(setting.name, both, "both are given, and they mean the same"))
            return
        if said:
            try:
                file = _beside(said[0], str(said[0].raw)) if said[0].is_file else None
                result.values[setting.name] = Value(_value(setting, said[0]), said[0].source, file)
            except Wrong as wrong:
                result.findings.append(problem(setting.name, said[0].source, str(wrong)))
            return
    result.values[setting.name] = Value(setting.default, DEFAULT)


def _by_flags(setting: Setting, flags: Mapping[str, object]) -> list[_Said]:
    found = [(setting.name, setting.flag), (f"{setting.name}_file", f"{setting.flag}-file")]
    return [
        _Said(flags[name], flag, name != setting.name, None)
        for name, flag in found
        if flags.get(name) is not None
    ]


def _by_variables(setting: Setting, variables: Mapping[str, str]) -> list[_Said]:
    names = [setting.variable, f"{setting.variable}_FILE"]
    found = [_Said(variables[name], name, name != names[0], None) for name in names if name in variables]
    other = OTHER_VARIABLES.get(setting.name)
    if not found and other is not None and other in variables:
        return [_Said(variables[other], other, is_file=False, beside=None)]
    return found


def _by_toml(setting: Setting, content: Mapping[str, object], config: Path | None) -> list[_Said]:
    if config is None or not setting.path:
        return []
    keys = [setting.key, f"{setting.key}_file"]
    return [
        _Said(content[key], f"{config.name}: {key}", key != keys[0], config) for key in keys if key in content
    ]


def _value(setting: Setting, said: _Said) -> object:
    if said.is_file:
        if not isinstance(said.raw, str) or not said.raw:
            raise Wrong("must be the path of a file")
        return _secret_of(_beside(said, said.raw))
    if said.beside is not None:
        value: object = of_toml(setting, said.raw)
        is_path = setting.kind == "file" or (setting.name == "jwks" and "://" not in str(value))
        return str(_beside(said, str(value))) if is_path and value is not None else value
    if isinstance(said.raw, str):
        return of_text(setting, said.raw)
    return of_toml(setting, said.raw)


def _beside(said: _Said, path: str) -> Path:
    """Paths in a file begin where the file lies; all others where the process runs."""
    return Path(path) if said.beside is None else said.beside.parent / path


def _secret_of(file: Path) -> bytes:
    try:
        with file.open("rb") as content:
            secret = content.read(_LONGEST_SECRET + 1)
    except OSError as error:
        raise Wrong(f"{file} can't be read: {error.strerror}") from None
    if len(secret) > _LONGEST_SECRET:
        raise Wrong(f"{file} has more than {_LONGEST_SECRET} bytes: no secret is so long")
    # Editors and `echo` end a file with a line feed, which is no part of the secret.
    secret = secret.rstrip(b"\r\n")
    if not secret:
        raise Wrong(f"{file} is empty: a forgotten key must not open the door")
    return secret
