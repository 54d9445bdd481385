"""The happy paths: what is posted on each, and the orders that it must come to."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

from tests.e2e.ledger import PREFIX
from tests.support.bridge_config import ACCOUNT
from tests.support.eventually import eventually
from tests.support.http_client import Answer
from tests.support.service import Service
from tests.support.stored import ENDED
from tests.sweep.cell import IDLE_S, PROCESSES, VENUE, Cell
from tests.sweep.tap import Fault, Kind, Outcome
from tests.sweep.wire import WHOLE

PATIENCE_S: Final = 45.0
"""For everything that is waited for: several leases, back-offs and a restart."""

Trade = tuple[str, str, bool]
"""Side, quantity, and whether it only reduces."""


@dataclass
class Sent:
    """An alert that was taken in the end."""

    alert_id: str
    trades: Sequence[Trade]
    """What it must come to at the venue, in this order."""
    answers: Sequence[Answer]
    """To each post of it; the last says 200."""


@dataclass
class Run:
    """One walk along a path, in a market of its own."""

    cell: Cell
    symbol: str
    fault: Fault | None
    """What goes wrong; None where it is recorded what happens."""
    sent: list[Sent] = field(default_factory=list)
    has_killed: bool = False
    """Whether the path itself kills a process."""
    has_stopped: bool = False
    """Whether it tells one to stop."""

    def arm(self) -> None:
        """Let the fault strike from here on.

        Redis knows every script then; or none, where the fault is to strike one that is sent whole.
        """
        if self.fault is not None and self.fault.name.endswith(WHOLE):
            self.cell.bridge.client.script_flush()
        else:
            self.cell.load_scripts()
        self.cell.switch.arm(self.fault)

    async def post(self, action: str, *trades: Trade, **fields: Any) -> Sent:
        """Post an alert until it is taken, as a patient sender does, under one id."""
        identity = f"{self.symbol}-{len(self.sent) + 1}"
        alert = self.cell.bridge.alert(self.symbol, action, id=identity, bascule=1, **fields)
        answers: list[Answer] = []

        async def is_taken() -> bool:
            answers.append(await self.cell.bridge.post(alert, timeout_s=3.0))
            return answers[-1].status == 200

        await eventually(is_taken, PATIENCE_S, 0.1, f"{identity} is taken")
        sent = Sent(answers[-1].body["alert_id"], trades, answers)
        self.sent.append(sent)
        return sent

    async def ended(self) -> None:
        """Wait until every alert has ended."""
        await eventually(
            lambda: all(self.state(sent) in ENDED for sent in self.sent), PATIENCE_S, 0.02, "they end"
        )

    def state(self, sent: Sent) -> str:
        """Return the state of an alert's instruction."""
        record = f"{PREFIX}instruction:{sent.alert_id}:{ACCOUNT}"
        return str(self.cell.bridge.client.hget(record, "state"))

    def order_of(self, sent: Sent) -> str:
        """Return the client order id of an alert's first order at the venue."""
        entries = self.cell.venue.ledger()
        return str(next(entry["client_order_id"] for entry in entries if entry["alert_id"] == sent.alert_id))

    async def order_becomes(self, order: str, state: str) -> None:
        """Wait until the record of an order says so."""
        client = self.cell.bridge.client
        await eventually(
            lambda: client.hget(f"{PREFIX}order:{order}", "state") == state, PATIENCE_S, 0.05, state
        )

    async def buy_and_die(self, process: str, name: str, kind: Kind) -> None:
        """Post an alert, and let the worker die at a request that it leads to."""
        self.has_killed = True
        switch = self.cell.switch
        self.cell.load_scripts()
        switch.arm(Fault(process, name, 1, Outcome(kind)))
        await self.post("buy", buy("1"), quantity="1")
        await eventually(lambda: switch.has_fired, PATIENCE_S, 0.005, f"{name} is reached")

    async def stop(self, service: Service) -> None:
        """Tell a process to stop, and wait until it has ended; whoever supervises it starts it again."""
        self.has_stopped = True
        pid = service.pid
        if service.is_running:
            service.signal_terminate()
        await eventually(
            lambda: service.pid != pid or not service.is_running, PATIENCE_S, 0.02, f"{service} has ended"
        )


def buy(quantity: str) -> Trade:
    return "buy", quantity, False


def sell(quantity: str) -> Trade:
    return "sell", quantity, False


async def market(run: Run) -> None:
    """Two market orders, one behind the other."""
    run.arm()
    await run.post("buy", buy("1"), quantity="1")
    await run.post("sell", sell("2"), quantity="2")


async def behind(run: Run) -> None:
    """Market orders in a backlog: each is begun with the end of the one before."""
    run.cell.venue.control(symbols={run.symbol: {"delay_ms": 150}})
    run.arm()
    await run.post("buy", buy("1"), quantity="1")
    await run.post("sell", sell("2"), quantity="2")
    await run.post("buy", buy("3"), quantity="3")
    await run.ended()
    run.cell.venue.control(reset=True)


async def flip(run: Run) -> None:
    """An alert of two orders: one closes, one opens."""
    await run.post("buy", buy("3"), quantity="3")
    await run.ended()
    run.arm()
    await run.post("flip", ("sell", "3", True), sell("2"), position="short", quantity="2")


async def target(run: Run) -> None:
    """A position to be held, from nothing."""
    run.arm()
    await run.post("target", buy("3"), position="long", quantity="3")


async def resting(run: Run) -> None:
    """A limit order that rests, is filled in two parts, and is followed to its end."""
    run.arm()
    sent = await run.post("buy", buy("2"), quantity="2", order_type="limit", limit_price="100")
    await run.ended()
    order = run.order_of(sent)
    run.cell.venue.fill(order, Decimal("0.5"))
    await run.order_becomes(order, "PARTIAL")
    run.cell.venue.fill(order)
    await run.order_becomes(order, "FILLED")


async def cancelled(run: Run) -> None:
    """A limit order that rests, and is taken back by another alert."""
    sent = await run.post("buy", buy("2"), quantity="2", order_type="limit", limit_price="100")
    await run.ended()
    run.arm()
    await run.post("cancel")
    await run.order_becomes(run.order_of(sent), "CANCELED")


async def sized(run: Run) -> None:
    """A size in percent of what the account is worth, in steps of the market."""
    run.cell.venue.tell(account={"equity": "10000"}, instruments={run.symbol: {"quantity_step": "1"}})
    run.cell.venue.price(run.symbol, Decimal(100))
    run.arm()
    await run.post("buy", buy("10"), quantity="10", unit="percent_of_equity")


async def parked(run: Run) -> None:
    """One order more than the rate allows: its lane is parked and promoted."""
    run.arm()
    for _ in range(4):
        await run.post("buy", buy("1"), quantity="1")


async def reclaimed(run: Run) -> None:
    """A worker died as it took its lane: the token is reclaimed."""
    await run.buy_and_die("worker", "script take", Kind.KILL_AFTER)
    run.arm()
    await run.post("buy", buy("2"), quantity="2")


async def looked_up(run: Run) -> None:
    """A worker died as its order was executed: the next one looks it up."""
    await run.buy_and_die(VENUE, "POST /orders", Kind.KILL_AFTER)
    run.arm()
    await run.post("buy", buy("2"), quantity="2")


async def sent_again(run: Run) -> None:
    """A worker died before its order arrived: the next one finds that out, and sends it."""
    await run.buy_and_die(VENUE, "POST /orders", Kind.KILL_BEFORE)
    run.arm()


async def drained(run: Run) -> None:
    """The worker is told to stop while an order is under way and another alert waits behind it."""
    run.cell.venue.control(symbols={run.symbol: {"delay_ms": 300}})
    before = run.cell.venue.stats()["executed"]
    run.arm()
    await run.post("buy", buy("1"), quantity="1")
    await run.post("buy", buy("2"), quantity="2")
    await eventually(lambda: run.cell.venue.stats()["executed"] > before, PATIENCE_S, 0.01, "it is sent")
    await run.stop(run.cell.worker)
    await run.ended()
    run.cell.venue.control(reset=True)


def started(name: str) -> Callable[[Run], Awaitable[None]]:
    """Return the path of a process that starts anew."""

    async def start(run: Run) -> None:
        service = run.cell.service(name)
        run.cell.resting.add(service)
        await run.stop(service)
        run.arm()
        run.cell.resting.discard(service)
        await run.post("buy", buy("1"), quantity="1")
        await run.ended()
        await run.cell.ready()

    return start


async def idle(run: Run) -> None:
    """Nothing to do, when it happens; then an order."""
    run.arm()
    if run.fault is not None:
        await eventually(lambda: run.cell.switch.has_fired, IDLE_S * 4, 0.02, "it is asked for")
    await run.post("buy", buy("1"), quantity="1")


FLOWS: Final[Mapping[str, Callable[[Run], Awaitable[None]]]] = MappingProxyType(
    {
        "market": market,
        "behind": behind,
        "flip": flip,
        "target": target,
        "resting": resting,
        "cancelled": cancelled,
        "sized": sized,
        "parked": parked,
        "reclaimed": reclaimed,
        "looked up": looked_up,
        "sent again": sent_again,
        "drained": drained,
        "idle": idle,
        **{f"{name} starts": started(name) for name in PROCESSES},
    }
)
