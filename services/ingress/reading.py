"""What every post goes through before anything is done about it: where it comes from, what it says, what it must not show."""

from starlette.types import Scope

from libs.common.domain.alert import AlertContent
from libs.common.domain.errors import AdmissionError, BridgeError
from libs.common.wire.dialects.catalogue import in_senders_words
from libs.common.wire.dialects.dialect import Document
from libs.common.wire.masking import Masker
from services.ingress.hook import Hook
from services.ingress.proof import Senders


def check_address(hook: Hook, senders: Senders, scope: Scope) -> None:
    """Return where a post comes from an address that its webhook takes posts from.

    Raises:
        AdmissionError: 403, it does not.
    """
    address = senders.address(scope)
    if not hook.takes_from(address):
        came = "an address that cannot be told" if address is None else str(address)
        raise AdmissionError(
            403, "address_refused", f"the post came from {came}, from where this webhook takes none"
        )


def text_of(body: bytes) -> str:
    """Return a body as text.

    Raises:
        AdmissionError: 400, it is not UTF-8.
    """
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise AdmissionError(400, "not_utf8", f"byte {error.start} of the body is not UTF-8") from error


def read_unexposed(document: Document, masker: Masker) -> AlertContent:
    """Return what a document means, if nothing that will be shown holds a secret.

    Raises:
        AdmissionError: 422, it is not valid.
    """
    content = document.read()
    symbol, sender_id, strategy = content.symbol, content.sender_id, content.strategy
    exchange, interval = content.exchange, content.interval
    if masker.is_shown_by(f"{symbol}\n{sender_id}\n{strategy}\n{exchange}\n{interval}"):
        named = {
            "symbol": symbol,
            "id": sender_id,
            "strategy": strategy,
            "exchange": exchange,
            "interval": interval,
        }
        field = next((name for name, value in named.items() if value and masker.is_shown_by(value)), "symbol")
        detail = f'"{field}" holds a credential, which would be stored and shown with it'
        refusal = AdmissionError(422, "credential_in_field", detail, field=field)
        raise in_senders_words(refusal, content.dialect)
    return content


def not_durable(cause: BridgeError | None = None) -> AdmissionError:
    """Return the answer to an alert that Redis did not take."""
    detail = "the alert could not be made durable in time: send it again"
    refusal = AdmissionError(503, "not_durable", detail, retry_after_s=1)
    # Our own troubles are for the log, not for the sender.
    refusal.__cause__ = cause
    return refusal
