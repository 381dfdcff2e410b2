"""What the kernel says of its clock (Linux, adjtimex(2)). Nothing is set, so no privilege is needed.

`struct timex` is laid out as in the kernel's uapi/linux/timex.h; only its first members are named here.
"""

import ctypes
import sys
from dataclasses import dataclass
from typing import Final

from probe.core.model import Synchronisation

# Of adjtimex(2): the call's answer and the status bit for a clock that nothing disciplines.
TIME_ERROR: Final = 5
STA_UNSYNC: Final = 0x0040
# More than the longest layout of the members behind those that are read here.
_REST_LONGS: Final = 40


class _Timex(ctypes.Structure):
    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * _REST_LONGS),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelClock:
    """What the kernel says: whether something disciplines its clock, and its own estimate and bound of the error."""

    synchronisation: Synchronisation
    estimated_error_us: int = 0
    maximum_error_us: int = 0


NOT_SAID: Final = KernelClock(synchronisation=Synchronisation.UNKNOWN)


def judge(answer: int, status: int, estimated_error_us: int, maximum_error_us: int) -> KernelClock:
    """Judge the answer of one call: below 0 it failed, as in a container that may not make it."""
    if answer < 0:
        return NOT_SAID
    is_off = answer == TIME_ERROR or bool(status & STA_UNSYNC)
    return KernelClock(
        synchronisation=Synchronisation.UNSYNCHRONISED if is_off else Synchronisation.SYNCHRONISED,
        estimated_error_us=estimated_error_us,
        maximum_error_us=maximum_error_us,
    )


def read() -> KernelClock:
    """Ask the kernel; takes a few microseconds."""
    if _ADJTIMEX is None:
        return NOT_SAID
    timex = _Timex(modes=0)
    answer = _ADJTIMEX(ctypes.byref(timex))
    return judge(answer, timex.status, timex.esterror, timex.maxerror)


# Looked up once, since doing so opens a library.
_ADJTIMEX: Final = getattr(ctypes.CDLL(None), "adjtimex", None) if sys.platform == "linux" else None
