"""Every credential is judged by `hmac.compare_digest` alone, on digests of equal length, whatever is presented."""

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest

from libs.common.domain.errors import AdmissionError
from libs.common.domain.ids import AccountName, WebhookName
from libs.common.policy.addresses import AddressList
from libs.common.policy.authentication import HashedToken, hash_secret, token_digest
from libs.common.policy.routing import Route, Router
from libs.common.policy.symbols import SymbolMap
from libs.common.policy.webhook import Demand, Webhook
from libs.common.wire.dialects.recognition import recognise
from libs.common.wire.masking import Masker
from services.ingress.hook import Hook
from services.ingress.hooks import Hooks
from services.ingress.proof import Senders

TOKEN, SECRET, OLD_SECRET, KEY, OTHER_KEY = (
    "the-token-of-it",
    "the-secret",
    "the-old-secret",
    "a-key",
    "another-key",
)
NOW_MS = 1_780_000_000_000
DESK = AccountName("desk")
SENDERS = Senders(AddressList(()), AddressList(()), AddressList(()))

WRONG = [
    "",
    "x",
    "the-secret ",
    "the-secre",
    "the-secreT",
    "THE-SECRET",
    "é" * 30,
    "\ud800",
    "a" * 5_000,
    "\x00",
]
WRONG_SIGNATURES = ["", "00", "f" * 64, "sha256=", "sha256=" + "0" * 64, "é", "\xff" * 64, "f" * 5_000]

Verdict = Callable[[Any, Any], bool]


def hook(**changes: Any) -> Hook:
    whole: dict[str, Any] = {
        "name": WebhookName("scalper"),
        "accounts": (DESK,),
        "tokens": (HashedToken(token_digest(TOKEN)), HashedToken(token_digest("old"), expires_at_ms=1)),
        "secrets": (hash_secret(SECRET, "a"), hash_secret(OLD_SECRET, "b")),
    }
    made = Webhook(**{**whole, **changes})
    router = Router([Route(DESK)], SymbolMap([]))
    return Hook(made, router, masker=Masker([]), allowed=None, signing_keys=(KEY, OTHER_KEY))


def default() -> Hook:
    return hook(name=WebhookName("default"), tokens=())


class Spy:
    """Stands in for `hmac.compare_digest`, and remembers what it was asked."""

    def __init__(self, verdict: Verdict) -> None:
        self.asked: list[tuple[Any, Any]] = []
        self._verdict = verdict

    def __call__(self, one: Any, other: Any) -> bool:
        self.asked.append((one, other))
        return self._verdict(one, other)

    def asked_well(self, times: int) -> bool:
        """Tell whether it was asked so often, each time about two digests of equal length."""
        lengths = {(type(one), len(one), type(other), len(other)) for one, other in self.asked}
        return len(self.asked) == times and lengths <= {(bytes, 32, bytes, 32)}


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Spy]:
    def install(verdict: Verdict = hmac.compare_digest) -> Spy:
        installed = Spy(verdict)
        monkeypatch.setattr(hmac, "compare_digest", installed)
        return installed

    return install


def admits(judge: Hook, body: bytes, signature: str | None = None) -> bool:
    headers = [] if signature is None else [(b"x-signature", signature.encode("latin-1"))]
    scope = {"headers": headers, "client": ("127.0.0.1", 1)}
    try:
        judge.proofs.check(recognise(body), body, scope, SENDERS, NOW_MS)
    except AdmissionError:
        return False
    return True


def body_with(secret: str) -> bytes:
    return json.dumps({"secret": secret, "id": "a", "symbol": "BTCUSDT", "action": "buy"}).encode()


def signature_of(body: bytes, key: str) -> str:
    return hmac.new(key.encode(), body, hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    "presented", [SECRET, OLD_SECRET, *(one for one in WRONG if one.isprintable() and one)]
)
def test_a_secret_in_the_body_is_held_against_every_secret_by_digests_of_equal_length(spy, presented):
    judge, watcher = hook(), spy()
    assert admits(judge, body_with(presented)) is (presented in {SECRET, OLD_SECRET})
    assert watcher.asked_well(2)


@pytest.mark.parametrize("presented", [SECRET, OLD_SECRET, *WRONG])
def test_so_is_a_word_that_might_be_a_secret(spy, presented):
    judge, watcher = hook(), spy()
    assert judge.proofs.accept_secret(presented, NOW_MS) is (presented in {SECRET, OLD_SECRET})
    assert watcher.asked_well(2)


@pytest.mark.parametrize("key", [KEY, OTHER_KEY, "a key nobody knows"])
def test_a_signature_is_held_against_that_of_every_key_by_digests_of_equal_length(spy, key):
    judge, body = hook(demands=(Demand.SIGNATURE,)), body_with("")
    signature = signature_of(body, key)
    watcher = spy()
    assert admits(judge, body, signature) is (key in {KEY, OTHER_KEY})
    assert watcher.asked_well(2)


@pytest.mark.parametrize("presented", WRONG_SIGNATURES)
def test_so_is_whatever_is_presented_as_one(spy, presented):
    judge, watcher = hook(demands=(Demand.SIGNATURE,)), spy()
    assert not admits(judge, body_with(""), presented)
    # An empty header is none.
    assert watcher.asked_well(2 if presented else 0)


@pytest.mark.parametrize(("token", "is_found"), [(TOKEN, True), ("old", False)])
def test_a_token_that_is_found_is_held_against_its_own_digest(spy, token, is_found):
    hooks = Hooks(default(), [hook()])
    watcher = spy()
    assert (hooks.find(token, NOW_MS) is not None) is is_found
    assert watcher.asked_well(1)


@pytest.mark.parametrize("token", [*WRONG, TOKEN + "x", token_digest(TOKEN)])
def test_a_token_is_looked_for_by_its_digest_so_that_no_part_of_it_is_ever_compared(token):
    assert Hooks(default(), [hook()]).find(token, NOW_MS) is None


def test_nothing_but_that_comparison_lets_anybody_in(spy):
    judge, hooks = hook(), Hooks(default(), [hook()])
    signed = hook(demands=(Demand.SIGNATURE,))
    body = body_with(SECRET)
    signature = signature_of(body, KEY)
    never = spy(lambda one, other: False)
    assert not admits(judge, body)
    assert not admits(judge, body_with(""))
    assert not admits(default(), b'{"ticker":"X","action":"buy"}')
    assert not admits(signed, body, signature)
    assert hooks.find(TOKEN, NOW_MS) is None
    assert len(never.asked) == 2 + 2 + 1


def test_nothing_but_that_comparison_keeps_anybody_out(spy):
    judge, signed = hook(), hook(demands=(Demand.SIGNATURE,))
    spy(lambda one, other: True)
    assert admits(judge, body_with("wrong"))
    assert admits(signed, body_with(""), "wrong")
