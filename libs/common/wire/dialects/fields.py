"""The named values of one alert, of whatever form its body is, and how a dialect reads them."""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, TypeVar

import msgspec

from libs.common.domain.errors import AdmissionError
from libs.common.wire.dialects.json_body import fields_of, first_repeated, kind_of, text_of
from libs.common.wire.dialects.values import number_from, refuse_placeholder, time_from

T = TypeVar("T")

MAX_TEXT_LENGTH: Final = 256
MAX_SYMBOL_LENGTH: Final = 64

_SYMBOL: Final = re.compile(r"[!-z|~]+(?: [!-z|~]+)*")
_FLAGS: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
_SHOWN_LENGTH: Final = 100
NO_OPTIONS: Final[Mapping[str, str]] = MappingProxyType({})
"""What a webhook settles that settles nothing."""


class Fields:
    """Values by name, undecoded until they are asked for.

    An absent value, JSON's null and an empty text are the same to `text`, `choice`, `time`, `flag`, `section`,
    `sections`, `optional_number` and `refuse_if_given`. To `given` and `number` an empty text is a value, and no number:
    a placeholder without a value must not trade the default.
    Every method raises an `AdmissionError` 422 that names the field for what it cannot read.
    """

    __slots__ = ("_body", "_options", "_pairs", "_path", "_values")

    def __init__(
        self,
        values: Mapping[str, msgspec.Raw | str],
        *,
        body: bytes = b"",
        pairs: Iterable[str] = (),
        path: str = "",
        options: Mapping[str, str] = NO_OPTIONS,
    ) -> None:
        """Args:
        values: JSON's undecoded, other forms' as text.
        body: The JSON object that they stand in.
        pairs: All names of another form, repeated ones too.
        path: What names of fields begin with in errors.
        options: What the webhook settles.
        """
        self._options = options
        self._values = values
        self._body = body
        self._pairs = tuple(pairs)
        self._path = path

    @classmethod
    def of_json(cls, body: bytes, path: str = "") -> "Fields":
        """Return the fields of a JSON object.

        Raises:
            AdmissionError: 400, it is none.
        """
        return cls(fields_of(body), body=body, path=path)

    @classmethod
    def of_pairs(cls, pairs: Iterable[tuple[str, str]]) -> "Fields":
        """Return the fields of a body of another form, in the order they stand there."""
        pairs = tuple(pairs)
        return cls(dict(pairs), pairs=[name for name, _ in pairs])

    def watched(self, unread: dict[str, None]) -> "Fields":
        """Return the same fields, of which `unread` has those that were not asked for, by what errors call them."""
        values = _Watched(self._values, self._path, unread)
        return Fields(values, body=self._body, pairs=self._pairs, path=self._path, options=self._options)

    def settled(self, options: Mapping[str, str]) -> "Fields":
        """Return the same fields with what a webhook settles about their meaning."""
        return Fields(self._values, body=self._body, pairs=self._pairs, path=self._path, options=options)

    def option(self, name: str) -> str | None:
        """Return what the webhook settles under a name; None where it leaves it open."""
        return self._options.get(name)

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def has(self, *names: str) -> bool:
        """Return whether all of these stand there, whatever their values."""
        return all(name in self._values for name in names)

    def has_any(self, *names: str) -> bool:
        """Return whether one of these stands there, whatever its value."""
        return any(name in self._values for name in names)

    def given(self, name: str) -> bool:
        """Return whether a value stands there that is not null; an empty text is one."""
        return self._found(name) is not None

    def one_of(self, *names: str) -> str | None:
        """Return which of these has a value; None where none has. Refuses several: they exclude one another."""
        found = [name for name in names if self.given(name)]
        if len(found) > 1:
            detail = f'"{self.label(found[0])}" and "{self.label(found[1])}" exclude one another, expected one of them'
            raise self.contradiction(found[1], detail)
        return found[0] if found else None

    def is_object(self, name: str) -> bool:
        """Return whether an object stands below a name."""
        value = self._values.get(name)
        return isinstance(value, msgspec.Raw) and bytes(value)[:1] == b"{"

    def names(self) -> tuple[str, ...]:
        """Return the names of all values."""
        return tuple(self._values)

    def peek(self, name: str) -> str:
        """Return a text as it stands there; empty where there is none or it is something else. Refuses nothing."""
        value = self._values.get(name)
        if isinstance(value, str):
            return value
        try:
            return "" if value is None else text_of(value, name)
        except AdmissionError:
            written = bytes(value) if value is not None else b""
            # A licence id may come as a bare number.
            return written.decode("ascii", "replace") if written[:1].isdigit() else ""

    def label(self, name: str) -> str:
        """Return what an error calls a field."""
        return f"{self._path}{name}"

    def refuse_repeated(self) -> None:
        """Refuse names that stand there twice: readers disagree about which counts."""
        name: str | None
        if self._body:
            name = first_repeated(self._body)
        else:
            seen: set[str] = set()
            name = next((one for one in self._pairs if one in seen or seen.add(one)), None)  # type: ignore[func-returns-value]
        if name is not None:
            shown = name[:_SHOWN_LENGTH]
            raise self.refusal("repeated_field", name, f'"{shown}" stands there more than once')

    def refusal(self, code: str, name: str, detail: str) -> AdmissionError:
        """Return the refusal of a field, status 422; `detail` says what came and what was expected."""
        return AdmissionError(422, code, detail, field=self.label(name)[:_SHOWN_LENGTH])

    def text(self, name: str, *, max_length: int = MAX_TEXT_LENGTH) -> str | None:
        """Return a text without surrounding space; None where there is none. A bare number is read as written."""
        written = self._written(name, "a string")
        if written is None:
            return None
        text = written.strip()
        if not text:
            return None
        refuse_placeholder(text[: _SHOWN_LENGTH * 3], self.label(name))
        if len(text) > max_length:
            detail = f'"{self.label(name)}" has {len(text)} characters, expected at most {max_length}'
            raise self.refusal("too_long", name, detail)
        return text

    def required(self, name: str, expected: str = "a string", *, max_length: int = MAX_TEXT_LENGTH) -> str:
        """Return a text that must be there."""
        text = self.text(name, max_length=max_length)
        if text is None:
            raise self.missing(name, expected)
        return text

    def missing(self, name: str, expected: str) -> AdmissionError:
        """Return the refusal of a body that lacks a field."""
        detail = f'"{self.label(name)}" is missing or empty, expected {expected}'
        return self.refusal("missing_field", name, detail)

    def contradiction(self, name: str, detail: str) -> AdmissionError:
        """Return the refusal of a field that says otherwise than another; `detail` names both and what to send."""
        return self.refusal("contradiction", name, detail)

    def symbol(self, name: str) -> str:
        """Return a symbol: printable ASCII, with single spaces at most between, and a name on both sides of its colon."""
        symbol = self.required(name, max_length=MAX_SYMBOL_LENGTH)
        if not _SYMBOL.fullmatch(symbol):
            detail = f'"{self.label(name)}" is "{symbol}", expected printable ASCII without braces'
            raise self.refusal("invalid_symbol", name, detail)
        # An empty {{ticker}} behind {{exchange}}: would be traded under the exchange's name.
        if symbol.startswith(":") or symbol.endswith(":"):
            detail = f'"{self.label(name)}" is "{symbol}", expected EXCHANGE:SYMBOL, or the symbol alone'
            raise self.refusal("invalid_symbol", name, detail)
        return symbol

    def choice(self, name: str, table: Mapping[str, T], *, code: str = "invalid_value") -> T | None:
        """Return what one of a few words stands for, whatever its case; None where there is none.

        Args:
            name: The field's.
            table: Lower case word -> meaning.
            code: Of the refusal of any other word.
        """
        text = self.text(name)
        if text is None:
            return None
        word = text.lower()
        if word not in table:
            expected = ", ".join(f'"{one}"' for one in table)
            detail = f'"{self.label(name)}" is "{text[:_SHOWN_LENGTH]}", expected one of {expected}'
            raise self.refusal(code, name, detail)
        return table[word]

    def chosen(self, name: str, table: Mapping[str, T], *, code: str = "invalid_value") -> T:
        """Return the same of a word that must be there."""
        found = self.choice(name, table, code=code)
        if found is None:
            raise self.missing(name, "one of " + ", ".join(f'"{one}"' for one in table))
        return found

    def number(self, name: str, *, is_signed: bool = False, allows_zero: bool = False) -> Decimal | None:
        """Return a number exactly as written, bare or quoted, above 0 unless said otherwise; None where there is none."""
        written = self._written(name, "a number or a string that holds one")
        if written is None:
            return None
        return number_from(written, self.label(name), is_signed=is_signed, allows_zero=allows_zero)

    def required_number(self, name: str, *, is_signed: bool = False, allows_zero: bool = False) -> Decimal:
        """Return the same of a number that must be there."""
        number = self.number(name, is_signed=is_signed, allows_zero=allows_zero)
        if number is None:
            raise self.missing(name, "a number")
        return number

    def optional_number(self, name: str) -> Decimal | None:
        """Return a number above 0; None where there is none, or where 0 or an empty text says so."""
        if self._found(name, "") is None:
            return None
        return self.number(name, allows_zero=True) or None

    def time(self, name: str) -> int | None:
        """Return a time in ms since the epoch; None where there is none."""
        text = self.text(name)
        return None if text is None else time_from(text, self.label(name))

    def flag(self, name: str) -> bool | None:
        """Return a truth value, bare or quoted; None where there is none."""
        value = self._values.get(name)
        if isinstance(value, msgspec.Raw) and bytes(value) in {b"true", b"false"}:
            return bytes(value) == b"true"
        return self.choice(name, _FLAGS)

    def section(self, name: str) -> "Fields | None":
        """Return the object below a name; None where there is none."""
        value = self._found(name, "")
        if value is None:
            return None
        written = bytes(value) if isinstance(value, msgspec.Raw) else b'"'
        if written[:1] != b"{":
            detail = f'"{self.label(name)}" is {kind_of(written)}, expected an object'
            raise self.refusal("wrong_type", name, detail)
        return self._below(written, f"{self.label(name)}.")

    def sections(self, name: str) -> "tuple[Fields, ...]":
        """Return the objects of the list below a name; none where there is no list."""
        value = self._found(name, "")
        if value is None:
            return ()
        written = bytes(value) if isinstance(value, msgspec.Raw) else b'"'
        if written[:1] != b"[":
            detail = f'"{self.label(name)}" is {kind_of(written)}, expected a list of objects'
            raise self.refusal("wrong_type", name, detail)
        below = []
        for place, one in enumerate(_LIST.decode(written)):
            if bytes(one)[:1] != b"{":
                detail = f'"{self.label(name)}" holds {kind_of(bytes(one))}, expected a list of objects'
                raise self.refusal("wrong_type", name, detail)
            below.append(self._below(bytes(one), f"{self.label(name)}[{place}]."))
        return tuple(below)

    def _below(self, written: bytes, path: str) -> "Fields":
        below = Fields.of_json(written, path).settled(self._options)
        below.refuse_repeated()
        return below.watched(self._values.unread) if isinstance(self._values, _Watched) else below

    def unsupported(self, name: str, why: str, *, code: str = "not_supported") -> AdmissionError:
        """Return the refusal of a field that says what we cannot do.

        Args:
            name: The field's.
            why: What to send instead, a clause.
            code: Of the refusal.
        """
        return self.refusal(code, name, f'"{self.label(name)}" cannot be followed: {why}')

    def refuse_if_given(self, name: str, why: str, *, code: str = "not_supported") -> None:
        """Refuse a field that has a value other than false, see `unsupported`."""
        if self._found(name, "", "false") is not None:
            raise self.unsupported(name, why, code=code)

    def _found(self, name: str, *nothing: str) -> msgspec.Raw | str | None:
        """Return a value as it stands there; None where there is none, or JSON's null.

        Args:
            name: Its own.
            nothing: Texts that count as none too, in lower case; JSON's false is one.
        """
        value = self._values.get(name)
        if value is None or (isinstance(value, msgspec.Raw) and bytes(value) == b"null"):
            return None
        if not nothing:
            return value
        text = value if isinstance(value, str) else None
        if isinstance(value, msgspec.Raw) and bytes(value)[:1] == b'"':
            text = text_of(value, self.label(name))
        elif isinstance(value, msgspec.Raw) and bytes(value) == b"false":
            text = "false"
        return None if text is not None and text.strip().lower() in nothing else value

    def _written(self, name: str, expected: str) -> str | None:
        value = self._found(name)
        if value is None or isinstance(value, str):
            return value
        written = bytes(value)
        if written[:1] == b'"':
            return text_of(value, self.label(name))
        if written[:1] in b"-0123456789":
            return written.decode("ascii")
        detail = f'"{self.label(name)}" is {kind_of(written)}, expected {expected}'
        raise self.refusal("wrong_type", name, detail)


class _Watched(dict[str, "msgspec.Raw | str"]):
    """Values that tell which of them nobody asked for: only people want to know, so only they pay for it."""

    def __init__(self, values: Mapping[str, msgspec.Raw | str], path: str, unread: dict[str, None]) -> None:
        super().__init__(values)
        self._path = path
        self.unread = unread
        unread.update(dict.fromkeys(f"{path}{name}" for name in values))

    def get(self, name: str, default: Any = None) -> Any:
        self.unread.pop(f"{self._path}{name}", None)
        return super().get(name, default)

    def __contains__(self, name: object) -> bool:
        self.unread.pop(f"{self._path}{name}", None)
        return super().__contains__(name)


_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
