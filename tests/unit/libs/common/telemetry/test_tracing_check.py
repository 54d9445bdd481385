"""Variables of an exporter that it could not use."""

from pathlib import Path

import pytest

from libs.common.telemetry.tracing_check import exporter_problems


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("TIMEOUT", "soon", 'OTEL_EXPORTER_OTLP_TIMEOUT: "soon" is no number of seconds'),
        ("TIMEOUT", "-1", "no number of seconds"),
        ("TIMEOUT", "inf", "no number of seconds"),
        ("TIMEOUT", "10000", '"10000" counts as seconds here'),
        ("TRACES_TIMEOUT", "0", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT: "),
        ("COMPRESSION", "brotli", '"brotli" is not one of none, gzip, deflate'),
        ("CERTIFICATE", "/nowhere/ca.pem", '"/nowhere/ca.pem" is no file that can be read'),
        ("TRACES_CLIENT_KEY", "/", '"/" is no file that can be read'),
        ("HEADERS", "authorization", "it is no list of name=value, separated by commas"),
    ],
)
def test_what_an_exporter_cannot_use_is_said_by_name(name: str, value: str, words: str):
    [problem] = exporter_problems({f"OTEL_EXPORTER_OTLP_{name}": value})
    assert words in problem


def test_what_it_can_use_is_no_problem(tmp_path: Path):
    certificate = tmp_path / "ca.pem"
    certificate.write_text("certificate")
    assert not exporter_problems({})
    assert not exporter_problems(
        {
            "OTEL_EXPORTER_OTLP_TIMEOUT": "2.5",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            "OTEL_EXPORTER_OTLP_CERTIFICATE": str(certificate),
            "OTEL_EXPORTER_OTLP_HEADERS": "a=b, c=d=,",
        }
    )


def test_no_value_of_a_header_is_told():
    [problem] = exporter_problems({"OTEL_EXPORTER_OTLP_HEADERS": "s3cret-without-a-name"})
    assert "s3cret" not in problem
