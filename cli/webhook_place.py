"""The webhooks of a bridge: those in its configuration, those in its Redis, and where they are posted to."""

from collections.abc import Mapping
from dataclasses import dataclass

from cli.context import Bridge, find_bridge
from cli.output import Failure, note
from libs.common.domain.errors import ConfigError
from libs.common.domain.ids import WebhookName
from libs.common.policy.webhook import Webhook
from libs.common.runtime.settings import Settings
from libs.common.runtime.webhooks import declared_webhook
from libs.common.store.tables import Tables


@dataclass(frozen=True, slots=True)
class Place:
    """A bridge, as far as webhooks go."""

    bridge: Bridge
    settings: Settings | None
    """None where its configuration is not known."""
    base_url: str | None
    """Its ingress's address, as TradingView sees it or else as this machine does; None where nothing says it."""
    declared: Mapping[WebhookName, Webhook]
    """The webhooks of the configuration, without their credentials."""

    @property
    def is_public(self) -> bool:
        """Return whether `base_url` is the one that TradingView is to be given."""
        return self.settings is not None and self.settings.ingress.public_url is not None

    def refuse_declared(self, name: str) -> None:
        """Refuse to change what stands in the configuration.

        Raises:
            Failure: It does.
        """
        if name in self.declared:
            raise Failure(
                f"webhook {name} is declared in the configuration: change webhooks.{name} in {self.bridge.config} "
                "and restart"
            )

    def missing(self, name: str, tables: Tables) -> Failure:
        """Return that there is no such webhook."""
        if name in tables.unreadable_webhooks:
            return Failure(f"webhook {name} cannot be read: Redis holds something else in its place")
        there_are = ", ".join([*self.declared, *sorted(tables.webhooks)])
        return Failure(f"no webhook {name}: there are {there_are or 'none'}")


def find_place(*, is_strict: bool = False) -> Place:
    """Return the bridge that the command is about.

    Args:
        is_strict: Whether a configuration that cannot be read is an error, not one that is not known.

    Raises:
        Failure: No bridge is found.
        ConfigError: The configuration cannot be read.
    """
    bridge = find_bridge()
    settings = None
    try:
        settings = bridge.settings()
    except ConfigError as error:
        if is_strict:
            raise
        note(f"the webhooks of the configuration are left out: {error}")
    return Place(bridge, settings, _base_url(bridge, settings), _declared(settings))


def _base_url(bridge: Bridge, settings: Settings | None) -> str | None:
    if settings is not None and settings.ingress.public_url is not None:
        return settings.ingress.public_url
    if settings is None and bridge.record is None:
        return None
    return bridge.ingress_url()


def _declared(settings: Settings | None) -> dict[WebhookName, Webhook]:
    if settings is None:
        return {}
    return {
        # Nothing of the credentials is shown, so that any will do.
        name: declared_webhook(name, one, {variable: "-" for variable in (one.secret, one.token) if variable})
        for name, one in settings.webhooks.items()
    }
