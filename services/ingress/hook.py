"""A webhook as configured: whom it admits, how much, and where its alerts go."""

from collections.abc import Mapping
from dataclasses import dataclass

from libs.common.domain.alert import Alert, AlertContent
from libs.common.domain.ids import AccountName, AlertId, WebhookName
from libs.common.policy.authentication import Credentials
from libs.common.policy.dedup import body_digest, dedup_key
from libs.common.policy.throttle import Throttle
from libs.common.runtime.settings import AccountSettings, WebhookSettings
from libs.common.store.intake import Admission
from libs.common.wire import codec
from services.ingress.routing import Router


@dataclass(frozen=True, slots=True)
class Hook:
    """Everything that is fixed about one webhook."""

    name: WebhookName
    credentials: Credentials
    router: Router
    throttle: Throttle | None
    """Of this process; None lets everything in."""
    max_body_bytes: int
    max_age_ms: int
    clock_skew_ms: int
    dedup_ms: int

    @classmethod
    def of(
        cls,
        name: WebhookName,
        settings: WebhookSettings,
        accounts: Mapping[AccountName, AccountSettings],
        secret: str,
    ) -> "Hook":
        """Return the webhook that a section of the configuration describes."""
        rate = settings.rate
        return cls(
            name=name,
            credentials=Credentials([secret]),
            router=Router.of(settings.accounts, accounts),
            throttle=None if rate.is_off else Throttle(rate.count, rate.per_ms),
            max_body_bytes=settings.max_body,
            # Plain numbers: the client packs those fastest.
            max_age_ms=int(settings.max_age_ms),
            clock_skew_ms=int(settings.clock_skew_ms),
            dedup_ms=int(settings.dedup_ms),
        )

    def admission(
        self, alert_id: AlertId, content: AlertContent, masked: str, received_at_ms: int
    ) -> Admission:
        """Return what is to become durable for a post.

        Args:
            alert_id: Its own: nobody else has it.
            content: What it means.
            masked: Its body without credentials.
            received_at_ms: When it came, by our clock.
        """
        digest = body_digest(masked)
        key = dedup_key(content.sender_id, digest, self.dedup_ms)
        alert = Alert(
            alert_id=alert_id,
            webhook=self.name,
            content=content,
            received_at_ms=received_at_ms,
            accounts=self.router.accounts,
            raw=masked,
        )
        return Admission(
            alert_id=alert_id,
            webhook=self.name,
            dedup_key=key.key,
            dedup_window_ms=key.window_ms,
            digest=digest,
            is_sender_id=key.is_sender_id,
            alert=codec.ALERT.encode(alert),
            fired_at_ms=content.fired_at_ms,
            max_age_ms=self.max_age_ms,
            clock_skew_ms=self.clock_skew_ms,
            routed=self.router.route(alert_id, content),
        )
