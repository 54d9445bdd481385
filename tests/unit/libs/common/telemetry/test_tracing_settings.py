import msgspec
import pytest

from libs.common.domain.errors import ConfigError
from libs.common.telemetry import tracing_settings as module
from libs.common.telemetry.trace_sampler import ALWAYS
from libs.common.telemetry.tracing_settings import TracingSettings, exporter_secrets, tracing_settings

ON = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
DEFAULT = TracingSettings(
    endpoint="http://collector:4318",
    sampler=ALWAYS,
    protocol="http/protobuf",
    queue=8_192,
    batch=512,
    delay_ms=1_000,
)


@pytest.mark.parametrize(
    ("environ", "is_on"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        (ON, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({**ON, "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({**ON, "OTEL_SDK_DISABLED": "false"}, True),
        ({**ON, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({**ON, "OTEL_TRACES_EXPORTER": "otlp"}, True),
    ],
)
def test_tracing_is_on_where_an_endpoint_is_set_and_nothing_says_no(environ: dict[str, str], is_on: bool):
    found = tracing_settings(environ)
    assert (found and msgspec.structs.replace(found, endpoint=DEFAULT.endpoint)) == (
        DEFAULT if is_on else None
    )


@pytest.mark.parametrize(
    "address",
    ["http://user:pa55word@c:4318/a", "http://c:4318/a?api-key=pa55word", "http://c:4318/a#pa55word"],
)
def test_where_spans_go_is_shown_without_credentials(address: str):
    found = tracing_settings({"OTEL_EXPORTER_OTLP_ENDPOINT": address})
    assert found is not None
    assert found.endpoint == "http://c:4318/a"


def test_the_standard_variables_of_a_batch_processor_count():
    environ = {
        **ON,
        "OTEL_BSP_MAX_QUEUE_SIZE": "100",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "200",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }
    found = tracing_settings(environ)
    assert found is not None
    assert (found.queue, found.batch, found.delay_ms) == (100, 100, 50)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, 'OTEL_TRACES_EXPORTER: "zipkin" is not one of otlp, none'),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, '"http/json" is not one of http/protobuf, grpc'),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "0"}, 'OTEL_BSP_MAX_QUEUE_SIZE: "0" is not a whole number'),
        ({"OTEL_BSP_SCHEDULE_DELAY": "1s"}, 'OTEL_BSP_SCHEDULE_DELAY: "1s" is not a whole number'),
        ({"OTEL_TRACES_SAMPLER": "some"}, "OTEL_TRACES_SAMPLER"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(environ: dict[str, str], words: str):
    with pytest.raises(ConfigError, match=words):
        tracing_settings({**ON, **environ})
    assert tracing_settings(environ) is None, "without an endpoint nobody looks"


def test_grpc_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    environ = {**ON, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"}
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="make up EXTRAS=otlp-grpc"):
        tracing_settings(environ)
    monkeypatch.setattr(module, "find_spec", lambda _: object())
    found = tracing_settings(environ)
    assert found is not None
    assert found.protocol == "grpc"


def test_values_of_headers_and_passwords_in_addresses_are_secrets():
    environ = {
        "OTEL_EXPORTER_OTLP_HEADERS": "api-key=k3y-value=,x=2",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "authorization=Bearer%20t0ken-word",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "https://user:pa55word@collector:4318",
    }
    assert exporter_secrets(environ) == {
        "k3y-value=",
        "Bearer%20t0ken-word",
        "Bearer t0ken-word",
        "t0ken-word",
        "pa55word",
    }
    assert exporter_secrets({}) == set()


@pytest.mark.parametrize(
    "address", ["localhost:4318", "http://localhost:99999", "grpc://x:4317", "http://", "http://x:0"]
)
def test_an_address_that_leads_nowhere_is_refused_by_its_name(address: str) -> None:
    with pytest.raises(ConfigError, match=r"^OTEL_EXPORTER_OTLP_ENDPOINT: "):
        tracing_settings({"OTEL_EXPORTER_OTLP_ENDPOINT": address})


def test_the_variable_that_is_wrong_is_the_one_that_is_named() -> None:
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json",
    }
    with pytest.raises(ConfigError, match=r"^OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: "):
        tracing_settings(environ)
