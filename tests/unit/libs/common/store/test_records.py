"""An alert of which several shards hold a part."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.alert import Action, Alert, AlertContent
from libs.common.domain.ids import AccountName, AlertId, WebhookName
from libs.common.domain.lifecycle import InstructionState, worst
from libs.common.policy.shards import shard_of
from libs.common.store.records import AlertRecord, InstructionRecord, merge_alert

SHARDS = 4

STATES = st.dictionaries(
    st.from_regex(r"[a-z]{1,6}", fullmatch=True), st.sampled_from(InstructionState), min_size=1, max_size=8
)


def instruction(account: AccountName, state: InstructionState) -> InstructionRecord:
    return InstructionRecord(
        account=account,
        market="X",
        lane=f"{account}:X",
        state=state,
        reason="",
        detail="",
        admitted_at_ms=1,
        deadline_ms=2,
        ended_at_ms=None,
        attempts=0,
        lost_holders=0,
        orders=(),
        waits_for=None,
        journal_ids=(),
    )


@given(STATES, st.randoms(use_true_random=False))
def test_it_has_all_instructions_in_the_order_of_its_accounts_and_the_worst_state_of_all(
    states: dict[str, InstructionState], random: Random
) -> None:
    accounts = tuple(AccountName(name) for name in states)
    alert = Alert(
        alert_id=AlertId("a"),
        webhook=WebhookName("default"),
        content=AlertContent(dialect="bascule", action=Action.BUY, symbol="X"),
        received_at_ms=1,
        accounts=accounts,
        raw="",
    )
    parts = [
        AlertRecord(
            alert,
            10 + shard,
            tuple(instruction(name, states[name]) for name in accounts if shard_of(name, SHARDS) == shard),
        )
        for shard in sorted({shard_of(name, SHARDS) for name in accounts})
    ]
    admitted_at_ms = parts[0].admitted_at_ms
    random.shuffle(parts)

    merged = merge_alert(parts)

    assert tuple(one.account for one in merged.instructions) == accounts
    assert merged.admitted_at_ms == admitted_at_ms
    assert merged.decisive is not None
    assert merged.decisive.state is worst(list(states.values()))
