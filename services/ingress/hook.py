"""A webhook, ready to judge posts: whom it admits, what alerts mean to it, and where they go."""

from collections.abc import Sequence
from typing import Final

from msgspec import UNSET

from libs.common.domain.alert import Alert, AlertContent
from libs.common.domain.errors import AdmissionError
from libs.common.domain.ids import AlertId, Market
from libs.common.domain.instruction import SCHEMA_VERSION, version_of
from libs.common.policy.addresses import Address, AddressList
from libs.common.policy.authentication import Credentials
from libs.common.policy.dedup import DedupKey, DedupKind, body_digest, dedup_key
from libs.common.policy.routing import Destination, Router, Share, instruction_of
from libs.common.policy.shards import shard_of
from libs.common.policy.webhook import Demand, Webhook
from libs.common.store.admission import Admission, Routed
from libs.common.wire import codec
from libs.common.wire.dialects.catalogue import in_senders_words
from libs.common.wire.dialects.dialect import Document
from libs.common.wire.dialects.values import interval_ms
from libs.common.wire.masking import Masker, secret_words
from libs.common.wire.trace_context import TraceContext
from services.ingress.proof import Proofs

_MASKERS_KEPT: Final = 4


class Hook:
    """One webhook, with all that is worked out once."""

    def __init__(
        self,
        webhook: Webhook,
        router: Router,
        *,
        masker: Masker,
        allowed: AddressList | None,
        signing_keys: Sequence[str],
        shards: int = 1,
    ) -> None:
        """Args:
        webhook: What rules it.
        router: To its accounts.
        masker: Knows all secrets of this process.
        allowed: The source addresses it takes posts from; None: any.
        signing_keys: The keys themselves.
        shards: How many there are.
        """
        self.webhook = webhook
        self.name = webhook.name
        self.router = router
        self.shards = tuple(dict.fromkeys(shard_of(account, shards) for account in router.accounts))
        """The numbers of those that its accounts lie on."""
        self.owner = self.shards[0]
        """The number of the one that owns the ids of its alerts and knows which it has seen: that of its first account."""
        self.is_spread = len(self.shards) > 1
        self.proofs = Proofs(
            webhook.demands, Credentials(webhook.secrets), signing_keys, has_token=bool(webhook.tokens)
        )
        self.is_gone = False
        """Whether it was changed, disabled or deleted: a post that is still under way must not be judged by it."""
        self._allowed = allowed
        self._masker = masker
        self._maskers: dict[tuple[str, ...], Masker] = {}

    @property
    def is_named(self) -> bool:
        """Return whether its URL holds a token, so that whoever posts there is no mere stranger."""
        return bool(self.webhook.tokens)

    @property
    def checks_address(self) -> bool:
        """Return whether it takes posts from some addresses only."""
        return self._allowed is not None

    def takes_from(self, address: Address | None) -> bool:
        """Tell whether it takes posts from an address."""
        return self._allowed is None or self._allowed.is_allowed(address)

    def secrets_of(
        self, document: Document, text: str, token: str, now_ms: int, *, has_proved_itself: bool
    ) -> tuple[str, ...]:
        """Return all of an alert that must be neither stored nor shown.

        Args:
            document: The alert.
            text: Its body.
            token: Of its URL; empty where that has none.
            now_ms: Milliseconds since the epoch.
            has_proved_itself: Whether it met every demand.
        """
        if not token:
            return document.secrets
        if has_proved_itself and document.credential and Demand.SECRET in self.webhook.demands:
            return (*document.secrets, token)
        # The secret may stand where the alert's dialect has no place for one.
        return (*document.secrets, token, *self.secrets_in(text, now_ms))

    def secrets_in(self, text: str, now_ms: int) -> tuple[str, ...]:
        """Return the words of a text that are its secrets, of which we may know no more than digests."""
        if not self.is_named or not self.webhook.secrets:
            return ()
        return secret_words(text, lambda word: self.proofs.accept_secret(word, now_ms))

    def masker_for(self, secrets: tuple[str, ...]) -> Masker:
        """Return a masker that knows an alert's credentials too; we may know no more of them than a digest."""
        masker = self._maskers.get(secrets)
        if masker is None:
            masker = self._masker.also(*secrets)
            # As many as a webhook may accept at a time; a sender without one chooses what stands there.
            if len(self._maskers) < _MASKERS_KEPT:
                self._maskers[secrets] = masker
        return masker

    def dedup(self, content: AlertContent, digest: str) -> DedupKey:
        """Return what tells an alert from another."""
        return dedup_key(content, digest, self.webhook.dedup, interval_ms)

    def admission(
        self,
        alert_id: AlertId,
        content: AlertContent,
        masked: str,
        received_at_ms: int,
        trace: TraceContext | None = None,
    ) -> Admission:
        """Return what is to become durable for a post.

        Args:
            alert_id: Its own: nobody else has it.
            content: What it means.
            masked: Its body without credentials.
            received_at_ms: When it came, by our clock.
            trace: The span of its post, where that is traced.

        Raises:
            AdmissionError: 422, it is on none of the webhook's lists, or no account takes it.
        """
        webhook = self.webhook
        try:
            shares = self.router.shares(content)
        except AdmissionError as error:
            raise in_senders_words(error, content.dialect) from error
        digest = body_digest(masked)
        key = self.dedup(content, digest)
        alert = Alert(
            alert_id=alert_id,
            webhook=self.name,
            content=content,
            received_at_ms=received_at_ms,
            accounts=self.router.accounts,
            raw=masked,
            trace_id=UNSET if trace is None else trace.trace_id,
        )
        traceparent = None if trace is None else trace.traceparent
        return Admission(
            alert_id=alert_id,
            webhook=self.name,
            dedup_keys=key.keys,
            dedup_window_ms=key.window_ms,
            digest=digest,
            is_sender_id=key.kind is DedupKind.ID,
            limit=webhook.limit,
            alert=codec.ALERT.encode(alert),
            fired_at_ms=content.fired_at_ms,
            max_age_ms=webhook.max_age_of(content),
            clock_skew_ms=webhook.clock_skew_ms,
            routed=tuple([_routed(alert_id, content, share, traceparent) for share in shares]),
        )


def _routed(alert_id: AlertId, content: AlertContent, share: Share, traceparent: str | None) -> Routed:
    body = codec.INSTRUCTION.encode(instruction_of(alert_id, content, share, traceparent))
    if isinstance(share, Destination):
        return Routed(share.account, share.market, share.lane, body, version_of(content))
    return Routed(
        share.account,
        Market(""),
        share.lane,
        body,
        # The first workers would trade it, were it replayed: they do not know that an account may decline.
        SCHEMA_VERSION,
        share.state.value,
        share.reason.value,
        share.detail,
    )
