"""What must hold after every step: of what Redis holds, and of what it let through."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import redis as sync_redis

from libs.common.domain.ids import AccountName, LaneName, client_order_id
from libs.common.domain.lifecycle import ENDED, INSTRUCTION_MOVES, ORDER_MOVES, InstructionState, OrderState
from libs.common.policy.halts import parse_scope
from libs.common.store.keys import Keys
from tests.fuzz.promises import Instruction, begun_by
from tests.fuzz.venue import Report

LOOK: Final = """
-- KEYS: lanes, parked, ready, then the streams of the lanes named first in ARGV, then records of instructions, each
-- followed by those of its orders and the reservations of its account. Returns per lane what is wrong with it or '',
-- tokens without a fence, then per instruction: state, states of its orders, reservations of its orders.
local found, at = {}, 3 + #ARGV
for n, lane in ipairs(ARGV) do
  local fence, due = redis.call('HGET', KEYS[1], lane), redis.call('ZSCORE', KEYS[2], lane)
  local has_work = redis.call('EXISTS', KEYS[3 + n]) == 1
  local wrong = ''
  if fence and due then
    wrong = 'both held and parked'
  elseif has_work and not fence and not due then
    wrong = 'work and nobody to do it'
  elseif fence and not has_work then
    wrong = 'a token and no work'
  elseif fence then
    local token = string.match(fence, '^[^|]*')
    if #redis.call('XRANGE', KEYS[3], token, token) == 0 then wrong = 'its token is gone' end
  end
  found[n] = wrong
end
found[#found + 1] = redis.call('XLEN', KEYS[3]) - redis.call('HLEN', KEYS[1])
while at < #KEYS do
  found[#found + 1] = {redis.call('HGET', KEYS[at + 1], 'state') or '',
    redis.call('HGET', KEYS[at + 2], 'state') or '', redis.call('HGET', KEYS[at + 3], 'state') or '',
    redis.call('HGET', KEYS[at + 4], string.match(KEYS[at + 2], '[^:]*$')) or '',
    redis.call('HGET', KEYS[at + 4], string.match(KEYS[at + 3], '[^:]*$')) or ''}
  at = at + 4
end
return found
"""

PROBE_MS: Final = 30
RESET_MS: Final = 40


class Watch:
    """Reports what must not be."""

    def __init__(
        self,
        direct: sync_redis.Redis,
        keys: Keys,
        lanes: Sequence[LaneName],
        report: Report,
        now_ms: Callable[[], int],
    ) -> None:
        self.is_damaged = False
        """Whether somebody deleted something that the audit has not healed yet."""
        self.has_orphans = False
        """Whether tokens may be left that no lane has."""
        self.is_clock_new = False
        """Whether the clock was set back since the reaper last saw to what is due."""
        self._direct = direct
        self._keys = keys
        self._lanes = lanes
        self._report = report
        self._now_ms = now_ms
        self._halts: dict[str, str] = {}
        self._breakers: dict[str, tuple[int, int]] = {}
        """Open ones: when an order may be tried again, and until when one that was is waited for."""
        self._paused_until_ms: dict[str, int] = {}
        self._gos: set[tuple[str, str, str]] = set()
        self._states: dict[str, str] = {}
        self._is_new = False
        """Whether the next look is the first."""

    # What Redis let through.

    def executed(self, name: str, keys: Sequence[str], args: Sequence[Any], reply: Any) -> None:
        """Take note of a call that Redis executed."""
        if name == "halt" and reply[0] == b"DONE":
            if args[1] == "SET":
                self._halts[args[2]] = reply[1].decode().partition("|")[0]
            else:
                self._halts.pop(args[2], None)
        elif name == "promote" and self.is_clock_new:
            # It moves back all times, those set since the clock was too.
            self.is_clock_new = False
            self.forget()
        elif name == "report":
            self._saw_report(args, reply[0])
        elif name in {"begin", "settle", "take"}:
            for item, answer in begun_by(name, keys, args, reply):
                self._saw_begin(item, answer)

    def forget(self) -> None:
        """Take times and states for unknown: the clock was set, or Redis fell back to what it was."""
        self._breakers.clear()
        self._paused_until_ms.clear()

    def fall_back(self, halts: dict[str, str]) -> None:
        """Begin anew with what a replica knew."""
        self.forget()
        self._is_new = True
        self._halts = dict(halts)

    @property
    def halts(self) -> dict[str, str]:
        """Return what is halted: scope -> mode."""
        return dict(self._halts)

    def _saw_report(self, args: Sequence[Any], answer: list[bytes]) -> None:
        scope, verdict, reset_ms = args[1], args[3], int(args[4])
        if answer[0] != b"OK":
            return
        if verdict == "PAUSE":
            self._paused_until_ms[scope] = self._now_ms() + reset_ms
        elif verdict == "OPEN":
            self._breakers[scope] = (self._now_ms() + reset_ms, 0)
        elif verdict == "CLOSE":
            self._breakers.pop(scope, None)
        elif scope in self._breakers:
            self._breakers[scope] = (self._breakers[scope][0], 0)

    def _saw_begin(self, item: Sequence[Any], answer: list[bytes]) -> None:
        now_ms = self._now_ms()
        if answer[0] == b"WAIT" and int(answer[1]) <= now_ms:
            self._report("A WAIT THAT IS OVER", answer)
        if answer[0] != b"GO":
            return
        attempt = (str(item[4]), str(item[5]), str(item[6]))
        if attempt in self._gos:
            return
        self._gos.add(attempt)
        account, market, is_exit = str(item[0]).split(":")[0], item[14], "x" in item[16]
        if self._stops(AccountName(account), item[15] or None, market, is_exit=is_exit):
            self._report("GO THOUGH HALTED", (item[0], self._halts))
        if int(answer[1]) <= now_ms:
            self._report("GO THOUGH EXPIRED", answer)
        if self._paused_until_ms.get(f"{account}|pause", 0) > now_ms:
            self._report("GO IN A PAUSE", item[0])
        for scope, is_probe in ((f"{account}:{market}", answer[5]), (account, answer[7])):
            self._saw_permit(scope, is_probe == b"1")

    def _saw_permit(self, scope: str, is_probe: bool) -> None:
        if scope not in self._breakers:
            return
        reset_at_ms, probe_until_ms = self._breakers[scope]
        if not is_probe or self._now_ms() < max(reset_at_ms, probe_until_ms):
            self._report("GO THROUGH AN OPEN BREAKER", scope)
        self._breakers[scope] = (reset_at_ms, self._now_ms() + PROBE_MS)

    def _stops(self, account: AccountName, strategy: str | None, market: Any, *, is_exit: bool) -> bool:
        modes = {
            mode
            for scope, mode in self._halts.items()
            if parse_scope(scope).covers(account, strategy, market)
        }
        return bool(modes & {"reject", "pause"}) or ("close-only" in modes and not is_exit)

    # What Redis holds.

    def look(self, look: Callable[..., Any], instructions: Sequence[Instruction]) -> None:
        """Hold what there is against what may be.

        Args:
            look: Runs `LOOK`.
            instructions: All that were admitted.
        """
        keys = [self._keys.lanes, self._keys.parked, self._keys.ready]
        keys += [self._keys.lane(lane) for lane in self._lanes]
        for alert, account in instructions:
            keys.append(self._keys.instruction(alert, account))
            keys += [self._keys.order(client_order_id(account, alert, leg)) for leg in (0, 1)]
            keys.append(self._keys.risk(account))
        found = look(keys=keys, args=self._lanes)
        count = len(self._lanes)
        if not self.is_damaged:
            for lane, wrong in zip(self._lanes, found[:count], strict=True):
                if wrong:
                    self._report("LANE", (lane, wrong))
            if found[count] and not self.has_orphans:
                self._report("LANE", f"{found[count]} tokens more than lanes that have one")
        if self._is_new:
            self._states.clear()
        for n, (state, first, second, *reserved) in enumerate(found[count + 1 :]):
            at = 3 + count + 4 * n
            self._saw_state(keys[at], state)
            self._saw_state(keys[at + 1], first)
            self._saw_state(keys[at + 2], second)
            if state in ENDED and any(held.endswith("|0") for held in reserved):
                self._report("RESERVED THOUGH IT ENDED", keys[at])
        self._is_new = False

    def _saw_state(self, key: str, after: str) -> None:
        before = self._states.get(key, "")
        if before == after:
            return
        self._states[key] = after
        if self._is_new:
            return
        if not after:
            self._report("A RECORD IS GONE", (key, before))
            return
        if ":instruction:" in key:
            is_legal = (
                InstructionState(after) in INSTRUCTION_MOVES[InstructionState(before) if before else None]
            )
        else:
            is_legal = OrderState(after) in ORDER_MOVES[OrderState(before) if before else None]
        if not is_legal:
            self._report("ILLEGAL MOVE", (key, before, after))
