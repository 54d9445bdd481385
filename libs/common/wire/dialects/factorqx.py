"""The FactorQX guide's payload: `secret`, `id`, `symbol`, `action`; `quantity` and `price` are read too.

{"secret":"demo-secret-01","id":"sma-cross-20261103-091500","symbol":"ETHUSDT","action":"buy"}
"""

import re
from decimal import Decimal
from typing import Final

import msgspec

from libs.common.domain.alert import AlertContent
from libs.common.wire.dialects.dialect import Dialect, FieldsDocument
from libs.common.wire.dialects.fields import MAX_SYMBOL_LENGTH, MAX_TEXT_LENGTH, Fields
from libs.common.wire.dialects.words import SIDES

NAME: Final = "factorqx"

_ABSENT: Final = msgspec.Raw(b"")
_OF_BASCULE: Final = (
    "unit",
    "order_type",
    "limit_price",
    "stop_price",
    "take_profit",
    "stop_loss",
    "reduce_only",
    "time_in_force",
    "max_age",
)
"""What changes an order in our own dialect, and is easily taken for a field of this one."""
_SYMBOL: Final = re.compile(r"(?!:)[!-z|~]+(?<!:)")
_plain_number: Final = re.compile(rb'(?:"?((?=[\d.]*[1-9])\d{1,20}(?:\.\d{1,20})?)"?)?').fullmatch
"""Finds a number above 0 as nearly all are written, bare or quoted, within every bound; or nothing."""
_QUOTES: Final = 16
"""Of the four texts and their names."""
_BACKSLASH: Final = ord("\\")


def _recognises(fields: Fields) -> bool:
    return fields.has("secret", "id", "symbol", "action")


def _read(fields: Fields) -> AlertContent:
    for name in _OF_BASCULE:
        fields.refuse_if_given(
            name, 'this dialect has no such field; make it the dialect bascule with "bascule": 1'
        )
    return AlertContent(
        dialect=NAME,
        sender_id=fields.required("id"),
        symbol=fields.symbol("symbol"),
        action=fields.chosen("action", SIDES, code="invalid_action"),
        quantity=fields.number("quantity"),
        price=fields.number("price"),
    )


DIALECT: Final = Dialect(
    name=NAME,
    title="FactorQX",
    credential="secret",
    recognises=_recognises,
    read=_read,
    template="""{
  "secret": "<SECRET>",
  "id": "{{ticker}}-{{timenow}}-{{strategy.order.id}}",
  "symbol": "{{ticker}}",
  "action": "{{strategy.order.action}}",
  "quantity": "{{strategy.order.contracts}}",
  "price": "{{strategy.order.price}}"
}""",
)


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    """The body as nearly all are: texts, numbers still as written, and nothing else."""

    secret: str = ""
    id: str = ""
    symbol: str = ""
    action: str = ""
    quantity: msgspec.Raw = _ABSENT
    price: msgspec.Raw = _ABSENT


_decode: Final = msgspec.json.Decoder(_Body).decode


class PlainDocument:
    """A body that has this dialect's fields and no others: read in a tenth of the time, and only where all is well."""

    __slots__ = ("_body", "_fields", "credential", "secrets")

    dialect = NAME
    has_place = True
    is_signed = False

    def __init__(self, body: bytes, fields: _Body) -> None:
        self._body = body
        self._fields = fields
        self.credential = fields.secret
        """The presented secret; empty where there is none."""
        self.secrets = (fields.secret,)

    def read(self) -> AlertContent:
        """Return what the body means.

        Raises:
            AdmissionError: 422, with the field that is wrong.
        """
        fields = self._fields
        sender_id, symbol, action = fields.id, fields.symbol, SIDES.get(fields.action)
        quantity, price = _plain_number(fields.quantity), _plain_number(fields.price)
        if (
            action is None
            or quantity is None
            or price is None
            or not 0 < len(sender_id) <= MAX_TEXT_LENGTH
            or "{{" in sender_id
            or sender_id != sender_id.strip()
            or len(symbol) > MAX_SYMBOL_LENGTH
            or not _SYMBOL.fullmatch(symbol)
            # More quotes belong to a repeated field.
            or self._body.count(b'"') != _QUOTES + _quotes_of(quantity) + _quotes_of(price)
            # An escaped name may be a repeated one that looks different.
            or _BACKSLASH in self._body
        ):
            # The long way finds what is wrong, or that nothing is.
            return FieldsDocument(DIALECT, Fields.of_json(self._body)).read()
        return AlertContent(
            dialect=NAME,
            action=action,
            symbol=symbol,
            quantity=_value(quantity),
            price=_value(price),
            sender_id=sender_id,
        )

    def ignored(self) -> tuple[str, ...]:
        """Return nothing: whatever has other fields is not read this way."""
        return ()


def _quotes_of(number: re.Match[bytes]) -> int:
    """Return how many quotes a number has, with its name: none where it is absent, which starts at -1."""
    return 2 + 2 * number.start(1)


def _value(number: re.Match[bytes]) -> Decimal | None:
    written = number[1]
    return None if written is None else Decimal(written.decode())


def parse_plain(body: bytes) -> PlainDocument | None:
    """Return the document of a body that has this dialect's fields and no others; None for any other."""
    try:
        fields = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    # What lacks one of them, or asks for something else, may be of another dialect.
    is_whole = fields.secret and fields.id and fields.symbol and fields.action in SIDES
    return PlainDocument(body, fields) if is_whole else None
