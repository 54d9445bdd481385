"""Alerts that an operator makes, admitted as any other: they wait in their lanes, obey halts and leave a history."""

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from redis.asyncio import Redis

from libs.common.domain.alert import Action, Alert, AlertContent
from libs.common.domain.clock import DAY_MS
from libs.common.domain.errors import StoreCorrupt, StoreUnavailable
from libs.common.domain.ids import AccountName, AlertId, Market, WebhookName, alert_id, lane_name
from libs.common.domain.instruction import Instruction, version_of
from libs.common.policy.dedup import body_digest
from libs.common.store.admission import Admission, Routed
from libs.common.store.intake import Admitted, Duplicate, Intake
from libs.common.store.keys import Keys
from libs.common.wire import codec

WEBHOOK: Final = WebhookName("operator")
DIALECT: Final = "bascule"

_WINDOW_MS: Final = DAY_MS
_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class OperatorAlert:
    """What an operator asks of one account in one market."""

    account: AccountName
    market: Market
    """As the account's venue calls it: it is not looked up in the symbol table."""
    action: Action


class OperatorAlerts:
    """Admits them."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        # Who wants out at Redis' memory limit must not be kept in by it.
        self._intake = Intake(client, keys, is_denied_when_full=False)

    async def send(
        self, alerts: Sequence[OperatorAlert], *, by: str, reason: str, max_age_ms: int, at_ms: int
    ) -> list[AlertId]:
        """Make alerts durable, in this order, and return their ids in the same order.

        A call whose answer was lost is sent again; it is admitted once.

        Args:
            alerts: What is asked for.
            by: Who asks.
            reason: Why.
            max_age_ms: How long each may wait before it expires.
            at_ms: Redis' time.

        Raises:
            StoreUnavailable: No answer: some may have been admitted.
            StoreCorrupt: A record of one cannot be used; others may have been admitted.
        """
        call = secrets.token_hex(8)
        admissions = [_admission(one, call, by, reason, max_age_ms, at_ms) for one in alerts]
        return [await self._admit(admission) for admission in admissions]

    async def _admit(self, admission: Admission) -> AlertId:
        tries = 0
        while True:
            tries += 1
            try:
                verdict = await self._intake.admissions.submit(admission)
            except StoreUnavailable:
                if tries == _TRIES:
                    raise
                continue
            if isinstance(verdict, Admitted | Duplicate):
                return verdict.alert_id
            raise StoreCorrupt(f"an alert of our own was answered {verdict}")


def _admission(
    asked: OperatorAlert, call: str, by: str, reason: str, max_age_ms: int, at_ms: int
) -> Admission:
    new = alert_id(at_ms, os.urandom(10))
    content = AlertContent(
        dialect=DIALECT,
        action=asked.action,
        symbol=asked.market,
        sender_id=f"{call}:{asked.account}:{asked.market}:{asked.action}",
        max_age_ms=max_age_ms,
    )
    raw = msgspec.json.encode(
        {"action": asked.action.value, "symbol": asked.market, "by": by, "reason": reason, "call": call}
    ).decode()
    alert = Alert(
        alert_id=new,
        webhook=WEBHOOK,
        content=content,
        received_at_ms=at_ms,
        accounts=(asked.account,),
        raw=raw,
    )
    instruction = Instruction(
        alert_id=new, account=asked.account, market=asked.market, action=asked.action, names_market=True
    )
    return Admission(
        alert_id=new,
        webhook=WEBHOOK,
        dedup_keys=(f"id:{content.sender_id}",),
        dedup_window_ms=_WINDOW_MS,
        digest=body_digest(raw),
        is_sender_id=True,
        limit=None,
        alert=codec.ALERT.encode(alert),
        fired_at_ms=None,
        max_age_ms=max_age_ms,
        clock_skew_ms=0,
        routed=(
            Routed(
                account=asked.account,
                market=asked.market,
                lane=lane_name(asked.account, asked.market),
                body=codec.INSTRUCTION.encode(instruction),
                version=version_of(content),
            ),
        ),
    )
