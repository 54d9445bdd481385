from collections import Counter

import pytest

from libs.common.domain.ids import AccountName
from libs.common.policy.shards import shard_of


@pytest.mark.parametrize(
    ("account", "of_4", "of_16"),
    [("desk", 2, 6), ("paper", 2, 6), ("main", 0, 4), ("alpha", 2, 10), ("a" * 32, 3, 7)],
)
def test_an_account_never_changes_its_shard(account: str, of_4: int, of_16: int) -> None:
    assert (shard_of(AccountName(account), 4), shard_of(AccountName(account), 16)) == (of_4, of_16)


def test_with_one_shard_it_holds_every_account() -> None:
    assert {shard_of(AccountName(f"account-{n}"), 1) for n in range(100)} == {0}


def test_accounts_spread_over_all_shards() -> None:
    spread = Counter(shard_of(AccountName(f"account-{n}"), 4) for n in range(1_000))
    assert sorted(spread) == [0, 1, 2, 3]
    assert min(spread.values()) > 200
