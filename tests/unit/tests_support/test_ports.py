import subprocess
import sys

from tests.support.ports import free_port, free_ports

COUNT = 120
"""More than a process claims at a time."""

ASKING = f"""
import sys
from tests.support.ports import free_port
print(*(free_port() for _ in range({COUNT})), flush=True)
sys.stdin.read()
"""


def test_no_port_is_given_out_twice():
    assert len({free_port() for _ in range(COUNT)}) == COUNT


def test_neighbouring_ports_are_nobody_elses():
    given = [*free_ports(3), free_port(), *free_ports(3), free_port(), *free_ports(2)]
    assert given[:3] == [given[0], given[0] + 1, given[0] + 2]
    assert len(set(given)) == len(given)


def test_processes_that_run_at_once_are_given_different_ports():
    # They hold what they were given until their input ends.
    asking = [
        subprocess.Popen(
            [sys.executable, "-c", ASKING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    try:
        given = [port for process in asking if process.stdout for port in process.stdout.readline().split()]
    finally:
        for process in asking:
            process.communicate(timeout=20)
    assert len(set(given)) == len(asking) * COUNT
