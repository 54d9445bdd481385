"""What a post makes durable, what each shard gets of it, and how a flight says it to the `admit` script.

What is made for every alert is a `Struct`: it costs a tenth of a frozen dataclass.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from libs.common.domain.ids import AccountName, AlertId, LaneName, Market, WebhookName
from libs.common.policy.limits import Limit
from libs.common.policy.shards import shard_of
from libs.common.store.keys import Keys

_NO_RATE: Final = ("", "")

PART_MARGIN_MS: Final = 600_000
"""How much longer than its owner another shard knows an alert: by far more than one post takes."""


class Routed(msgspec.Struct, frozen=True):
    """One account's share of an admission."""

    account: AccountName
    market: Market
    """Empty where the account declines it."""
    lane: LaneName
    body: bytes
    """The encoded instruction."""
    version: int
    """Of the instruction."""
    state: str = ""
    """Where the account declines it, how its share ends: REJECTED or SKIPPED; with a reason and a detail."""
    reason: str = ""
    detail: str = ""


class Admission(msgspec.Struct, frozen=True):
    """Everything that one post makes durable."""

    alert_id: AlertId
    """Fresh for every post: it also tells our own re-sent call from another post of the same alert."""
    webhook: WebhookName
    dedup_keys: tuple[str, ...]
    """One for each alert that may have the same; most have one."""
    dedup_window_ms: int
    digest: str
    """Of the body without its credential."""
    is_sender_id: bool
    """Whether the dedup key is an id that the sender gave: only then another digest is a conflict."""
    limit: Limit | None
    """The webhook's."""
    alert: bytes
    """The encoded alert."""
    fired_at_ms: int | None
    max_age_ms: int
    clock_skew_ms: int
    """A fire time further in the future than this counts as arrival."""
    routed: tuple[Routed, ...]
    is_part: bool = False
    """Whether it is what another shard than the owner of the id gets of an alert; see `parts_of`."""


def parts_of(admission: Admission, shards: int) -> dict[int, Admission]:
    """Return what each shard gets of an alert, by the shards' numbers; the owner of its id comes first.

    The owner, which is the first account's shard, knows the alert's dedup keys and counts it against its webhook's rate. Of
    the others each knows its part by the id alone, for longer than the owner may answer with that id: so a resend
    completes what is missing, and is never taken for something new.

    Args:
        admission: All of it; its id is the one that the owner answered, or a fresh one.
        shards: How many there are.
    """
    by_shard: dict[int, list[Routed]] = {}
    for to in admission.routed:
        by_shard.setdefault(shard_of(to.account, shards), []).append(to)
    parts: dict[int, Admission] = {}
    for number, routed in by_shard.items():
        own: dict[str, Any] = {"routed": tuple(routed)}
        if parts:
            own |= {
                "dedup_keys": (f"part:{admission.alert_id}",),
                "dedup_window_ms": admission.dedup_window_ms + PART_MARGIN_MS,
                "limit": None,
                "is_part": True,
            }
        parts[number] = msgspec.structs.replace(admission, **own)
    return parts


class Flight(msgspec.Struct, frozen=True):
    """Some admissions, as the script takes them."""

    keys: list[str]
    """In the order of the admissions."""
    args: list[str | bytes | int]
    """From the number of admissions on."""


def flight_of(admissions: Sequence[Admission], keys: Keys) -> Flight:
    """Return what the script is told of admissions, in which what several have in common stands once.

    Args:
        admissions: In the order in which they came.
        keys: The shard's.
    """
    touched: list[str] = []
    numbers: dict[tuple[str | int, ...], int] = {}
    words: list[str | bytes | int] = []
    for one in admissions:
        touched.append(keys.alert(one.alert_id))
        touched += [keys.seen(one.webhook, key) for key in one.dedup_keys]
        if one.limit is not None:
            touched.append(keys.webhook_bucket(one.webhook))
        number = numbers.setdefault(_terms_of(one), len(numbers) + 1)
        fired_at_ms = "" if one.fired_at_ms is None else one.fired_at_ms
        words += (number, one.alert_id, one.digest, one.alert, fired_at_ms)
        for to in one.routed:
            touched += (keys.instruction(one.alert_id, to.account), keys.lane(to.lane))
            words += (to.market, to.lane, to.body)
            if to.state:
                words += (to.reason, to.detail)
    args: list[str | bytes | int] = [len(admissions), len(numbers)]
    for terms in numbers:
        args += terms
    return Flight(touched, args + words)


def _terms_of(admission: Admission) -> tuple[str | int, ...]:
    """Return what an admission has in common with most others of its webhook, as the script takes it."""
    limit = admission.limit
    terms: tuple[str | int, ...] = (
        admission.webhook,
        admission.dedup_window_ms,
        "p" if admission.is_part else "1" if admission.is_sender_id else "0",
        len(admission.dedup_keys),
        *(_NO_RATE if limit is None else (limit.interval_us, limit.burst)),
        admission.max_age_ms,
        admission.clock_skew_ms,
        len(admission.routed),
    )
    for to in admission.routed:
        terms += (to.account, to.version, to.state)
    return terms
