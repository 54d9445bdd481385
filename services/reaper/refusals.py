"""Counts refused posts, and tells of an unexpected rise."""

from collections import Counter, deque
from typing import Final

from libs.common.policy.length_in_words import in_words
from libs.common.policy.rise import Counts, RiseRules, counted, rate
from libs.common.runtime.watchdog_settings import RefusalSettings
from libs.common.store.journal import Outcome, unadmitted_post
from libs.common.store.shards import Shard
from libs.common.store.streams import PAGE, page_after
from libs.common.store.turns import Turn
from libs.common.store.upkeep import Upkeep
from libs.common.store.watch import BEGINNING, Watch
from services.reaper.raising import Raising

INTERVAL_S: Final = 5.0
CURSOR: Final = "refused"
CODES_KEPT: Final = 1_000
NAMED_AT_MOST: Final = 3


class Refusals:
    """Reads what was refused; where a flood has pushed some of it out, the rest is enough to see the rise."""

    name = "refusals"

    def __init__(
        self, shard: Shard, watch: Watch, raising: Raising, turn: Turn, settings: RefusalSettings
    ) -> None:
        """Args:
        shard: The first, where refused posts are.
        watch: Where the counts are kept.
        raising: Of refusals.
        turn: One reaper counts.
        settings: What counts as a rise.
        """
        self._shard = shard
        self._upkeep = Upkeep(shard.client, shard.keys)
        self._watch = watch
        self._raising = raising
        self._turn = turn
        self._rules = RiseRules(int(settings.window_ms), settings.factor, settings.least)
        self._interval_s = min(INTERVAL_S, settings.window_ms / 10_000)
        self._codes: deque[tuple[int, str]] = deque(maxlen=CODES_KEPT)
        """When, and why; for words alone."""

    async def run_once(self) -> float:
        """Count what came, and judge it."""
        if not await self._turn.take():
            return self._interval_s
        before, counts = await self._watch.cursor(CURSOR), await self._watch.counts()
        page = await page_after(self._shard.client, self._shard.keys.refused, before or BEGINNING)
        window_ms = self._rules.window_ms
        now_ms = await self._upkeep.time_ms()
        # A stream gives no time before its last one: after a clock has stepped back, all are from the future.
        posts = [
            (min(post.at_ms, now_ms), post.code)
            for post in map(unadmitted_post, page)
            if post.outcome is Outcome.REFUSED
        ]
        self._codes.extend(posts)
        # Window by window: each count copies all of them.
        for window, times in sorted(Counter(at_ms // window_ms for at_ms, _ in posts).items()):
            counts = counted(counts, window * window_ms, window_ms, times)
        if counts is None or counts.window_ms != self._rules.window_ms:
            # The quiet before the first refused post is history too.
            counts = Counts(window_ms=self._rules.window_ms, since_ms=now_ms)
            page_end = page[-1].entry_id if page else before or BEGINNING
            await self._watch.learn_counts(CURSOR, before, page_end, counts)
        elif page and not await self._watch.learn_counts(CURSOR, before, page[-1].entry_id, counts):
            return self._interval_s
        if len(page) == PAGE:
            return 0.0
        await self._judge(counts, now_ms)
        return self._interval_s

    async def _judge(self, counts: Counts, now_ms: int) -> None:
        is_raised = "" in await self._raising.raised()
        found = rate(counts, now_ms, self._rules, is_raised=is_raised)
        window = in_words(self._rules.window_ms)
        if found.is_rising and not is_raised:
            codes = Counter(code for at_ms, code in self._codes if at_ms > now_ms - self._rules.window_ms)
            most = ", ".join(f"{code} ({number})" for code, number in codes.most_common(NAMED_AT_MOST))
            detail = f"{_posts(found.count)} refused in {window}, usually at most {found.usual}"
            await self._raising.raise_("", f"{detail}; most: {most}" if most else detail)
        elif is_raised and not found.is_rising:
            await self._raising.clear("", f"{_posts(found.count)} refused in {window}")


def _posts(count: int) -> str:
    return f"{count} post{'' if count == 1 else 's'}"
