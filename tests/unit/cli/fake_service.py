"""Stands for a service: listens where it should, notes its starts and its ends, and whether Redis lived then.

Run as `python fake_service.py KIND`.
"""

import http.server
import os
import re
import signal
import socket
import sys
import threading
from pathlib import Path

KIND = sys.argv[1]
PORT = int(os.environ["BASCULE_OPS_PORT"])
NOTES = Path(os.environ["FAKE_NOTES"])


def note(text: str) -> None:
    with NOTES.open("a") as file:
        file.write(f"{KIND} {PORT} {os.getpid()} {text}\n")


def redis_lives() -> bool:
    url = os.environ["REDIS_URL"]
    if not url.startswith("unix://"):
        return False
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(url.removeprefix("unix://"))
            connection.sendall(b"PING\r\n")
            return connection.recv(100).startswith(b"+PONG")
    except OSError:
        return False


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def serve(port: int) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def main() -> None:
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    signal.signal(signal.SIGINT, lambda *_: note("SIGINT"))
    if os.environ.get("FAKE_BROKEN") == KIND:
        note("broken")
        sys.exit(1)
    serve(PORT)
    if KIND == "ingress":
        found = re.search(r"(?m)^  port: (\d+)$", Path(os.environ["BASCULE_CONFIG"]).read_text())
        assert found is not None
        serve(int(found[1]))
    note(f"started {os.environ['REDIS_URL']} {'secret' if os.environ.get('WEBHOOK_SECRET') else 'none'}")
    stopping.wait()
    note(f"stopped {'redis-lives' if redis_lives() else 'redis-gone'}")


main()
