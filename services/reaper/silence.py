"""Learns from the journal when each strategy is usually heard, and tells of those that are not."""

import asyncio
from typing import Final

from libs.common.domain.ids import AlertId
from libs.common.policy.length_in_words import in_words
from libs.common.policy.silence import (
    FORGET_MS,
    LEAST_ALERTS,
    Habit,
    Judgement,
    SilenceRules,
    Silent,
    awaited,
    heard,
    judge,
    not_later,
)
from libs.common.runtime.watchdog_settings import SilenceSettings
from libs.common.store.fan_out import ask_each, unavailable
from libs.common.store.journal import journal_entry
from libs.common.store.operator_alerts import WEBHOOK as OPERATOR
from libs.common.store.records import Records
from libs.common.store.shards import Shard, Shards
from libs.common.store.streams import PAGE, Entry, page_after
from libs.common.store.turns import Turn
from libs.common.store.upkeep import Upkeep
from libs.common.store.watch import BEGINNING, Watch
from libs.common.telemetry.logs import get_logger
from services.reaper.raising import Raising

STRATEGIES_AT_MOST: Final = 500
"""Each takes three kilobytes of Redis, and somewhat more of a reaper."""

NAME_AT_MOST: Final = 100
"""Characters of a strategy's name that are kept."""

BEHIND_S: Final = 0.02
"""The pause between two pages while there are more: other duties come first."""

LISTEN_S: Final = 2.0
JUDGE_S: Final = 10.0
SOONEST_S: Final = 0.2

AT_A_TIME: Final = 20
"""Strategies that are judged before other duties have their turn."""

log = get_logger()


class Silence:
    """Reads the journals of all shards forwards, so that an alert costs nobody anything when it comes."""

    name = "silence"

    def __init__(
        self, shards: Shards, watch: Watch, raising: Raising, turn: Turn, settings: SilenceSettings
    ) -> None:
        """Args:
        shards: All: an alert is in the journals of its accounts' shards.
        watch: Where what is learned is kept, for all of them.
        raising: Of silence.
        turn: One reaper listens.
        settings: What counts as silence.
        """
        self._shards = shards
        self._upkeep = Upkeep(shards.first.client, shards.first.keys)
        self._watch = watch
        self._raising = raising
        self._turn = turn
        self._learns = settings.learn
        self._set: dict[str, int] = {name[:NAME_AT_MOST]: int(ms) for name, ms in settings.strategies.items()}
        self._rules = SilenceRules(settings.factor, settings.least_ms, settings.learn_for_ms)
        shortest_s = min(settings.least_ms, *(ms for ms in self._set.values() if ms), 10**9) / 1_000
        self._judge_s = min(JUDGE_S, max(SOONEST_S, shortest_s / 10))
        self._judged_at_s = float("-inf")
        self._habits: dict[str, Habit] = {}
        self._is_stale = True
        """Whether somebody else may have learned meanwhile."""
        self._cursors: dict[int, str | None] = {}
        self._silent: set[str] = set()
        self._is_told_of_others = False

    async def run_once(self) -> float:
        """Listen on; where everything was heard, judge."""
        if not await self._turn.take():
            self._is_stale = True
            return LISTEN_S
        if self._is_stale:
            self._cursors = {one.number: await self._watch.cursor(_cursor(one)) for one in self._shards}
            self._habits = await self._watch.habits()
            self._is_stale = False
            self._judged_at_s = float("-inf")
        now_ms = await self._upkeep.time_ms()
        self._habits = {name: not_later(habit, now_ms) for name, habit in self._habits.items()}
        is_behind, lately = await self._listen(self._habits, now_ms)
        if is_behind or self._is_stale:
            return BEHIND_S
        now_s = asyncio.get_running_loop().time()
        if lately & self._silent or now_s - self._judged_at_s >= self._judge_s:
            await self._judge(self._habits)
            self._judged_at_s = now_s
        return min(LISTEN_S, self._judge_s)

    async def _listen(self, habits: dict[str, Habit], now_ms: int) -> tuple[bool, set[str]]:
        """Read the next page of every journal; return whether there may be more, and who was heard.

        Once its clock has stepped back, Redis gives entries the time before the step until that has come again: none came
        later than now.

        Raises:
            StoreUnavailable: A shard is away. Others were heard; nobody may be called silent meanwhile.
        """
        spread = await ask_each({one.number: self._page(one) for one in self._shards})
        away = spread.away
        pages = {number: page for number, page in spread.answers.items() if page}
        # Behind a full page there is more, which may be older than the end of another: a gap is between two alerts
        # of whatever shards.
        full = [page[-1].at_ms for page in pages.values() if len(page) == PAGE]
        bound_ms = min(full, default=None)
        came: dict[AlertId, tuple[int, str]] = {}
        read: list[tuple[Shard, str]] = []
        for shard in self._shards:
            page = [one for one in pages.get(shard.number, []) if bound_ms is None or one.at_ms <= bound_ms]
            if page:
                came |= await self._heard_in(shard, page)
                read.append((shard, page[-1].entry_id))
        changed: dict[str, Habit | None] = {}
        for at_ms, name in sorted(came.values()):
            if name in habits or self._make_room(habits, changed):
                changed[name] = habits[name] = heard(habits.get(name), min(at_ms, now_ms))
        names = {name for name, habit in changed.items() if habit is not None}
        for shard, to in read:
            # With the first; a crash before the others has some alerts heard twice, which adds no gap.
            await self._learn(shard, self._cursors[shard.number], to, changed)
            changed = {}
        if away:
            raise unavailable(away, of=len(self._shards))
        return bool(full), names

    async def _page(self, shard: Shard) -> list[Entry]:
        after = self._cursors[shard.number] or BEGINNING
        return await page_after(shard.client, shard.keys.journal, after)

    async def _heard_in(self, shard: Shard, page: list[Entry]) -> dict[AlertId, tuple[int, str]]:
        """Return when alerts came and what they are watched as; one for several accounts is one."""
        admissions = (one for one in map(journal_entry, page) if one.is_admission and one.detail != OPERATOR)
        came = {one.alert_id: one for one in admissions}
        strategies = await Records(shard.client, shard.keys).strategies(list(came))
        return {
            alert_id: (came[alert_id].at_ms, (strategy or f"webhook:{came[alert_id].detail}")[:NAME_AT_MOST])
            for alert_id, strategy in strategies.items()
        }

    async def _learn(
        self, shard: Shard, before: str | None, to: str, changed: dict[str, Habit | None]
    ) -> None:
        try:
            is_first = await self._watch.learn_habits(_cursor(shard), before, to, changed)
        except BaseException:
            self._is_stale = True
            raise
        self._cursors[shard.number] = to
        if not is_first:
            self._is_stale = True

    def _make_room(self, habits: dict[str, Habit], changed: dict[str, Habit | None]) -> bool:
        """Return whether one more can be watched; the first to go is who was heard a few times, long ago."""
        if len(habits) < STRATEGIES_AT_MOST:
            return True
        fleeting = [
            (habit.last_at_ms, name)
            for name, habit in habits.items()
            if habit.alerts < LEAST_ALERTS and name not in self._set
        ]
        if not self._is_told_of_others:
            log.warning("strategies_unwatched", watched=STRATEGIES_AT_MOST)
            self._is_told_of_others = True
        if not fleeting:
            return False
        _, oldest = min(fleeting)
        del habits[oldest]
        changed[oldest] = None
        return True

    async def _judge(self, habits: dict[str, Habit]) -> None:
        now_ms = await self._upkeep.time_ms()
        raised = await self._raising.raised()
        await self._keep(habits, now_ms)
        silent = set()
        for count, (name, habit) in enumerate(habits.items()):
            if count % AT_A_TIME == 0:
                await asyncio.sleep(0)
            found = self._judgement(name, habit, now_ms)
            if isinstance(found, Silent):
                silent.add(name)
                if name not in raised:
                    detail = f"not heard for {in_words(found.quiet_ms)}; expected {found.expected}"
                    await self._raising.raise_(name, detail)
        for name in raised.keys() - silent:
            was_heard = name in habits and habits[name].last_at_ms > raised[name].raised_at_ms
            await self._raising.clear(name, "heard again" if was_heard else "not waited for any more")
        self._silent = silent

    def _judgement(self, name: str, habit: Habit, now_ms: int) -> Judgement | None:
        set_ms = self._set.get(name)
        if set_ms == 0 or (set_ms is None and not self._learns):
            return None
        return judge(habit, now_ms, self._rules, set_ms)

    async def _keep(self, habits: dict[str, Habit], now_ms: int) -> None:
        """Wait for those whose time is set from now on, and forget who was not heard for weeks."""
        waited = {name for name, ms in self._set.items() if ms}
        changed: dict[str, Habit | None] = {name: awaited(now_ms) for name in waited - habits.keys()}
        for name, habit in habits.items():
            if name not in waited and now_ms - habit.last_at_ms > FORGET_MS:
                changed[name] = None
        if not changed:
            return
        for name, change in changed.items():
            if change is None:
                del habits[name]
            else:
                habits[name] = change
        first = self._shards.first
        at = self._cursors[first.number] or BEGINNING
        await self._learn(first, self._cursors[first.number], at, changed)


def _cursor(shard: Shard) -> str:
    return f"journal:{shard.number}"
