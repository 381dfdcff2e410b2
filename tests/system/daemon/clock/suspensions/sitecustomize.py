"""Python reads this at its start: a host that seems to have been suspended for as long as a file says.

The clock that counts suspensions is moved together with the wall clock (by libfaketime, from the same file, so at the
same moment), while the monotonic clock goes on: just what a process sees of a host that slept.
"""

import os
import time
from pathlib import Path

_read_ns = time.clock_gettime_ns
_suspended_s_file = Path(os.environ["FAKETIME_TIMESTAMP_FILE"])


def _with_suspensions_ns(clock: int) -> int:
    suspended_s = float(_suspended_s_file.read_text()) if clock == time.CLOCK_BOOTTIME else 0.0
    return _read_ns(clock) + round(suspended_s * 1e9)


time.clock_gettime_ns = _with_suspensions_ns
