"""What all JSON dialects share: tolerant of wrapping, strict about the document."""

import json
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeVar

import msgspec

from libs.common.domain.errors import AdmissionError

T = TypeVar("T")

MAX_DIGITS: Final = 40
MAX_EXPONENT: Final = 30

_BOM: Final = b"\xef\xbb\xbf"
_MAX_NUMBER_LENGTH: Final = 100
_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,9})?", re.ASCII)
_KINDS: Final = {"{": "an object", "[": "a list", '"': "a string", "t": "true", "f": "false", "n": "null"}


def decode(body: bytes, decoder: Callable[[bytes], T]) -> T:
    """Return what `decoder` makes of the body; a byte-order mark and a form's trailing `=` are taken off if need be.

    Raises:
        AdmissionError: 400, it is not JSON.
        msgspec.ValidationError: It is JSON, but does not fit.
    """
    try:
        return _decode(body, decoder)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError as error:
        bare = body.strip().removeprefix(_BOM).strip().removesuffix(b"=")
        if bare == body or not bare:
            raise _not_json(body, error) from error
        try:
            return _decode(bare, decoder)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            raise _not_json(body, error) from error


def fields_of(body: bytes) -> dict[str, msgspec.Raw]:
    """Return the top-level fields of a body, undecoded; of a repeated one the last.

    Raises:
        AdmissionError: 400, it is not a JSON object.
    """
    try:
        return decode(body, _FIELDS.decode)
    except msgspec.ValidationError as error:
        detail = f"the body is {kind_of(body.lstrip().removeprefix(_BOM).lstrip())}, expected a JSON object"
        raise AdmissionError(400, "not_an_object", detail) from error


def refuse_repeated(body: bytes, keys: tuple[bytes, ...]) -> None:
    """Refuse a body that gives one of `keys` (quoted) twice: readers disagree about which counts.

    Raises:
        AdmissionError: 422.
    """
    # An escaped key may be a repeated one that looks different.
    if b"\\" not in body:
        for key in keys:
            if body.count(key) > 1:
                break
        else:
            return
    name = decode(body, _repeated)
    if name is not None and f'"{name}"'.encode("utf-8", "replace") in keys:
        raise AdmissionError(422, "repeated_field", f'"{name}" stands there more than once', field=name)


def text_of(raw: msgspec.Raw, field: str) -> str:
    """Return a string.

    Raises:
        AdmissionError: 422, it is something else; 400, its escapes are broken.
    """
    try:
        return _TEXT.decode(raw)
    except msgspec.ValidationError as error:
        detail = f'"{field}" is {kind_of(bytes(raw))}, expected a string'
        raise AdmissionError(422, "wrong_type", detail, field=field) from error
    except msgspec.DecodeError as error:
        raise _not_json(bytes(raw), error) from error


def number_of(raw: msgspec.Raw, field: str) -> Decimal | None:
    """Return a number above 0, bare or quoted, exactly as written; None where it is null.

    Raises:
        AdmissionError: 422, it is no such number.
    """
    written = bytes(raw)
    if written == b"null":
        return None
    if written[:1] == b'"':
        text = text_of(raw, field).strip()
        refuse_placeholder(text, field)
    elif written[:1] in b"-0123456789":
        text = written.decode("ascii")
    else:
        detail = f'"{field}" is {kind_of(written)}, expected a number or a string that holds one'
        raise AdmissionError(422, "wrong_type", detail, field=field)
    if not _NUMBER.fullmatch(text):
        detail = f'"{field}" is "{text}", expected a number above 0'
        raise AdmissionError(422, "invalid_number", detail, field=field)
    return _checked(text, field)


def refuse_placeholder(value: str, field: str) -> None:
    """Refuse a value in which TradingView left a placeholder as it was, since its name is not one.

    Raises:
        AdmissionError: 422.
    """
    if "{{" in value:
        detail = f'"{field}" is "{value}", with a placeholder that TradingView did not fill in'
        raise AdmissionError(422, "unfilled_placeholder", detail, field=field)


def kind_of(written: bytes) -> str:
    """Return in words what a JSON value is."""
    return _KINDS.get(written[:1].decode("ascii", "replace"), "a number")


def _checked(text: str, field: str) -> Decimal:
    if len(text) > _MAX_NUMBER_LENGTH:
        raise _absurd(field)
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise _absurd(field) from error
    _, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int) or len(digits) > MAX_DIGITS or exponent < -MAX_EXPONENT:
        raise _absurd(field)
    if number <= 0:
        detail = f'"{field}" is {text}, expected a number above 0'
        raise AdmissionError(422, "invalid_number", detail, field=field)
    if number.adjusted() > MAX_EXPONENT:
        raise _absurd(field)
    # 1E+3 is 1000 to us; as an exponent it would surprise a venue.
    return Decimal(f"{number:f}") if exponent > 0 else number


def _absurd(field: str) -> AdmissionError:
    detail = f'"{field}" has more than {MAX_DIGITS} digits or an exponent beyond {MAX_EXPONENT}'
    return AdmissionError(422, "invalid_number", detail, field=field)


def _decode(body: bytes, decoder: Callable[[bytes], T]) -> T:
    try:
        return decoder(body)
    except RecursionError as error:
        raise AdmissionError(400, "too_deep", "the body is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise AdmissionError(400, "not_utf8", f"byte {error.start} of a string is not UTF-8") from error


def _not_json(body: bytes, error: Exception) -> AdmissionError:
    if not body.strip():
        return AdmissionError(400, "not_json", "the body is empty, expected a JSON object")
    return AdmissionError(400, "not_json", f"the body is not JSON: {error}")


def _repeated(body: bytes) -> str | None:
    """Return the first top-level key that stands there twice."""
    try:
        # Numbers stay text: the standard library refuses very long ones.
        pairs: Any = json.loads(body, object_pairs_hook=_Pairs, parse_int=str, parse_float=str)
    except ValueError as error:
        raise msgspec.DecodeError(str(error)) from error
    seen = set()
    for key, _ in pairs if isinstance(pairs, _Pairs) else ():
        if key in seen:
            return str(key)
        seen.add(key)
    return None


class _Pairs(list[tuple[str, Any]]):
    """An object with its repeated keys."""


_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT: Final = msgspec.json.Decoder(str)
