"""Bodies of every dialect, for the tests of recognition."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from libs.common.domain.alert import Alert, AlertContent
from libs.common.domain.errors import AdmissionError
from libs.common.domain.ids import AccountName, AlertId, WebhookName
from libs.common.wire.codec import ALERT
from libs.common.wire.dialects.catalogue import BY_NAME
from libs.common.wire.dialects.dialect import Document
from libs.common.wire.dialects.recognition import recognise

MESSAGES: Final = {"openalgo_signal": "long_entry", "algo_trade_analytics": "entryLong"}
"""What a script says with its orders where the dialect needs it to."""

NOTHING_SETTLED: Final[Mapping[str, str]] = {}
DOCUMENTATION: Final = Path(__file__).parents[6] / "docs" / "dialects.md"


@dataclass(frozen=True)
class Example:
    """A body of a dialect, its credential, and what a webhook has to settle before it can be read."""

    dialect: str
    body: str
    credential: str = ""
    options: Mapping[str, str] | None = None

    @property
    def is_json(self) -> bool:
        return BY_NAME[self.dialect].split is None

    def __str__(self) -> str:
        return f"{self.dialect} {self.body[:40]!r}"

    def recognised(self) -> Document:
        return recognise(
            self.body.encode(), pinned=self.dialect if self.options else None, options=self.settled
        )

    @property
    def settled(self) -> Mapping[str, str]:
        return self.options or NOTHING_SETTLED


EXAMPLES: Final = (
    Example(
        "factorqx",
        '{"secret":"demo-secret-01","id":"sma-cross-20261103-091500","symbol":"ETHUSDT","action":"buy"}',
        "demo-secret-01",
    ),
    Example(
        "lesson5",
        '{"symbol":"ETHUSDT","exchange":"binance","strategy":"meanrev-2","signal":"BUY","side":"BUY","price":2411.35,"size":0.25,"client_ref":"tv_2026-11-03T09:15:00Z_L1"}',
    ),
    Example(
        "algo_trade_analytics",
        '{"auth_key":"ata-demo-77","ticker":"MSFT","positionDirection":"entryLong","orderType":"stop_limit","qty":15,"marketPrice":417.2,"stopPrice":418.0,"limitPrice":418.6,\n "metadata":{"timestamp":"2026-11-03T14:30:05Z","strategy":"Range Break","signal":"Upper band"}}',
        "ata-demo-77",
    ),
    Example(
        "nova",
        '{"passphrase":"demo-pass-04","action":"close_long","ticker":"SOLUSDT","exchange":"BYBIT","price":151.4,"volume":12.5,"strategy_id":"trend_v3","timeframe":"15","bar_time":"2026-11-03T09:15:01Z"}',
        "demo-pass-04",
    ),
    Example(
        "traderspost",
        '{"ticker":"MNQZ2026","action":"buy","sentiment":"long","quantity":"2","price":"20850.25","takeProfit":{"amount":60},"stopLoss":{"type":"stop","stopPrice":20810},"time":"2026-11-03T14:30:02Z","interval":"5"}',
    ),
    Example("traderspost", '{"ticker":"MNQZ2026","action":"sell","sentiment":"flat"}'),
    Example(
        "openalgo",
        '{"apikey":"oa-demo-9","strategy":"ema_pair","exchange":"NSE","symbol":"TATASTEEL","action":"SELL","quantity":"40","pricetype":"LIMIT","product":"MIS","price":"148.35","trigger_price":"0","disclosed_quantity":"0","position_size":"-40"}',
        "oa-demo-9",
    ),
    Example(
        "openalgo",
        '{"apikey":"oa-demo-9","strategy":"ema_pair","exchange":"NSE","symbol":"TATASTEEL","action":"SELL","quantity":"40","pricetype":"LIMIT","product":"MIS","price":"148.35"}',
        "oa-demo-9",
    ),
    Example("openalgo_signal", '{"action":"long_entry","symbol":"TATASTEEL","exchange":"NSE"}'),
    Example("openalgo_signal", '{"action":"long_entry","symbol":"TATASTEEL"}'),
    Example(
        "three_commas",
        '{"secret":"3c-demo","max_lag":"120","timestamp":"2026-11-03T09:15:01Z","trigger_price":"68120.5","tv_exchange":"BINANCE","tv_instrument":"BTCUSDT.P","action":"sell","bot_uuid":"8c1f0f3e-0000-4a1b-9c55-1d2e3f405162",\n "strategy_info":{"market_position":"short","market_position_size":"0.4","prev_market_position":"long","prev_market_position_size":"0.3"},"order":{"amount":"0.7","currency_type":"base"}}',
        "3c-demo",
    ),
    Example(
        "junta",
        '{"exchange":"hyperliquid","strategy":"donchian-4h","market":"ETH_USD","sizeUsd":1500,"order":"sell","position":"short","price":2405.1,"reverse":true,"passphrase":"junta-demo"}',
        "junta-demo",
    ),
    Example(
        "tv_hub",
        '{"token":"5f0d2a11-0000-4000-8000-0a0b0c0d0e0f","apiKey":"main-futures","exchange":"binance-futures","pair":"BTCUSDT","isSell":true,"isMarket":true,"units":0.05,"unitsType":"absolute","leverage":5,"alertTimestamp":"BTCUSDT-2026-11-03T09:15:01Z"}',
        "5f0d2a11-0000-4000-8000-0a0b0c0d0e0f",
    ),
    Example(
        "bascule",
        '{"bascule":1,"secret":"own-demo","id":"a-1","action":"target","position":"short","symbol":"BTCUSDT","quantity":"2","unit":"risk_percent","order_type":"limit","limit_price":68000,"stop_loss":{"value":"1.5","unit":"percent"},"take_profit":66000,"max_age":"60s","time_in_force":"gtc","bar_time":"2026-11-03T09:15:00Z","interval":"15"}',
        "own-demo",
    ),
    Example(
        "pineconnector",
        '60123450001,closelongsell,GBPUSD,risk=0.5,sl=35,tp=70,comment="ldn-open"',
        "60123450001",
        {"risk": "units", "stops": "distance"},
    ),
    Example("pineconnector", "60123450001,buy,GBPUSD,vol_dollar=50,sl_price=1.21", "60123450001"),
    Example(
        "octobot",
        "EXCHANGE=binance;SYMBOL=SOLUSDT;SIGNAL=SELL;ORDER_TYPE=LIMIT;VOLUME=50a%;PRICE=162.4;STOP_PRICE=149;REDUCE_ONLY=true;TOKEN=octo-demo",
        "octo-demo",
    ),
    Example(
        "octobot", "EXCHANGE=binance\nTOKEN=octo-demo\nSYMBOL=SOLUSDT\nSIGNAL=BUY\nVOLUME=2%", "octo-demo"
    ),
    Example(
        "crosstrade",
        "key=xt-demo; command=PLACE; account=Sim101; instrument=MNQ 12-26; action=SELL; qty=2; order_type=MARKET; tif=DAY; flatten_first=true; take_profit=20780; stop_loss=20895; rate_limit=1/60; id=mnq-a;",
        "xt-demo",
    ),
    Example("crosstrade", "key=xt-demo;\ncommand=CANCELORDERS;\ninstrument=MNQ 12-26;", "xt-demo"),
    Example(
        "autoview",
        "c=position e=bybit a=sub1 s=BTCUSDT b=short\ne=bybit a=sub1 s=BTCUSDT b=long q=15% sl=1.5% tp=3%",
    ),
    Example("autoview", "e=bybit s=BTCUSDT b=long q=2 tp=3%&sl=1%"),
    Example("whook", "// trend v3, account A\nacctA ETHUSDT.P pos -1.5 x3"),
    Example("whook", "// trend v3\nacctB ETH/USDT buy 250$ x2 limit:e17:2380.5"),
    Example("whook", "ETHUSDT close 33.3% secret=wh-demo", "wh-demo"),
)

every_example = pytest.mark.parametrize("example", EXAMPLES, ids=str)
with_credential = pytest.mark.parametrize("example", [one for one in EXAMPLES if one.credential], ids=str)


def read(example: Example, body: str | bytes, content_type: str = "") -> tuple[str, AlertContent]:
    """The credential and the meaning of a body that is a variant of an example."""
    raw = body.encode() if isinstance(body, str) else body
    document = recognise(
        raw, content_type, pinned=example.dialect if example.options else None, options=example.settled
    )
    assert document.dialect == example.dialect
    return document.credential, document.read()


def outcome(body: bytes, content_type: str = "", **how: Any) -> AlertContent | AdmissionError:
    """What a body is read as, or how it is refused: with 400 where its dialect is not told yet."""
    try:
        document = recognise(body, content_type, **how)
    except AdmissionError as error:
        return error if error.status == 400 else AdmissionError(500, "too_early", str(error))
    assert isinstance(document.credential, str)
    try:
        return document.read()
    except AdmissionError as error:
        return error


VALUE = re.compile(r"(?<==)[^;,&\s]+")
WORD = re.compile(r"\S+")


def assert_kept(content: AlertContent) -> None:
    """A content must come back from the store as it went in, to the last digit."""
    alert = Alert(
        alert_id=AlertId("a-1"),
        webhook=WebhookName("default"),
        content=content,
        received_at_ms=1,
        accounts=(AccountName("demo"),),
        raw="",
    )
    kept = ALERT.decode(ALERT.encode(alert)).content
    assert kept == content
    assert [str(one) for one in decimals_of(kept)] == [str(one) for one in decimals_of(content)]


def decimals_of(content: AlertContent) -> list[Decimal]:
    levels = [level.value for level in (content.take_profit, content.stop_loss) if level is not None]
    values = [getattr(content, name) for name in content.__struct_fields__]
    return [*levels, *(value for value in values if isinstance(value, Decimal))]
