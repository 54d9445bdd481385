"""Where traces go: takes what is exported, counts it by the first part of the path, and throws it away.

`python -m benchmarks.sink --port N`. `GET /counts` tells what came.
"""

import argparse
from collections import Counter

import orjson
import uvloop

from benchmarks.http_server import Request, ask, serve
from tests.support.child_server import ModuleServer


class Sink(ModuleServer):
    """A sink in a process of its own."""

    def __init__(self) -> None:
        super().__init__("sink", "benchmarks.sink")

    def address_for(self, sender: str) -> str:
        """Return where this sender exports to."""
        return f"{self.url}/{sender}"

    def bytes_by_sender(self) -> dict[str, int]:
        """Return the bytes that came, by the first part of the path they were posted to."""
        came: dict[str, int] = ask(self.port, "GET", "/counts")
        return came


def main() -> None:
    """Take everything, until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sink", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    came: Counter[str] = Counter()

    def handle(request: Request) -> None:
        if request.method == "GET":
            request.answer(200, orjson.dumps(came))
            return
        came[request.target.split("/")[1]] += len(request.body)
        request.answer(200)

    uvloop.run(serve(handle, parser.parse_args().port))


if __name__ == "__main__":
    main()
