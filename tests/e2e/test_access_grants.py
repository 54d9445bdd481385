"""`config/redis-users.acl`: every user has what its part of Bascule calls, and no more."""

import re
from functools import cache
from itertools import chain
from typing import Final

import pytest

from libs.common.domain.ids import AccountName, AlertId, ClientOrderId, LaneName, Market, WebhookName
from libs.common.store.keys import Keys
from libs.common.store.scripts import PARTS
from tests.e2e.redis_users import NO_PASSWORD, USERS
from tests.support.tree import ROOT

LUA: Final = ROOT / "libs" / "common" / "store" / "lua"

SCRIPTS: Final = {
    "ingress": {"admit", "refuse", "probe", "layout"},
    "worker": {
        "open",
        "take",
        "renew",
        "yield",
        "park",
        "drop",
        "check_in",
        "begin",
        "plan",
        "resolve",
        "settle",
        "follow",
    }
    | {"followed", "reconciled", "drifted", "report", "paper_fill", "halt", "doubt", "incarnate", "layout"},
    "reaper": {"promote", "reclaim", "audit", "retire", "incarnate", "layout"}
    | {"alarm", "learn", "take_turn"},
    "operator": {"halt", "configure", "decide", "replay", "discard", "admit", "paper_fill"},
    "observer": set(),
}
"""What each runs."""

EVERY_SHARD: Final = "bascule:{s*}:"
"""How keys of all shards begin. No name that comes from outside holds a brace."""

CHECKS: Final = "info config|get acl|dryrun cluster|slots"
TABLES: Final = "multi exec hget hgetall"
"""Releases before 0.11.0, which run beside this one while it is rolled, read both tables in a transaction."""
READING: Final = f"{CHECKS} {TABLES} time get hmget hscan mget scan xinfo|consumers xinfo|groups xlen xrange xread xrevrange zcard zrange"
OWN: Final = {
    "ingress": f"{CHECKS} {TABLES} mget wait",
    "worker": f"{CHECKS} {TABLES} wait xgroup|create xreadgroup zrem hmget hset get set pttl time hkeys zrange zadd "
    # The rest only for `bascule status` in its place.
    "xrange xrevrange xlen hscan xinfo|consumers xinfo|groups",
    "reaper": f"{CHECKS} time hscan scan zrange xtrim hget hgetall hlen hmget xinfo|consumers xinfo|groups xlen xrange "
    "xrevrange zcard",
    "operator": f"{READING} wait",
    "observer": READING,
}
"""What each calls outside of scripts: `libs/common/store/*.py`."""

FOR_OTHERS: Final = {"ingress": {"del"}}
"""What its scripts call for others only: at the memory limit `admit` is denied but to operators."""

CALL: Final = re.compile(r"redis\.p?call\('([A-Z]+)'(?:, '([A-Z]+)')?")
CONTAINERS: Final = {"XGROUP", "XINFO"}


def lines() -> dict[str, list[str]]:
    text = (ROOT / "config" / "redis-users.acl").read_text()
    return {words[1]: words[2:] for words in map(str.split, text.splitlines())}


def granted(user: str) -> set[str]:
    return {rule[1:] for rule in lines()[user] if rule.startswith("+")}


def patterns(user: str) -> set[str]:
    """Return the patterns of its keys, those of all shards written as of the first."""
    return {rule[1:].replace(EVERY_SHARD, Keys().prefix) for rule in lines()[user] if rule.startswith("~")}


def source(name: str) -> str:
    return re.sub(r"--.*", "", (LUA / f"{name}.lua").read_text())


@cache
def prelude() -> dict[str, str]:
    """Return what the prelude defines at the top level, by name."""
    found = {}
    for block in re.split(r"(?m)^(?=local )", source("prelude")):
        if heading := re.match(r"local (?:function )?([\w, ]+)", block):
            for name in heading[1].split(","):
                found[name.strip()] = block
    return found


def called(script: str) -> set[str]:
    """Return the commands that a script calls, also by way of its parts and the prelude."""
    own = [source(one) for one in (*PARTS.get(script, ()), script)]
    waiting, seen, found = [*own, prelude()["NOW_US"]], set[str](), set[str]()
    while waiting:
        text = waiting.pop()
        found |= {f"{a}|{b}" if a in CONTAINERS else a for a, b in CALL.findall(text)}
        for name, block in prelude().items():
            if name not in seen and re.search(rf"\b{name}\b", text):
                seen.add(name)
                waiting.append(block)
    return {command.lower() for command in found}


def test_every_script_belongs_to_somebody() -> None:
    parts = {"prelude", *chain(*PARTS.values())}
    assert set().union(*SCRIPTS.values()) == {path.stem for path in LUA.glob("*.lua")} - parts


def test_every_call_of_a_script_is_seen_here() -> None:
    for path in LUA.glob("*.lua"):
        text = source(path.stem)
        assert len(CALL.findall(text)) == len(re.findall(r"redis\.p?call\(", text)), path


@pytest.mark.parametrize("user", USERS)
def test_a_user_has_the_commands_that_it_calls_and_no_more(user: str) -> None:
    scripts = set().union(*map(called, SCRIPTS[user]), {"eval", "evalsha"} if SCRIPTS[user] else set())

    assert granted(user) == (scripts - FOR_OTHERS.get(user, set())) | set(OWN[user].split())


def test_nobody_has_a_category_or_a_key_of_somebody_else() -> None:
    assert not [rule for user in USERS for rule in granted(user) if rule.startswith("@")]
    for user in USERS:
        rules = lines()[user]
        assert rules.index("-@all") < min(n for n, rule in enumerate(rules) if rule.startswith("+"))
        assert all(rule.startswith(f"~{EVERY_SHARD}") for rule in rules if rule.startswith("~"))
        assert set(rules) == {"on", f"#{NO_PASSWORD}", "-@all"} | {
            *(f"~{one.replace(Keys().prefix, EVERY_SHARD)}" for one in patterns(user)),
            *(f"+{one}" for one in granted(user)),
        }
    # With every right, and nobody can be it: as this user Redis plays its append-only file back.
    assert lines()["default"] == ["off", "~*", "&*", "+@all"]


def test_the_file_holds_no_digest_of_a_password() -> None:
    assert set(re.findall(r"[0-9a-f]{64}", (ROOT / "config" / "redis-users.acl").read_text())) == {
        NO_PASSWORD
    }


def test_every_pattern_is_one_of_a_key_that_there_is() -> None:
    keys, account, market = Keys(), AccountName("*"), Market("*")
    order = ClientOrderId("*")
    there_are = {
        *keys.fixed,
        *(keys.refused, keys.workers, keys.webhooks, keys.symbols, keys.halts, keys.following, keys.probe),
        *(keys.alarms, keys.notices, keys.watch, keys.habits, keys.watchdog_turn("*")),
        keys.lane(LaneName("*")),
        keys.alert(AlertId("*")),
        keys.order(order),
        keys.seen(WebhookName("*"), "*"),
        keys.webhook_bucket(WebhookName("*")),
        keys.account_bucket(account),
        keys.instruction(AlertId("*"), account),
        keys.symbol_bucket(account, market),
        *(keys.markets(account), keys.positions(account), keys.balance(account), keys.risk(account)),
        *(keys.fills(account), keys.reconciled(account), keys.reconciling(account), keys.day(account)),
        keys.drift(account, order),
        keys.paper(account, "*"),
        keys.paper_order(account, order),
    }

    def beginning(key: str) -> str:
        return key.partition("*")[0]

    for user in USERS:
        for pattern in patterns(user) - {f"{keys.prefix}*"}:
            assert any(beginning(key).startswith(beginning(pattern)) for key in there_are), pattern
