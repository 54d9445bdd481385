import pytest

from libs.common.domain.ids import AccountName, AlertId, ClientOrderId, LaneName, Market, WebhookName
from libs.common.store.keys import Keys
from tests.support.stray_keys import is_permanent

KEYS = Keys()
ALL = [
    *KEYS.fixed,
    KEYS.refused,
    KEYS.probe,
    KEYS.lane(LaneName("desk:BTC")),
    KEYS.seen(WebhookName("default"), "id:1"),
    KEYS.alert(AlertId("a")),
    KEYS.instruction(AlertId("a"), AccountName("desk")),
    KEYS.order(ClientOrderId("o")),
    KEYS.symbol_bucket(AccountName("desk"), Market("BTC")),
    KEYS.account_bucket(AccountName("desk")),
    KEYS.paper(AccountName("desk"), "positions"),
    KEYS.markets(AccountName("desk")),
    KEYS.following,
    KEYS.halts,
    KEYS.positions(AccountName("desk")),
    KEYS.balance(AccountName("desk")),
    KEYS.fills(AccountName("desk")),
    KEYS.reconciling(AccountName("desk")),
    KEYS.day(AccountName("desk")),
    KEYS.drift(AccountName("desk"), ClientOrderId("o")),
]


@pytest.mark.parametrize("key", ALL)
def test_every_key_carries_the_hash_tag_of_its_shard(key: str):
    assert key.startswith("bascule:{s0}:")


def test_another_shard_has_another_hash_tag():
    assert Keys(3).ready == "bascule:{s3}:ready"


def test_no_two_kinds_of_key_are_the_same():
    assert len(set(ALL)) == len(ALL)


def test_an_account_bucket_is_no_symbol_bucket_whatever_its_name():
    assert KEYS.account_bucket(AccountName("symbol")) != KEYS.symbol_bucket(AccountName("x"), Market("y"))


@pytest.mark.parametrize("hostile", ["{other}", "a\nb", "x" * 1_000, "", "ключ", "\udcff", "}:ready"])
def test_a_name_from_outside_neither_escapes_its_tag_nor_makes_a_long_key(hostile: str):
    key = KEYS.seen(WebhookName("default"), hostile)
    assert key.startswith("bascule:{s0}:seen:default:~")
    assert len(key) < 80
    assert key != KEYS.seen(WebhookName("default"), hostile + "x")


@pytest.mark.parametrize(
    "key",
    [
        KEYS.ready,
        KEYS.lanes,
        KEYS.parked,
        KEYS.journal,
        KEYS.dead,
        KEYS.refused,
        KEYS.breakers,
        KEYS.meta,
        KEYS.halts,
    ],
)
def test_the_fixed_keys_live_for_ever(key: str):
    assert is_permanent(key)


@pytest.mark.parametrize(
    "key",
    [
        KEYS.lane(LaneName("desk:BTC")),
        KEYS.paper(AccountName("desk"), "positions"),
        KEYS.positions(AccountName("desk")),
    ],
)
def test_lanes_and_books_live_for_ever(key: str):
    assert is_permanent(key)


@pytest.mark.parametrize(
    "key",
    [
        KEYS.prefix,
        KEYS.probe,
        KEYS.seen(WebhookName("w"), "k"),
        KEYS.alert(AlertId("a")),
        KEYS.instruction(AlertId("a"), AccountName("d")),
        KEYS.order(ClientOrderId("o")),
        KEYS.account_bucket(AccountName("d")),
        KEYS.markets(AccountName("d")),
        KEYS.balance(AccountName("d")),
        KEYS.paper_order(AccountName("d"), ClientOrderId("o")),
        "ready",
        "other:{s0}:ready",
        "bascule:{x0}:ready",
        "bascule:{s0}:unknown",
    ],
)
def test_everything_else_must_expire(key: str):
    assert not is_permanent(key)


def test_the_keys_of_every_script_come_in_the_order_that_the_prelude_names():
    assert KEYS.fixed == tuple(
        f"bascule:{{s0}}:{name}"
        for name in ("", "ready", "lanes", "parked", "journal", "dead", "breakers", "meta")
    )
