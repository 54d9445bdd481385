import pytest

from libs.common.domain.lifecycle import (
    AMBIGUOUS,
    DEAD_LETTERED,
    ENDED,
    INSTRUCTION_MOVES,
    ORDER_MOVES,
    WORST_FIRST,
    InstructionState,
    OrderState,
    worst,
)

DONE = [OrderState.FILLED, OrderState.CANCELED, OrderState.EXPIRED]


def test_every_state_has_a_row():
    assert set(INSTRUCTION_MOVES) == {None, *InstructionState}
    assert set(ORDER_MOVES) == {None, *OrderState}


@pytest.mark.parametrize("state", [InstructionState.EXECUTED, InstructionState.SKIPPED])
def test_nothing_leaves_what_was_executed_or_skipped(state: InstructionState):
    assert INSTRUCTION_MOVES[state] == frozenset()


@pytest.mark.parametrize("state", sorted(DEAD_LETTERED))
def test_a_dead_letter_can_only_be_queued_again(state: InstructionState):
    assert INSTRUCTION_MOVES[state] == {InstructionState.QUEUED}


@pytest.mark.parametrize("state", sorted(ENDED))
def test_every_end_is_reached_from_active(state: InstructionState):
    assert state in INSTRUCTION_MOVES[InstructionState.ACTIVE]


def test_nothing_is_executed_without_having_been_active():
    assert InstructionState.EXECUTED not in INSTRUCTION_MOVES[InstructionState.QUEUED]


def test_an_order_begins_by_being_sent_or_is_known_not_to_exist():
    assert ORDER_MOVES[None] == {OrderState.SENDING, OrderState.NOT_EXECUTED}


def test_only_what_was_certainly_not_executed_is_sent_again():
    assert {state for state in ORDER_MOVES if OrderState.SENDING in ORDER_MOVES[state]} == {
        None,
        OrderState.NOT_EXECUTED,
    }


def test_only_what_never_was_the_ambiguous_and_the_refused_become_not_executed():
    assert {state for state in ORDER_MOVES if OrderState.NOT_EXECUTED in ORDER_MOVES[state]} == {
        None,
        *AMBIGUOUS,
        OrderState.REJECTED,
    }


@pytest.mark.parametrize("state", DONE)
def test_nothing_leaves_a_finished_order(state: OrderState):
    assert ORDER_MOVES[state] == frozenset()


@pytest.mark.parametrize("state", sorted(AMBIGUOUS))
def test_an_ambiguous_order_may_turn_out_to_be_anything_the_venue_knows(state: OrderState):
    known = set(OrderState) - AMBIGUOUS
    assert known <= ORDER_MOVES[state]


def test_what_is_known_is_never_made_unknown():
    assert {state for state in ORDER_MOVES if OrderState.UNKNOWN in ORDER_MOVES[state]} == {
        OrderState.SENDING
    }


def test_the_worst_of_several_states_stands_for_all():
    assert set(WORST_FIRST) == set(InstructionState)
    for n, state in enumerate(WORST_FIRST):
        assert worst([*WORST_FIRST[n:]]) is state
        assert worst([*reversed(WORST_FIRST[n:])]) is state
