"""What a venue's HTTP answers say about the account and its markets. Pure.

All but positions are optional: 404, 405 and 501 mean that the venue does not tell. Whatever else is not a usable 200
is no answer: nothing here is ever guessed.
"""

from decimal import Decimal
from typing import Final

import msgspec

from libs.common.domain.ids import Market, safe_name
from libs.common.domain.venue import Balance, Instrument
from services.worker.brokers.http_answers import (
    NOT_OFFERED,
    Answer,
    UnusableError,
    asked,
    number,
    number_or_none,
    unusable,
)


class _Position(msgspec.Struct, frozen=True):
    quantity: Decimal | None = None


class _Price(msgspec.Struct, frozen=True):
    price: Decimal | None = None


class _Balance(msgspec.Struct, frozen=True):
    equity: Decimal | None = None
    day_pnl: Decimal | None = None
    currency: str | None = None
    exposure: Decimal | None = None


class _Instrument(msgspec.Struct, frozen=True):
    quantity_step: Decimal | None = None
    price_step: Decimal | None = None
    min_quantity: Decimal | None = None
    max_quantity: Decimal | None = None
    min_value: Decimal | None = None


class _Markets(msgspec.Struct, frozen=True):
    symbols: tuple[Market, ...]


_POSITION: Final = msgspec.json.Decoder(_Position)
_PRICE: Final = msgspec.json.Decoder(_Price)
_BALANCE: Final = msgspec.json.Decoder(_Balance)
_INSTRUMENT: Final = msgspec.json.Decoder(_Instrument)
_MARKETS: Final = msgspec.json.Decoder(_Markets)


def position(answer: Answer) -> Decimal:
    """Return the signed quantity of `{"quantity": "..."}`.

    Raises:
        LookUpUnavailable: It holds none. A 404 neither: no position is 0.
    """
    quantity = asked(answer, _POSITION, "position").quantity
    try:
        return number("quantity", quantity)
    except UnusableError as error:
        raise unusable("position", answer, error) from error


def price(answer: Answer) -> Decimal | None:
    """Return the price of `{"price": "..."}`, above 0; None where the venue has none.

    Raises:
        LookUpUnavailable: The answer holds none.
    """
    if answer.status in NOT_OFFERED:
        return None
    told = asked(answer, _PRICE, "price").price
    try:
        price = number("price", told)
        if price <= 0:
            raise UnusableError(f"price is {price}")
    except UnusableError as error:
        raise unusable("price", answer, error) from error
    return price


def account(answer: Answer) -> Balance | None:
    """Return what `{"equity": "...", "day_pnl": "...", "currency": "...", "exposure": "..."}` says.

    All but `equity` may be missing or null. None where the venue does not tell.

    Raises:
        LookUpUnavailable: The answer holds no equity, or something else than numbers.
    """
    if answer.status in NOT_OFFERED:
        return None
    told = asked(answer, _BALANCE, "account")
    try:
        return Balance(
            equity=number("equity", told.equity),
            day_pnl=number_or_none("day_pnl", told.day_pnl),
            currency=told.currency or "",
            exposure=_size_or_zero("exposure", told.exposure),
        )
    except UnusableError as error:
        raise unusable("account", answer, error) from error


def instrument(answer: Answer) -> Instrument | None:
    """Return the steps and limits of a market; each may be missing, null or 0, which all mean that there is none.

    None where the venue does not tell.

    Raises:
        LookUpUnavailable: The answer holds something else.
    """
    if answer.status in NOT_OFFERED:
        return None
    told = asked(answer, _INSTRUMENT, "instrument")
    try:
        return Instrument(
            quantity_step=_size("quantity_step", told.quantity_step),
            price_step=_size("price_step", told.price_step),
            min_quantity=_size("min_quantity", told.min_quantity),
            max_quantity=_size("max_quantity", told.max_quantity),
            min_value=_size("min_value", told.min_value),
        )
    except UnusableError as error:
        raise unusable("instrument", answer, error) from error


def markets(answer: Answer) -> tuple[Market, ...] | None:
    """Return the names of `{"symbols": [...]}` that can stand in the symbol table, each once.

    None where the venue has no list.

    Raises:
        LookUpUnavailable: The answer holds none.
    """
    if answer.status in NOT_OFFERED:
        return None
    names = asked(answer, _MARKETS, "list of markets").symbols
    return tuple(name for name in dict.fromkeys(names) if safe_name(name) == name)


def _size(name: str, value: Decimal | None) -> Decimal | None:
    return _size_or_zero(name, value) or None


def _size_or_zero(name: str, value: Decimal | None) -> Decimal | None:
    size = number_or_none(name, value)
    if size is not None and size < 0:
        raise UnusableError(f"{name} is {size}")
    return size
