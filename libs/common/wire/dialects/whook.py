"""whook's lines: words in any order, one order a line, `//` before remarks.

// trend v3, account A
acctA ETHUSDT.P pos -1.5 x3

One alert is one order here, so a second line is refused. The account word is not needed: the webhook decides.
"""

import re
from decimal import Context, Decimal
from typing import Final

from libs.common.domain.alert import Action, AlertContent, QuantityUnit
from libs.common.domain.order import OrderType
from libs.common.wire.dialects.dialect import FREE_PLACES, Dialect
from libs.common.wire.dialects.fields import Fields
from libs.common.wire.dialects.order_size import Size, position_of
from libs.common.wire.dialects.text_body import lines_of, words_of
from libs.common.wire.dialects.values import MAX_DIGITS, number_from, refuse_placeholder
from libs.common.wire.dialects.words import SIDES

NAME: Final = "whook"

_COMMANDS: Final = {
    **SIDES,
    "pos": Action.TARGET,
    "position": Action.TARGET,
    "close": Action.CLOSE_ALL,
}
_LEVERAGE_ONLY: Final = "changeleverage"
_FLAGS: Final = {
    "reduce": "reduce",
    "reduceonly": "reduce",
    "nominal": "nominal",
    "collateral": "collateral",
}
_PREFIXES: Final = ("limit:", "cancel:")
_LEVERAGE: Final = re.compile(r"[xX](\d+(?:\.\d+)?)|(\d+(?:\.\d+)?)[xX]", re.ASCII)
_VALUE: Final = re.compile(r"[+-]?[\d.]+(?:[eE][+-]?\d+)?[%$@]?", re.ASCII)
_SECRET: Final = re.compile(rf"({'|'.join(FREE_PLACES)})=(.*)", re.ASCII | re.DOTALL)
_EXACT: Final = Context(prec=4 * MAX_DIGITS)
_SYMBOL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/!&-]*", re.ASCII)
_SURE_SYMBOL: Final = re.compile(
    r".*[/:].*|.*\.P|.+(?:USDT|USDC|FDUSD|BUSD|USD|EUR|GBP|JPY|BTC|ETH)|.+!", re.ASCII
)
"""A word that no one calls an account."""
_LINE: Final = "line "
_ODD: Final = "word "


def _split(text: str) -> Fields | None:
    lines = [line for line in lines_of(text) if not line.startswith("//")]
    if not lines:
        return None
    words = words_of(lines[0])
    known = [_pair_of(word) for word in words]
    others = [word for word, pair in zip(words, known, strict=True) if pair is None]
    unfilled = [word for word in others if "{{" in word]
    named = _named([word for word in others if "{{" not in word], is_whole=not unfilled)
    if named is None:
        return None
    names = {pair[0] for pair in (*known, *named) if pair is not None}
    placed = iter(_placed(unfilled, names))
    rest = iter(named)
    # In the order of the words, by which prose is told from a command.
    pairs = [
        pair if pair is not None else next(placed if "{{" in word else rest)
        for word, pair in zip(words, known, strict=True)
    ]
    names = {name for name, _ in pairs}
    if not names & {"command", "cancel"} or not names & {"symbol", f"{_ODD}1"}:
        return None
    pairs += [(f"{_LINE}{place}", line) for place, line in enumerate(lines[1:], start=2)]
    return Fields.of_pairs(pairs)


def _pair_of(word: str) -> tuple[str, str] | None:
    """Return what a word says that is recognised by its form; None of any other."""
    lower = word.lower()
    if lower in _COMMANDS or lower == _LEVERAGE_ONLY:
        return "command", lower
    if lower in _FLAGS:
        return _FLAGS[lower], "true"
    if lower.startswith(_PREFIXES):
        name, _, value = word.partition(":")
        return name.lower(), value
    if (secret := _SECRET.fullmatch(word)) is not None:
        return secret[1], secret[2]
    if (leverage := _LEVERAGE.fullmatch(word)) is not None:
        return "leverage", leverage[1] or leverage[2]
    return ("value", word) if _VALUE.fullmatch(word) else None


def _named(words: list[str], *, is_whole: bool) -> list[tuple[str, str]] | None:
    """Return which of the words is the symbol and which the account; None where they are neither."""
    if len(words) > 2 or not all(_SYMBOL.fullmatch(word) for word in words):
        return None
    if not is_whole:
        # One of them may be neither; the body is refused for its placeholder anyway.
        return [(f"{_ODD}{place}", word) for place, word in enumerate(words, start=1)]
    # Prose is written otherwise.
    if words and not any(word == word.upper() or _SURE_SYMBOL.fullmatch(word.upper()) for word in words):
        return None
    if len(words) == 1:
        return [("symbol", words[0])]
    sure = [word for word in words if _SURE_SYMBOL.fullmatch(word.upper())]
    if len(sure) == 1:
        return [("account" if word not in sure else "symbol", word) for word in words]
    return [(f"{_ODD}{place}", word) for place, word in enumerate(words, start=1)]


def _placed(unfilled: list[str], names: set[str]) -> list[tuple[str, str]]:
    """Return where words belong that still hold a placeholder: to what is missing, by the placeholder's name if it helps."""
    missing = [name for name in ("command", "symbol", "value") if name not in names]
    pairs: list[tuple[str, str]] = []
    for word in unfilled:
        hint = "symbol" if "ticker" in word else "command" if "action" in word else "value"
        name = hint if hint in missing else missing[0] if missing else f"{_ODD}{len(pairs) + 3}"
        if name in missing:
            missing.remove(name)
        pairs.append((name, word))
    return pairs


def _recognises(fields: Fields) -> bool:
    if fields.has_any("value", "cancel") or any("{{" in fields.peek(name) for name in fields.names()):
        return True
    # "BTCUSDT close to its high" is no command, "acctA BTCUSDT close" is one.
    names = [name for name in fields.names() if not name.startswith(_LINE)]
    return names[-2:] == ["symbol", "command"] or fields.peek("command") == _LEVERAGE_ONLY


def _read(fields: Fields) -> AlertContent:
    for name in fields.names():
        if name not in FREE_PLACES:
            refuse_placeholder(fields.peek(name), name)
    for name in fields.names():
        if name.startswith(_LINE):
            raise fields.refusal(
                "several_orders", name, f'"{name}" is a second order; send one alert per order'
            )
        if name.startswith(_ODD):
            words = " and ".join(f'"{fields.text(one)}"' for one in fields.names() if one.startswith(_ODD))
            detail = f"{words} may both be the symbol, expected one such word; leave the account out, the webhook decides"
            raise fields.refusal("ambiguous_symbol", "symbol", detail)
    symbol = fields.symbol("symbol")
    cancel = fields.text("cancel")
    if cancel is not None:
        return _cancel(fields, symbol, cancel)
    if fields.text("command") == _LEVERAGE_ONLY:
        detail = f'"command" is "{_LEVERAGE_ONLY}": leverage is set at the venue; send orders alone'
        raise fields.refusal("not_supported", "command", detail)
    action = fields.chosen("command", _COMMANDS, code="invalid_action")
    size = _size(fields, action, symbol)
    position = None
    if action is Action.TARGET:
        signed = size.quantity or Decimal(0)
        position = position_of(signed)
        size = Size(signed.copy_abs(), size.unit) if signed else Size()
    limit_price = _limit_price(fields)
    return AlertContent(
        dialect=NAME,
        action=action,
        symbol=symbol,
        quantity=size.quantity,
        unit=size.unit,
        order_type=OrderType.MARKET if limit_price is None else OrderType.LIMIT,
        limit_price=limit_price,
        reduce_only=fields.flag("reduce") or False,
        position=position,
    )


def _cancel(fields: Fields, symbol: str, which: str) -> AlertContent:
    if which.lower() != "all":
        detail = f'"cancel" is "{which}", expected "all": all open orders of the symbol; single ones cannot be chosen'
        raise fields.refusal("not_supported", "cancel", detail)
    if any(fields.given(name) for name in ("command", "value", "limit", "reduce")):
        raise fields.refusal(
            "several_orders", "cancel", '"cancel" stands beside an order; send one alert per order'
        )
    return AlertContent(dialect=NAME, action=Action.CANCEL, symbol=symbol)


def _size(fields: Fields, action: Action, symbol: str) -> Size:
    """Return the size, signed where a position is asked for; None where a close names none."""
    text = fields.text("value")
    if text is None:
        if action is Action.CLOSE_ALL:
            return Size()
        raise fields.missing("value", 'a size, such as "0.5", "250$" or "10%"')
    is_target = action is Action.TARGET
    suffix = text[-1] if text[-1] in "%$@" else ""
    number = number_from(text.removesuffix(suffix), "value", is_signed=is_target, allows_zero=is_target)
    leverage = fields.number("leverage")
    scaled = number if leverage is None else _EXACT.multiply(number, leverage)
    number_from(f"{scaled:f}", "value", is_signed=is_target, allows_zero=is_target)
    is_nominal, is_collateral = fields.given("nominal"), fields.given("collateral")
    if is_nominal and is_collateral:
        raise fields.contradiction(
            "collateral", '"nominal" and "collateral" exclude one another, expected one'
        )
    if is_collateral and leverage is None:
        raise fields.missing("leverage", 'what "collateral" is multiplied by, such as "x3"')
    if not suffix or suffix == "@":
        return Size(number)
    if suffix == "%":
        if action is Action.CLOSE_ALL:
            return Size(number, QuantityUnit.PERCENT_OF_POSITION)
        if is_collateral and leverage is not None:
            return Size(scaled, QuantityUnit.PERCENT_OF_EQUITY)
        if leverage is not None and not is_nominal:
            detail = f'"value" is "{text}" with leverage: say "nominal" or "collateral", or send it without the leverage'
            raise fields.refusal("not_supported", "value", detail)
        return Size(number, QuantityUnit.PERCENT_OF_EQUITY)
    if is_nominal:
        return Size(number, QuantityUnit.QUOTE)
    if leverage is not None:
        return Size(scaled, QuantityUnit.QUOTE)
    if "/" in symbol and ":" not in symbol:
        return Size(number, QuantityUnit.QUOTE)
    detail = f'"value" is "{text}", as collateral, whose leverage is not known here; add "nominal", or the leverage ("x3")'
    raise fields.refusal("not_supported", "value", detail)


def _limit_price(fields: Fields) -> Decimal | None:
    text = fields.text("limit")
    if text is None:
        return fields.number("limit")
    # The id before the price is a tag, which may come again with the next order: no id of the alert.
    return number_from(text.rpartition(":")[2], "limit")


DIALECT: Final = Dialect(
    name=NAME,
    title="whook",
    credential=None,
    names={"action": "command"},
    recognises=_recognises,
    read=_read,
    split=_split,
    template="{{ticker}} {{strategy.order.action}} {{strategy.order.contracts}}",
)
