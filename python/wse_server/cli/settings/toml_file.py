"""What a TOML file says."""

from __future__ import annotations

import tomllib
from pathlib import Path

from wse_server.cli.settings.declaration import SETTINGS
from wse_server.cli.settings.environment import nearest
from wse_server.cli.settings.problems import Finding, problem

__all__ = ["read"]

_PATHS = {setting.key: setting.path for setting in SETTINGS if setting.path}
_PATHS |= {
    f"{setting.key}_file": (*setting.path[:-1], f"{setting.path[-1]}_file")
    for setting in SETTINGS
    if setting.kind == "secret"
}
_TABLES = {path[0] for path in _PATHS.values() if len(path) > 1}


def read(file: Path, source: str) -> tuple[dict[str, object], list[Finding]]:
    """Reads a file: its values by key, such as "cluster.port", and what is wrong with it."""
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        return {}, [problem("config", source, f"{file} can't be read: {error.strerror}")]
    except UnicodeDecodeError:
        return {}, [problem("config", source, f"{file} is no UTF-8")]
    except tomllib.TOMLDecodeError as error:
        return {}, [problem("config", source, f"{file} is no TOML: {error}")]
    values: dict[str, object] = {}
    findings: list[Finding] = []
    for key, value in content.items():
        if key in _TABLES:
            if isinstance(value, dict):
                values |= {f"{key}.{inner}": found for inner, found in value.items()}
            else:
                findings.append(problem(None, f"{file.name}: {key}", f"is a table: write [{key}]"))
        else:
            values[key] = value
    findings += [_unknown(file, key) for key in values if key not in _PATHS]
    return {key: value for key, value in values.items() if key in _PATHS}, findings


def _unknown(file: Path, key: str) -> Finding:
    near = nearest(key, _PATHS)
    if near is None:
        name = key.rpartition(".")[2]
        # In the right file under the wrong heading.
        near = next(
            (known for known in _PATHS if known.rpartition(".")[2] in {name, key.removeprefix("cluster_")}),
            None,
        )
    hint = f"{near}?" if near else "docs/reference/cli.md lists the keys"
    return problem(None, f"{file.name}: {key}", "there is no such key", hint)
