import asyncio
from collections.abc import Awaitable, Callable

import pytest
from prometheus_client import CollectorRegistry

from libs.common.domain.errors import LookUpUnavailable, StoreUnavailable
from libs.common.domain.ids import AccountName
from libs.common.telemetry.worker_metrics import WorkerMetrics
from services.worker import asking
from services.worker.asking import Asker

DESK = AccountName("desk")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def asker(registry: CollectorRegistry) -> Asker:
    return Asker(WorkerMetrics(registry))


async def answers() -> int:
    return 7


async def raises(error: Exception) -> int:
    raise error


async def hangs() -> int:
    await asyncio.Event().wait()
    return 7


def failures_in(registry: CollectorRegistry) -> float:
    return registry.get_sample_value("bascule_look_up_failures_total", {"account": DESK}) or 0.0


async def test_an_answer_is_passed_on(asker: Asker, registry: CollectorRegistry) -> None:
    failures: list[LookUpUnavailable] = []
    assert await asker.ask(DESK, answers()) == 7
    assert await asker.ask_or_note(DESK, answers(), failures) == 7
    assert (failures, failures_in(registry)) == ([], 0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: raises(LookUpUnavailable("503")), "503"),
        (lambda: raises(StoreUnavailable("away")), "away"),
        (lambda: raises(KeyError("price")), "KeyError"),
        (hangs, "no answer within"),
    ],
    ids=["the venue's no", "ours", "an adapter's fault", "a hang"],
)
async def test_whatever_else_happens_is_no_answer_and_counted(
    asker: Asker,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
    call: Callable[[], Awaitable[int]],
    words: str,
) -> None:
    monkeypatch.setattr(asking, "ANSWER_WITHIN_S", 0.02)
    failures: list[LookUpUnavailable] = []
    with pytest.raises(LookUpUnavailable, match=words):
        await asker.ask(DESK, call())
    assert await asker.ask_or_note(DESK, call(), failures) is None
    assert [words in str(one) for one in failures] == [True]
    assert failures_in(registry) == 2
