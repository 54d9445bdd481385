"""Sections of a configuration: plain values to typed ones, with one clear line for whatever does not fit.

msgspec decodes the single values. The way down to them is walked here, since msgspec does not name the keys of a mapping
in its errors, nor what else could have stood there.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Any, Final, TypeVar, Union, get_args, get_origin

import msgspec

from libs.common.runtime.durations import DurationMs, Rate
from libs.common.wire.masking import MASK

S = TypeVar("S", bound="Section")

Keys = tuple[str | int, ...]

_KINDS: Final = {
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "str": "a text",
    "bool": "true or false",
}
_SECTION: Final = "a section with keys"
_LIST: Final = "a list"
_SHOWN_LENGTH: Final = 60


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the file; unknown keys are refused."""


class WrongValue(ValueError):
    """What a section's check of itself has to say about one of its fields.

    Attributes:
        field: The key, as the file writes it.
        expected: What it should have been.
        is_hidden: Whether what came may be a secret, so that it is not shown.
    """

    def __init__(self, field: str, expected: str, *, is_hidden: bool = False) -> None:
        super().__init__(f"{field}: expected {expected}")
        self.field = field
        self.expected = expected
        self.is_hidden = is_hidden


class Misfit(Exception):
    """A value that does not fit; the text is one line: its key, what came and what was expected."""

    def __init__(self, keys: Keys, remark: str) -> None:
        text = f"{'.'.join(map(str, keys))}: {remark}"
        # Texts of a file may hold line ends, and what drives a terminal.
        shown = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
        super().__init__("".join(shown))


def read_section(kind: type[S], value: object, keys: Keys = ()) -> S:
    """Return a section and all below it.

    Args:
        kind: Its type.
        value: What the file says.
        keys: Where in the file.

    Raises:
        Misfit: It does not fit.
    """
    if not isinstance(value, Mapping):
        raise _wrong(keys, value, _SECTION)
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    tag: str | None = kind.__struct_config__.tag_field
    known = [*([tag] if tag else []), *fields]
    for key in value:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise Misfit((*keys, key), f"there is no such key; {hint}")
    for name, field in fields.items():
        if field.required and name not in value:
            raise Misfit((*keys, name), "this key is required")
    found = {
        field.name: _read(field.type, value[name], (*keys, name))
        for name, field in fields.items()
        if name in value
    }
    try:
        return kind(**found)
    except WrongValue as error:
        own = (*keys, error.field)
        if error.field not in value:  # a default that does not go with another key
            raise Misfit(own, f"expected {error.expected}") from error
        if error.is_hidden:
            raise Misfit(own, f"got {MASK}, expected {error.expected}") from error
        raise _wrong(own, value[error.field], error.expected) from error


def _read(kind: Any, value: object, keys: Keys) -> Any:
    """Return what a value of the file is, where the field's annotation is `kind`."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in {Union, UnionType}:
        if value is None and type(None) in arguments:
            return None
        return _read_union([one for one in arguments if one is not type(None)], value, keys)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise _wrong(keys, value, _SECTION)
        return {key: _read(arguments[1], one, (*keys, key)) for key, one in value.items()}
    if origin is tuple:
        if not isinstance(value, list):
            raise _wrong(keys, value, _LIST)
        return tuple(_read(arguments[0], one, (*keys, index)) for index, one in enumerate(value))
    if isinstance(kind, type) and issubclass(kind, Section):
        return read_section(kind, value, keys)
    return _read_plain(kind, value, keys)


def _read_union(kinds: Sequence[Any], value: object, keys: Keys) -> Any:
    """Return a value of the one kind that there is, or the section whose tag it bears."""
    if len(kinds) == 1:
        return _read(kinds[0], value, keys)
    if not isinstance(value, Mapping):
        raise _wrong(keys, value, _SECTION)
    field: str = kinds[0].__struct_config__.tag_field
    tagged = {kind.__struct_config__.tag: kind for kind in kinds}
    expected = " or ".join(tagged)
    if field not in value:
        raise Misfit((*keys, field), f"this key is required, expected {expected}")
    tag = value[field]
    if not isinstance(tag, str) or tag not in tagged:
        raise _wrong((*keys, field), tag, expected)
    return _read(tagged[tag], value, keys)


def _read_plain(kind: Any, value: object, keys: Keys) -> Any:
    """Return a value that has nothing below it."""
    try:
        if isinstance(kind, type) and issubclass(kind, DurationMs | Rate):
            return kind.parse(value)
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise _wrong(keys, value, _expected(kind, str(error))) from error
    except ValueError as error:
        raise _wrong(keys, value, str(error)) from error


def _expected(kind: Any, message: str) -> str:
    """Return in plain words what msgspec expected."""
    info = msgspec.inspect.type_info(kind)
    if isinstance(info, msgspec.inspect.EnumType):
        return " or ".join(str(member.value) for member in info.cls)
    found = re.fullmatch(r"Expected `(\w+)`(?:, got .*)?(.*)", message)
    if found is None:  # what no decimal can be made of
        return _KINDS["decimal"]
    return f"{_KINDS.get(found[1], found[1])}{found[2]}"


def _wrong(keys: Keys, value: object, expected: str) -> Misfit:
    return Misfit(keys, f"got {_shown(value)}, expected {expected}")


def _shown(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case Mapping():
            return "a section"
        case list():
            return "a list"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}..."
