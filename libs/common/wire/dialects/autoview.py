"""Autoview's commands: `name=value` words.

c=position e=bybit a=sub1 s=BTCUSDT b=short
e=bybit a=sub1 s=BTCUSDT b=long q=15% sl=1.5% tp=3%

A close followed by an order on the same market is one intention and is read as such; anything else of several commands
is refused.
"""

import re
from decimal import Decimal
from typing import Final

from libs.common.domain.alert import Action, AlertContent, ExitLevel, ExitUnit, MarketPosition, QuantityUnit
from libs.common.domain.order import OrderType
from libs.common.wire.dialects.dialect import FREE_PLACES, Dialect
from libs.common.wire.dialects.fields import Fields
from libs.common.wire.dialects.order_size import Size
from libs.common.wire.dialects.text_body import words_of
from libs.common.wire.dialects.values import number_from

NAME: Final = "autoview"

_SIDES: Final = {
    "buy": MarketPosition.LONG,
    "long": MarketPosition.LONG,
    "sell": MarketPosition.SHORT,
    "short": MarketPosition.SHORT,
}
_CLOSES_OF: Final = {MarketPosition.LONG: Action.CLOSE_LONG, MarketPosition.SHORT: Action.CLOSE_SHORT}
_COMMANDS: Final = {"order": Action.CANCEL, "position": Action.CLOSE_ALL}
_ORDER_TYPES: Final = {"market": OrderType.MARKET, "limit": OrderType.LIMIT}

_REFUSED: Final = {
    "d": "it says that the command is disabled; send only commands that are meant",
    "delay": "send the alert when the order is meant",
    "dt": "an order's end cannot be given; send c=order when it is to be cancelled",
    "ts": "a trailing stop cannot be placed; send sl with a percentage",
    "p": "it counts from a price that only Autoview knows; send fp, the price itself, with t=limit",
    "cmo": "which orders or positions come first cannot be chosen; send it without",
}
_KNOWN: Final = frozenset(
    {*_REFUSED, *FREE_PLACES, *"abceqstl", "bcc", "cc", "cm", "fp", "fsl", "ftp", "sl", "tp"}
)
_EXITS: Final = ("sl", "tp", "fsl", "ftp")
_SEPARATOR: Final = re.compile(r"[\n|]")
_WORD: Final = re.compile(r"([A-Za-z]+)=(.*)", re.ASCII | re.DOTALL)
_BEFORE: Final = "close."
"""What the names of a close begin with that stands before the order."""
_FURTHER: Final = "command "
_MARKET: Final = frozenset("abces")
"""The parts by which commands belong together."""


def _split(text: str) -> Fields | None:
    commands = []
    for line in _SEPARATOR.split(text):
        pairs = []
        for word in words_of(line.replace("&", " ")):
            found = _WORD.fullmatch(word)
            if found is None:
                return None
            pairs.append((found[1].lower(), found[2]))
        if pairs:
            commands.append(pairs)
    match commands:
        case []:
            return None
        case [pairs]:
            return Fields.of_pairs(pairs)
        case [first, second] if _is_close_then_order(dict(first), dict(second)):
            # The credential may stand in either.
            places = [pair for pair in first if pair[0] in FREE_PLACES and pair not in second]
            return Fields.of_pairs(
                [*second, *places, *((f"{_BEFORE}{name}", value) for name, value in first)]
            )
        case [first, *others]:
            return Fields.of_pairs(
                [*first, *((f"{_FURTHER}{place}", "") for place, _ in enumerate(others, start=2))]
            )
    return None


def _is_close_then_order(first: dict[str, str], second: dict[str, str]) -> bool:
    return (
        first.get("c", "").lower() == "position"
        and "c" not in second
        and "b" in second
        and "q" not in first
        and "cm" not in first
        and all(_is_same(first.get(name, ""), second.get(name, "")) for name in "aes")
    )


def _is_same(one: str, other: str) -> bool:
    # What was not filled in is refused as that, not as two orders.
    return one.lower() == other.lower() or "{{" in one + other


def _recognises(fields: Fields) -> bool:
    return fields.has_any("b", "c") and fields.has_any("e", "s", "q")


def _read(fields: Fields) -> AlertContent:
    for name in fields.names():
        if name in _MARKET or name.startswith(_BEFORE):
            fields.text(name)
    for name in fields.names():
        if name.startswith(_FURTHER):
            raise fields.refusal(
                "several_orders", name, "the body holds several commands; send one alert per order"
            )
    for name, why in _REFUSED.items():
        fields.refuse_if_given(name, why)
        fields.refuse_if_given(f"{_BEFORE}{name}", why)
    for name in fields.names():
        if name.removeprefix(_BEFORE) not in _KNOWN:
            # They are short, and many change the size: what one means is not to be guessed.
            raise fields.unsupported(name, "what it means is not known here; send it without")
    for name in ("t", "fp", *_EXITS):
        fields.refuse_if_given(
            f"{_BEFORE}{name}",
            "it goes with the order that follows, not with the close",
            code="contradiction",
        )
    command = fields.choice("c", _COMMANDS, code="invalid_action")
    symbol = fields.symbol("s")
    exchange = fields.text("e")
    if command is Action.CANCEL:
        fields.refuse_if_given("b", "a cancel takes the orders of both sides; send it without")
        fields.refuse_if_given("cm", "a cancel takes all open orders of the symbol; send it without")
        return AlertContent(dialect=NAME, action=command, symbol=symbol, exchange=exchange)
    if command is Action.CLOSE_ALL:
        return _close(fields, symbol, exchange)
    return _order(fields, symbol, exchange)


def _close(fields: Fields, symbol: str, exchange: str | None) -> AlertContent:
    for name in _EXITS:
        fields.refuse_if_given(name, "a close leaves nothing to exit; send it without", code="contradiction")
    side = fields.choice("b", _SIDES)
    size = _size(fields, fields.one_of("q", "cm") or "q", QuantityUnit.PERCENT_OF_POSITION)
    order_type = fields.choice("t", _ORDER_TYPES) or OrderType.MARKET
    return AlertContent(
        dialect=NAME,
        action=Action.CLOSE_ALL if side is None else _CLOSES_OF[side],
        symbol=symbol,
        exchange=exchange,
        quantity=size.quantity,
        unit=size.unit,
        order_type=order_type,
        limit_price=_limit_price(fields, order_type),
    )


def _order(fields: Fields, symbol: str, exchange: str | None) -> AlertContent:
    wanted = fields.chosen("b", _SIDES, code="invalid_action")
    action = Action.BUY if wanted is MarketPosition.LONG else Action.SELL
    position = None
    if fields.has(f"{_BEFORE}c"):
        closed = fields.choice(f"{_BEFORE}b", _SIDES)
        position = wanted
        # Closing the same side, or both, leaves a position of just the order that follows.
        action = Action.FLIP if closed is not None and closed is not wanted else Action.TARGET
    order_type = fields.choice("t", _ORDER_TYPES) or OrderType.MARKET
    if not fields.given("q"):
        raise fields.missing("q", "a size: without one Autoview would trade all of the balance")
    size = _size(fields, "q", QuantityUnit.PERCENT_OF_EQUITY)
    leverage = fields.optional_number("l")
    if size.unit is QuantityUnit.PERCENT_OF_EQUITY and leverage is not None and leverage > 1:
        raise fields.unsupported("l", "it may multiply a percentage; send q, a number, or no l")
    return AlertContent(
        dialect=NAME,
        action=action,
        symbol=symbol,
        exchange=exchange,
        quantity=size.quantity,
        unit=size.unit,
        order_type=order_type,
        limit_price=_limit_price(fields, order_type),
        take_profit=_exit(fields, "tp"),
        stop_loss=_exit(fields, "sl"),
        position=position,
    )


def _limit_price(fields: Fields, order_type: OrderType) -> Decimal | None:
    if order_type is OrderType.LIMIT:
        return fields.required_number("fp")
    if fields.given("fp"):
        raise fields.contradiction(
            "fp", '"fp" is a limit price, but "t" is not "limit"; send t=limit or no fp'
        )
    return None


def _size(fields: Fields, name: str, percent: QuantityUnit) -> Size:
    text = fields.text(name)
    if text is None:
        return Size(fields.number(name))
    if "-" in text[1:]:
        detail = f'"{name}" is "{text}", a range to choose from at random; send one size'
        raise fields.refusal("not_supported", name, detail)
    is_percent = text.endswith("%")
    number = number_from(text.removesuffix("%"), name)
    return Size(number, percent if is_percent else QuantityUnit.UNITS)


def _exit(fields: Fields, name: str) -> ExitLevel | None:
    fixed = f"f{name}"
    found = fields.one_of(name, fixed)
    if found is None:
        return None
    text = fields.required(found, "a number")
    if found == fixed:
        return ExitLevel(fields.required_number(fixed))
    if not text.endswith("%"):
        detail = f'"{name}" is "{text}", whose unit is a matter of the venue; send a percentage ("2%"), or {fixed}, the price itself'
        raise fields.refusal("not_supported", name, detail)
    if "-" in text[1:]:
        detail = f'"{name}" is "{text}", a range to choose from at random; send one percentage'
        raise fields.refusal("not_supported", name, detail)
    return ExitLevel(number_from(text.removesuffix("%"), name), ExitUnit.PERCENT)


DIALECT: Final = Dialect(
    name=NAME,
    title="Autoview",
    credential=None,
    names={"symbol": "s", "action": "b", "exchange": "e"},
    recognises=_recognises,
    read=_read,
    split=_split,
    template="e={{exchange}} s={{ticker}} b={{strategy.order.action}} q={{strategy.order.contracts}} t=market",
)
