"""YAML to typed settings, with one clear line for whatever is wrong: file, key, what came, what was expected."""

import difflib
import re
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import msgspec
import yaml

from libs.common.domain.errors import ConfigError

T = TypeVar("T")

Document = dict[str, Any]

_AT: Final = re.compile(r"(?s)(.*?)(?: - at (?:`key` in )?`\$(.*)`)?")
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|(\[\.\.\.\])")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*)`")
_MISSING: Final = re.compile(r"Object missing required field `(.*)`")
_EXPECTED: Final = re.compile(r"Expected (.*?)(?:, got .*)?")
_NAMES: Final = {
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "str": "a text",
    "bool": "true or false",
    "object": "a section with keys",
    "array": "a list",
}
_SHOWN_LENGTH: Final = 60


class WrongValue(ValueError):
    """What a check of one field has to say.

    Attributes:
        field: The key, as the file writes it.
        expected: What it should have been.
    """

    def __init__(self, field: str, expected: str) -> None:
        super().__init__(f"{field}: expected {expected}")
        self.field = field
        self.expected = expected


def read_document(path: Path) -> Document:
    """Return what a YAML file holds, its top level being a section.

    Booleans are `true` and `false` alone (`off` and `no` are texts), and a key may stand but once.

    Raises:
        ConfigError: The file cannot be read or is not such YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8") from error
    try:
        document = yaml.load(text, Loader=_Loader)  # noqa: S506 - _Loader is a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
        raise ConfigError(f"{path}: {where}{error.problem or error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: got {_shown(document)}, expected {_NAMES['object']}")
    return document


def convert(document: Document, to: type[T], path: Path, dec_hook: Callable[[type, object], object]) -> T:
    """Return the document as `to`.

    Raises:
        ConfigError: It does not fit; the text names the file, the key, what came and what was expected.
    """
    try:
        return msgspec.convert(document, to, dec_hook=dec_hook)
    except msgspec.ValidationError as error:
        remark = _explain(document, error, lambda trial: msgspec.convert(trial, to, dec_hook=dec_hook), to)
        raise ConfigError(f"{path}: {remark}") from error


class _Loader(yaml.SafeLoader):
    """YAML without the surprises: see `read_document`."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                problem = f"the key {key!r} is not a text; put it in quotes"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            if key in seen:
                problem = f"the key {key!r} stands twice in one section"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


# YAML 1.1 reads `off`, `no`, `12:30` and `2026-01-01` as what nobody meant: keep the plain forms alone.
_Loader.yaml_implicit_resolvers = {}
for _tag, _form, _first in (
    ("bool", r"true|false", "tf"),
    ("null", r"null|~|", "n~"),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(?:0|[1-9][0-9]*)(?:\.[0-9]+(?:[eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)", "-+0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_form})$"), [*_first, ""])


def _explain(
    document: Document,
    error: msgspec.ValidationError,
    convert_again: Callable[[Document], object],
    to: type,
) -> str:
    """Return `key.path: got X, expected Y` for a refusal of msgspec."""
    parts = _AT.fullmatch(str(error))
    if parts is None:  # pragma: no cover - the pattern matches everything
        return str(error)
    keys = _resolve(document, parts[2] or "", str(error), convert_again)
    message, value = parts[1], _at(document, keys)
    if isinstance(error.__cause__, WrongValue):
        field, expected = error.__cause__.field, error.__cause__.expected
        if not isinstance(value, dict) or field not in value:  # a default that does not go with another key
            return f"{_dotted([*keys, field])}: expected {expected}"
        return _line([*keys, field], value[field], expected)
    if (found := _UNKNOWN.fullmatch(message)) is not None:
        return f"{_dotted([*keys, found[1]])}: there is no such key{_hint(to, keys, document, found[1])}"
    if (found := _MISSING.fullmatch(message)) is not None:
        return f"{_dotted([*keys, found[1]])}: this key is required{_hint(to, [*keys, found[1]], document)}"
    if (found := _EXPECTED.fullmatch(message)) is not None:
        expected = re.sub("`([a-z |]+)`", lambda kinds: _words(kinds[1]), found[1])
        return _line(keys, value, expected)
    if message.startswith("Invalid "):  # an enumeration, a tag or a decimal
        return _line(keys, value, _choices(to, keys, document) or "a number")
    return _line(keys, value, message)


def _words(kinds: str) -> str:
    """Return msgspec's `int | null` in plain words; that nothing is allowed too goes without saying."""
    return " or ".join(_NAMES.get(kind, kind) for kind in kinds.split(" | ") if kind != "null")


def _resolve(
    document: Document, at: str, message: str, convert_again: Callable[[Document], object]
) -> list[str | int]:
    """Return the keys of a path in which msgspec writes `[...]` for a key it does not name.

    Each such key is found by trying the document with that key alone until the same message comes.
    """
    keys: list[str | int] = []
    for name, index, _ in _STEP.findall(at):
        if name:
            keys.append(name)
        elif index:
            keys.append(int(index))
        else:
            container = _at(document, keys)
            keys.append(
                next((key for key in container if _fails(document, keys, key, message, convert_again)), "...")
                if isinstance(container, dict)
                else "..."
            )
    return keys


def _fails(
    document: Document,
    keys: list[str | int],
    key: str,
    message: str,
    convert_again: Callable[[Document], object],
) -> bool:
    try:
        convert_again(cast("Document", _with_only(document, keys, key)))
    except msgspec.ValidationError as error:
        return str(error) == message
    return False


def _with_only(value: Any, keys: list[str | int], key: str) -> Any:
    if not keys:
        return {key: value[key]}
    first, *rest = keys
    if isinstance(value, list):
        return [_with_only(item, rest, key) if index == first else item for index, item in enumerate(value)]
    return {**value, first: _with_only(value[first], rest, key)}


def _at(value: Any, keys: list[str | int]) -> Any:
    for key in keys:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _line(keys: list[str | int], value: object, expected: str) -> str:
    prefix = f"{_dotted(keys)}: " if keys else ""
    return f"{prefix}got {_shown(value)}, expected {expected}"


def _dotted(keys: list[str | int]) -> str:
    return ".".join(str(key) for key in keys)


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a section"
    if isinstance(value, list):
        return "a list"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}..."


def _hint(to: type, keys: list[str | int], document: Document, wrong: str | None = None) -> str:
    """Return what else could stand here: the nearest key, or all of them; or a type's choices."""
    if wrong is None:
        choices = _choices(to, keys, document)
        return f", expected {choices}" if choices else ""
    info = _type_at(to, keys, document)
    if not isinstance(info, msgspec.inspect.StructType):
        return ""
    known = [field.encode_name for field in info.fields]
    if isinstance(info.tag_field, str):
        known.insert(0, info.tag_field)
    near = difflib.get_close_matches(wrong, known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}"


def _choices(to: type, keys: list[str | int], document: Document) -> str:
    if not keys:
        return ""
    holder = _type_at(to, keys[:-1], document, choose=False)
    if isinstance(holder, msgspec.inspect.UnionType):
        structs = [kind for kind in holder.types if isinstance(kind, msgspec.inspect.StructType)]
        if structs and structs[0].tag_field == keys[-1]:
            return " or ".join(str(struct.tag) for struct in structs)
    kind = _type_at(to, keys, document)
    if isinstance(kind, msgspec.inspect.EnumType):
        return " or ".join(str(member.value) for member in kind.cls)
    return ""


def _type_at(
    to: type, keys: list[str | int], document: Document, *, choose: bool = True
) -> msgspec.inspect.Type | None:
    """Return what msgspec expects at a path; a union of tagged structs is decided by the document's tag."""
    kind: msgspec.inspect.Type | None = msgspec.inspect.type_info(to)
    value: Any = document
    for index, key in enumerate([*keys, None]):
        is_last = index == len(keys)
        if isinstance(kind, msgspec.inspect.UnionType) and (choose or not is_last):
            kind = _member(kind, value)
        if is_last:
            break
        match kind:
            case msgspec.inspect.StructType():
                kind = next((field.type for field in kind.fields if field.encode_name == key), None)
            case msgspec.inspect.DictType():
                kind = kind.value_type
            case msgspec.inspect.ListType() | msgspec.inspect.VarTupleType():
                kind = kind.item_type
            case _:
                return None
        value = _at(value, [key]) if key is not None else None
    return kind


def _member(union: msgspec.inspect.UnionType, value: Any) -> msgspec.inspect.Type | None:
    for kind in union.types:
        if isinstance(kind, msgspec.inspect.StructType):
            if kind.tag_field is None or (isinstance(value, dict) and value.get(kind.tag_field) == kind.tag):
                return kind
        elif not isinstance(kind, msgspec.inspect.NoneType):
            return kind
    return None
