"""Single changes to the scripts, each of which takes one rule out; a test must notice every one of them."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Final
from unittest.mock import patch

from libs.common.store import scripts
from tests.fuzz.guards import Guard, find_guards

VARIABLE: Final = "BASCULE_MUTATION"
"""The name of the mutation that the script tests are to run against."""

FUZZ: Final = "fuzz"


@dataclass(frozen=True)
class Mutation:
    """One rule taken out of one script."""

    name: str
    script: str
    old: str
    """Must occur exactly once."""
    new: str
    noticed_by: str
    """`fuzz`, or the module of tests in `tests/integration/libs/common/store/lua`."""
    also: tuple[str, ...] = ()
    """Mutations that go with it, where one rule alone stands in for another."""

    def read(self, script: str) -> str:
        """Return the source of a script, changed if it is this one."""
        source = files("libs.common.store").joinpath("lua", f"{script}.lua").read_text(encoding="utf-8")
        for name in self.also:
            source = MUTATIONS[name].change(script, source)
        return self.change(script, source)

    def change(self, script: str, source: str) -> str:
        """Return the source without the rule, if it is this script's."""
        if script != self.script:
            return source
        found = source.count(self.old)
        assert found == 1, f"{self.name}: what it takes out occurs {found} times in {script}.lua"
        return source.replace(self.old, self.new)


def mutated_reader() -> Callable[[str], str] | None:
    """Return what reads the scripts in place of the real reader, where the environment asks for it."""
    name = os.environ.get(VARIABLE)
    if not name:
        return None
    return MUTATIONS[name].read if name in MUTATIONS else find_guards()[name].read


@contextmanager
def applied(mutation: Mutation | Guard) -> Iterator[None]:
    """Make every script that is built meanwhile a changed one."""
    with patch.object(scripts, "_read", mutation.read):
        yield


_ALL: Final = (
    # Who holds a lane.
    Mutation(
        "no holder in the fence", "prelude",
        "return redis.call('HGET', LANES, lane) == token .. '|' .. holder end",
        "return token_of(redis.call('HGET', LANES, lane)) == token end",
        "test_begin",
    ),
    Mutation(
        "no fence in begin", "begin", "if not is_held(lane, token, holder) then return {'STALE'} end", "", "test_begin"
    ),
    Mutation(
        "no fence in resolve",
        "resolve",
        "if not is_held(lane, token, holder) then return {'STALE'} end",
        "",
        "test_resolve",
    ),
    Mutation(
        "no fence in settle",
        "settle",
        "if not is_held(lane, token, holder) then return {'STALE'} end",
        "",
        "test_settle",
    ),
    Mutation(
        "no fence in renew",
        "renew",
        "if not is_held(lane, token, holder) then return {'STALE'} end",
        "",
        "test_renew",
    ),
    Mutation(
        "no fence in yield",
        "yield",
        "if fence ~= token .. '|' .. holder and fence ~= token .. '|' then return {'STALE'} end",
        "",
        "test_yield",
    ),
    Mutation(
        "no fence in park",
        "park",
        "if fence ~= token .. '|' .. holder and fence ~= token .. '|' then return {'STALE'} end",
        "",
        "test_park",
    ),
    Mutation(
        "open takes a lane with an old token",
        "prelude",
        "if token_of(redis.call('HGET', LANES, lane)) ~= token then",
        "if false then",
        "test_open",
    ),
    Mutation(
        "open keeps a stale token",
        "prelude",
        "    drop_token(token)\n    return false",
        "    return false",
        "test_open",
    ),
    # One order.
    Mutation("no compare-and-set in begin", "intent", "if not may_send then return {'STATE'} end", "", "test_begin"),
    Mutation(
        "neither compare-and-set nor fence in begin", "intent", "if not may_send then return {'STATE'} end", "", FUZZ,
        ("no fence in begin",),
    ),
    Mutation(
        "neither compare-and-set nor holder", "intent", "if not may_send then return {'STATE'} end", "", FUZZ,
        ("no holder in the fence",),
    ),
    Mutation(
        "begin for what is not the head", "begin", "if head ~= intent.entry then return {'STATE'} end", "", "test_begin"
    ),
    Mutation(
        "a re-sent begin is another one",
        "intent",
        "if known[1] == 'SENDING' and known[2] == attempt and known[3] == nonce then",
        "if false then",
        "test_begin",
    ),
    Mutation("no deadline in begin", "intent", "if NOW >= deadline then return {'EXPIRED'} end", "", "test_begin"),
    Mutation(
        "a request outlives its alert",
        "intent",
        "text(math.min(NOW + wait + intent.window, deadline))",
        "text(NOW + wait + intent.window)",
        FUZZ,
    ),
    Mutation(
        "a wait keeps the blame",
        "intent",
        "    redis.call('HSET', key, 'running', '')\n    return {'WAIT'",
        "    return {'WAIT'",
        "test_begin",
    ),
    Mutation("no expiry in resolve", "resolve", "if early >= 0 then", "if false then", FUZZ),
    Mutation("expiry a millisecond early in resolve", "resolve", "if early >= 0 then", "if early > 0 then", "test_resolve"),
    Mutation(
        "anybody's nonce in resolve",
        "resolve",
        "local is_senders_own = nonce ~= '' and nonce == known[3]",
        "local is_senders_own = nonce ~= ''",
        "test_resolve",
    ),
    Mutation(
        "any attempt in resolve", "resolve", "if known[2] ~= attempt then return {'STATE'} end", "", "test_resolve"
    ),
    Mutation(
        "no compare-and-set in resolve",
        "resolve",
        "if not may_move then return {'STATE'} end",
        "",
        "test_resolve",
    ),
    Mutation(
        "a look-up told twice counts twice",
        "resolve",
        "if nonce ~= '' and nonce == known[8] then return {'OK', known[7]} end",
        "",
        "test_resolve",
    ),
    Mutation(
        "settle for what is not the head",
        "settle",
        "  if head ~= entry then return begin_if_meant(entries[1], entries[2]) end\n",
        "  entry = head\n",
        FUZZ,
    ),
    Mutation(
        "settle while the order may execute",
        "settle",
        "if AMBIGUOUS[found] and not is_given_up then return {'STATE'} end",
        "",
        "test_settle",
    ),
    Mutation(
        "settle by another attempt", "settle", "if known[2] ~= attempt then return {'STATE'} end", "", "test_settle"
    ),
    Mutation(
        "settle against what is known",
        "settle",
        "if not ends_order and known[1] ~= order_state then return {'STATE'} end",
        "",
        "test_settle",
    ),
    # Ends.
    Mutation("the end keeps the entry", "prelude", "  redis.call('XDEL', lane_key, entry_id)\n", "", FUZZ),
    Mutation(
        "ended instructions stay", "prelude",
        "      redis.call('PEXPIRE', instruction_key(fields.alert, account), stays)\n", "", FUZZ,
    ),
    Mutation(
        "ended orders stay",
        "prelude",
        "      redis.call('PEXPIRE', order_key, keep_dead)\n",
        "",
        FUZZ,
    ),
    Mutation(
        "orders expire before their letters",
        "prelude",
        "      redis.call('PEXPIRE', order_key, keep_dead)\n",
        "      redis.call('PEXPIRE', order_key, keep)\n",
        "test_settle",
    ),
    Mutation(
        "no dead letter",
        "prelude",
        "local leaves_letter = SEVERITY[state] > SEVERITY.SKIPPED",
        "local leaves_letter = false",
        "test_settle",
    ),
    Mutation(
        "an alert ends with its first instruction", "prelude", "  if open > 0 then", "  if false then", "test_settle"
    ),
    Mutation(
        "the next head is handed out unread",
        "prelude",
        "if not head or not is_readable(fields) then",
        "if not head then",
        "test_unreadable",
    ),
    Mutation("no lease is renewed", "begin", "renew_leases()\n", "", "test_begin"),
    Mutation(
        "the first end stands for the alert",
        "prelude",
        "if SEVERITY[state] > SEVERITY[worst] then worst = state end",
        "",
        FUZZ,
    ),
    Mutation("a closed lane keeps its stream", "prelude", "  redis.call('DEL', lane_key)\n", "", FUZZ),
    Mutation("a closed lane keeps its fence", "prelude", "  redis.call('HDEL', LANES, lane)\n  drop_token", "  drop_token", "test_settle"),
    Mutation(
        "a closed lane keeps its token",
        "prelude",
        "  drop_token(token)\n  return {'CLOSED'}",
        "  return {'CLOSED'}",
        "test_settle",
    ),
    Mutation(
        "a dropped token stays pending", "prelude", "  redis.call('XACK', READY, GROUP, token)\n", "", "test_settle"
    ),
    Mutation(
        "junk is handed out",
        "prelude",
        "string.find(fields.deadline, '^%d+$') and #fields.deadline < 16",
        "tonumber(fields.deadline)",
        "test_open",
    ),
    Mutation("junk stays in its lane", "prelude", "  redis.call('XDEL', lane_key, entry[1])\n", "  error('junk')\n", FUZZ),
    Mutation(
        "no holder is noted", "prelude", "redis.call('HSET', key, 'state', 'ACTIVE', 'running', token)",
        "redis.call('HSET', key, 'state', 'ACTIVE')", "test_reclaim",
    ),
    # All scripts.
    Mutation(
        "workers are denied when Redis is full", "prelude", "redis.call('DEL', PREFIX) end", "end", "test_settle"
    ),
    Mutation(
        "a fail-over is trusted to have lost nothing", "prelude",
        "return (tonumber(epoch or '') or 0) < EPOCH", "return false", FUZZ,
    ),
    Mutation(
        "one bad item fails its flight", "prelude", "local ok, answer = pcall(item, i)",
        "local ok, answer = true, item(i)", "test_settle",
    ),
    Mutation(
        "a lease that cannot be renewed raises", "prelude",
        "redis.pcall('XCLAIM', READY, GROUP, holder, '0', unpack(tokens))",
        "redis.call('XCLAIM', READY, GROUP, holder, '0', unpack(tokens))", FUZZ,
    ),
    # Admission.
    Mutation(
        "no dedup key", "admit",
        "  redis.call('SET', seen, alert .. '|' .. digest, 'PX', terms.window)\n", "", FUZZ,
    ),
    Mutation(
        "a re-sent admission is a duplicate", "admit",
        "      if known == alert then return nil, {'ADMITTED', known} end\n", "", "test_admit",
    ),
    Mutation(
        "another body under an id is a duplicate", "admit",
        "      if terms.is_sender_id and known_digest ~= digest then return nil, {'CONFLICT', known or ''} end\n", "",
        "test_admit",
    ),
    Mutation("a resend takes a free place of its bar", "admit", "if known_digest == digest then", "if false then", "test_admit"),
    Mutation("a rate that counts nothing", "admit", "  if full_at then redis.call('SET', bucket", "  if false then redis.call('SET', bucket", "test_admit"),
    Mutation("a rate that lets one more in", "admit", "if ahead > 0 then", "if ahead > terms.interval then", "test_admit"),
    Mutation("a clock that stepped back closes the door", "admit", "if full_at > NOW_US + depth then full_at = 0 end", "", "test_admit"),
    Mutation("a declined share is queued", "admit", "if to.state == '' then", "if true then", "test_admit"),
    Mutation("a skipped share leaves a dead letter", "admit", "if SEVERITY[to.state] > SEVERITY.SKIPPED then", "if true then", "test_admit"),
    Mutation("a part is queued anew", "admit", "if terms.is_part then return nil", "if terms.is_part then return KEYS[at] end if false then return nil", "test_admit"),
    Mutation("a part that nobody takes stays for ever", "admit", "if #terms.takers == 0 then", "if false then", "test_admit"),
    Mutation("any number of shards", "layout", "if number then return {number, how or ''} end", "", "../test_layout"),
    Mutation("refused posts without a bound", "prelude", "  while total > max_bytes do", "  while false do", "test_refuse"),
    Mutation("a change upon what is there no more", "configure", "if held ~= ARGV[3] then return {'CHANGED'} end", "", "test_configure"),
    Mutation("a change that nobody hears of", "configure", "redis.call('HINCRBY', META, 'revision', 1)", "0", "test_configure"),
    Mutation("a lane gets no token", "admit", "    if lacks_token and lacks_token[n] then\n", "    if false then\n", "test_admit"),
    Mutation("a lane gets a token for each alert", "admit", "if lacks_token and lacks_token[n] then", "if true then", "test_admit"),
    Mutation(
        "a parked lane gets a token", "admit", " and not redis.call('ZSCORE', PARKED, lane) then", " then", "test_admit"
    ),
    Mutation("an operator is kept in at the memory limit", "admit", "if ARGV[6] ~= '' then write_even_when_full() end\n", "", "test_room"),
    Mutation("everybody gets in at the memory limit", "admit", "if ARGV[6] ~= '' then", "if true then", "test_room"),
    Mutation("half an admission", "admit", "local waiting = redis.call('XLEN', KEYS[key_at + to.key + 1])", "local waiting = 0", "test_admit"),
    Mutation(
        "a full lane takes more", "admit",
        "    if waiting >= most then return {'LANE_FULL', lane, text(waiting)} end\n", "", "test_room",
    ),
    Mutation("a full lane takes one more", "admit", "if waiting >= most then", "if waiting > most then", "test_room"),
    Mutation(
        "a full Redis takes more", "admit", "  if is_memory_full then return {'MEMORY_FULL', ''} end\n", "", "test_room"
    ),
    Mutation(
        "a full Redis forgets what it admitted", "admit", "  if not seen then return answer end\n",
        "  if not seen and not is_memory_full then return answer end\n", "test_room",
    ),
    Mutation(
        "memory without a limit has no end", "prelude", "return used, figure('total_system_memory')", "return 0, 0",
        "test_room",
    ),
    Mutation(
        "a server that bars INFO admits nothing", "prelude", "redis.pcall('INFO', 'memory')",
        "redis.call('INFO', 'memory')", "test_room",
    ),
    Mutation("a probe that knows no memory", "probe", "local used, of = memory()", "local used, of = 0, 0", "test_room"),
    Mutation(
        "a fire time in the future counts", "admit",
        "math.min(tonumber(fired_at), NOW) + terms", "tonumber(fired_at) + terms", "test_admit",
    ),
    Mutation("one webhook's terms are everyone's", "admit", "all_terms[tonumber(ARGV[a])]", "all_terms[1]", "test_admit"),
    Mutation(
        "an alert that cannot be read moves those behind it", "admit",
        "  local seen, answer = claim(terms, key_at + 1, alert, digest)\n",
        "  k, a = key_at, word_at\n  local seen, answer = claim(terms, key_at + 1, alert, digest)\n"
        "  k, a = k + terms.keys, a + terms.words\n",
        "test_admit_together",
    ),
    # Moving lanes.
    Mutation(
        "a lane handed back has no token", "prelude",
        "  issue_token(lane)\n  return {'OK'}", "  return {'OK'}", "test_yield",
    ),
    Mutation(
        "a lane handed back keeps its old token", "prelude",
        "  drop_token(token)\n  issue_token(lane)\n  return", "  issue_token(lane)\n  return", "test_yield",
    ),
    Mutation("settle hands no lane back", "settle", "  if hands_back then\n", "  if false then\n", "test_settle"),
    Mutation("settle hands an empty lane back", "settle", "local hands_back = entries[2] and (", "local hands_back = (", "test_settle"),
    Mutation("settle begins another one", "settle", "entry_now and entry_now[1] == intent.entry", "true", "test_settle_and_begin"),
    Mutation("take begins another one", "take", "fields.alert == ARGV[a + 3]", "true", "test_take"),
    Mutation("take renews no lease", "take", "renew_leases()\n", "", "test_take"),
    Mutation("settle begins what was begun", "intent", "not may_be_begun or", "", "test_settle_and_begin"),
    Mutation("settle begins beside a plan", "intent", " and known.plan == ''", "", "test_settle_and_begin"),
    Mutation("a re-sent settle knows nothing of what it began", "intent", " or known.orders == intent.order", "", "test_settle_and_begin"),
    Mutation("settle begins what killed its holders", "intent", "known.lost_holders ~= '0' or ", "", "test_settle_and_begin"),
    Mutation("settle begins what may have left", "intent", " or is_suspect(known.epoch)", "", "test_settle_and_begin"),
    Mutation("settle keeps from history what it began", "intent", "  if begun[1] ~= 'GO' then redis.call('HSET', known.key, 'state', 'ACTIVE') end\n", "", "test_settle_and_begin"),
    Mutation("settle renews no lease", "settle", "renew_leases()\n", "", "test_settle_and_begin"),
    Mutation("a lane is wanted by nobody who waits", "settle", "'COUNT', GIVEN + 1) > GIVEN", "'COUNT', GIVEN + 1) > GIVEN + 1", "test_settle"),
    Mutation("a lane handed back is one that waits", "settle", "'COUNT', GIVEN + 1) > GIVEN", "'COUNT', 1) > 0", "test_settle"),
    Mutation("a lane is wanted by nobody who is parked", "settle", "redis.call('ZCARD', PARKED) > 0", "false", "test_settle"),
    Mutation("a holder keeps more than his share", "settle", "held * workers >= AROUND.lanes + workers", "false", "test_settle"),
    Mutation("one call hands back more than is beyond a share", "settle", "AROUND.held - GIVEN, ", "AROUND.held, ", "test_settle"),
    Mutation("few lanes are shared out", "settle", "held > FEW and ", "", "test_settle"),
    Mutation("a parked lane keeps its fence", "park", "  redis.call('HDEL', LANES, lane)\n", "", "test_park"),
    Mutation("a parked lane is forgotten", "park", "  redis.call('ZADD', PARKED, text(due), lane)\n", "", "test_park"),
    Mutation("a failure is not counted", "park", "if is_to_blame then redis.call('HINCRBY', key, 'lost_holders', 1) end", "", "test_park"),
    Mutation("promote issues no token", "promote", "    issue_token(lane)\n", "", "test_promote"),
    Mutation(
        "promote issues a second token", "promote", " and redis.call('HEXISTS', LANES, lane) == 0", "", "test_promote"
    ),
    Mutation(
        "promote ignores a clock that steps back", "promote", "local step = past and past - NOW or 0",
        "local step = 0", "test_promote",
    ),
    Mutation("promote forgets when it ran", "promote", "if not past or step > 0 or NOW", "if past and NOW", "test_promote"),
    Mutation("reclaim issues no token", "reclaim", "  issue_token(lane)\n", "", "test_reclaim"),
    Mutation("reclaim keeps the old token", "reclaim", "  drop_token(token)\n  issue_token", "  issue_token", "test_reclaim"),
    Mutation(
        "reclaim takes tokens that are not current", "reclaim",
        "if not lane or token_of(redis.call('HGET', LANES, lane)) ~= token then", "if not lane then", "test_reclaim",
    ),
    Mutation(
        "reclaim blames whoever is the head", "reclaim", "if redis.call('HGET', key, 'running') == token then",
        "if true then", "test_reclaim",
    ),
    Mutation("no grace after a gap", "reclaim", "or NOW - past > lease / 2 then", "then", "test_reclaim"),
    Mutation("no grace after the clock went back", "reclaim", "or NOW < past or", "or", "test_reclaim"),
    Mutation("no grace at first", "reclaim", "if not past or NOW < past", "if past and NOW < past", "test_reclaim"),
    Mutation(
        "a grace of one page", "reclaim", "    if #pending < 500 then break end\n", "    do break end\n", "test_reclaim"
    ),
    Mutation("no lapse is foreseen", "reclaim", "  if next_in < 0 or left < next_in then next_in = left end\n", "", "test_reclaim"),
    Mutation("reclaim of one page", "reclaim", "until cursor == '0-0' or", "until true or", "test_reclaim"),
    Mutation(
        "one bad lane stops reclaim", "reclaim", "if not pcall(reissue, token) then", "if reissue(token) then", "test_reclaim"
    ),
    Mutation(
        "the audit overlooks lost fences", "audit", "if not fence or not is_lost(token_of(fence)) then return end",
        "if true then return end", FUZZ,
    ),
    Mutation(
        "the audit overlooks streams", "audit",
        "if redis.call('HEXISTS', LANES, lane) == 0 and not redis.call('ZSCORE', PARKED, lane)", "if false", FUZZ,
    ),
    Mutation(
        "the audit takes what is not delivered for lost", "audit", "return at_or_before(token, delivered) and #", "return #", "test_audit"
    ),
    Mutation(
        "the audit takes what is deleted for waiting", "audit",
        "  if #redis.call('XRANGE', READY, token, token) == 0 then return true end\n", "", FUZZ,
    ),
    Mutation("the audit leaves orphans", "audit", "drop_orphans()\nreturn", "return", "test_audit"),
    Mutation(
        "the audit drops what is pending", "audit",
        "if not is_current and is_lost(entry[1]) then", "if not is_current then", "test_audit",
    ),
    Mutation("the audit expires the head", "audit", "for n = 2, #entries do", "for n = 1, #entries do", "test_audit"),
    Mutation("the audit expires what is held", "audit", "  if not redis.call('ZSCORE', PARKED, lane) then return end\n", "", "test_audit"),
    Mutation("one bad lane stops the audit", "audit", "elseif not pcall(look_after, ARGV[i]) then", "elseif look_after(ARGV[i]) then", "test_audit"),
    Mutation("the audit does not tell what expired", "audit", "if #told < MOST_TOLD then", "if false then", "test_audit"),
    Mutation("the audit tells all that expired", "audit", "if #told < MOST_TOLD then", "if true then", "test_audit"),
    Mutation("the group is not made again", "audit", "  redis.call('XGROUP', 'CREATE', READY, GROUP, '0', 'MKSTREAM')\n", "", "test_audit"),
    Mutation("a consumer goes with its tokens", "retire",
        "facts.pending == 0 and facts.idle > tonumber(ARGV[2]) and not redis.call('ZSCORE', KEYS[9], facts.name)\n"
        "    and #redis.call('XPENDING', READY, GROUP, '-', '+', 1, facts.name) == 0 then",
        "facts.idle > tonumber(ARGV[2]) then", "test_retire"),
    Mutation("a worker that checks in is retired", "retire", " and not redis.call('ZSCORE', KEYS[9], facts.name)", "", "test_retire"),
    # Limits and breakers.
    Mutation("nothing is reserved", "intent", "      if due[n] > NOW_US then return wait_until(math.ceil(due[n] / 1000), 'rate_limit') end\n", "", "test_limits"),
    Mutation("no gate", "intent", "local leaves_in = gate_wait(buckets, is_late)", "local leaves_in = 0", "test_limits"),
    Mutation("the gate counts too early", "intent", "do count_in(bucket, 'gate', leaves_at) end", "do count_in(bucket, 'gate', NOW_US) end", "test_limits"),
    Mutation("who is late gets no slot", "intent", "      count_in(bucket, 'late', leaves_at)\n", "", "test_limits"),
    Mutation("a slot is charged at each asking", "intent", "local is_reserved = slot_attempt == slot_of and", "local is_reserved = false and", "test_limits"),
    Mutation("a slot outlives the clock", "intent", " and tonumber(kept_at) <= NOW_US", "", "test_limits"),
    Mutation("a bucket outlives the clock", "intent", "  if step > 0 then\n", "  if false then\n", "test_limits"),
    Mutation("a bucket forgets the step", "intent", "    save_bucket(bucket)\n  end\n  return bucket", "  end\n  return bucket", "test_limits"),
    Mutation("slots past the deadline", "intent", "  if due > latest then return nil end\n", "", "test_limits"),
    Mutation("a Go after the deadline", "intent", "  if leaves_at >= deadline * 1000 then return wait_until(deadline, 'rate_limit') end\n", "", "test_limits"),
    Mutation("no breaker", "intent", "if reset_at then return wait_until(reset_at, 'breaker_open') end", "", "test_report"),
    Mutation("as many probes as ask", "intent", "if granted then redis.call('HSET', BREAKERS, scope, granted) end", "", "test_report"),
    Mutation("a slot is any leg's", "intent", "local slot_of = attempt .. '@' .. order", "local slot_of = attempt", "test_legs"),
    Mutation("no breaker of the account", "intent", "if account_reset_at then return", "if false then return", "test_report"),
    Mutation("no pause of the account", "intent", "if paused then return wait_until(paused, 'throttled') end", "", "test_halts"),
    Mutation("a shorter pause cuts a longer one", "report", "    if until_ms >= NOW + reset then return {'LATE'} end\n", "", "test_halts"),
    Mutation("no halt", "intent", "  if halt == 'reject' then return {'HALTED', words} end\n", "", "test_halts"),
    Mutation("no pause by hand", "intent", "if halt then return wait_until(NOW + HALTED_MS, 'halted', words) end", "", "test_halts"),
    Mutation("halts are ignored", "prelude", "if not HAS_HALTS then return nil end", "do return nil end", "test_halts"),
    Mutation("exits are halted too", "prelude", "elseif mode == 'close-only' and is_exit then", "elseif false then", "test_halts"),
    Mutation("reservations are not counted", "intent", "        if may_rest == '1' then held.orders = held.orders + 1 end\n", "", "test_budgets"),
    Mutation("reservations outlive the reading", "intent", "if released == 0 or released >= read_at then", "if true then", "test_budgets"),
    Mutation("a release is seen by older readings", "intent", "if released == 0 or released >= read_at then", "if released == 0 then", "test_budgets"),
    Mutation("reservations are kept", "prelude", "  if known.has_reserved then release_reservations(fields.account, known.orders) end\n", "", "test_budgets"),
    Mutation("what rests is not followed", "prelude", "      redis.call('ZADD', FOLLOWING, NOW_TEXT, order)\n", "", "test_legs"),
    Mutation("what rests expires", "prelude", "    if RESTING[now] then\n", "    redis.call('PEXPIRE', order_key, keep_dead)\n    if RESTING[now] then\n", "test_legs"),
    Mutation("a plan is made twice", "plan", "  if known then return {'STATE'} end\n", "", "test_plan"),
    Mutation("late reports count", "report", "  if generation ~= seen then return {'LATE'} end\n", "", "test_report"),
    # Orders that rest, and what is compared.
    Mutation("a claim is no lease", "follow", "  put_off(order, lease)\n", "", "test_follow"),
    Mutation("a full account takes more", "follow", "  rooms[account] = room - 1\n", "", "test_follow"),
    Mutation("a full account blocks the others", "follow", "    put_off(order, room and BUSY or STRANGE)\n", "", "test_follow"),
    Mutation("what ended otherwise is kept for ever", "follow", "if ENDED[state] and", "if false and", "test_follow"),
    Mutation("a stale follower counts", "followed", "  if known[1] ~= item.claim then return {'STALE'} end\n", "", "test_followed"),
    Mutation("a report counts twice", "followed", "  if known[2] == item.report then return {'OK'} end\n", "", "test_followed"),
    Mutation("a fill of an order that moved on", "followed", "  if known[3] ~= item.seen then return {'STATE'} end\n", "", "test_followed"),
    Mutation("an order revives its instruction", "followed", "    if is_on_record then\n", "    if true then\n", "test_followed"),
    Mutation("an order's end keeps its record", "followed", "    redis.call('PEXPIRE', key, KEPT)\n", "", "test_followed"),
    Mutation("two workers tell one drift", "reconciled", "  if now ~= before then return {'CHANGED'} end\n", "", "test_reconciled"),
    Mutation("a drift is told again", "reconciled", "  if now == after then return {'OK'} end\n", "", "test_reconciled"),
    Mutation("the drift of an order is told for ever", "drifted", "if is_new then write", "if true then write", "test_drifted"),
    # What operators do.
    Mutation("a decision while the request may execute", "decide", "if early >= 0 then return {'EARLY', text(early + 1)} end\n", "", "test_decide"),
    Mutation("a decision counts twice", "decide", "if known[8] == nonce then return {'DONE'} end\n", "", "test_decide"),
    Mutation("a decision about an earlier attempt", "decide", "known[2] ~= attempt or ", "", "test_decide"),
    Mutation("a decision about what is known", "decide", "not is_open", "false", "test_decide"),
    Mutation("a decision about what is followed", "decide", "not redis.call('ZSCORE', FOLLOWING, order)", "true", "test_decide"),
    Mutation("a decision about what will be followed", "decide", "not known[9] and ", "", "test_decide"),
    Mutation("a decision sends what rested again", "decide", " and state ~= 'NOT_EXECUTED'", "", "test_decide"),
    Mutation("a cancel waits for an order", "doubt", "if not may_exist then", "if false then", "test_doubt"),
    Mutation("a decision parks a held lane", "decide", "'ZADD', PARKED, 'XX', ", "'ZADD', PARKED, ", "test_decide"),
    Mutation("a decision blames the holder", "decide", "{'running', ''}", "{}", "test_decide"),
    Mutation("a decision revives its instruction", "decide", "if of_instruction[1] then", "if true then", "test_decide"),
    Mutation("a newer halt is lifted", "halt", "  if held and held ~= seen then return {'CHANGED'} end\n", "", "test_halt"),
    Mutation("a halt is set twice", "halt", "if held_mode == mode and held_rest == by .. '|' .. why then return {'DONE', held} end\n", "", "test_halt"),
    # Dead letters.
    Mutation("replay of what is not dead", "replay", "if known[1] and known[1] ~= fields.state then return {'STATE', known[1]} end", "", "test_replay"),
    Mutation("replay without an order record", "replay", "  if not order_states[i] then return {'NO_RECORD'} end\n", "", "test_replay"),
    Mutation("replay without an instruction record", "replay", "if tonumber(fields.attempts) > 0 and #orders == 0 then return {'NO_RECORD'} end", "", "test_replay"),
    Mutation("a replay keeps the letter", "replay", "redis.call('XDEL', DEAD, ARGV[2])\n", "", "test_replay"),
    Mutation("a replay forgets the other accounts", "replay", "if #ended > 0 then redis.call('HSET', alert_key, 'ended', table.concat(ended, ' ')) end\n", "", FUZZ),
    Mutation("a replay keeps the old deadline", "replay", "local deadline = text(NOW + tonumber(ARGV[3]))", "local deadline = fields.deadline", "test_replay"),
    Mutation("a discard keeps the letter", "discard", "redis.call('XDEL', DEAD, ARGV[2])\n", "", "test_discard"),
)  # fmt: skip

MUTATIONS: Final = {mutation.name: mutation for mutation in _ALL}
