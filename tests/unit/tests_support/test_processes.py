import http.server
import threading
from pathlib import Path

import pytest

from tests.support.processes import Bridge, Service, merge


def test_sections_are_merged_and_none_takes_a_key_away():
    base = {"a": {"x": 1, "y": 2}, "b": 3}
    assert merge(base, {"a": {"y": 4, "z": 5}, "b": None}) == {"a": {"x": 1, "y": 4, "z": 5}}


def test_another_broker_replaces_the_account():
    base = {"desk": {"broker": "http", "url": "http://x", "secret": "S"}}
    assert merge(base, {"desk": {"broker": "log"}}) == {"desk": {"broker": "log"}}


@pytest.mark.parametrize("broker", ["paper", "log"])
def test_the_configuration_a_bridge_writes_is_valid(tmp_path: Path, broker: str):
    from libs.common.runtime.config_file import read_document
    from libs.common.runtime.load_settings import load_settings

    bridge = Bridge(tmp_path, "unix:///tmp/none.sock", broker=broker, ingresses=2, workers=2)
    for service in bridge.services:
        import yaml

        service.config_path.write_text(yaml.safe_dump(service.config))
        settings = load_settings(service.config_path, {"BASCULE_OPS_PORT": str(service.ops_port)})
        assert settings.limits.symbol.rate.is_off
        assert read_document(service.config_path)["redis"]["url"] == "unix:///tmp/none.sock"
    assert len({ingress.url for ingress in bridge.ingresses}) == 2


def test_a_service_that_ends_at_once_is_told_with_its_last_words(tmp_path: Path):
    service = Service("no_such_service", {}, tmp_path).start()
    with pytest.raises(RuntimeError, match=r"(?s)ended with 1.*no_such_service"):
        service.wait_ready()


def test_metrics_are_summed_over_the_labels_that_were_asked_for(tmp_path: Path):
    text = (
        'orders_total{account="a",state="x"} 2.0\norders_total{account="b",state="x"} 3.0\norders_created 9\n'
    )

    class Ops(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    service = Service("worker", {}, tmp_path)
    with http.server.HTTPServer(("127.0.0.1", service.ops_port), Ops) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            assert service.metric("orders_total", state="x") == 5
            assert service.metric("orders_total", account="b") == 3
            assert service.metric("absent") == 0
        finally:
            server.shutdown()
            thread.join()
