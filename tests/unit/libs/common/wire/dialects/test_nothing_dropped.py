"""No field that would change the order is left unread, in any dialect."""

import json
from dataclasses import dataclass
from typing import Any, Final

import pytest

from libs.common.domain.alert import AlertContent
from libs.common.domain.errors import AdmissionError
from libs.common.wire.dialects.catalogue import BY_NAME
from libs.common.wire.dialects.recognition import recognise
from libs.common.wire.dialects.sample import Sample, sample_body


@dataclass(frozen=True)
class Body:
    """A body of a dialect, to which a field can be added."""

    dialect: str
    plain: str

    def with_fields(self, fields: dict[str, Any]) -> str:
        if BY_NAME[self.dialect].split is None:
            return json.dumps(json.loads(self.plain) | fields)
        return self.plain + "".join(_ADDED[self.dialect].format(name, one) for name, one in fields.items())


_ADDED: Final = {
    "octobot": ";{}={}",
    "crosstrade": "{}={};",
    "pineconnector": ",{}={}",
    "autoview": " {}={}",
    "whook": " {}{}",
}

BASCULE = Body("bascule", '{"bascule":1,"action":"buy","symbol":"X"}')
BASCULE_CLOSE = Body("bascule", '{"bascule":1,"action":"close_long","symbol":"X"}')
BASCULE_CANCEL = Body("bascule", '{"bascule":1,"action":"cancel","symbol":"X"}')
FACTORQX = Body("factorqx", '{"secret":"s","id":"a","symbol":"X","action":"buy"}')
LESSON5 = Body("lesson5", '{"symbol":"X","side":"buy","size":1,"client_ref":"a"}')
ANALYTICS = Body("algo_trade_analytics", '{"auth_key":"k","ticker":"X","positionDirection":"entryLong"}')
ANALYTICS_EXIT = Body("algo_trade_analytics", '{"auth_key":"k","ticker":"X","positionDirection":"exitLong"}')
NOVA = Body("nova", '{"passphrase":"p","action":"buy","ticker":"X","exchange":"OKX","strategy_id":"s"}')
TRADERSPOST = Body("traderspost", '{"ticker":"X","action":"buy"}')
TRADERSPOST_EXIT = Body("traderspost", '{"ticker":"X","action":"exit"}')
TRADERSPOST_CANCEL = Body("traderspost", '{"ticker":"X","action":"cancel"}')
OPENALGO = Body(
    "openalgo", '{"apikey":"k","symbol":"X","action":"buy","quantity":1,"pricetype":"MARKET","product":"MIS"}'
)
SIGNAL = Body("openalgo_signal", '{"action":"long_entry","symbol":"X"}')
THREE_COMMAS = Body("three_commas", '{"secret":"s","tv_instrument":"X","action":"buy"}')
THREE_COMMAS_EXIT = Body("three_commas", '{"secret":"s","tv_instrument":"X","action":"exit_long"}')
JUNTA = Body("junta", '{"market":"X","order":"buy","strategy":"s"}')
TV_HUB = Body("tv_hub", '{"token":"t","pair":"X","isBuy":true}')
TV_HUB_CLOSE = Body("tv_hub", '{"token":"t","pair":"X","isClose":true}')
OCTOBOT = Body("octobot", "EXCHANGE=b;SYMBOL=X;SIGNAL=buy")
OCTOBOT_CANCEL = Body("octobot", "EXCHANGE=b;SYMBOL=X;SIGNAL=cancel")
CROSSTRADE = Body("crosstrade", "key=k;command=PLACE;instrument=X;action=BUY;qty=1;")
CROSSTRADE_CLOSE = Body("crosstrade", "key=k;command=CLOSEPOSITION;instrument=X;")
CROSSTRADE_CANCEL = Body("crosstrade", "key=k;command=CANCELORDERS;instrument=X;")
PINECONNECTOR = Body("pineconnector", "1,buy,X")
PINECONNECTOR_RE_ENTRY = Body("pineconnector", "1,closelongbuy,X")
AUTOVIEW = Body("autoview", "e=b s=X b=buy q=2")
AUTOVIEW_SHARE = Body("autoview", "e=b s=X b=buy q=2%")
AUTOVIEW_CLOSE = Body("autoview", "c=position e=b s=X")
AUTOVIEW_CANCEL = Body("autoview", "c=order e=b s=X")
WHOOK = Body("whook", "X/USDT buy 2")
WHOOK_CLOSE = Body("whook", "X/USDT close 2")
WHOOK_CANCEL = Body("whook", "X/USDT cancel:all")


def cases(body: Body, **fields: Any) -> list[Any]:
    """One case for each field."""
    return [pytest.param(body, {name: value}, id=f"{body.dialect} {name}") for name, value in fields.items()]


def outcome(body: Body, fields: dict[str, Any]) -> AlertContent | AdmissionError:
    try:
        return recognise(body.with_fields(fields).encode(), pinned=body.dialect).read()
    except AdmissionError as error:
        return error


CHANGING: Final = [
    *cases(
        BASCULE, quantity=2, limit_price=5, stop_price=5, order_type="limit", take_profit=5, stop_loss=5, unit="quote",
        reduce_only=True, time_in_force="ioc", max_age="5s", fired_at=1_793_697_300,
    ),
    *cases(BASCULE_CLOSE, quantity=2, limit_price=5, take_profit=5, stop_loss=5, unit="quote"),
    *cases(BASCULE_CANCEL, quantity=2, limit_price=5, take_profit=5, reduce_only=True),
    *cases(
        FACTORQX, quantity=2, unit="quote", order_type="limit", limit_price=5, stop_price=5, take_profit=5, stop_loss=5,
        reduce_only=True, time_in_force="ioc",
    ),
    *cases(LESSON5, size=2, signal="sell"),
    *cases(
        ANALYTICS, qty=2, notional=100, direction="short", orderType="limit", limitPrice=5, stopPrice=5, profitTarget=5,
        stopLossTarget=5, trailPrice=5, trailPercent=5, timeInForce="ioc",
    ),
    *cases(ANALYTICS_EXIT, qty=2, limitPrice=5, stopPrice=5, profitTarget=5, stopLossTarget=5),
    *cases(NOVA, volume=2),
    *cases(
        TRADERSPOST, quantity=2, quantityType="dollar_amount", sentiment="flat", orderType="limit", limitPrice=5,
        stopPrice=5, trailAmount=5, trailPercent=5, takeProfit={"percent": 5}, stopLoss={"percent": 5},
        timeInForce="ioc", delay=5, cancel=True, optionType="put", strikePrice=5,
    ),
    *cases(TRADERSPOST_EXIT, quantity=2, limitPrice=5, stopPrice=5, takeProfit={"percent": 5}, delay=5, cancel=True),
    *cases(TRADERSPOST_CANCEL, cancelOrderType="limit", delay=5),
    *cases(OPENALGO, quantity=2, position_size=5, pricetype="LIMIT", price=5, trigger_price=5),
    *cases(SIGNAL, leg_id="a", position_size=-5, quantity=2, mode="sandbox"),
    *cases(
        THREE_COMMAS, order={"amount": 2, "currency_type": "base"}, max_lag=5, stop_loss={"enabled": True},
        take_profit={"enabled": True}, strategy_info={"market_position": "flat"},
    ),
    *cases(
        THREE_COMMAS_EXIT, order={"amount": 2, "currency_type": "base", "price": 5},
    ),
    pytest.param(
        Body("three_commas", '{"secret":"s","tv_instrument":"X","action":"buy","order":{}}'),
        {"order": {"price": "5"}}, id="three_commas order.price",
    ),
    *cases(JUNTA, size=2, sizeUsd=2, sizeByLeverage=2, position="flat", orderMode="full", minProfit=2),
    *cases(
        TV_HUB, isSell=True, isClose=True, units=2, unitsPercent=10, fixedQuoteSize=100, isLimit=True, isMarket=False,
        stopLoss=5, stopLossPercent=5, targets=[{"takeProfitPercent": 5}], delay=5, chaseLimitOrder=True, useDca=True,
        useTrailingStopLoss=True, stopLossToBreakEven=True, isStopLoss=True, closeCurrentPosition=True,
        cancelAll=True, cancelAllDca=True, cancelAllOrders=True, preventPyramiding=True, hedgeMode=True, UNITS=2,
        useFixedSize=True, useEntireAccountBalance=True,
    ),
    *cases(
        TV_HUB_CLOSE, units=2, unitsPercent=10, stopLoss=5, stopLossPercent=5, useLimitClose=True, isLimit=True,
        cancelAllOrders=True, delay=5, closeLong=True,
    ),
    pytest.param(
        Body("tv_hub", '{"token":"t","pair":"X","isBuy":true,"unitsType":"percent","unitsPercent":5}'),
        {"units": 2}, id="tv_hub units beside another percentage",
    ),
    pytest.param(
        Body("tv_hub", '{"token":"t","pair":"X","isBuy":true,"unitsType":"percent","unitsPercent":5}'),
        {"leverage": 5}, id="tv_hub leverage with a percentage",
    ),
    pytest.param(
        Body("tv_hub", '{"token":"t","pair":"X","isBuy":true,"targets":[{"takeProfitPercent":5}]}'),
        {"targets": [{"takeProfitPercent": 5, "trailingPercent": 1}]}, id="tv_hub a target that trails",
    ),
    *cases(
        OCTOBOT, VOLUME=2, PRICE=5, STOP_PRICE=5, TAKE_PROFIT_PRICE=5, TAKE_PROFIT_PRICE_1=5, REDUCE_ONLY="true",
        TRAILING_PROFILE="x", CANCEL_POLICY="x", TAKE_PROFIT_VOLUME_RATIO=1,
    ),
    pytest.param(
        Body("octobot", "EXCHANGE=b;SYMBOL=X;SIGNAL=buy;VOLUME=2%"), {"LEVERAGE": 5}, id="octobot leverage with a percentage"
    ),
    *cases(OCTOBOT_CANCEL, TAG="a", EXCHANGE_ORDER_IDS="a", PARAM_SIDE="buy"),
    *cases(
        CROSSTRADE, limit_price=5, stop_price=5, take_profit=5, stop_loss=5, stop_loss_limit=5, stop_loss_stop=5,
        flatten_first="true", require_market_position="flat", max_positions=1, max_position=1, delay=5,
        kill_switch="on", strategy="a", append_atm="true", cancel_after=5, trading_window="a", sync_strategy="true",
        strategy_exit_block="true", quantity=2,
    ),
    *cases(CROSSTRADE_CLOSE, qty=2, quantity=2, percent=50, require_market_position="long", delay=5),
    *cases(CROSSTRADE_CANCEL, order_id="a", strategy_id="a", delay=5, require_market_position="flat", kill_switch="on"),
    *cases(
        PINECONNECTOR, price=5, risk=2, vol_lots=2, vol_dollar=2, vol_pct_bal=2, sl=5, tp=5, sl_price=5, tp_pct=5,
        sl_pips=5, tp1=5, sl_atr=5, betrigger=5, be_offset=5, trail_step=5, trailtrig=5, atrperiod=5, spread=5,
        accfilter=5,
    ),
    *cases(PINECONNECTOR_RE_ENTRY, price=5, risk=2, sl_price=5),
    *cases(
        AUTOVIEW, fp=5, p=5, sl="5%", tp="5%", ts="5%", fsl=5, ftp=5, t="limit", c="position", d=1, delay=5, dt="1h", cmo="a",
        u="currency", ro=1,
    ),
    *cases(AUTOVIEW_SHARE, l=5),
    *cases(AUTOVIEW_CLOSE, q=2, cm=2, b="long", fp=5, sl="5%", fsl=5, tp="5%", ftp=5, ts="5%", cmo="a", delay=5, d=1),
    *cases(AUTOVIEW_CANCEL, b="long", cm=2, cmo="a", delay=5, d=1),
    pytest.param(
        Body("autoview", "c=position s=X t=limit fp=5|b=buy s=X q=2"), {}, id="autoview a price of the close before"
    ),
    pytest.param(Body("autoview", "c=position s=X sl=5%|b=buy s=X q=2"), {}, id="autoview an exit of the close before"),
    *cases(WHOOK, **{"limit:a:": 5, "reduce": "", "cancel:": "all"}),
    *cases(WHOOK_CLOSE, **{"limit:a:": 5, "reduce": ""}),
    *cases(WHOOK_CANCEL, **{"buy 2": "", "limit:a:": 5, "2": "", "reduce": ""}),
]  # fmt: skip

PLAIN_CLOSES: Final = {"autoview": Body("autoview", "c=position s=X|b=buy s=X q=2")}


@pytest.mark.parametrize(("body", "fields"), CHANGING)
def test_a_field_that_changes_the_order_is_read_or_refused_but_never_dropped(
    body: Body, fields: dict[str, Any]
) -> None:
    plain = PLAIN_CLOSES[body.dialect] if not fields else body
    without, with_it = outcome(plain, {}), outcome(body, fields)
    assert isinstance(without, AlertContent)
    assert isinstance(with_it, AdmissionError) or with_it != without


@pytest.mark.parametrize("name", BY_NAME)
def test_every_dialect_is_in_the_table(name: str) -> None:
    assert any(case.values[0].dialect == name for case in CHANGING)


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        *cases(BASCULE, limit_price=None, take_profit=None, stop_loss=None, reduce_only=False),
        *cases(FACTORQX, limit_price=None, take_profit="", reduce_only=False),
        *cases(TRADERSPOST, limitPrice=None, takeProfit="", stopLoss="", delay=0, cancel=False),
        *cases(OPENALGO, price="0", trigger_price="0", disclosed_quantity="0"),
        *cases(SIGNAL, leg_id="", mode="live"),
        *cases(JUNTA, orderMode="", minProfit=None),
        *cases(
            TV_HUB, stopLoss=0, stopLossPercent=0, unitsPercent=0, fixedQuoteSize=0, delay=0, targets="", leverage=0,
            useTrailingStopLoss=False, isStopLoss="false", isClose=False, trailingStopLossPercent=1,
        ),
        *cases(CROSSTRADE, limit_price=0, stop_price="", append_atm="false", sync_strategy="false"),
        *cases(PINECONNECTOR, price=0, betrigger="", comment="a"),
        *cases(AUTOVIEW, l=5, cc="a", bcc="a", a="sub1"),
        *cases(OCTOBOT, LEVERAGE=5, TAG="a"),
    ],
)  # fmt: skip
def test_what_says_that_there_is_nothing_changes_nothing(body: Body, fields: dict[str, Any]) -> None:
    assert outcome(body, fields) == outcome(body, {})


@pytest.mark.parametrize(
    ("body", "fields", "field"),
    [
        (CROSSTRADE, {"limit_price": 20780}, "limit_price"),
        (CROSSTRADE, {"stop_price": 20780}, "stop_price"),
        (PINECONNECTOR, {"price": "1.05"}, "price"),
        (PINECONNECTOR_RE_ENTRY, {"price": "1.05"}, "price"),
        (AUTOVIEW, {"fp": 5}, "fp"),
        (AUTOVIEW_CLOSE, {"fp": 5}, "fp"),
        (BASCULE, {"stop_price": 5}, "stop_price"),
        (TRADERSPOST, {"limitPrice": 5}, "limitPrice"),
        (ANALYTICS, {"stopPrice": 5}, "stopPrice"),
        (OPENALGO, {"trigger_price": 5}, "trigger_price"),
    ],
)
def test_a_price_that_a_market_order_has_not_is_a_contradiction(
    body: Body, fields: dict[str, Any], field: str
) -> None:
    error = outcome(body, fields)
    assert isinstance(error, AdmissionError)
    assert (error.status, error.code, error.field) == (422, "contradiction", field)


@pytest.mark.parametrize(("body", "fields"), CHANGING)
def test_a_field_that_is_read_or_refused_does_not_count_as_ignored(
    body: Body, fields: dict[str, Any]
) -> None:
    try:
        ignored = recognise(body.with_fields(fields).encode(), pinned=body.dialect).ignored()
    except AdmissionError:
        return
    assert not fields.keys() & set(ignored)


@pytest.mark.parametrize(
    ("body", "fields", "names"),
    [
        (FACTORQX, {"qty": 5, "timenow": "x"}, ("qty", "timenow")),
        (BASCULE, {"stopLoss": 5, "take_profit": {"value": 5, "units": "percent"}}, ("stopLoss", "take_profit.units")),
        (TRADERSPOST, {"stopLoss": {"percent": 5, "trail": 1}, "size": 5}, ("size", "stopLoss.trail")),
        (TRADERSPOST_CANCEL, {"quantity": 5}, ("quantity",)),
        (NOVA, {"size": 5}, ("size",)),
        (OCTOBOT, {"QUANTITY": 5}, ("QUANTITY",)),
        (FACTORQX, {"API_KEY": "k", "token": "t", "password": "p"}, ()),
    ],
)  # fmt: skip
def test_a_field_that_a_dialect_does_not_know_counts_as_ignored(
    body: Body, fields: dict[str, Any], names: tuple[str, ...]
) -> None:
    document = recognise(body.with_fields(fields).encode(), pinned=body.dialect)
    assert document.ignored() == names
    assert isinstance(document.read(), AlertContent)


@pytest.mark.parametrize("name", BY_NAME)
def test_templates_hold_little_that_is_ignored(name: str) -> None:
    body = sample_body(BY_NAME[name], Sample("X", "buy", "100", "1", "L", 1_800_000_000_000), "key")
    names = {"traderspost": ("time",), "tv_hub": ("apiKey",), "openalgo": ("product",)}
    names["algo_trade_analytics"] = ("metadata.signal",)
    assert recognise(body.encode()).ignored() == names.get(name, ())
