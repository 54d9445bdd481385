"""What all JSON dialects share: tolerant of wrapping, strict about the document."""

import json
import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from libs.common.domain.errors import AdmissionError

T = TypeVar("T")

_PLACEHOLDER: Final = re.compile(rb"\{\{[^{}]{1,60}\}\}")
BOM: Final = b"\xef\xbb\xbf"
"""What some senders put before a body."""

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
        bare = body.strip().removeprefix(BOM).strip().removesuffix(b"=")
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
        detail = f"the body is {kind_of(body.lstrip().removeprefix(BOM).lstrip())}, expected a JSON object"
        raise AdmissionError(400, "not_an_object", detail) from error


def first_repeated(body: bytes) -> str | None:
    """Return the first top-level key that a body gives twice; None where there is none."""
    return decode(body, _repeated)


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


def kind_of(written: bytes) -> str:
    """Return in words what a JSON value is."""
    return _KINDS.get(written[:1].decode("ascii", "replace"), "a number")


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
    unfilled = _PLACEHOLDER.search(body)
    if unfilled is not None:
        name = unfilled[0].decode("utf-8", "replace")
        detail = f"{name} was not filled in by TradingView, and the body is no JSON with it"
        return AdmissionError(400, "unfilled_placeholder", detail)
    return AdmissionError(400, "not_json", f"the body is not JSON: {error}")


def _repeated(body: bytes) -> str | None:
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
