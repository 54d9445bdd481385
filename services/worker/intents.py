"""What Redis is asked of an attempt before it is made."""

import itertools
import secrets
from collections.abc import Iterator

from msgspec.structs import replace

from libs.common.domain.ids import Nonce
from libs.common.store.orders import Intent
from libs.common.wire import codec
from services.worker.leases import Lease
from services.worker.work import Leg, Work


class Intents:
    """Makes the intents of one process."""

    def __init__(self, probe_ms: int) -> None:
        """Args:
        probe_ms: How long a half-open breaker waits for its one probe.
        """
        self._probe_ms = probe_ms
        self._nonces = _nonces()

    def of(self, work: Work, leg: Leg, attempt: int, *, is_new: bool) -> Intent:
        """Return what is asked of an attempt that nobody has begun.

        Args:
            work: Its head.
            leg: The order.
            attempt: From 1.
            is_new: Whether it follows a plan that was just made, or judged: the journal tells what led to it.
        """
        account, instruction = work.account, work.instruction
        limits = account.limits_of(instruction.market)
        plan = codec.ORDER_PLAN.encode(leg.plan)
        return Intent(
            held=work.held,
            entry_id=work.head.entry_id,
            account=work.head.account,
            market=instruction.market,
            client_order_id=leg.client_order_id,
            attempt=attempt,
            nonce=next(self._nonces),
            window_ms=account.window_ms,
            plan=plan,
            symbol_limit=limits.symbol,
            account_limit=limits.account,
            probe_ms=self._probe_ms,
            strategy=instruction.strategy,
            whole_plan=b"" if leg.whole is None else codec.PLAN.encode(leg.whole),
            is_exit=leg.plan.is_exit,
            passes_breaker=leg.plan.is_exit and account.exits_pass_breaker,
            note=_note(leg.led_to_it, plan) if is_new else b"",
            is_lease_young=True,
            wants_successor=leg.wants_successor,
            budgets=leg.budgets,
            read_at_ms=leg.read_at_ms,
        )


def as_of_now(intent: Intent, lease: Lease) -> Intent:
    """Return an intent as it is to leave now; ask each time, since seconds may pass until Redis hears of it."""
    if intent.is_lease_young and not lease.is_young():
        return replace(intent, is_lease_young=False)
    return intent


def _note(led_to_it: bytes, plan: bytes) -> bytes:
    """Return what led to an order, and what is asked of the venue, as one JSON object; both come encoded."""
    return b'%b,"request":%b}' % (led_to_it[:-1], plan) if led_to_it else b'{"request":%b}' % plan


def _nonces() -> Iterator[Nonce]:
    """Yield names that nobody else gives; the system is asked for randomness once, since asking is dear."""
    process = secrets.token_hex(8)
    for call in itertools.count(1):
        yield Nonce(f"{process}-{call}")
