"""The FactorQX guide's payload: `secret`, `id`, `symbol`, `action`; `quantity` and `price` are read too.

{"secret":"demo-secret-01","id":"sma-cross-20261103-091500","symbol":"ETHUSDT","action":"buy"}
"""

import re
from typing import Final

import msgspec

from libs.common.domain.alert import Action, AlertContent
from libs.common.domain.errors import AdmissionError
from libs.common.wire.dialects.json_body import (
    decode,
    fields_of,
    number_of,
    refuse_placeholder,
    refuse_repeated,
    text_of,
)

NAME: Final = "factorqx"

MAX_ID_LENGTH: Final = 256
MAX_SYMBOL_LENGTH: Final = 64

_ABSENT: Final = msgspec.Raw(b"null")
_KEYS: Final = (b'"secret"', b'"id"', b'"symbol"', b'"action"', b'"quantity"', b'"price"')
_SYMBOL: Final = re.compile(r"[!-z|~]+")
_ACTIONS: Final = {"buy": Action.BUY, "sell": Action.SELL}


class _Body(msgspec.Struct):
    """The body as nearly all are: texts, and numbers still as written."""

    secret: str = ""
    id: str = ""
    symbol: str = ""
    action: str = ""
    quantity: msgspec.Raw = _ABSENT
    price: msgspec.Raw = _ABSENT


_BODY: Final = msgspec.json.Decoder(_Body)


class FactorqxDocument:
    """A body of this dialect whose credential can be checked."""

    __slots__ = ("_body", "_fields", "credential")

    def __init__(self, body: bytes, fields: _Body | None, credential: str) -> None:
        self._body = body
        self._fields = fields
        self.credential = credential
        """The presented secret; empty where there is none."""

    def read(self) -> AlertContent:
        """Return what the body means.

        Raises:
            AdmissionError: 422, with the field that is wrong.
        """
        refuse_repeated(self._body, _KEYS)
        fields = self._fields if self._fields is not None else _strict(self._body)
        sender_id, symbol = fields.id, fields.symbol
        _require(sender_id, "id")
        if len(sender_id) > MAX_ID_LENGTH:
            detail = f'"id" has {len(sender_id)} characters, expected at most {MAX_ID_LENGTH}'
            raise AdmissionError(422, "too_long", detail, field="id")
        _require(symbol, "symbol")
        if len(symbol) > MAX_SYMBOL_LENGTH:
            detail = f'"symbol" has {len(symbol)} characters, expected at most {MAX_SYMBOL_LENGTH}'
            raise AdmissionError(422, "too_long", detail, field="symbol")
        if not _SYMBOL.fullmatch(symbol):
            detail = f'"symbol" is "{symbol}", expected printable ASCII without spaces and braces'
            raise AdmissionError(422, "invalid_symbol", detail, field="symbol")
        return AlertContent(
            dialect=NAME,
            action=_ACTIONS.get(fields.action) or _action(fields.action),
            symbol=symbol,
            quantity=None if fields.quantity is _ABSENT else number_of(fields.quantity, "quantity"),
            price=None if fields.price is _ABSENT else number_of(fields.price, "price"),
            sender_id=sender_id,
        )


def parse(body: bytes) -> FactorqxDocument:
    """Return the body as a document of this dialect.

    Raises:
        AdmissionError: 400, it is not a JSON object.
    """
    try:
        fields = decode(body, _BODY.decode)
    except msgspec.ValidationError:
        return FactorqxDocument(body, None, _credential(fields_of(body)))
    return FactorqxDocument(body, fields, fields.secret)


def _credential(fields: dict[str, msgspec.Raw]) -> str:
    raw = fields.get("secret")
    try:
        return "" if raw is None else text_of(raw, "secret")
    except AdmissionError:
        # Of the wrong type: as good as missing.
        return ""


def _strict(body: bytes) -> _Body:
    """Find the field of a wrong type that kept the body from being read at once, and refuse it."""
    fields = fields_of(body)
    texts = {
        name: text_of(raw, name)
        for name in ("id", "symbol", "action")
        if (raw := fields.get(name)) is not None and bytes(raw) != b"null"
    }
    return _Body(**texts, quantity=fields.get("quantity", _ABSENT), price=fields.get("price", _ABSENT))


def _require(value: str, field: str) -> None:
    if not value or value.isspace():
        detail = f'"{field}" is missing or empty, expected a string'
        raise AdmissionError(422, "missing_field", detail, field=field)
    refuse_placeholder(value, field)


def _action(value: str) -> Action:
    _require(value, "action")
    action = _ACTIONS.get(value.strip().lower())
    if action is None:
        detail = f'"action" is "{value}", expected "buy" or "sell"'
        raise AdmissionError(422, "invalid_action", detail, field="action")
    return action
