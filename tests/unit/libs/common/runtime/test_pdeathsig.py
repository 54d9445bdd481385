import os
import signal
import subprocess
import sys

from libs.common.runtime import pdeathsig
from tests.support.children import spawn
from tests.support.eventually import eventually_sync
from tests.support.liveness import is_alive

CHILD = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
PARENT = """
import subprocess, sys, time
from libs.common.runtime import pdeathsig
subprocess.Popen(pdeathsig.wrap([sys.executable, "-c", sys.argv[1]], 9), start_new_session=True)
time.sleep(60)
"""


def test_a_program_dies_with_a_killed_parent():
    parent = spawn([sys.executable, "-c", PARENT, CHILD], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert is_alive(pid)
    parent.kill()
    parent.wait()
    eventually_sync(lambda: not is_alive(pid), 5)
    parent.stdout.close()


def test_the_program_takes_the_place_of_the_wrapper():
    done = subprocess.Popen(
        pdeathsig.wrap(["sh", "-c", "echo $$ $1", "sh", "a b"], signal.SIGTERM), stdout=subprocess.PIPE
    )
    text, _ = done.communicate()
    assert text.decode().split() == [str(done.pid), "a", "b"]


def test_a_wrapper_whose_parent_is_gone_already_starts_nothing():
    arguments = pdeathsig.wrap(["echo", "started"], signal.SIGKILL)
    arguments[arguments.index(str(os.getpid()))] = "1"
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
