import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.alert import Action
from libs.common.domain.ids import AccountName, AlertId, Market
from libs.common.domain.instruction import Instruction
from libs.common.wire import codec
from libs.common.wire.trace_context import TraceContext, read_traceparent, replayed_context, stored_context

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"

ids = st.builds(
    TraceContext,
    st.binary(min_size=16, max_size=16).filter(any).map(bytes.hex),
    st.binary(min_size=8, max_size=8).filter(any).map(bytes.hex),
    st.booleans(),
)


def instruction(**fields: str | None) -> Instruction:
    return msgspec.structs.replace(
        Instruction(
            alert_id=AlertId("a"), account=AccountName("desk"), market=Market("BTC"), action=Action.BUY
        ),
        **fields,
    )


@given(ids)
def test_what_is_written_is_read_again(context: TraceContext):
    assert read_traceparent(context.traceparent) == context


@pytest.mark.parametrize(
    ("text", "is_sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"cc-{TRACE}-{SPAN}-01", True),
        (f"cc-{TRACE}-{SPAN}-01-what-comes-later", True),
    ],
)
def test_later_versions_and_flags_are_read(text: str, is_sampled: bool):
    assert read_traceparent(text) == TraceContext(TRACE, SPAN, is_sampled)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-0g",
        f"00-{TRACE}-{SPAN}-01\n",
    ],
)
def test_what_is_none_is_none(text: str):
    assert read_traceparent(text) is None


@given(ids, ids, st.text())
def test_a_context_is_found_in_an_instruction_whatever_its_texts_say(
    context: TraceContext, before: TraceContext, text: str
):
    sly = f'{text}"traceparent":"{before.traceparent}"'
    body = codec.INSTRUCTION.encode(
        instruction(strategy=sly, traceparent=context.traceparent, replay_of=before.traceparent)
    )
    assert stored_context(body) == context
    assert replayed_context(body) == before
    untraced = codec.INSTRUCTION.encode(instruction(strategy=sly))
    assert stored_context(untraced) is replayed_context(untraced) is None
    assert stored_context(b"\xff not readable") is None


def test_an_untraced_instruction_is_stored_as_ever_and_older_ones_are_read():
    body = codec.INSTRUCTION.encode(instruction())
    assert body == b'{"alert_id":"a","account":"desk","market":"BTC","action":"buy"}'
    assert codec.INSTRUCTION.decode(body).traceparent is None


def test_a_worker_that_does_not_know_the_field_reads_the_rest_as_ever():
    class Older(msgspec.Struct, frozen=True, kw_only=True):
        alert_id: str
        action: str

    body = codec.INSTRUCTION.encode(instruction(traceparent=f"00-{TRACE}-{SPAN}-01"))
    assert msgspec.json.decode(body, type=Older) == Older(alert_id="a", action="buy")
