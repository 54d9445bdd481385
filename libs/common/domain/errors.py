"""The one tree of errors. The family tells the caller what it may do next.

BridgeError
  ConfigError               the process must not start
  AdmissionError            refused at the door; carries the HTTP status
  StoreUnavailable          Redis did not answer, or refused to write: assume nothing
    StoreBarred             it does not let us in, or not do this: it does not pass by itself
  StoreCorrupt              one record cannot be used; others are not affected
  EditConflict              somebody else changed the same thing; nothing was written: read it again
  BrokerError
    BrokerUnavailable       nothing was executed: retry freely
      BrokerNotReady        the same, and that says nothing about the venue
      BrokerThrottled       the same, for it was asked too often; it may say when to come back
    OrderRejected           the venue said no: never retry
    OrderOutcomeUnknown     sent, no answer: resolve before anything else
    LookUpUnavailable       the venue did not answer a question, about an order, money or markets: ask again
"""


class BridgeError(Exception):
    """Root of every error that Bascule raises itself."""


class ConfigError(BridgeError):
    """The configuration or the environment is wrong: the process must not start."""


class AdmissionError(BridgeError):
    """A post was refused at the door.

    Attributes:
        status: The HTTP status to answer with.
        code: A reason code, `snake_case`, stable.
        detail: One sentence: what came and what was expected. Never holds a credential.
        field: The field of the body that is wrong, if one is.
        retry_after_s: What to put into `Retry-After`, if anything.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        field: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.field = field
        self.retry_after_s = retry_after_s


class StoreUnavailable(BridgeError):
    """Redis did not answer in time or refused to write: whether the call was executed is not known."""


class StoreBarred(StoreUnavailable):
    """Redis does not let us in, or does not allow its user this: somebody must mend it.

    Attributes:
        remedy: What to do about it.
    """

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message, remedy)  # both: callers that share a flight each get a copy made of `args`
        self.remedy = remedy

    def __str__(self) -> str:
        return str(self.args[0])


class StoreCorrupt(BridgeError):
    """A key holds something else than it should; the call that touched it did nothing more."""


class EditConflict(BridgeError):
    """Somebody else changed the same thing in the meantime; nothing was written: read it again."""


class BrokerError(BridgeError):
    """Something went wrong between us and a venue."""


class BrokerUnavailable(BrokerError):
    """The order was certainly not executed: nothing was sent, or the venue refused to take it now."""


class BrokerNotReady(BrokerUnavailable):
    """Nothing was sent, since this worker has not heard from the venue yet; says nothing about the venue."""


class BrokerThrottled(BrokerUnavailable):
    """The venue answered "too many requests"; nothing was executed.

    Attributes:
        retry_after_ms: When the venue wants to hear from us again; None where it did not say.
    """

    def __init__(self, message: str, *, retry_after_ms: int | None) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class OrderRejected(BrokerError):
    """The venue refused the order for good.

    Attributes:
        code: The venue's code, or ours where it gave none.
        detail: The venue's words.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class OrderOutcomeUnknown(BrokerError):
    """The order may or may not have been executed: it must be looked up before anything else."""


class LookUpUnavailable(BrokerError):
    """A question was not answered: about an order, a position, money, prices or markets. It says nothing about them."""
