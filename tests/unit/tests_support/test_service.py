import http.server
import threading
from pathlib import Path

import pytest

from tests.support.service import Service


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
