"""What Redis executed, whoever was told of it, and the promises that must hold whatever was lost on the way."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from libs.common.domain.ids import AccountName, AlertId, client_order_id
from libs.common.domain.lifecycle import ENDED, WORST_FIRST, InstructionState
from libs.common.store.keys import Keys
from libs.common.store.orders import NO_LIMIT
from tests.fuzz.venue import Report, Request, Venue
from tests.support.stray_keys import find_stray_keys

Instruction = tuple[AlertId, AccountName]


@dataclass(frozen=True)
class Memory:
    """What was promised up to some time."""

    positions: dict[Instruction, int]
    flips: set[Instruction]
    replays: Counter[Instruction]
    acknowledged: set[AlertId]
    admitted: dict[str, set[AlertId]]


class Promises:
    """Watches the calls that Redis executes, and holds the end against them."""

    def __init__(
        self,
        direct: Any,
        keys: Keys,
        venue: Venue,
        report: Report,
        *,
        now_ms: Callable[[], int],
        unsent: Callable[[], list[Request]],
        is_flip: Callable[[AlertId], bool],
        poison_limit: int,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.positions: dict[Instruction, int] = {}
        """Where each instruction stands in the order in which they were queued."""
        self.acknowledged: set[AlertId] = set()
        self._flips: set[Instruction] = set()
        self._replays: Counter[Instruction] = Counter()
        self._forgotten_replays: set[Instruction] = set()
        """Dead letters that are letters again, though their replay may have traded: a next one is looked up first."""
        self._admitted: dict[str, set[AlertId]] = {}
        self._gos: dict[tuple[str, ...], tuple[int, str, str]] = {}
        self._queued = 0
        self._has_fallen_back = False
        self._direct = direct
        self._keys = keys
        self._venue = venue
        self._report = report
        self._now_ms = now_ms
        self._unsent = unsent
        self._is_flip = is_flip
        self._poison_limit = poison_limit

    def executed(self, name: str, keys: Sequence[str], args: Sequence[Any], reply: Any) -> None:
        """Take note of a call."""
        if name == "admit":
            self._saw_admissions(keys, reply)
        elif name in {"begin", "settle", "take"}:
            self._saw_begins(name, keys, args, reply)
        elif name == "resolve":
            self._saw_findings(keys, args, reply)
        elif name == "replay" and reply[0] == b"OK":
            key = (AlertId(reply[1].decode()), AccountName(reply[2].decode()))
            self._queue(key)
            self._replays[key] += 1

    def memory(self) -> Memory:
        """Return what a replica would know that has come so far."""
        return Memory(
            dict(self.positions),
            set(self._flips),
            Counter(self._replays),
            set(self.acknowledged),
            {key: set(alerts) for key, alerts in self._admitted.items()},
        )

    def fall_back_to(self, memory: Memory) -> set[Instruction]:
        """Take what came after for lost; returns those instructions of which nothing is left."""
        self._has_fallen_back = True
        lost = self.positions.keys() - memory.positions.keys()
        self._forgotten_replays |= {
            key for key, count in self._replays.items() if count > memory.replays[key]
        }
        self.positions = dict(memory.positions)
        self._flips = set(memory.flips)
        self._replays = Counter(memory.replays)
        self.acknowledged = set(memory.acknowledged)
        self._admitted = {key: set(alerts) for key, alerts in memory.admitted.items()}
        return lost

    def forget_rates(self) -> None:
        """Count the rates from here on."""
        self._gos.clear()

    def _queue(self, key: Instruction) -> None:
        self._queued += 1
        self.positions[key] = self._queued

    def _saw_admissions(self, keys: Sequence[str], reply: Any) -> None:
        answers = [answer for answer in reply if isinstance(answer, list)]
        starts = [at for at, key in enumerate(keys) if key.startswith(f"{self._keys.prefix}alert:")]
        for answer, start, end in zip(answers, starts, [*starts[1:], len(keys)], strict=True):
            alert = AlertId(keys[start].rpartition(":")[2])
            known = self._admitted.setdefault(keys[start + 1], set())
            if answer[0] != b"ADMITTED" or alert in known:
                continue
            known.add(alert)
            if len(known) > 1:
                self._report("ADMITTED TWICE", known)
            for key in keys[start:end]:
                if key.startswith(f"{self._keys.prefix}instruction:"):
                    instruction = (alert, AccountName(key.rpartition(":")[2]))
                    self._queue(instruction)
                    if self._is_flip(alert):
                        self._flips.add(instruction)

    def _saw_begins(self, name: str, keys: Sequence[str], args: Sequence[Any], reply: Any) -> None:
        for one, answer in begun_by(name, keys, args, reply):
            if answer[0] == b"GO":
                account, market = one[0].split(":")[:2]
                attempt = (str(one[4]), str(one[5]), str(one[6]))
                self._gos.setdefault(attempt, (self._now_ms() + int(answer[2]), account, market))

    def _saw_findings(self, keys: Sequence[str], args: Sequence[Any], reply: Any) -> None:
        for one, answer in zip(items_of(keys, args, keys_each=1, args_before=1), reply, strict=True):
            if answer[0] != b"OK" or one[5] != "NOT_EXECUTED" or self._has_fallen_back:
                # What was forgotten may be of a later attempt, of which nothing is said.
                continue
            order, nonce, now_ms = one[3], one[6], self._now_ms()
            may_leave = any(_may_leave(request, order, nonce, now_ms) for request in self._unsent())
            if may_leave or self._venue.knows(order) or self._venue.may_still_execute(order, now_ms):
                self._report("NOT_EXECUTED BELIEVED TOO EARLY", order)

    # The end.

    def is_at_rest(self) -> bool:
        """Tell whether no lane, token, parked lane or request is left."""
        return not (
            self._direct.hlen(self._keys.lanes)
            or self._direct.xlen(self._keys.ready)
            or self._direct.zcard(self._keys.parked)
            or self._direct.keys(f"{self._keys.prefix}lane:*")
            or self._venue.travelling
        )

    def check_the_end(self) -> None:
        """Report what did not come to a good end."""
        admitted = {alert for alerts in self._admitted.values() for alert in alerts}
        for alert in self.acknowledged - admitted:
            self._report("ACKNOWLEDGED BUT NOT ADMITTED", alert)
        ends = Counter(
            (fields["alert"], fields["account"])
            for _, fields in self._direct.xrange(self._keys.journal)
            if fields["event"] in ENDED and fields["alert"]
        )
        states: dict[AlertId, list[InstructionState]] = {}
        for key in self.positions:
            state = self._check_instruction(key, ends[key])
            if state is not None:
                states.setdefault(key[0], []).append(state)
        for alert, of_accounts in states.items():
            overall = self._direct.hmget(self._keys.alert(alert), "state", "open")
            if overall != [min(of_accounts, key=WORST_FIRST.index), "0"]:
                self._report("ALERT", (alert, overall, of_accounts))
        if not self.is_at_rest():
            left = [self._direct.hgetall(self._keys.lanes), self._direct.xrange(self._keys.ready)]
            self._report("LEFT", [*left, self._direct.keys(f"{self._keys.prefix}lane:*")])
        stray = find_stray_keys(self._direct)
        if stray:
            self._report("LEFT", stray)

    def _check_instruction(self, key: Instruction, ends: int) -> InstructionState | None:
        alert, account = key
        record = self._direct.hgetall(self._keys.instruction(alert, account))
        if record.get("state") not in ENDED:
            self._report("STUCK", (key, record))
            return None
        state = InstructionState(record["state"])
        self.counts[state] += 1
        executed = [self._venue.knows(client_order_id(account, alert, leg)) for leg in (0, 1)]
        is_flip = key in self._flips
        if executed[1] and not (executed[0] and is_flip):
            self._report("OPENED BEFORE IT CLOSED", (key, record))
        is_letter_again = key in self._forgotten_replays and state is not InstructionState.EXECUTED
        if not is_letter_again and executed[1 if is_flip else 0] != (state is InstructionState.EXECUTED):
            self._report(
                "PHANTOM" if state is InstructionState.EXECUTED else "EXECUTED UNNOTICED", (key, record)
            )
        if ends != 1 + self._replays[key]:
            self._report("SETTLED TWICE", (key, ends, self._replays[key]))
        if record["reason"] == "poison" and int(record["lost_holders"]) < self._poison_limit:
            self._report("POISON", (key, record))
        return state

    def check_rates(self, symbol: tuple[int, int], account: tuple[int, int]) -> None:
        """Report where more left than a rate and its burst allow, in any window."""
        for names, limit in ((1, account), (2, symbol)):
            if limit == NO_LIMIT:
                continue
            full_at_us: dict[tuple[str, ...], int] = {}
            for at_ms, *name in sorted(self._gos.values()):
                scope = tuple(name[:names])
                full = max(full_at_us.get(scope, 0), at_ms * 1_000) + limit[0]
                if full - at_ms * 1_000 > limit[0] * limit[1]:
                    self._report("LIMIT", (scope, at_ms, limit))
                full_at_us[scope] = full


def items_of(
    keys: Sequence[str], args: Sequence[Any], *, keys_each: int, args_before: int
) -> list[Sequence[Any]]:
    """Return the arguments of each item of a call.

    Args:
        keys: Those of the call, the fixed ones first.
        args: Those of the call.
        keys_each: How many keys an item has.
        args_before: How many arguments come before those of the items.
    """
    count = (len(keys) - 8) // keys_each
    each = (len(args) - args_before) // count if count else 0
    return [args[args_before + each * n : args_before + each * (n + 1)] for n in range(count)]


def settlements_of(args: Sequence[Any]) -> list[Sequence[Any]]:
    """Return the arguments of each item of a call of `settle`, whose intents come behind them."""
    return [args[at : at + 15] for at in range(6, 6 + 15 * int(args[5]), 15)]


def begun_by(
    name: str, keys: Sequence[str], args: Sequence[Any], reply: Sequence[Any]
) -> list[tuple[Sequence[Any], Any]]:
    """Return what a call of `begin`, `settle` or `take` would have begun, each as an item of `begin` and its answer."""
    if name != "settle":
        items = items_of(keys, args, keys_each=4, args_before=3)
        if name == "begin":
            return list(zip(items, reply, strict=True))
        return [
            ([*one[:3], *one[4:]], answer[5])
            for one, answer in zip(items, reply, strict=True)
            if answer[0] == b"BEGUN"
        ]
    settlements = settlements_of(args)
    first, found = 6 + 15 * len(settlements), list[tuple[Sequence[Any], Any]]()
    for one, answer in zip(settlements, reply, strict=True):
        if answer[0] == b"BEGUN":
            at = first + 17 * (int(one[14]) - 1)
            found.append(([*one[:3], *args[at : at + 17]], answer[5]))
    return found


def _may_leave(request: Request, order: str, nonce: str, now_ms: int) -> bool:
    # Its own sender, who is about to forget it, knows best.
    return request.order_id == order and request.expires_at_ms >= now_ms and request.nonce != nonce
