"""Alerts as they should be: the examples of the catalogue and every template, `<SECRET>` where the credential stands."""

from typing import Final

from libs.common.wire.dialects.catalogue import DIALECTS
from libs.common.wire.dialects.dialect import PLACEHOLDER
from tests.support import dialect_bodies

_CATALOGUE: Final = (
    '{"secret":"<SECRET>","id":"sma-cross-20261103-091500","symbol":"ETHUSDT","action":"buy"}',
    '{"secret":"<SECRET>","id":"a-1","symbol":"BINANCE:BTCUSDT.P","action":"sell","quantity":"0.25","price":64250.5}',
    (
        '{"symbol":"ETHUSDT","exchange":"binance","strategy":"meanrev-2","signal":"BUY","side":"BUY","price":2411.35,'
        '"size":0.25,"client_ref":"tv_2026-11-03T09:15:00Z_L1"}'
    ),
    (
        '{"auth_key":"<SECRET>","ticker":"MSFT","positionDirection":"entryLong","orderType":"stop_limit","qty":15,'
        '"marketPrice":417.2,"stopPrice":418.0,"limitPrice":418.6,'
        '"metadata":{"timestamp":"2026-11-03T14:30:05Z","strategy":"Range Break","signal":"Upper band"}}'
    ),
    (
        '{"passphrase":"<SECRET>","action":"close_long","ticker":"SOLUSDT","exchange":"BYBIT","price":151.4,"volume":12.5,'
        '"strategy_id":"trend_v3","timeframe":"15","bar_time":"2026-11-03T09:15:01Z"}'
    ),
    (
        '{"ticker":"MNQZ2026","action":"buy","sentiment":"long","quantity":"2","price":"20850.25",'
        '"takeProfit":{"amount":60},"stopLoss":{"type":"stop","stopPrice":20810},"time":"2026-11-03T14:30:02Z",'
        '"interval":"5","password":"<SECRET>"}'
    ),
    '{"ticker":"X","action":"exit","sentiment":"flat"}',
    (
        '{"apikey":"<SECRET>","strategy":"ema_pair","exchange":"NSE","symbol":"TATASTEEL","action":"SELL","quantity":"40",'
        '"pricetype":"LIMIT","product":"MIS","price":"148.35","trigger_price":"0","disclosed_quantity":"0",'
        '"position_size":"-40"}'
    ),
    '{"action":"long_entry","symbol":"TATASTEEL","exchange":"NSE"}',
    (
        '{"secret":"<SECRET>","max_lag":"120","timestamp":"2026-11-03T09:15:01Z","trigger_price":"68120.5",'
        '"tv_exchange":"BINANCE","tv_instrument":"BTCUSDT.P","action":"sell","bot_uuid":"8c1f0f3e-0000-4a1b-9c55",'
        '"strategy_info":{"market_position":"short","market_position_size":"0.4","prev_market_position":"long",'
        '"prev_market_position_size":"0.3"},"order":{"amount":"0.7","currency_type":"base"}}'
    ),
    '<SECRET>,closelongsell,GBPUSD,risk=0.5,sl=35,tp=70,comment="ldn-open"',
    "<SECRET>,buy,EURUSD,sl_pct=1,tp_price=1.2",
    (
        "EXCHANGE=binance;SYMBOL=SOLUSDT;SIGNAL=SELL;ORDER_TYPE=LIMIT;VOLUME=50a%;PRICE=162.4;STOP_PRICE=149;"
        "REDUCE_ONLY=true;TOKEN=<SECRET>"
    ),
    "EXCHANGE=binance\nSYMBOL=SOLUSDT\nSIGNAL=BUY\nVOLUME=1.5\nTOKEN=<SECRET>",
    "// trend v3, account A\nacctA ETHUSDT.P pos -1.5 x3\nacctB ETH/USDT buy 250$ x2 limit:e17:2380.5",
    "acctA ETHUSDT buy 2.5",
    (
        '{"exchange":"hyperliquid","strategy":"donchian-4h","market":"ETH_USD","sizeUsd":1500,"order":"sell",'
        '"position":"short","price":2405.1,"reverse":true,"passphrase":"<SECRET>"}'
    ),
    (
        '{"token":"<SECRET>","apiKey":"main-futures","exchange":"binance-futures","pair":"BTCUSDT","isSell":true,'
        '"isMarket":true,"units":0.05,"unitsType":"absolute","leverage":5,"alertTimestamp":"BTCUSDT-2026-11-03T09:15:01Z"}'
    ),
    (
        "key=<SECRET>; command=PLACE; account=Sim101; instrument=MNQ 12-26; action=SELL; qty=2; order_type=MARKET; "
        "tif=DAY; flatten_first=true; take_profit=20780; stop_loss=20895; rate_limit=1/60; id=mnq-a;"
    ),
    "c=position e=bybit a=sub1 s=BTCUSDT b=short\ne=bybit a=sub1 s=BTCUSDT b=long q=15% sl=1.5% tp=3%",
    # Of tools that no dialect is for.
    (
        '{"id":"Long Entry","action":"buy","marketPosition":"long","prevMarketPosition":"flat",'
        '"instrument":"BTC-USDT-SWAP","signalToken":"<SECRET>","timestamp":"2026-11-03T09:15:01Z","maxLag":"60"}'
    ),
    '{"platform_name":"metatrader5","ticker":"XAUUSD","order_action":"long","qty":"0.08","sl_price":"2651.5"}',
    "SubA(ETHUSDT) { cancel(which=all); market(side=sell, amount=2); } #bot",
    "long,XAUUSD,vol_lots=0.1,sl_pips=150,tp_pips=300,ttl_ms=1500",
    '{"PIN":"<SECRET>","ID":"tx-1","EXCHANGE":"BYBIT","SYMBOL":"BTCUSDT","SIDE":"SELL","QUANTITY":"0.01"}',
)

EXAMPLES: Final = (
    *_CATALOGUE * 2,
    *2
    * tuple(
        dialect_bodies.rendered(dialect.template).replace(dialect_bodies.SECRET, PLACEHOLDER)
        for dialect in DIALECTS
    ),
    # As they are pasted, with nothing filled in.
    *(dialect.template for dialect in DIALECTS),
)
