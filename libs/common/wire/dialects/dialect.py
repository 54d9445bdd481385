"""What a dialect is to the rest: a name, where its credential stands, how it is recognised and read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from libs.common.domain.alert import AlertContent
from libs.common.wire.dialects.fields import NO_OPTIONS, Fields

FREE_PLACES: Final = ("secret", "password")
"""Where a dialect without a credential of its own may carry one."""

SECRET_NAMES: Final = frozenset(
    {
        *FREE_PLACES,
        "passphrase",
        "auth_key",
        "api_key",
        "api_secret",
        "token",
        "signaltoken",
        "license_id",
        "pin",
        "pointer",
    }
)
"""Names, lower case, under which some tool expects a credential: senders mix tools up, and none of them is to be kept."""

PLACEHOLDER: Final = "<SECRET>"
"""What stands for the credential in a template."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """One tool's way of writing alerts."""

    name: str
    """As webhooks and records name it."""
    title: str
    """As people know it."""
    credential: str | None
    """The field that holds its own credential; None where it has no such place."""
    recognises: Callable[[Fields], bool]
    """Whether fields are of its shape; never by the form of a credential. Asked in the order of the catalogue."""
    read: Callable[[Fields], AlertContent]
    """What the fields mean; refuses with an `AdmissionError` 422."""
    template: str
    """A message to paste into TradingView, `<SECRET>` where the credential goes; for a strategy's orders."""
    split: Callable[[str], Fields | None] | None = None
    """For a body that is not JSON: its fields, or None where it is not of this form. None: the dialect is JSON."""
    is_signed: bool = False
    """Whether its credential is a signature in a header."""
    options: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """What a webhook may settle where the dialect leaves meaning to the other tool's settings: name -> its values."""
    names: Mapping[str, str] = field(default_factory=dict)
    """What its fields are called that mean the model's `id`, `symbol`, `action`, `exchange`, `strategy` and `interval`:
    model's name -> its own, where they differ. With dots between where one stands below another."""


class Document(Protocol):
    """A body whose dialect is known and whose credential can be checked; nothing else of it has been."""

    @property
    def dialect(self) -> str:
        """The dialect's name."""

    @property
    def credential(self) -> str:
        """The presented secret; empty where there is none."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """All that stands where a credential may stand, another tool's too: none of it is to be stored or shown."""

    @property
    def has_place(self) -> bool:
        """Whether its dialect has a place of its own for a credential in the body."""

    @property
    def is_signed(self) -> bool:
        """Whether its dialect's own credential is a signature in a header."""

    def read(self) -> AlertContent:
        """Return what the body means.

        Raises:
            AdmissionError: 422, with the field that is wrong.
        """

    def ignored(self) -> tuple[str, ...]:
        """Return the names of what the body says and its dialect does not read, but for credentials.

        Raises:
            AdmissionError: As `read`.
        """


def secrets_among(fields: Fields, places: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the values under the names of credentials, and those at `places`."""
    return tuple(
        found
        for name in fields.names()
        if (name in places or name.lower() in SECRET_NAMES) and (found := fields.peek(name))
    )


class FieldsDocument:
    """A document made of fields."""

    __slots__ = (
        "_dialect",
        "_fields",
        "_places",
        "credential",
        "dialect",
        "has_place",
        "is_signed",
        "secrets",
    )

    def __init__(self, dialect: Dialect, fields: Fields, options: Mapping[str, str] = NO_OPTIONS) -> None:
        """Args:
        dialect: Its own.
        fields: What it says.
        options: The webhook's, see `Dialect.options`.
        """
        self._dialect = dialect
        self._fields = fields.settled(options) if options else fields
        self.dialect = dialect.name
        self.has_place = dialect.credential is not None
        self.is_signed = dialect.is_signed
        self._places = FREE_PLACES if dialect.credential is None else (dialect.credential,)
        self.credential = next((found for name in self._places if (found := fields.peek(name))), "")
        self.secrets = secrets_among(fields, self._places)

    def read(self) -> AlertContent:
        """Return what the body means.

        Raises:
            AdmissionError: 422, with the field that is wrong.
        """
        self._fields.refuse_repeated()
        return self._dialect.read(self._fields)

    def ignored(self) -> tuple[str, ...]:
        """Return the names of what the body says and its dialect does not read, but for credentials.

        Raises:
            AdmissionError: As `read`.
        """
        unread: dict[str, None] = {}
        self._dialect.read(self._fields.watched(unread))
        return tuple(name for name in unread if name not in self._places and name.lower() not in SECRET_NAMES)
