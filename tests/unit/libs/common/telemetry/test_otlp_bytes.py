from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from libs.common.telemetry.otlp_bytes import MAX_KEPT, Encoder
from libs.common.telemetry.span_exporter import readable, resource_of
from libs.common.telemetry.span_record import AttributeValue, Hello, SpanRecord

RESOURCE = resource_of(Hello("bascule-test", "1", "one"))
ATTRIBUTES = {key: str(value) for key, value in RESOURCE.attributes.items()}
SCOPE = InstrumentationScope("bascule", "1")


def digits(count: int) -> st.SearchStrategy[str]:
    return st.binary(min_size=count, max_size=count).filter(any).map(bytes.hex)


values = (
    st.text(st.characters(codec="utf-8"), max_size=300)
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False)
)
records = st.builds(
    SpanRecord,
    name=st.sampled_from(["POST /webhook", "process alerts"]),
    kind=st.integers(0, 4),
    trace_id=digits(16),
    span_id=digits(8),
    parent_id=st.just("") | digits(8),
    has_remote_parent=st.booleans(),
    started_at_ns=st.integers(1, (1 << 63) - 1),
    ended_at_ns=st.integers(1, (1 << 63) - 1),
    attributes=st.dictionaries(st.sampled_from(["a", "bascule.alert_id", "é"]), values),
    links=st.lists(st.tuples(digits(16), digits(8)), max_size=3).map(tuple),
    has_failed=st.booleans(),
).map(lambda one: one if one.parent_id or not one.has_remote_parent else SpanRecord(
    one.name, one.kind, one.trace_id, one.span_id, "", False, one.started_at_ns, one.ended_at_ns,
    one.attributes, one.links, one.has_failed,
))  # fmt: skip


@given(st.lists(records, min_size=1, max_size=8))
def test_a_request_says_what_the_sdk_would_say(some: list[SpanRecord]):
    encoded = Encoder(ATTRIBUTES, SCOPE.name, "1").encode(some)
    assert ExportTraceServiceRequest.FromString(encoded) == encode_spans(
        [readable(record, RESOURCE, SCOPE) for record in some]
    )


def test_what_is_kept_of_attributes_is_bounded():
    encoder = Encoder({}, "bascule", "1")
    for number in range(MAX_KEPT * 2 + 10):
        said: dict[str, AttributeValue] = {"count": number, "id": "x" * number}
        encoder.encode([SpanRecord("a", 1, "a" * 32, "b" * 16, "", False, 1, 2, said, (), False)])
    assert 0 < len(encoder._numbers) <= MAX_KEPT
    assert 0 < len(encoder._starts) <= MAX_KEPT


def test_zero_and_minus_zero_are_not_told_as_the_same():
    encoder = Encoder(ATTRIBUTES, SCOPE.name, "1")
    spans = [
        SpanRecord("post", 1, "1" * 32, "1" * 16, "", False, 1, 1, {"a": value}, (), False)
        for value in (0.0, -0.0)
    ]
    first, second = (encoder.encode([span]) for span in spans)
    assert first != second
