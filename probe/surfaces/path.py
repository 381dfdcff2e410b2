"""What our own kernel knows of a connection's path: whether packets were lost on it (TCP_INFO, tcp(7)).

A server is only called silent if the silence can be its own. Where our kernel had to send something again, or got what
follows a gap, packets vanish between us and the server, and what is missing may be the reply.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Final

from probe.core.model import Cause

# Offsets in struct tcp_info of linux/tcp.h, which only ever grows at its end.
_TOTAL_RETRANSMISSIONS_AT: Final = 100
_NEEDLESS_RETRANSMISSIONS_AT: Final = 216  # tcpi_dsack_dups, Linux 4.19 and later
_RECEIVED_OUT_OF_ORDER_AT: Final = 224  # Linux 5.4 and later
_INFO_BYTES_MAX: Final = 512
# A write on a kept connection that is not acknowledged for so long has met a path that died while nobody looked.
STUCK_S: Final = 1.0
STUCK_WORDS: Final = f"our write not acknowledged within {STUCK_S * 1000:.0f} ms"
_COUNT: Final = struct.Struct("=I")
_TCP_INFO: Final = getattr(socket, "TCP_INFO", None)
# What is taken for the server's silence, unless the path is to be doubted.
_SILENCES: Final = frozenset({Cause.SILENT, Cause.BODY_STALLED})


def packets_lost(sock: socket.socket | None) -> int:
    """Return how many packets were lost or came out of order since the first SYN; 0 where nobody knows."""
    if sock is None or _TCP_INFO is None:
        return 0
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _INFO_BYTES_MAX)
    except (OSError, ValueError):
        return 0
    return lost_by(info)


def lost_by(info: bytes) -> int:
    """Count the losses in a struct tcp_info.

    A packet that was sent again though the first one had arrived was not lost. Our kernel does so at a busy peer whose
    acknowledgement is late (RFC 8985 section 7, the tail loss probe), and the peer says that it had it (RFC 2883).
    """
    sent_again = _count(info, _TOTAL_RETRANSMISSIONS_AT) - _count(info, _NEEDLESS_RETRANSMISSIONS_AT)
    return max(0, sent_again) + _count(info, _RECEIVED_OUT_OF_ORDER_AT)


class StuckGuard:
    """Aborts a kept connection on which our first write is not acknowledged, so that the attempt can renew it.

    What died is a path that was chosen long ago; whether the service can be reached is what a fresh connection shows.
    """

    def __init__(self, is_stuck: Callable[[], bool], abort: Callable[[], None]) -> None:
        self._is_stuck = is_stuck
        self._abort = abort
        self._handle: asyncio.TimerHandle | None = None
        self.struck = False

    def __enter__(self) -> "StuckGuard":
        self._handle = asyncio.get_running_loop().call_later(STUCK_S, self._look)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._handle is not None
        self._handle.cancel()

    def _look(self) -> None:
        if self._is_stuck():
            self.struck = True
            self._abort()


def doubted(cause: Cause, packets_lost: int) -> Cause:
    """Return the cause of a failure on a connection of which so many packets were lost meanwhile."""
    return Cause.PACKETS_LOST if packets_lost > 0 and cause in _SILENCES else cause


def _count(info: bytes, at: int) -> int:
    if len(info) < at + _COUNT.size:
        return 0
    (count,) = _COUNT.unpack_from(info, at)
    return int(count)
