import pytest

from libs.common.domain.errors import StoreUnavailable
from libs.common.domain.ids import AccountName, Market
from libs.common.runtime.settings import BreakerSettings
from libs.common.store.breakers import BreakerReport, Permit
from libs.common.store.order_answers import Go
from services.worker import breakers as breakers_module
from services.worker.breakers import Breakers
from tests.support.clock import ManualClock

DESK, BTC = AccountName("desk"), Market("BTC")
SCOPE = "desk:BTC"


class Told:
    """What all workers were told, in order; refuses to listen as often as it is asked to."""

    def __init__(self) -> None:
        self.reports: list[BreakerReport] = []
        self.is_away = 0

    async def __call__(self, report: BreakerReport) -> bool:
        if self.is_away:
            self.is_away -= 1
            raise StoreUnavailable("away")
        self.reports.append(report)
        return True

    @property
    def verdicts(self) -> list[tuple[bool, int]]:
        return [(one.opens, one.generation) for one in self.reports]

    def verdicts_of(self, scope: str) -> list[tuple[bool, int]]:
        return [(one.opens, one.generation) for one in self.reports if one.scope == scope]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def breakers(clock: ManualClock, told: Told) -> Breakers:
    return Breakers(BreakerSettings(), clock, told)


def go(generation: int = 0, *, is_probe: bool = False) -> Go:
    return Go(
        expires_at_ms=0,
        wait_ms=0,
        left_ms=5_000,
        market_breaker=Permit(generation, is_probe),
        account_breaker=Permit(0, is_probe=False),
    )


async def fail(breakers: Breakers, times: int, generation: int = 0) -> None:
    for _ in range(times):
        await breakers.failed(DESK, BTC, go(generation))


async def test_it_opens_at_the_fifth_failure_in_a_row_and_says_for_how_long(breakers: Breakers, told: Told):
    await fail(breakers, 4)
    assert told.reports == []
    await fail(breakers, 1)
    assert told.reports == [BreakerReport(SCOPE, 0, opens=True, reset_ms=10_000)]


async def test_a_success_starts_the_row_afresh(breakers: Breakers, told: Told):
    await fail(breakers, 4)
    await breakers.succeeded(DESK, BTC, go())
    await fail(breakers, 4)
    assert told.reports == []


async def test_scopes_are_counted_apart(breakers: Breakers, told: Told):
    for account in ("a", "b", "a", "b", "a", "b", "a", "b"):
        await breakers.failed(AccountName(account), BTC, go())
    assert told.reports == []


@pytest.mark.parametrize(
    ("calls", "opens"),
    [
        ("xx.xx.xx.x", True),  # 7 of 10
        (".xx.xx.xx.xx", False),  # 8 of 12
        ("..xx.xx.xx", False),  # 6 of 10
        ("xx.xx.xxx", False),  # 7 of 9: too few to say
        ("xxxx.xxxx", False),  # 8 of 9
        ("xxxx.xxxx.", False),  # a success opens nothing
    ],
)
async def test_it_opens_at_seventy_percent_of_ten_or_more_though_no_row_is_long(
    breakers: Breakers, told: Told, calls: str, opens: bool
):
    for call in calls:
        await (breakers.failed if call == "x" else breakers.succeeded)(DESK, BTC, go())
    assert bool(told.reports) is opens


async def test_what_failed_before_the_window_counts_no_more(
    breakers: Breakers, told: Told, clock: ManualClock
):
    for _ in range(3):
        await fail(breakers, 2)
        await breakers.succeeded(DESK, BTC, go())
    clock.advance(30_000)
    await fail(breakers, 2)
    await breakers.succeeded(DESK, BTC, go())
    await fail(breakers, 2)
    assert told.reports == []


async def test_a_probe_that_succeeds_closes_it_and_one_that_fails_opens_it_again(
    breakers: Breakers, told: Told
):
    await breakers.failed(DESK, BTC, go(1, is_probe=True))
    await breakers.succeeded(DESK, BTC, go(2, is_probe=True))
    assert told.verdicts == [(True, 1), (False, 2)]


async def test_a_success_that_is_no_probe_tells_nobody(breakers: Breakers, told: Told):
    await breakers.succeeded(DESK, BTC, go(4))
    assert told.reports == []


async def test_calls_made_before_the_breaker_moved_are_not_counted(breakers: Breakers, told: Told):
    await fail(breakers, 5)
    await breakers.succeeded(DESK, BTC, go(2, is_probe=True))  # open, probed, closed: generation 2 ahead
    told.reports.clear()
    await fail(breakers, 20, generation=0)
    await fail(breakers, 20, generation=1)
    assert told.reports == []
    await fail(breakers, 4, generation=2)
    assert told.reports == []
    await fail(breakers, 1, generation=2)
    assert told.verdicts == [(True, 2)]


async def test_another_workers_move_starts_the_count_afresh(breakers: Breakers, told: Told):
    await fail(breakers, 4, generation=0)
    await fail(breakers, 4, generation=2)
    assert told.reports == []


async def test_a_report_that_was_lost_is_made_again_at_the_next_failure(breakers: Breakers, told: Told):
    told.is_away = 2
    await fail(breakers, 6)
    assert told.reports == []
    await fail(breakers, 1)
    assert told.verdicts == [(True, 0)]
    # Once told, it counts from the beginning.
    await fail(breakers, 4)
    assert told.verdicts == [(True, 0)]


async def test_a_success_after_a_lost_report_takes_it_back(breakers: Breakers, told: Told):
    told.is_away = 1
    await fail(breakers, 5)
    await breakers.succeeded(DESK, BTC, go())
    await fail(breakers, 1)
    assert told.reports == []


async def test_breakers_of_markets_that_are_not_traded_any_more_are_forgotten(
    breakers: Breakers, told: Told, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(breakers_module, "MOST", 4)  # three markets, and the account
    await fail(breakers, 3)
    for number in range(2):
        await breakers.failed(DESK, Market(f"other-{number}"), go())
    await fail(breakers, 1)  # used again, so the others go first
    await breakers.failed(DESK, Market("another-0"), go())
    await fail(breakers, 1)
    assert told.verdicts_of(SCOPE) == [(True, 0)]
    await fail(breakers, 4)
    for number in range(1, 4):
        await breakers.failed(DESK, Market(f"another-{number}"), go())
    await fail(breakers, 4)
    assert told.verdicts_of(SCOPE) == [(True, 0)]


async def test_an_account_opens_when_the_row_goes_through_two_of_its_markets(breakers: Breakers, told: Told):
    for market in ("A", "B", "A", "B"):
        await breakers.failed(DESK, Market(market), go())
    assert told.reports == []
    await breakers.failed(DESK, Market("C"), go())
    assert told.reports == [BreakerReport(DESK, 0, opens=True, reset_ms=10_000)]


async def test_one_market_that_hangs_never_opens_its_whole_account(breakers: Breakers, told: Told):
    await fail(breakers, 50)
    assert told.verdicts_of(DESK) == []
    assert told.verdicts_of(SCOPE)


async def test_a_success_elsewhere_starts_the_row_of_the_account_afresh(breakers: Breakers, told: Told):
    for market in ("A", "B", "A", "B"):
        await breakers.failed(DESK, Market(market), go())
    await breakers.succeeded(DESK, Market("C"), go())
    await breakers.failed(DESK, Market("A"), go())
    assert told.verdicts_of(DESK) == []


async def test_a_market_that_fails_by_itself_gives_the_accounts_probe_to_another_one(
    breakers: Breakers, told: Told
):
    probing = Go(
        0, 0, 5_000, market_breaker=Permit(2, is_probe=True), account_breaker=Permit(1, is_probe=True)
    )
    await breakers.failed(DESK, BTC, probing)
    assert [(one.scope, one.opens, one.frees_probe) for one in told.reports] == [
        (SCOPE, True, False),
        (DESK, True, True),
    ]


async def test_an_account_whose_probe_fails_in_a_market_without_a_past_opens_again(
    breakers: Breakers, told: Told
):
    probing = Go(
        0, 0, 5_000, market_breaker=Permit(0, is_probe=False), account_breaker=Permit(1, is_probe=True)
    )
    await breakers.failed(DESK, BTC, probing)
    assert [(one.scope, one.frees_probe) for one in told.reports] == [(DESK, False)]
