"""Rules that decide which topics a client may have: a template of topics and a function that is asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from wse_server.handlers import Function, read_parameters
from wse_server.payloads import InvalidPayloadError, Validator

__all__ = ["Action", "Rule", "Template"]

Action: TypeAlias = Literal["subscribe", "publish"]
"""What a client wants with a topic."""

ACTIONS: tuple[Action, ...] = ("subscribe", "publish")

_FIELD = re.compile(r"\{([^{}]*)\}")
# A field ends where the parts of a topic do, so that `room:{id}` is not also `room:1:secret`.
_PART, _REST = "[^:/]+", ".+"


class Template:
    """Topics of one form, such as `room:{id}`.

    `{name}` is one part, up to ":" or "/", and `{name:path}` any rest.

    Raises:
        ValueError: It is malformed; the message says where.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.fields: list[str] = []
        pattern, at = "", 0
        for found in _FIELD.finditer(text):
            pattern += self._literal(text[at : found.start()]) + self._field(found[1])
            at = found.end()
        pattern += self._literal(text[at:])
        self._pattern = re.compile(pattern, re.DOTALL)

    def _literal(self, text: str) -> str:
        for char in "{}*?":
            if char in text:
                raise ValueError(f"the template {self.text!r} has a {char!r} that belongs to no {{field}}")
        return re.escape(text)

    def _field(self, text: str) -> str:
        name, colon, kind = text.partition(":")
        if not name.isidentifier():
            raise ValueError(
                f"the template {self.text!r} has a field {text!r}; a field is named like a parameter"
            )
        if name in self.fields:
            raise ValueError(f"the template {self.text!r} has the field {name!r} twice")
        if colon and kind != "path":
            raise ValueError(
                f"the template {self.text!r} has a field of kind {kind!r}; allowed: 'path'. "
                "Other types are declared by the parameter"
            )
        self.fields.append(name)
        return f"({_REST if colon else _PART})"

    def match(self, topic: str) -> dict[str, str] | None:
        """The fields of a topic of this form."""
        found = self._pattern.fullmatch(topic)
        return None if found is None else dict(zip(self.fields, found.groups(), strict=True))


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule."""

    template: Template
    function: Function
    label: str
    is_async: bool
    actions: tuple[Action, ...]
    types: Mapping[str, Validator | None]
    """What makes the declared types of the fields, for those that have one beside str."""
    takes_action: bool

    @classmethod
    def of(cls, template: str, function: Function, actions: tuple[Action, ...]) -> Rule:
        """Reads a function that takes a connection and the fields of a template, and perhaps `action`.

        Raises:
            TypeError: It can't be called so; the message names the parameter.
            ValueError: The template is malformed, or there is no such action.
        """
        for action in actions:
            if action not in ACTIONS:
                raise ValueError(f"actions has {action!r}; allowed: {', '.join(map(repr, ACTIONS))}")
        parsed = Template(template)
        label = f"authorize({template!r})"
        parameters = read_parameters(function, label)
        fields = "".join(f", {name}" for name in parsed.fields)
        takes = f"(connection{fields}) and perhaps action"
        parameters.check_connection(takes)
        given = {*parsed.fields, "action"}
        named = [*parameters.positional[1:], *parameters.keyword_only]
        parameters.check_no_more([it for it in named if it.name not in given], takes)
        for field in parsed.fields:
            if all(field != parameter.name for parameter in named):
                raise parameters.error(field, "is missing, a field of the template")
        types = {}
        for field in parsed.fields:
            kind = parameters.hints.get(field, str)
            if kind is not str:
                types[field] = parameters.converter_of(field, kind)
        takes_action = any(parameter.name == "action" for parameter in named)
        return cls(parsed, function, label, parameters.is_async, actions, types, takes_action)

    def arguments(self, topic: str, action: Action) -> dict[str, Any] | None:
        """What the function is called with for a topic; None if the rule is not about it."""
        if action not in self.actions:
            return None
        fields: dict[str, Any] | None = self.template.match(topic)
        if fields is None:
            return None
        for name, convert in self.types.items():
            if convert is None:
                continue
            try:
                fields[name] = convert(fields[name])
            except InvalidPayloadError:
                return None
        if self.takes_action:
            fields["action"] = action
        return fields
