"""Runs the machine on a server of its own."""

from dataclasses import dataclass, field

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.machine.machine import Machine, Tally
from tests.machine.stage import Broken, Server
from tests.support.redis_server import Binary, RedisServer


@dataclass
class Outcome:
    """What the runs came to."""

    tally: Tally = field(default_factory=Tally)
    broken: Broken | None = None
    """The promise that was broken; the shortest way to it is among its notes."""


def run_machine(
    binary: Binary, *, runs: int, steps: int, is_seeded: bool = True, shrinks: bool = True
) -> Outcome:
    """Let the machine find a way to a broken promise.

    Args:
        binary: The server to run on.
        runs: How many ways to try.
        steps: The most steps of each.
        is_seeded: Whether to try the same ways each time.
        shrinks: Whether to look for the shortest way, once there is one.
    """
    outcome = Outcome()
    with RedisServer(binary, options={"appendonly": "no"}) as redis:
        server = Server(redis)
        try:
            run_state_machine_as_test(
                lambda: Machine(server, outcome.tally),  # type: ignore[arg-type]  # a factory will do
                settings=settings(
                    max_examples=runs,
                    stateful_step_count=steps,
                    deadline=None,
                    derandomize=is_seeded,
                    database=None,
                    suppress_health_check=list(HealthCheck),
                    phases=[Phase.generate, *([Phase.shrink] if shrinks else [])],
                    report_multiple_bugs=False,
                    print_blob=False,
                ),
            )
        except Broken as broken:
            outcome.broken = broken
        finally:
            server.close()
    return outcome
