"""What an alert would do: read, mapped and compared as the ingress does, without storing, counting or trading."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from libs.common.domain.alert import AlertContent, is_exit, needs_quantity
from libs.common.domain.errors import AdmissionError
from libs.common.policy.dedup import DedupKind, body_digest, dedup_key
from libs.common.policy.halts import Effect, Halt, find_stop
from libs.common.policy.routing import Destination, Router, Share
from libs.common.policy.webhook import Webhook
from libs.common.store.halts import HaltTable
from libs.common.store.seen import New, SameKey, Seen
from libs.common.wire.dialects.catalogue import in_senders_words
from libs.common.wire.dialects.dialect import Document
from libs.common.wire.dialects.values import interval_ms
from libs.common.wire.masking import Masker

Answer = dict[str, Any]

_SHOWN_LENGTH: Final = 100
_MOST_IGNORED: Final = 50


@dataclass(frozen=True, slots=True)
class Check:
    """Something that a real post would have to pass."""

    name: str
    passes: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Preview:
    """What became clear of an alert."""

    webhook: Webhook
    dialect: str | None
    content: AlertContent | None
    shares: tuple[Share, ...]
    dedup: Answer | None
    checks: tuple[Check, ...]
    refusal: AdmissionError | None
    """What a real post would be answered, were all checks passed; None: 200."""
    ignored: tuple[str, ...] = ()
    """Fields of the body that its dialect does not read."""

    @property
    def would_trade(self) -> bool:
        """Return whether a real post would be admitted, and executed."""
        return self.refusal is None and all(check.passes for check in self.checks)

    def document(self) -> Answer:
        """Return it as JSON takes it."""
        refusal = self.refusal
        return {
            "ok": self.would_trade,
            "webhook": self.webhook.name,
            "dialect": self.dialect,
            "alert": None if self.content is None else msgspec.to_builtins(self.content),
            "accounts": [_share_document(share) for share in self.shares],
            "ignored": list(self.ignored),
            "dedup": self.dedup,
            "checks": [
                {"check": one.name, "passes": one.passes, "detail": one.detail} for one in self.checks
            ],
            "error": None
            if refusal is None
            else {
                "status": refusal.status,
                "code": refusal.code,
                "detail": refusal.detail,
                "field": refusal.field,
            },
        }


class HaltReader(Protocol):
    """Knows halts, of one shard or of several."""

    async def read(self) -> HaltTable:
        """Return all that are set.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        ...


async def preview(
    webhook: Webhook,
    router: Router,
    seen: Seen,
    halts: HaltReader,
    document: Document,
    text: str,
    masker: Masker,
    checks: tuple[Check, ...],
    now_ms: int,
) -> Preview:
    """Return what a document would do at a webhook.

    Args:
        webhook: The webhook.
        router: To its accounts.
        seen: Where its admitted alerts are known.
        halts: Those that are set.
        document: The alert.
        text: Its body.
        masker: Knows the credentials in it.
        checks: Those of whoever posts it.
        now_ms: Milliseconds since the epoch.

    Raises:
        StoreUnavailable: Redis does not answer.
    """
    try:
        content = document.read()
    except AdmissionError as error:
        return Preview(webhook, document.dialect, None, (), None, checks, error)
    checks = (*checks, _age(webhook, content, now_ms))
    digest = body_digest(masker.mask_json(text))
    key = dedup_key(content, digest, webhook.dedup, interval_ms)
    sight = await seen.look_up(webhook.name, key.keys, digest)
    refusal: AdmissionError | None = None
    if isinstance(sight, SameKey) and key.kind is DedupKind.ID:
        detail = f"the alert's id was given to another body before: alert {sight.alert_id}"
        refusal = AdmissionError(409, "id_conflict", detail, field="id")
    dedup = {
        "by": key.kind.value,
        "window_ms": key.window_ms,
        "is_new": isinstance(sight, New),
        "alert_id": None if isinstance(sight, New) else sight.alert_id,
    }
    shares: tuple[Share, ...] = ()
    try:
        shares = router.shares(content)
    except AdmissionError as error:
        refusal = refusal or error
    checks = (
        *checks,
        *_sized(router, content, shares),
        *_halted((await halts.read()).halts, content, shares),
    )
    shown = None if refusal is None else in_senders_words(refusal, content.dialect)
    ignored = tuple(masker.mask_text(name)[:_SHOWN_LENGTH] for name in document.ignored()[:_MOST_IGNORED])
    return Preview(webhook, document.dialect, content, shares, dedup, checks, shown, ignored)


def refused(webhook: Webhook, error: AdmissionError, checks: tuple[Check, ...]) -> Preview:
    """Return the preview of what is no alert at all."""
    return Preview(webhook, None, None, (), None, checks, error)


def _sized(router: Router, content: AlertContent, shares: Iterable[Share]) -> Iterator[Check]:
    """Yield what each account trades of an alert that names no quantity: what it has may be called otherwise."""
    if not needs_quantity(content):
        return
    for share in shares:
        if not isinstance(share, Destination):
            continue
        account, quantity = share.account, router.default_quantities[share.account]
        detail = (
            f"the alert names none, and account {account} has no default_quantity: it ends REJECTED there"
            if quantity is None
            else f"the alert names none: account {account} trades its default_quantity, {quantity:f}"
        )
        yield Check("quantity", passes=quantity is not None, detail=detail)


def _halted(halts: Iterable[Halt], content: AlertContent, shares: Iterable[Share]) -> Iterator[Check]:
    """Yield a failed check for each account whose order a halt would stop now."""
    known = tuple(halts)
    for share in shares:
        if not isinstance(share, Destination):
            continue
        stop = find_stop(
            known,
            account=share.account,
            strategy=content.strategy,
            symbol=share.market,
            is_exit=is_exit(content),
        )
        if stop is not None:
            then = "it ends REJECTED" if stop.effect is Effect.REFUSED else "it waits"
            detail = f"{stop.halt.mode} of {stop.halt.scope} ({stop.halt.reason}): {then} on account {share.account}"
            yield Check("halt", passes=False, detail=detail)


def _age(webhook: Webhook, content: AlertContent, now_ms: int) -> Check:
    limit_ms = webhook.max_age_of(content)
    if content.fired_at_ms is None:
        return Check("age", passes=True, detail=f"counts from arrival; at most {limit_ms / 1_000:g} s")
    if content.fired_at_ms > now_ms + webhook.clock_skew_ms:
        ahead_s = (content.fired_at_ms - now_ms) / 1_000
        detail = f"counts from arrival, for its time of firing is {ahead_s:g} s ahead; at most {limit_ms / 1_000:g} s"
        return Check("age", passes=True, detail=detail)
    age_ms = max(0, now_ms - content.fired_at_ms)
    detail = f"fired {age_ms / 1_000:g} s ago; at most {limit_ms / 1_000:g} s, else it ends EXPIRED"
    return Check("age", passes=age_ms <= limit_ms, detail=detail)


def _share_document(share: Share) -> Answer:
    if isinstance(share, Destination):
        return {
            "account": share.account,
            "market": share.market,
            "lane": share.lane,
            "because": share.because,
            "state": "QUEUED",
        }
    return {
        "account": share.account,
        "market": None,
        "lane": None,
        "because": share.detail,
        "state": share.state.value,
        "reason": share.reason.value,
    }
