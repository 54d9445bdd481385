import msgspec
from hypothesis import given
from hypothesis import strategies as st

from libs.common.telemetry.frames import Unframer, frame, frame_of_array


@given(st.lists(st.binary(max_size=40)), st.integers(1, 9))
def test_messages_come_whole_and_in_order_however_they_are_cut(messages: list[bytes], step: int):
    stream, unframer = b"".join(map(frame, messages)), Unframer()
    found = [
        message for at in range(0, len(stream), step) for message in unframer.feed(stream[at : at + step])
    ]
    assert found == messages


@given(st.lists(st.integers(-5, 1 << 40), max_size=300))
def test_packed_values_become_one_packed_array(values: list[int]):
    [message] = Unframer().feed(frame_of_array([msgspec.msgpack.encode(value) for value in values]))
    assert msgspec.msgpack.decode(message) == values
