"""From a body's bytes to a document whose credential can be checked: which form it has, and which dialect.

What is refused here is no alert at all, status 400. What an alert says is read, and refused with 422, only after its
credential was checked: a stranger learns nothing about validity. So `unknown_dialect` has two statuses: text of no known
form is 400 at once, since nothing tells where its credential would stand; a JSON object of no known shape is a document
whose credential is checked first, and 422 then.
"""

from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import parse_qsl, unquote_plus

from libs.common.domain.alert import AlertContent
from libs.common.domain.errors import AdmissionError
from libs.common.wire.dialects import factorqx
from libs.common.wire.dialects.catalogue import BY_NAME, DIALECTS
from libs.common.wire.dialects.dialect import FREE_PLACES, Dialect, Document, FieldsDocument, secrets_among
from libs.common.wire.dialects.fields import NO_OPTIONS, Fields
from libs.common.wire.dialects.json_body import BOM
from libs.common.wire.dialects.values import refuse_placeholder

FORM_TYPE: Final = "application/x-www-form-urlencoded"

_JSON_STARTS: Final = frozenset(b'{["')
_MAX_PAIRS: Final = 200
_SHOWN_LENGTH: Final = 100


class UnknownDocument:
    """JSON that is of no known shape: what it says cannot be told."""

    __slots__ = ("_fields", "credential", "secrets")

    dialect = "unknown"
    has_place = True
    """Nothing says that it has none, so one is demanded: strangers learn nothing about shapes."""
    is_signed = False

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self.secrets = secrets_among(fields)
        self.credential = next((found for name in FREE_PLACES if (found := fields.peek(name))), "")

    def read(self) -> AlertContent:
        """Refuse it.

        Raises:
            AdmissionError: 422, always.
        """
        for name in self._fields.names():
            # Some shapes are told by a value, which is the one that is missing then.
            if name not in FREE_PLACES:
                refuse_placeholder(self._fields.peek(name)[:_SHOWN_LENGTH], name[:_SHOWN_LENGTH])
        names = ", ".join(self._fields.names())[:150] or "no fields"
        detail = f"the body has {names}; this is the shape of no dialect: {', '.join(BY_NAME)}"
        raise AdmissionError(422, "unknown_dialect", detail)

    def ignored(self) -> tuple[str, ...]:
        """Refuse it, as `read` does."""
        self.read()
        return ()


def recognise(
    body: bytes,
    content_type: str = "",
    pinned: str | None = None,
    options: Mapping[str, str] = NO_OPTIONS,
) -> Document:
    """Return the document that a body is.

    Args:
        body: As it came.
        content_type: As the sender declared it; decides only where the body itself does not.
        pinned: The dialect's name, where the webhook takes one alone.
        options: What the webhook settles about that dialect, see `Dialect.options`.

    Raises:
        AdmissionError: 400, it is neither a JSON object nor text of a known form; or not of the pinned one.
    """
    if pinned is None or pinned == factorqx.NAME:
        plain = factorqx.parse_plain(body)
        if plain is not None:
            return plain
    only = None if pinned is None else BY_NAME[pinned]
    bare = body.strip().removeprefix(BOM).strip()
    text = _text(bare, body)
    if not bare or bare[0] in _JSON_STARTS:
        return _of_json(bare, only, options, text)
    if content_type.partition(";")[0].strip().lower() == FORM_TYPE or bare[:3].upper() == b"%7B":
        return _of_form(text, bare, only, options)
    return _of_text(text, bare, only, options)


def _of_json(bare: bytes, only: Dialect | None, options: Mapping[str, str], *texts: str) -> Document:
    try:
        fields = Fields.of_json(bare)
    except AdmissionError:
        # A text may begin with a credential of any form, or with a placeholder that was not filled in.
        found = _find_text(texts, only, options)
        if found is None:
            raise
        return found
    return _of_fields(fields, only, options)


def _of_form(text: str, bare: bytes, only: Dialect | None, options: Mapping[str, str]) -> Document:
    unquoted = unquote_plus(text).strip()
    if unquoted[:1] == "{":
        return _of_json(unquoted.encode(), only, options, text, unquoted.removesuffix("="))
    fields = _form_fields(text)
    document = None
    if fields is not None and (only is None or only.split is None):
        document = _of_fields(fields, only, options)
        if not isinstance(document, UnknownDocument):
            return document
    # Many senders declare a form whatever they send, so the text may be as it was meant.
    found = _find_text((text.removesuffix("="), unquoted.removesuffix("=")), only, options)
    return found or document or _of_text(text.removesuffix("="), bare, only, options)


def _of_fields(fields: Fields, only: Dialect | None, options: Mapping[str, str]) -> Document:
    if only is not None:
        if only.split is not None:
            detail = f"the body is JSON, expected the text of the dialect {only.name}, which this webhook takes alone"
            raise AdmissionError(400, "wrong_dialect", detail)
        return FieldsDocument(only, fields, options)
    for dialect in DIALECTS:
        if dialect.split is None and dialect.recognises(fields):
            return FieldsDocument(dialect, fields)
    # What comes nearest to the smallest dialect is told what it lacks of it.
    if fields.has_any("secret", "id") and fields.has_any("id", "symbol", "action"):
        return FieldsDocument(factorqx.DIALECT, fields)
    return UnknownDocument(fields)


def _of_text(text: str, bare: bytes, only: Dialect | None, options: Mapping[str, str]) -> Document:
    found = _find_text((text,), only, options)
    if found is not None:
        return found
    if only is not None and only.split is not None:
        detail = f"the body is not of the dialect {only.name}, which this webhook takes alone"
        raise AdmissionError(400, "wrong_dialect", detail)
    if only is not None or bare[:1] in b"'/tfn0123456789-":
        Fields.of_json(bare)  # says where it ceases to be JSON, or what else it is
    names = ", ".join(dialect.name for dialect in DIALECTS if dialect.split is not None)
    detail = f"the body is neither JSON nor text of a known dialect: {names}"
    raise AdmissionError(400, "unknown_dialect", detail)


def _find_text(texts: Iterable[str], only: Dialect | None, options: Mapping[str, str]) -> Document | None:
    """Return the document of the first text that is of a dialect, or of the only one; None where none is."""
    for text in texts:
        for dialect in DIALECTS if only is None else (only,):
            fields = None if dialect.split is None else dialect.split(text)
            if fields is not None and (only is not None or dialect.recognises(fields)):
                return FieldsDocument(dialect, fields, options)
    return None


def _form_fields(text: str) -> Fields | None:
    """Return the fields of a form; None where it is none."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=True, max_num_fields=_MAX_PAIRS)
    except ValueError:
        return None
    return Fields.of_pairs(pairs) if len(pairs) > 1 else None


def _text(bare: bytes, body: bytes) -> str:
    try:
        return bare.decode()
    except UnicodeDecodeError as error:
        place = body.index(bare) + error.start
        raise AdmissionError(400, "not_utf8", f"byte {place} of the body is not UTF-8") from error
