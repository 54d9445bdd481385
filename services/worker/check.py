"""Asks the venue of every account whether it could trade, without trading: `python -m services.worker.check`.

Writes one JSON document to stdout: a list with an object for each account. Nothing is written to Redis and no order is
sent. `bascule check --connect` puts it into words.
"""

import asyncio
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from libs.common.domain.clock import Clock
from libs.common.domain.errors import BridgeError, ConfigError
from libs.common.domain.ids import AccountName, AlertId, Market, client_order_id
from libs.common.runtime.known_secrets import known_secrets
from libs.common.runtime.load_settings import settings_from_environment
from libs.common.runtime.settings import Settings
from libs.common.runtime.system_clock import SystemClock
from libs.common.store.shards import Shards
from libs.common.telemetry.logs import configure_logs
from libs.common.wire.masking import Masker
from services.worker.brokers.ccxt_broker import CcxtBroker
from services.worker.brokers.http import HttpBroker
from services.worker.brokers.port import Broker
from services.worker.brokers.registry import build_brokers

LONGEST_S: Final = 40.0
"""For one account: a list of markets may take most of it."""

STORE_TIMEOUT_S: Final = 2.0

_NOBODY_S_ALERT: Final = AlertId("0" * 26)


class Checked(msgspec.Struct, kw_only=True):
    """What was found out about one account."""

    account: AccountName
    broker: str
    exchange: str | None = None
    market_type: str | None = None
    place: str | None = None
    """`live`, `testnet`, `demo` or `url`; None where there is no such choice."""
    markets: int | None = None
    skew_ms: int | None = None
    """How far our clock is ahead of the exchange's."""
    equity: str | None = None
    currency: str = ""
    error: str | None = None
    """What keeps the account from trading."""


async def check(settings: Settings, clock: Clock, environ: Mapping[str, str]) -> list[Checked]:
    """Return what is found out about every account; all are asked at the same time."""
    return list(await asyncio.gather(*(_check(name, settings, clock, environ) for name in settings.accounts)))


async def _check(name: AccountName, settings: Settings, clock: Clock, environ: Mapping[str, str]) -> Checked:
    account = settings.accounts[name]
    found = Checked(account=name, broker=str(account.__struct_config__.tag))
    only = msgspec.structs.replace(settings, accounts={name: account})
    shards = Shards.open(settings.redis.url, settings.redis.shards, timeout_s=STORE_TIMEOUT_S)
    try:
        broker = build_brokers(only, shards, clock, environ)[name]
        try:
            async with asyncio.timeout(LONGEST_S):
                await _ask(broker, found)
        finally:
            await broker.aclose()
    except TimeoutError:
        found.error = f"no answer within {LONGEST_S:.0f} s"
    except BridgeError as error:
        found.error = str(error)
    finally:
        await shards.aclose()
    return found


async def _ask(broker: Broker, found: Checked) -> None:
    if isinstance(broker, CcxtBroker):
        found.exchange, found.market_type = broker.exchange_name, broker.market_type.value
        found.place = broker.place_name
        await broker.ready()
        found.skew_ms = broker.skew_ms
    if isinstance(broker, HttpBroker):
        # Every execution layer must answer this one; the key is checked by it.
        await broker.find(client_order_id(found.account, _NOBODY_S_ALERT, 0), Market("CHECK"))
    balance = await broker.account()
    if balance is not None:
        found.equity, found.currency = format(balance.equity, "f"), balance.currency
    markets = await broker.markets()
    found.markets = None if markets is None else len(markets)


def main(environ: Mapping[str, str]) -> int:
    """Write what is found out; 0 unless the configuration cannot be read."""
    configure_logs("check", level="error", stream=sys.stderr)
    try:
        settings = settings_from_environment(environ)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    found = asyncio.run(check(settings, SystemClock(), environ))
    sys.stdout.write(in_json(found, known_secrets(settings, environ)) + "\n")
    return 0


def in_json(found: Sequence[Checked], secrets: Iterable[str]) -> str:
    """Return what was found out, as a document.

    Args:
        found: About each account.
        secrets: What must not show in the words that came from outside. All else is the configuration's own, or a figure:
            a secret of one letter is a part of anything.
    """
    mask = Masker(secrets).mask_text
    shown = [
        msgspec.structs.replace(
            one, error=None if one.error is None else mask(one.error), currency=mask(one.currency)
        )
        for one in found
    ]
    return msgspec.json.encode(shown).decode()


if __name__ == "__main__":
    sys.exit(main(os.environ))
