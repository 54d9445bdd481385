"""What is pasted into TradingView for a webhook, and what would keep its alerts from arriving."""

from dataclasses import dataclass
from typing import Final

import click

from cli.output import note, write
from cli.webhook_place import Place
from cli.webhook_url import TOKEN, hook_url, url_warnings
from libs.common.policy.webhook import Demand, Webhook
from libs.common.wire.dialects.catalogue import BY_NAME
from libs.common.wire.dialects.dialect import PLACEHOLDER, Dialect

DEFAULT_DIALECT: Final = "bascule"
LONGEST_MESSAGE: Final = 4_000
"""Characters that TradingView takes in its dialog."""


@dataclass(frozen=True, slots=True)
class Template:
    """A URL and a message."""

    url: str
    dialect: str
    message: str
    warnings: tuple[str, ...]


def make_template(
    webhook: Webhook,
    place: Place,
    *,
    dialect: str | None = None,
    token: str = TOKEN,
    secret: str | None = None,
) -> Template:
    """Return what is to be pasted for a webhook.

    Args:
        webhook: Which.
        place: Where it is served.
        dialect: The message's; the webhook's own, or ours, where None.
        token: Of its URL, where it is known.
        secret: Of its alerts, where it is known.

    Raises:
        UsageError: There is no such dialect.
    """
    chosen = _dialect(dialect or webhook.dialect or DEFAULT_DIALECT)
    message = chosen.template if secret is None else chosen.template.replace(PLACEHOLDER, secret)
    url = hook_url(place.base_url, token if webhook.tokens else None)
    return Template(url, chosen.name, message, tuple(_warnings(webhook, place, chosen, message)))


def show_template(template: Template, *, secret: str | None = None) -> None:
    """Write it for people, ready to paste, with the secret where it is known."""
    write(f"{'url':<9}{template.url}")
    if secret is not None:
        write(f"{'secret':<9}{secret}")
    write(f"message, of the dialect {template.dialect}:")
    write()
    write(template.message)


def tell_warnings(template: Template) -> None:
    """Write what would keep alerts from arriving to stderr."""
    for warning in template.warnings:
        note(f"warning: {warning}")


def _dialect(name: str) -> Dialect:
    dialect = BY_NAME.get(name)
    if dialect is None:
        raise click.UsageError(f'--dialect: got "{name}", expected {" or ".join(BY_NAME)}')
    return dialect


def _warnings(webhook: Webhook, place: Place, dialect: Dialect, message: str) -> list[str]:
    found = []
    if webhook.is_disabled:
        found.append(f"webhook {webhook.name} is disabled: posts to it are answered 404")
    if place.base_url is None:
        found.append("nothing says where the ingress is: set BASCULE_CONFIG, and ingress.public_url in it")
    else:
        if not place.is_public:
            found.append(
                "ingress.public_url is not set, so this is the local address: set it to the one that the internet knows"
            )
        found += url_warnings(place.base_url)
    if webhook.allow and place.settings is not None and not place.settings.ingress.trusted_proxies:
        found.append(
            f"webhook {webhook.name} takes posts from some addresses only, and ingress.trusted_proxies is empty: behind "
            "a proxy or a tunnel every post seems to come from there, and is refused"
        )
    if webhook.dialect not in {None, dialect.name}:
        found.append(f"webhook {webhook.name} takes the dialect {webhook.dialect} alone, not {dialect.name}")
    if PLACEHOLDER in message and Demand.SECRET not in webhook.demands:
        found.append(f"webhook {webhook.name} asks for no secret: put anything in place of {PLACEHOLDER}")
    if dialect.is_signed:
        found.append(
            f"{dialect.name} alerts are signed, which TradingView cannot do: post them through a relay that signs"
        )
    elif Demand.SIGNATURE in webhook.demands:
        found.append(
            f"webhook {webhook.name} demands a signature, which TradingView cannot make: post through a relay that signs"
        )
    if len(message) > LONGEST_MESSAGE:
        found.append(
            f"the message has {len(message)} characters: TradingView's dialog takes {LONGEST_MESSAGE}, alert() more"
        )
    return found
