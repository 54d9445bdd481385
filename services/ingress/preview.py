"""`POST /preview/{token}`: what an alert would do. Nothing is stored, counted against a rate or traded."""

import asyncio

import orjson
from starlette.types import Receive, Scope, Send

from libs.common.domain.clock import Clock
from libs.common.domain.errors import AdmissionError, BridgeError
from libs.common.runtime.preview import Check, Preview, preview, refused
from libs.common.store.halts import Halts, HaltsEverywhere
from libs.common.store.seen import Seen
from libs.common.store.shards import Shards
from libs.common.web.body import SenderGone, read_body
from libs.common.web.headers import header
from libs.common.web.problems import send_json
from libs.common.wire.dialects.recognition import recognise
from libs.common.wire.masking import Masker
from services.ingress.hook import Hook
from services.ingress.proof import Senders
from services.ingress.reading import check_address, not_durable, read_unexposed, text_of
from services.ingress.refusals import Refusals


class PreviewEndpoint:
    """Shows what a webhook would do with a post.

    The URL's token is the credential; at the default webhook, which has none, the alert's own secret.
    """

    def __init__(
        self, shards: Shards, senders: Senders, refusals: Refusals, clock: Clock, deadline_ms: int
    ) -> None:
        """Args:
        shards: Where admitted alerts are known, and halts that are set.
        senders: Tells where posts come from.
        refusals: Answers who has no token and proves nothing.
        clock: Ages alerts.
        deadline_ms: The time for one request.
        """
        self._deadline_s = deadline_ms / 1_000
        self._shards = shards
        self._senders = senders
        self._refusals = refusals
        self._clock = clock

    async def show(self, hook: Hook, scope: Scope, receive: Receive, send: Send, *, token: str = "") -> None:
        """Answer one request; `token` is what its URL was found by.

        Raises:
            AdmissionError: 503, out of time, or Redis is away.
        """
        try:
            async with asyncio.timeout(self._deadline_s):
                shown = await self._look(hook, scope, receive, token)
        except SenderGone:
            return
        except TimeoutError as error:
            raise not_durable() from error
        except AdmissionError as error:
            await self._refusals.answer_stranger(send, error, hook, scope)
            return
        except BridgeError as error:
            raise not_durable(error) from error
        await send_json(send, 200, orjson.dumps(shown.document()))

    async def _look(self, hook: Hook, scope: Scope, receive: Receive, token: str) -> Preview:
        now_ms = self._clock.now_ms()
        checks = []
        if hook.checks_address:
            if not hook.is_named:
                # Whoever has no token gets no further than with a post.
                check_address(hook, self._senders, scope)
            checks.append(self._address(hook, scope))
        try:
            body = await read_body(scope, receive, hook.webhook.max_body_bytes)
            text = text_of(body)
            content_type = header(scope, b"content-type") or ""
            document = recognise(body, content_type, hook.webhook.dialect, hook.webhook.options)
        except AdmissionError as error:
            if not hook.is_named:
                raise
            return refused(
                hook.webhook,
                _masked(error, self._early_masker(hook, error.detail, token, now_ms)),
                tuple(checks),
            )
        has_proved = False
        try:
            hook.proofs.check(document, body, scope, self._senders, now_ms)
            has_proved = True
            checks.append(Check("credential", passes=True, detail="all that the webhook demands is there"))
        except AdmissionError as error:
            if not hook.is_named:
                raise
            checks.append(Check("credential", passes=False, detail=error.detail))
        masker = hook.masker_for(hook.secrets_of(document, text, token, now_ms, has_proved_itself=has_proved))
        try:
            read_unexposed(document, masker)
        except AdmissionError as error:
            return refused(hook.webhook, _masked(error, masker), tuple(checks))
        owner = self._shards[hook.owner]
        halts = HaltsEverywhere(
            {number: Halts(self._shards[number].client, self._shards[number].keys) for number in hook.shards}
        )
        return await preview(
            hook.webhook,
            hook.router,
            Seen(owner.client, owner.keys),
            halts,
            document,
            text,
            masker,
            tuple(checks),
            now_ms,
        )

    def _early_masker(self, hook: Hook, detail: str, token: str, now_ms: int) -> Masker:
        return hook.masker_for((token,)).also(*hook.secrets_in(detail, now_ms))

    def _address(self, hook: Hook, scope: Scope) -> Check:
        try:
            check_address(hook, self._senders, scope)
        except AdmissionError as error:
            return Check("address", passes=False, detail=error.detail)
        return Check("address", passes=True, detail="it is on the webhook's list")


def _masked(error: AdmissionError, masker: Masker) -> AdmissionError:
    return AdmissionError(error.status, error.code, masker.mask_text(error.detail), field=error.field)
