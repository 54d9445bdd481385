"""Counts the jobs of one worker process, and tells when the first and the last of them ended.

Imports nothing but the standard library: it runs in the environments of the peers.
"""

import json
import os
import time
from itertools import count
from pathlib import Path

ALERT = {"symbol": "SYM00001", "action": "buy", "quantity": "0.5", "price": "64250.5"}
"""What every job carries."""


class Tally:
    """The jobs that ended so far.

    Environment: PEER_JOBS, how many there are; PEER_REDIS_PID, of Redis' process; PEER_TALLY, a file: `<file>.begun` appears with
    the first job, the file itself with the last. It holds what passed between the two: `{"elapsed_s": seconds, "worker_s": processor time
    of this process, "redis_s": processor time of Redis}`. Whoever waits for the files may be late.
    """

    def __init__(self) -> None:
        self._expected = int(os.environ["PEER_JOBS"])
        self._file = Path(os.environ["PEER_TALLY"])
        # One step under the interpreter's lock: jobs may end in threads.
        self._numbers = count(1)
        self._redis = Path(f"/proc/{os.environ['PEER_REDIS_PID']}/stat")
        self._first = (0.0, 0.0, 0.0)

    def ended(self) -> None:
        """Count one."""
        number = next(self._numbers)
        if number == 1:
            self._first = self._times_s()
            self._file.with_name(f"{self._file.name}.begun").touch()
        elif number == self._expected:
            names = ("elapsed_s", "worker_s", "redis_s")
            passed = (last - first for first, last in zip(self._first, self._times_s(), strict=True))
            # Whole when it appears.
            draft = self._file.with_name(f"{self._file.name}.draft")
            draft.write_text(json.dumps(dict(zip(names, passed, strict=True))))
            draft.rename(self._file)

    def _times_s(self) -> tuple[float, float, float]:
        # Behind the command's name, which may hold blanks: user and system time are the 12th and 13th field.
        fields = self._redis.read_text().rpartition(")")[2].split()
        redis_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return time.monotonic(), time.process_time(), redis_s
