from libs.common.domain.ids import AccountName
from libs.common.policy.shards import shard_of
from libs.common.store.shards import Shards


def test_the_keys_of_a_shard_carry_its_number() -> None:
    shards = Shards.open("redis://127.0.0.1:1/0", 3, timeout_s=1)
    assert [shard.keys.prefix for shard in shards] == ["bascule:{s0}:", "bascule:{s1}:", "bascule:{s2}:"]
    assert shards.first is shards[0]
    assert shards.of(AccountName("desk")).number == shard_of(AccountName("desk"), 3)
