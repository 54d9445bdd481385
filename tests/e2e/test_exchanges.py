"""A real client library trading at exchanges that fail in every way, and what must be true of it afterwards.

Each kind of trouble has a market of its own, where it strikes the first orders; then the market is well again.
"""

import asyncio
import importlib.util
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

import pytest

from libs.common.domain.ids import AccountName, AlertId, client_order_id
from tests.e2e.faults import kill_holding
from tests.e2e.ledger import all_accepted, assert_clean, assert_no_failures, journal
from tests.support.bridge import Bridge
from tests.support.bridge_config import ACCOUNT
from tests.support.eventually import eventually
from tests.support.exchange_modes import Trouble
from tests.support.exchange_server import Exchange
from tests.support.exchange_wire import API_KEY, API_SECRET
from tests.support.service import Service
from tests.support.tools import missing_tool

TIMEOUT_MS: Final = 1_000
EXPIRY_MS: Final = 1_500
LAG_MS: Final = 300

TROUBLES: Final = tuple(trouble for trouble in Trouble if trouble is not Trouble.REFUSED)
"""What ends well. An order that is refused for good does not."""

KEYS: Final = {"EXCHANGE_KEY": API_KEY, "EXCHANGE_SECRET": API_SECRET}


WIRES: Final = ("binance", "bybit")


@pytest.fixture
def exchange(request: pytest.FixtureRequest) -> Iterator[Exchange]:
    if importlib.util.find_spec("ccxt") is None:
        missing_tool("ccxt", "trading at exchanges")
    with Exchange(request.param) as running:
        yield running


def settings(exchange: Exchange, market_type: str = "spot", **account: Any) -> dict[str, Any]:
    """Return a bridge's configuration for an account at an exchange."""
    return {
        "accounts": {
            ACCOUNT: {
                "broker": "ccxt",
                "exchange": exchange.wire,
                "market_type": market_type,
                "url": exchange.url,
                "api_key": "EXCHANGE_KEY",
                "secret": "EXCHANGE_SECRET",
                "symbols": "as-sent",
                "default_quantity": 1,
                "timeout": f"{TIMEOUT_MS}ms",
                "look_up_lag": f"{LAG_MS}ms",
                "request_expiry": f"{EXPIRY_MS}ms",
                "limits": {
                    "symbol": {"rate": "off"},
                    "account": {"rate": "off"},
                },
                **account,
            }
        },
        "worker": {"lease": "5s"},
        "breaker": {"failures": 10_000, "rate": 1, "reset": "500ms"},
        "webhooks": {"default": {"max_age": "600s"}},
    }


def markets(market_type: str) -> list[str]:
    """Return the client library's names of the markets `S0` to `S39`."""
    suffix = ":USDT" if market_type == "swap" else ""
    return [f"S{number}/USDT{suffix}" for number in range(40)]


def holders(bridge: Bridge) -> list[Service]:
    """Return the workers that hold lanes."""
    return [worker for worker in bridge.workers if bridge.lanes_held_by(worker)]


def venue_name(market: str) -> str:
    """Return the venue's name of a market."""
    return market.partition(":")[0].replace("/", "")


def order_id(alert_id: str) -> str:
    """Return the id that an alert's only order has."""
    return client_order_id(AccountName(ACCOUNT), AlertId(alert_id), 0)


async def assert_each_traded_once_in_order(
    bridge: Bridge, exchange: Exchange, alerts: Sequence[dict[str, Any]], alert_ids: Sequence[str]
) -> None:
    """Fail unless every alert ended EXECUTED with one order at the exchange, in the order of its market."""
    states = bridge.instruction_states()
    wrong = {each: states.get(f"{each}:{ACCOUNT}") for each in alert_ids}
    wrong = {each: state for each, state in wrong.items() if state != "EXECUTED"}
    shown = [event for event in journal(bridge) if event.alert_id in list(wrong)[:2]]
    assert not wrong, f"{len(wrong)} of {len(alert_ids)} not EXECUTED: {Counter(wrong.values())}: {shown}"
    wanted = {order_id(each) for each in alert_ids}
    executions = exchange.executions()
    doubles = {name: count for name, count in executions.items() if count > 1}
    assert not doubles, f"{len(doubles)} orders taken more than once: {doubles}"
    assert set(executions) == wanted
    in_order: dict[str, list[str]] = defaultdict(list)
    for alert, alert_id in zip(alerts, alert_ids, strict=True):
        in_order[venue_name(alert["symbol"])].append(order_id(alert_id))
    taken: dict[str, list[str]] = defaultdict(list)
    for line in exchange.ledger():
        taken[line["symbol"]].append(line["client_order_id"])
    assert taken == in_order
    assert not bridge.dead_letters()
    await assert_clean(bridge)
    assert_no_failures(bridge)


def troubles_by_market(names: Sequence[str], *, times: int) -> dict[str, dict[str, Any]]:
    """Return one kind of trouble for each of the first markets, so many orders of each."""
    wanted: list[dict[str, Any]]
    wanted = [{"trouble": trouble, "times": times, "late_by_ms": EXPIRY_MS // 2} for trouble in TROUBLES]
    wanted.append({"trouble": Trouble.LATE_ACCEPT, "times": times, "late_by_ms": 2 * EXPIRY_MS})
    wanted.append({"latency_ms": 0.8 * TIMEOUT_MS})
    return {venue_name(name): faults for name, faults in zip(names, wanted, strict=False)}


async def run(
    bridge: Bridge, exchange: Exchange, names: Sequence[str], *, each: int, timeout_s: float
) -> None:
    """Send so many alerts for every market, and hold what came of them against the exchange's ledger."""
    alerts = [bridge.alert(symbol=name) for _ in range(each) for name in names]
    alert_ids = all_accepted(await bridge.send_many(alerts, 16))
    await bridge.wait_ended(len(alerts), timeout_s)
    await assert_each_traded_once_in_order(bridge, exchange, alerts, alert_ids)


@pytest.mark.parametrize(
    ("exchange", "deduplication"),
    [("binance", "none"), ("binance", "open"), ("bybit", "lifetime")],
    indirect=["exchange"],
)
async def test_whatever_goes_wrong_at_an_exchange_every_alert_trades_once_and_in_order(
    private_redis, exchange, bridge_factory, deduplication
):
    bridge = bridge_factory(private_redis, workers=3, config=settings(exchange), environment=KEYS)
    names = markets("spot")[: len(TROUBLES) + 2]
    exchange.control(
        markets=troubles_by_market(names, times=1), deduplication=deduplication, look_up_lag_ms=LAG_MS // 2
    )

    await run(bridge, exchange, names, each=4, timeout_s=50)

    stats = exchange.stats()
    missing = [trouble for trouble in TROUBLES if not stats[trouble]]
    assert not missing, f"these never struck: {missing}"
    assert stats["lookups"] > 0


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("exchange", WIRES, indirect=True)
@pytest.mark.parametrize("market_type", ["spot", "swap"])
@pytest.mark.parametrize("deduplication", ["none", "open", "lifetime"])
async def test_with_request_expiry_no_kind_of_deduplication_is_needed(
    private_redis, exchange, bridge_factory, deduplication, market_type
):
    config = settings(exchange, market_type)
    bridge = bridge_factory(private_redis, workers=3, config=config, environment=KEYS)
    names = markets(market_type)[: len(TROUBLES) + 2]
    exchange.control(
        markets=troubles_by_market(names, times=3), deduplication=deduplication, look_up_lag_ms=LAG_MS // 2
    )

    await run(bridge, exchange, names, each=20, timeout_s=200)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("exchange", WIRES, indirect=True)
async def test_an_exchange_that_remembers_ids_for_good_needs_no_request_expiry(
    private_redis, exchange, bridge_factory
):
    bridge = bridge_factory(private_redis, workers=3, config=settings(exchange), environment=KEYS)
    names = markets("spot")[: len(TROUBLES) + 2]
    exchange.control(
        markets=troubles_by_market(names, times=3), deduplication="lifetime", rechecks_expiry=False
    )

    await run(bridge, exchange, names, each=20, timeout_s=200)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("exchange", WIRES, indirect=True)
@pytest.mark.parametrize(
    "asking", ["hang_before", "drop_before", "error_502", "throttled", "junk", "truncated"]
)
async def test_orders_and_look_ups_that_fail_together_still_end_with_one_trade_each(
    private_redis, exchange, bridge_factory, asking
):
    bridge = bridge_factory(private_redis, workers=3, config=settings(exchange), environment=KEYS)
    names = markets("spot")[:20]
    exchange.control(trouble="hang_after", rate=0.5, times=40, asking=asking, asking_rate=0.5)

    await run(bridge, exchange, names, each=10, timeout_s=200)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("exchange", WIRES, indirect=True)
async def test_workers_that_die_while_they_trade_at_an_exchange_lose_nothing_and_double_nothing(
    private_redis, exchange, bridge_factory
):
    config = settings(exchange) | {"worker": {"lease": "3s"}}
    bridge = bridge_factory(private_redis, workers=3, config=config, environment=KEYS)
    exchange.control(latency_ms=100, trouble="hang_after", rate=0.05, deduplication="none")
    alerts = [bridge.alert(symbol=name) for _ in range(20) for name in markets("spot")[:20]]
    dice = random.Random(8)

    sending = asyncio.create_task(bridge.send_many(alerts, 16, rate_per_s=40))
    for _ in range(8):
        victim = dice.choice(await eventually(lambda: holders(bridge), interval_s=0.005))
        await kill_holding(bridge, victim)
        victim.start().wait_ready()
    alert_ids = all_accepted(await sending)
    await bridge.wait_ended(len(alerts), 200)

    await assert_each_traded_once_in_order(bridge, exchange, alerts, alert_ids)
    assert exchange.stats()["lookups"] > 0


@pytest.mark.parametrize("exchange", WIRES, indirect=True)
async def test_an_order_that_is_refused_for_good_ends_rejected_and_its_market_trades_on(
    private_redis, exchange, bridge_factory
):
    bridge = bridge_factory(private_redis, config=settings(exchange), environment=KEYS)
    name, other = markets("spot")[:2]
    exchange.control(markets={venue_name(name): {"trouble": "refused", "times": 1}})
    alerts = [bridge.alert(symbol=name) for _ in range(3)] + [bridge.alert(symbol=other)]

    alert_ids = all_accepted(await bridge.send_many(alerts, 1))
    states = await bridge.wait_ended(4)

    assert states == {"REJECTED": 1, "EXECUTED": 3}
    assert exchange.executions() == {order_id(each): 1 for each in alert_ids[1:]}


@pytest.mark.parametrize("exchange", WIRES, indirect=True)
async def test_a_limit_order_trades_when_the_price_comes_to_it(private_redis, exchange, bridge_factory):
    bridge = bridge_factory(private_redis, config=settings(exchange), environment=KEYS)
    [name] = markets("spot")[:1]

    limit = {"bascule": 1, "order_type": "limit", "limit_price": "50", "quantity": "1"}
    [alert_id] = all_accepted([await bridge.post(bridge.alert(symbol=name, **limit))])
    await eventually(lambda: exchange.executions()[order_id(alert_id)] == 1, message="it rests")
    exchange.price(venue_name(name), Decimal(50))

    await eventually(
        lambda: bridge.orders()[order_id(alert_id)]["state"] == "FILLED", 20, message="the fill is known"
    )


@pytest.mark.parametrize("exchange", WIRES, indirect=True)
async def test_orders_that_fill_in_parts_are_known_as_filled_in_the_end(
    private_redis, exchange, bridge_factory
):
    bridge = bridge_factory(private_redis, config=settings(exchange), environment=KEYS)
    exchange.control(partial_fills=0.8)
    names = markets("spot")[:10]

    alert_ids = all_accepted(
        await bridge.send_many([bridge.alert(symbol=name) for _ in range(2) for name in names])
    )
    await bridge.wait_ended(len(alert_ids))

    def are_filled() -> bool:
        orders = bridge.orders()
        states = Counter(orders[order_id(each)]["state"] for each in alert_ids)
        assert states == {"FILLED": len(alert_ids)}, states
        return True

    await eventually(are_filled, 20, message="all are filled")
    assert exchange.executions() == {order_id(each): 1 for each in alert_ids}
