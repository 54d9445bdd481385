import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

from libs.common.domain.errors import ConfigError
from libs.common.telemetry.trace_sampler import sampler_of
from libs.common.wire.trace_context import TraceContext

KEPT, LEFT = (TraceContext("a" * 32, "b" * 16, is_sampled) for is_sampled in (True, False))


@given(st.integers(1, (1 << 128) - 1), st.floats(0, 1))
def test_a_share_of_traces_is_kept_as_the_sdk_keeps_it(trace_id: int, share: float):
    sampler = sampler_of({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": repr(share)})
    sdk = TraceIdRatioBased(share).should_sample(None, trace_id, "span")
    assert sampler.keeps(f"{trace_id:032x}", None) is (sdk.decision is Decision.RECORD_AND_SAMPLE)


@pytest.mark.parametrize(
    ("name", "without_parent", "of_kept", "of_left"),
    [
        (None, True, True, False),
        ("", True, True, False),
        ("parentbased_always_on", True, True, False),
        ("parentbased_always_off", False, True, False),
        ("parentbased_traceidratio", False, True, False),
        ("always_on", True, True, True),
        ("always_off", False, False, False),
        ("traceidratio", False, False, False),
    ],
)
def test_a_sampler_is_found_by_its_standard_name(
    name: str | None, without_parent: bool, of_kept: bool, of_left: bool
):
    environ = {} if name is None else {"OTEL_TRACES_SAMPLER": name}
    sampler = sampler_of({**environ, "OTEL_TRACES_SAMPLER_ARG": "0"})
    assert [sampler.keeps("f" * 32, parent) for parent in (None, KEPT, LEFT)] == [
        without_parent,
        of_kept,
        of_left,
    ]


@pytest.mark.parametrize(
    ("name", "argument", "words"),
    [
        ("jaeger_remote", "", 'OTEL_TRACES_SAMPLER: "jaeger_remote" is not one of always_on'),
        ("traceidratio", "half", 'OTEL_TRACES_SAMPLER_ARG: "half" is not a share from 0 to 1'),
        ("traceidratio", "1.5", "is not a share"),
        ("traceidratio", "nan", "is not a share"),
    ],
)
def test_a_wrong_sampler_is_refused(name: str, argument: str, words: str):
    with pytest.raises(ConfigError, match=words):
        sampler_of({"OTEL_TRACES_SAMPLER": name, "OTEL_TRACES_SAMPLER_ARG": argument})
