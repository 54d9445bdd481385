"""`bascule up` in the working directory, with fake services."""

import functools
import os
import sys
from pathlib import Path

import click

from cli import main, up

FAKE = Path(__file__).with_name("fake_service.py")
SERVICES = {kind: (sys.executable, str(FAKE), kind) for kind in ("ingress", "worker", "reaper")}

fake = click.command("up")(click.option("--workers", type=int, default=2)(functools.partial(
    lambda workers: up.bring_up(Path.cwd(), dict(os.environ), workers=workers, services=SERVICES)
)))  # fmt: skip
up.command = fake
sys.exit(main.main(["up", *sys.argv[1:]]))
