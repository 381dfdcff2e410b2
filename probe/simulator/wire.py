"""One accepted connection as raw bytes, with TLS driven in memory.

TLS runs over memory buffers rather than in the event loop's own transport: a fault may have to speak, keep silent or
cut at any byte before, in or after the handshake, STARTTLS needs no hand-over between transports, and thousands of
silent TLS connections stay cheap on every event loop.
"""

import asyncio
import contextlib
import random
import socket
import ssl
import struct
from typing import cast

from probe.core.model import Phase
from probe.simulator.certificates import ServerContexts
from probe.simulator.desk import Desk, Draw
from probe.simulator.faults import TLS_ALERT_CODES, WAY_IN, FaultKind, SimulatedFault

_READ_BYTES = 65_536
_LINGER_NONE = struct.pack("ii", 1, 0)
_HANDSHAKE_HELD_BYTES_MAX = 65_536
# Long enough for what was sent before a reset to be read, short enough not to be taken for silence.
RESET_DELAY_S = 0.02
LINGER_S = 1.0


def garbage(size: int) -> bytes:
    """Return bytes that no protocol would send; always the same ones."""
    # The first byte is neither an HTTP letter, an SMTP digit nor a TLS record type.
    return b"\xff\x00" + random.Random(size).randbytes(max(size - 2, 0))  # noqa: S311 - not a secret.


class Wire(asyncio.Protocol):
    """Carry bytes in and out, with or without TLS; subclasses speak the surface's protocol."""

    def __init__(self, desk: Desk, contexts: ServerContexts, *, implicit_tls: bool) -> None:
        self.desk = desk
        self.idle_since: float | None = None
        self.leaving = False
        self.peer = ""
        self.loop = asyncio.get_running_loop()
        self._contexts = contexts
        self._implicit_tls = implicit_tls
        self._transport: asyncio.Transport | None = None
        self._tls: ssl.SSLObject | None = None
        self._tls_in = ssl.MemoryBIO()
        self._tls_out = ssl.MemoryBIO()
        self._handshaking = False
        self._tls_fault: SimulatedFault | None = None
        self._held: bytearray | None = None
        self._deaf = False
        self._farewell: asyncio.TimerHandle | None = None
        self._connection_draw = Draw()
        self._transaction_draw = Draw()

    # What subclasses do.

    def ready(self) -> None:
        """Begin to serve: the connection is open, and under TLS if it is implicit or was asked for."""
        raise NotImplementedError

    def received(self, data: bytes) -> None:
        """Take bytes of the surface's protocol."""
        raise NotImplementedError

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Meet the faults of the front door, then serve."""
        # uvloop's transports have the interface and not the base class, so there is nothing to assert.
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername") or ("", 0)
        self.peer = f"{peer[0]}:{peer[1]}"
        self.desk.connections += 1
        self.desk.guests.add(self)
        fault = self.strike(Phase.CONNECT)
        if fault is not None:
            self.misbehave(fault)
        elif self._implicit_tls:
            self.start_tls()
        else:
            self.ready()

    def data_received(self, data: bytes) -> None:
        """Pass bytes on, through TLS where it is on; a deaf connection drops them, so that it still sees the end."""
        if self._deaf:
            return
        if self._held is not None:
            self._held += data
            if len(self._held) > _HANDSHAKE_HELD_BYTES_MAX:
                self.close()
        elif self._tls_fault is not None:
            self._spoil_handshake(self._tls_fault, data)
        elif self._tls is None:
            self.received(data)
        else:
            self._tls_in.write(data)
            self._turn_tls(self._tls)

    def eof_received(self) -> None:
        """Close when the client has said that it is done."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._transport = None
        self._deaf = True
        self.idle_since = None
        self.desk.guests.discard(self)
        if self._farewell is not None:
            self._farewell.cancel()

    def pause_writing(self) -> None:
        """Stop reading from a client that does not read, so that what waits for it stays bounded."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Read again."""
        if self._transport is not None:
            self._transport.resume_reading()

    # What subclasses call.

    @property
    def closed(self) -> bool:
        """Say whether nothing can be sent any more."""
        return self._transport is None or self._farewell is not None or self._transport.is_closing()

    @property
    def is_tls(self) -> bool:
        """Say whether TLS is on."""
        return self._tls is not None and not self._handshaking

    def send(self, data: bytes) -> None:
        """Send bytes, through TLS where it is on."""
        if self._transport is None or self.closed:
            return
        if self._tls is not None:
            self._tls.write(data)
            data = self._tls_out.read()
        self._transport.write(data)

    def rest(self) -> None:
        """Note that the client owes the next word; leave if the connection is to be turned out."""
        if self.leaving:
            self.close()
        else:
            self.idle_since = self.loop.time()

    def close(self) -> None:
        """Close in order, after what was sent.

        The end is sent first and the client's own end awaited for a moment: closed outright with bytes still unread,
        the kernel would send a reset, which is another fault.
        """
        if self._transport is None or self.closed:
            return
        self._deaf = True
        self.idle_since = None
        if self._tls is not None and not self._handshaking:
            self._say_goodbye(self._tls)
        self._farewell = self.loop.call_later(LINGER_S, self._transport.close)
        self._transport.write_eof()

    def reset(self) -> None:
        """Cut with RST: a linger time of zero makes the kernel drop the connection rather than end it."""
        if self._transport is None:
            return
        self._deaf = True
        handle: socket.socket = self._transport.get_extra_info("socket")
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        self._transport.abort()

    def deafen(self) -> None:
        """Never answer again, and keep the connection open."""
        self._deaf = True
        self.idle_since = None

    def begin_transaction(self) -> None:
        """Let a fault that is not on the way in be drawn anew."""
        self._transaction_draw = Draw()

    def strike(self, phase: Phase) -> SimulatedFault | None:
        """Return the fault that this connection, or the transaction on it, meets in this phase now, if any."""
        return self.desk.strike(phase, self._connection_draw if phase in WAY_IN else self._transaction_draw)

    def misbehave(self, fault: SimulatedFault, reply: bytes = b"") -> bool:
        """Do what the fault says in place of a reply; False if the kind is not one that every surface shares."""
        match fault.kind:
            case FaultKind.SILENT:
                self.deafen()
            case FaultKind.CLOSE:
                self.close()
            case FaultKind.RESET:
                self.reset()
            case FaultKind.STALL:
                self.send(reply[: len(reply) // 2])
                self.deafen()
            case FaultKind.TRUNCATE:
                self.send(reply[: len(reply) // 2])
                self.close()
            case FaultKind.GARBAGE:
                self.send(garbage(fault.size))
                self.deafen()
            case _:
                return False
        return True

    def start_tls(self) -> None:
        """Wait for the client's hello, or meet the fault of the moment."""
        fault = self.strike(Phase.TLS)
        context = self._contexts.good
        if fault is not None:
            match fault.kind:
                case FaultKind.EXPIRED_CERTIFICATE:
                    context = self._contexts.expired
                case FaultKind.WRONG_NAME:
                    context = self._contexts.wrong_name
                case FaultKind.PLAIN_TEXT:
                    self.ready()
                    return
                case FaultKind.SILENT:
                    self.deafen()
                    return
                case FaultKind.SLOW:
                    self._held = bytearray()
                    self.loop.call_later(fault.by_s, self._shake_late)
                case _:
                    self._tls_fault = fault
                    return
        self._handshaking = True
        self._tls = context.wrap_bio(self._tls_in, self._tls_out, server_side=True)

    # TLS.

    def _shake_late(self) -> None:
        held, self._held = self._held, None
        if held and not self._deaf and self._tls is not None:
            self._tls_in.write(bytes(held))
            self._turn_tls(self._tls)

    def _spoil_handshake(self, fault: SimulatedFault, data: bytes) -> None:
        if fault.kind is FaultKind.TLS_ALERT:
            # A record of type alert: version, length two, level fatal, the alert's number.
            self.send(bytes((21, 3, 3, 0, 2, 2, TLS_ALERT_CODES[fault.alert])))
            self.close()
        elif not self.misbehave(fault):
            self.received(data)

    def _turn_tls(self, tls: ssl.SSLObject) -> None:
        try:
            if self._handshaking:
                tls.do_handshake()
                self._handshaking = False
                self._flush_tls()
                self.ready()
            while not self._deaf:
                data = tls.read(_READ_BYTES)
                if not data:
                    self.close()
                    return
                self.received(data)
        except ssl.SSLWantReadError:
            self._flush_tls()
        except ssl.SSLError:
            self._end_tls()

    def _end_tls(self) -> None:
        if self._handshaking:
            self.desk.handshakes_failed += 1
        self._flush_tls()
        self.close()

    def _flush_tls(self) -> None:
        if self._tls_out.pending and self._transport is not None and not self.closed:
            self._transport.write(self._tls_out.read())

    def _say_goodbye(self, tls: ssl.SSLObject) -> None:
        # The client's own farewell is not waited for, which unwrap() reports as an error.
        with contextlib.suppress(ssl.SSLError):
            tls.unwrap()
        self._flush_tls()
