"""All webhooks there are: those of the configuration, and those made at run time as far as this process knows them."""

from collections.abc import Callable, Iterable, Mapping

from libs.common.domain.ids import WebhookName
from libs.common.policy.authentication import HashedToken, is_token, token_digest
from libs.common.policy.webhook import Webhook
from services.ingress.hook import Hook


class Hooks:
    """Finds a webhook by the token of its URL."""

    def __init__(self, default: Hook, declared: Iterable[Hook]) -> None:
        """Args:
        default: What `POST /webhook` serves.
        declared: The others of the configuration.
        """
        self.default = default
        self._declared = tuple(declared)
        self._made: dict[WebhookName, Hook] = {}
        self.has_unreadable = False
        """Whether there are some that this process cannot even read, so that a token it does not know may be one's."""
        self._unusable: frozenset[str] = frozenset()
        self._by_digest: dict[str, tuple[Hook, HashedToken]] = {}
        self._index()

    def find(self, token: str, now_ms: int) -> Hook | None:
        """Return the webhook whose URL has this token now; None where there is none."""
        found = self._by_digest.get(token_digest(token))
        if found is None or not is_token(token, found[1], now_ms):
            return None
        return found[0]

    def may_exist(self, token: str) -> bool:
        """Tell whether a token that was not found may belong to a webhook that this process cannot serve."""
        return self.has_unreadable or token_digest(token) in self._unusable

    def replace_declared(self, default: Hook, declared: Iterable[Hook]) -> None:
        """Take over those of the configuration, built anew."""
        self.default = default
        self._declared = tuple(declared)
        self._index()

    def replace_made(
        self, webhooks: Mapping[WebhookName, Webhook], make: Callable[[Webhook], Hook | None]
    ) -> None:
        """Take over the webhooks made at run time.

        Args:
            webhooks: All of them; one whose name the configuration uses is left out.
            make: Builds what is new or changed; None for what cannot be built.
        """
        taken = {hook.name for hook in self._declared} | {self.default.name}
        made: dict[WebhookName, Hook] = {}
        unusable: set[str] = set()
        for name, webhook in webhooks.items():
            if webhook.is_disabled or name in taken:
                continue
            known = self._made.get(name)
            hook = known if known is not None and known.webhook == webhook else make(webhook)
            if hook is None:
                unusable |= {token.digest for token in webhook.tokens}
            else:
                made[name] = hook
        self._unusable = frozenset(unusable)
        for name, hook in self._made.items():
            hook.is_gone = made.get(name) is not hook
        self._made = made
        self._index()

    def forget_made(self) -> None:
        """Forget the webhooks made at run time, so that the next `replace_made` builds all of them anew."""
        for hook in self._made.values():
            hook.is_gone = True
        self._made = {}

    def _index(self) -> None:
        self._by_digest = {
            token.digest: (hook, token)
            for hook in (*self._made.values(), *self._declared)
            for token in hook.webhook.tokens
        }
