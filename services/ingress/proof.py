"""What a post proves about its sender: the credentials it presents, held against what its webhook demands."""

from collections.abc import Sequence

from starlette.types import Scope

from libs.common.domain.errors import AdmissionError
from libs.common.policy.addresses import Address, AddressList, client_address, parse_address
from libs.common.policy.authentication import Credentials
from libs.common.policy.certificate import is_tradingview
from libs.common.policy.webhook import Demand
from libs.common.web.headers import header, headers
from libs.common.wire.dialects.dialect import Document
from libs.common.wire.signing import is_signed


class Senders:
    """Tells where posts come from, as far as proxies can be believed."""

    def __init__(self, trusted: AddressList, certifying: AddressList, tradingview: AddressList) -> None:
        """Args:
        trusted: Proxies whose `X-Forwarded-For` counts.
        certifying: Proxies that verify client certificates and say whose they are.
        tradingview: Where TradingView posts from.
        """
        self._trusted = trusted
        self._certifying = certifying
        self._tradingview = tradingview

    def address(self, scope: Scope) -> Address | None:
        """Return the address of a post's sender; None where it cannot be told."""
        peer = scope.get("client")
        if peer is None:
            return None
        return client_address(peer[0], headers(scope, b"x-forwarded-for"), self._trusted)

    def is_tradingview(self, scope: Scope) -> bool:
        """Tell whether a post comes from where TradingView's do: its user's, whoever that is."""
        return self._tradingview.is_allowed(self.address(scope))

    def has_certificate(self, scope: Scope) -> bool:
        """Tell whether a proxy that we believe has verified TradingView's certificate."""
        peer = scope.get("client")
        if peer is None or not self._certifying.is_allowed(parse_address(peer[0])):
            return False
        subjects = headers(scope, b"x-client-certificate-subject")
        emails = headers(scope, b"x-client-certificate-san-emails")
        # Twice means that one of them is not the proxy's.
        return len(subjects) == 1 and len(emails) == 1 and is_tradingview(subjects[0], emails[0])


class Proofs:
    """What one webhook demands."""

    def __init__(
        self,
        demands: Sequence[Demand],
        credentials: Credentials,
        signing_keys: Sequence[str],
        *,
        has_token: bool,
    ) -> None:
        """Args:
        demands: All of them must be met.
        credentials: The secrets it accepts.
        signing_keys: A signature with any of them is valid.
        has_token: Whether its URL is a credential by itself.
        """
        self._demands_secret = Demand.SECRET in demands
        self._demands_signature = Demand.SIGNATURE in demands
        self._demands_certificate = Demand.CERTIFICATE in demands
        self._credentials = credentials
        self._signing_keys = tuple(signing_keys)
        self._has_token = has_token

    def accept_secret(self, presented: str, now_ms: int) -> bool:
        """Tell whether a text is one of the secrets."""
        return self._credentials.accept(presented, now_ms)

    def check(self, document: Document, body: bytes, scope: Scope, senders: Senders, now_ms: int) -> None:
        """Return where a post meets every demand.

        Raises:
            AdmissionError: 401, it does not; which demand it is, but not how far it is met.
        """
        if self._demands_secret and not self._has_secret(document, body, scope, now_ms):
            raise AdmissionError(401, "unauthorized", "the credential is missing or wrong")
        if self._demands_signature and not self._has_signature(body, scope):
            raise AdmissionError(401, "bad_signature", "the signature in X-Signature is missing or wrong")
        if self._demands_certificate and not senders.has_certificate(scope):
            detail = "TradingView's client certificate, verified by a named proxy, is missing"
            raise AdmissionError(401, "no_certificate", detail)

    def _has_secret(self, document: Document, body: bytes, scope: Scope, now_ms: int) -> bool:
        if document.credential:
            return self._credentials.accept(document.credential, now_ms)
        # A signature that is there is looked at, also where nothing could be right about it.
        must_sign = document.is_signed and (self._signing_keys or _signature(scope) is not None)
        if self._has_token and not document.has_place and not must_sign:
            return True
        return self._has_signature(body, scope)

    def _has_signature(self, body: bytes, scope: Scope) -> bool:
        signature = _signature(scope)
        if signature is None:
            return False
        is_accepted = False
        # No early exit: which of the keys matched must not show.
        for key in self._signing_keys:
            is_accepted |= is_signed(key, body, signature)
        return is_accepted


def _signature(scope: Scope) -> str | None:
    return header(scope, b"x-signature") or header(scope, b"x-signature-256")
