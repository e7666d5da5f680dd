"""The reference page of the HTTP API, from its description in spec/openapi.json."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .header import notice

SOURCE = "spec/openapi.json"
PATH = "docs/reference/http-api.md"
WIDTH = 110

Schema = dict[str, Any]


def page(root: Path) -> str:
    """The whole page."""
    described = json.loads((root / SOURCE).read_text(encoding="utf-8"))
    lines = ["# HTTP API", "", f"<!-- {notice(SOURCE)} -->", ""]
    lines += textwrap.wrap(described["info"]["description"], WIDTH)
    lines += [
        "",
        "[How to use it](../how-to/http-api.md) has examples. What is in **bold** must be there.",
        "",
    ]
    lines += ["| request | does |", "|---|---|"]
    operations = [
        (f"{method.upper()} {path}", operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]
    lines += [
        f"| [`{request}`](#{anchor(request)}) | {operation['summary']} |" for request, operation in operations
    ]
    for request, operation in operations:
        lines += ["", f"## {request}", "", f"{operation['summary']}.", *section(described, operation)]
    lines += ["", "## Errors", "", *errors(described)]
    return "\n".join([*lines, ""])


def anchor(heading: str) -> str:
    """The anchor of a heading, as code forges make it."""
    return "".join(each for each in heading.lower().replace(" ", "-") if each.isalnum() or each in "-_")


def section(described: Schema, operation: Schema) -> Iterator[str]:
    """What is asked for, and what is answered."""
    if operation.get("parameters"):
        parameters = [resolved(described, parameter) for parameter in operation["parameters"]]
        yield from table("parameter", [parameter_row(described, parameter) for parameter in parameters])
    if "requestBody" in operation:
        content = operation["requestBody"]["content"]["application/json"]
        schema = resolved(described, content["schema"])
        told = [resolved(described, each).get("description") for each in schema.get("allOf", [])]
        yield from ["", *textwrap.wrap(" ".join(filter(None, told)), WIDTH)]
        yield from table("field of the body", list(rows(described, content["schema"])))
        if "example" in content:
            yield from ["", "```json", json.dumps(content["example"]), "```"]
    for status, answer in operation["responses"].items():
        found = resolved(described, answer)
        schema = found.get("content", {}).get("application/json", {}).get("schema")
        if status == "200" and schema:
            yield from table("field of the answer", list(rows(described, schema)))
    refusals = [status for status in operation["responses"] if status != "200"]
    yield from ["", f"[Errors](#errors): {', '.join(refusals)}."]


def errors(described: Schema) -> Iterator[str]:
    """What each status means; it is the same for all requests."""
    found = {
        status: resolved(described, answer)["description"]
        for methods in described["paths"].values()
        for operation in methods.values()
        for status, answer in operation["responses"].items()
        if status != "200"
    }
    yield from ["| status | what happened |", "|---|---|"]
    yield from (f"| {status} | {cell(found[status])} |" for status in sorted(found))
    schema = described["components"]["schemas"]["Error"]
    yield from table("field of the answer", list(rows(described, schema)))


def table(title: str, found: list[str]) -> Iterator[str]:
    """A table with the rows given, or nothing."""
    if found:
        yield from ["", f"| {title} | type | default | |", "|---|---|---|---|", *found]


def parameter_row(described: Schema, parameter: Schema) -> str:
    """A line of the table of parameters."""
    schema = resolved(described, parameter["schema"])
    told = " ".join(filter(None, [parameter.get("description"), schema.get("description")]))
    return row(described, parameter["name"], schema | {"description": told}, parameter.get("required", False))


def rows(described: Schema, schema: Schema, prefix: str = "") -> Iterator[str]:
    """A line for each field of an object, those of objects in lists included."""
    schema = resolved(described, schema)
    required = schema.get("required", [])
    for name, inner in schema.get("properties", {}).items():
        field = resolved(described, inner)
        yield row(described, f"{prefix}{name}", field, name in required)
        items = resolved(described, field.get("items", {}))
        if items.get("properties"):
            yield from rows(described, items, f"{prefix}{name}[].")
        elif field.get("properties"):
            yield from rows(described, field, f"{prefix}{name}.")


def row(described: Schema, name: str, schema: Schema, is_required: bool) -> str:
    """A line of a table of fields."""
    shown = f"**`{name}`**" if is_required else f"`{name}`"
    default = f"`{json.dumps(schema['default'])}`" if "default" in schema else ""
    told = " ".join(filter(None, [schema.get("description"), limits(schema)]))
    return f"| {shown} | {cell(type_of(described, schema))} | {default} | {cell(told)} |"


def type_of(described: Schema, schema: Schema) -> str:
    """The type in words, such as `array of string`."""
    schema = resolved(described, schema)
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    kinds = schema.get("type", "any")
    names = [kinds] if isinstance(kinds, str) else list(kinds)
    if "items" in schema:
        names[names.index("array")] = f"array of {type_of(described, schema['items'])}"
    return " or ".join(names)


def limits(schema: Schema) -> str:
    """The range of a number, or the number of items, in words."""
    if "minimum" in schema and "maximum" in schema:
        return f"{schema['minimum']} to {schema['maximum']}."
    if schema.get("minimum"):
        return f"At least {schema['minimum']}."
    return f"At most {schema['maxItems']} items." if "maxItems" in schema else ""


def resolved(described: Schema, schema: Schema) -> Schema:
    """What a reference stands for."""
    while "$ref" in schema:
        found: Any = described
        for step in schema["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        schema = found
    return schema


def cell(text: str) -> str:
    """Text that may stand in a table."""
    return text.replace("|", "\\|").replace("\n", " ")
