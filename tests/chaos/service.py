"""Runs one service with failpoints: `python -m tests.chaos.service worker`."""

import importlib
import os
import sys
from pathlib import Path

from libs.common.runtime.service import run_service
from tests.chaos.failpoints import CONTROL, Failpoints, install


def main(name: str) -> int:
    """Run it as `python -m services.<name>` does."""
    failpoints = Failpoints(Path(os.environ[CONTROL]))
    failpoints.listen()
    install(failpoints, name)
    service = importlib.import_module(f"services.{name}.__main__")
    return run_service(name, service.main, os.environ)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
