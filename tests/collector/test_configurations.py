"""The configurations that we ship, as a real collector takes them."""

import http.client
import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from libs.common.telemetry import tracing
from tests.support.collector.build import CONFIGURATIONS, GATEWAY, OVERLAY, PRODUCTION, validate
from tests.support.collector.running import Collector
from tests.support.eventually import eventually
from tests.support.otlp_sink import OtlpSink
from tests.support.tree import ROOT

pytestmark = pytest.mark.slow

TOKEN = "q1w2e3r4t5y6u7i8o9p0"
CREDENTIALS = {
    "secret": "plain-words-1",
    "http.request.header.authorization": "plain-words-2",
    "bascule.passphrase": "plain-words-3",
    "bascule.apiKey": "plain-words-4",
    "webhook.token": "plain-words-5",
    "note": "Bearer plain-words-6",
    "url.full": f"https://trade.example/hooks/{TOKEN}",
    "redis": "redis://worker:plain-words-7@redis:6379/0",
}
OURS = {
    getattr(tracing, name): f"{name} stays"
    for name in (
        "ALERT_ID",
        "WEBHOOK",
        "ACCOUNT",
        "SYMBOL",
        "MARKET",
        "STRATEGY",
        "CLIENT_ORDER_ID",
        "OUTCOME",
        "REASON",
    )
} | {"http.route": "/hooks/{token}", "url.template": "/webhook", "error.type": "venue_rejected"}


def load(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    return document


def send(port: int, resource: dict[str, str], attributes: dict[str, str]) -> None:
    """Hand a span to a collector as anybody may."""

    def listed(values: dict[str, str]) -> list[Any]:
        return [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]

    now_ns = str(time.time_ns())
    span = {
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": "eee19b7ec3c1b174",
        "name": "some span",
        "kind": 1,
        "startTimeUnixNano": now_ns,
        "endTimeUnixNano": now_ns,
        "attributes": listed(attributes),
    }
    group = {"resource": {"attributes": listed(resource)}, "scopeSpans": [{"spans": [span]}]}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        body = json.dumps({"resourceSpans": [group]})
        connection.request("POST", "/v1/traces", body, {"Content-Type": "application/json"})
        assert connection.getresponse().status == 200
    finally:
        connection.close()


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=lambda path: path.name)
def test_a_collector_takes_every_configuration_that_we_ship(program: Path, configuration: Path):
    checked = validate(program, configuration)
    assert checked.returncode == 0, checked.stderr


def test_a_configuration_for_production_without_an_address_is_refused(
    program: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tests.support.collector.build.SETTINGS", {})
    assert "endpoint must be specified" in validate(program, PRODUCTION).stderr


def test_both_configurations_listen_and_mask_alike():
    gateway, production = load(GATEWAY), load(PRODUCTION)
    for section in ("extensions", "receivers", "processors"):
        assert gateway[section] == production[section]
    for document in (gateway, production):
        [pipeline] = document["service"]["pipelines"].values()
        assert pipeline["processors"][0] == "memory_limiter"


def test_the_collector_has_every_part_that_a_configuration_names_and_no_other():
    manifest = load(ROOT / "tests" / "support" / "collector" / "manifest.yaml")
    documents = [load(path) for path in (*CONFIGURATIONS, OVERLAY)]
    documents.append({"exporters": {"otlp": "what the test below takes"}})
    for kind in ("receivers", "processors", "exporters", "extensions"):
        paths = [entry["gomod"].split(" ")[0].rpartition("/")[2] for entry in manifest[kind]]
        named = {name.replace("_", "") for document in documents for name in document.get(kind, {})}
        assert sorted(path.removesuffix(kind[:-1]) for path in paths) == sorted(named)


def test_production_may_export_over_grpc_by_the_same_keys(program: Path, tmp_path: Path):
    document = load(PRODUCTION)
    exporter = document["exporters"].pop("otlp_http")
    document["exporters"]["otlp_grpc"] = {**exporter, "endpoint": "tempo.example:4317"}
    document["service"]["pipelines"]["traces"]["exporters"] = ["otlp_grpc"]
    changed = tmp_path / "production.yaml"
    changed.write_text(yaml.safe_dump(document))
    checked = validate(program, changed)
    assert checked.returncode == 0, checked.stderr


async def test_what_looks_like_a_credential_leaves_no_collector_and_ours_does(collector: Collector):
    resource = {"service.name": "somebody", "deployment.password": "plain-words-8"}
    send(collector.http_port, resource, CREDENTIALS | OURS)

    [span] = await eventually(collector.spans)
    assert {name: span.attributes[name] for name in OURS} == OURS
    assert span.service == "somebody"
    assert CREDENTIALS.keys() | OURS.keys() == span.attributes.keys()
    assert "plain-words" not in collector.written()
    assert TOKEN not in collector.written()


async def test_a_collector_in_production_sends_on_with_the_headers_of_its_environment(
    program: Path, tmp_path: Path
):
    ports = load(OVERLAY)
    own = tmp_path / "ports.yaml"
    own.write_text(
        yaml.safe_dump(
            {
                "extensions": ports["extensions"],
                "receivers": ports["receivers"],
                "service": {"telemetry": ports["service"]["telemetry"]},
            }
        )
    )
    with OtlpSink() as behind:
        variables = {
            "EXPORT_ENDPOINT": behind.url,
            "EXPORT_HEADERS": '{Authorization: "Bearer f00-bar-1234", x-tenant: "7"}',
        }
        with Collector(program, tmp_path, (PRODUCTION, own), variables) as collector:
            send(collector.http_port, {"service.name": "somebody"}, OURS)
            [span] = await eventually(behind.spans)
        assert span.attributes == OURS
        [head] = {head.lower() for head in behind.headers}
        assert "authorization: bearer f00-bar-1234" in head
        assert "x-tenant: 7" in head
        assert "f00-bar-1234" not in collector.written()
