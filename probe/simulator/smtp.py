"""The SMTP surface of the simulated provider: the recorded session of the provider's MTA, as bytes."""

import base64
import binascii
import hmac
from collections.abc import Callable
from datetime import UTC, datetime

from probe.clock import wall_us
from probe.core.model import Phase
from probe.simulator.certificates import ServerContexts
from probe.simulator.desk import Desk
from probe.simulator.faults import FaultKind, SimulatedFault
from probe.simulator.mail import read_message
from probe.simulator.options import ProviderOptions, TlsMode
from probe.simulator.replies import MESSAGE_BYTES_MAX, SMTP_NAME
from probe.simulator.wire import Wire

LINE_BYTES_MAX = 12_288  # RFC 4954 section 4 asks this much for AUTH.
RECIPIENTS_MAX = 1000
_END_OF_DATA = b"\r\n.\r\n"


class SmtpWire(Wire):
    """One SMTP session."""

    def __init__(self, desk: Desk, contexts: ServerContexts, options: ProviderOptions) -> None:
        super().__init__(desk, contexts, implicit_tls=options.smtp_tls is TlsMode.IMPLICIT)
        self._options = options
        self._buffer = bytearray()
        self._out: list[bytes] = []
        self._take_line: Callable[[bytes], None] = self._command
        self._in_data = False
        self._searched = 0
        self._waiting = False
        self._welcomed = False
        self._greeted = False
        self._authed = options.user == ""
        self._user = b""
        self._sender: str | None = None
        self._recipients = 0

    # The wire.

    def ready(self) -> None:
        """Send the banner; after STARTTLS wait for a new EHLO (RFC 3207 section 4.2)."""
        if self._welcomed:
            return
        self._welcomed = True
        now = datetime.fromtimestamp(wall_us() / 1e6, UTC)
        date = now.strftime("%a, %d %b %Y %H:%M:%S +0000")
        self._say(Phase.BANNER, f"220 2.0.0 {SMTP_NAME} ESMTP ecelerity 4.1.5.55833 r(Core:4.1.5.4) {date}")
        self._run()

    def received(self, data: bytes) -> None:
        """Take commands, any number at once (RFC 2920), and answer them in order."""
        self._buffer += data
        if not self._waiting:
            self._run()

    def _run(self) -> None:
        self.idle_since = None
        while self._buffer and not self._waiting and not self._deaf:
            if not (self._next_message() if self._in_data else self._next_line()):
                break
        self._flush()
        if not self._buffer and not self._waiting and not self._deaf and self._sender is None:
            self.idle_since = self.loop.time()

    def _next_line(self) -> bool:
        end = self._buffer.find(b"\n")
        if max(end, len(self._buffer) if end < 0 else 0) > LINE_BYTES_MAX:
            self._put("500 5.5.2 line too long")
            self._leave()
            return False
        if end < 0:
            return False
        line = bytes(self._buffer[:end]).rstrip(b"\r")
        del self._buffer[: end + 1]
        self._take_line(line)
        return True

    def _next_message(self) -> bool:
        # A message without any line ends at once; otherwise the end is looked for only in what is new.
        if self._buffer.startswith(b".\r\n"):
            at, begin = 0, 3
        else:
            at = self._buffer.find(_END_OF_DATA, max(self._searched - len(_END_OF_DATA), 0))
            begin = at + len(_END_OF_DATA)
        if at < 0:
            self._searched = len(self._buffer)
            if self._searched > MESSAGE_BYTES_MAX:
                self._put("552 5.3.4 message size limit exceeded")
                self._leave()
            return False
        data = bytes(self._buffer[:at])
        del self._buffer[:begin]
        self._in_data = False
        self._finish(data)
        return True

    def _put(self, reply: str) -> None:
        self._out.append(reply.encode() + b"\r\n")

    def _flush(self) -> None:
        if self._out:
            self.send(b"".join(self._out))
            self._out.clear()

    def _leave(self) -> None:
        self._flush()
        self.close()

    # Faults.

    def _say(self, phase: Phase, reply: str, then: Callable[[], None] | None = None) -> None:
        """Send a reply and go on with `then`, unless a fault strikes this phase now."""
        fault = self.strike(phase)
        if fault is not None:
            self._spoil(fault, reply, then)
            return
        self._put(reply)
        if then is not None:
            then()

    def _spoil(self, fault: SimulatedFault, reply: str, then: Callable[[], None] | None) -> None:
        self._flush()
        match fault.kind:
            case FaultKind.REPLY:
                self._put(fault.reply.rstrip("\n").replace("\n", "\r\n"))
                if fault.reply.startswith("421"):
                    self._leave()
            case FaultKind.CLOSE_AFTER_BANNER:
                self._put(reply)
                self._leave()
            case FaultKind.STARTTLS_MISSING:
                self._put(reply.replace("250-STARTTLS\r\n", ""))
                # The provider has greeted all the same; a client that goes on is served.
                if then is not None:
                    then()
            case FaultKind.SLOW:
                self._waiting = True
                self.loop.call_later(fault.by_s, self._say_late, reply, then)
            case _:
                self.misbehave(fault, reply.encode() + b"\r\n")

    def _say_late(self, reply: str, then: Callable[[], None] | None) -> None:
        self._waiting = False
        if self._deaf:
            return
        self._put(reply)
        if then is not None:
            then()
        self._run()

    # Commands.

    def _command(self, line: bytes) -> None:
        verb, _, argument = line.partition(b" ")
        match verb.upper():
            case b"MAIL":
                self._mail(argument)
            case b"RCPT":
                self._rcpt(argument)
            case b"DATA":
                self._data()
            case b"EHLO" | b"HELO":
                self._ehlo(verb.upper(), argument)
            case b"STARTTLS":
                self._starttls()
            case b"AUTH":
                self._auth(argument)
            case b"RSET":
                self._forget()
                self._put("250 2.0.0 OK")
            case b"NOOP":
                self._put("250 2.0.0 OK")
            case b"QUIT":
                self._put(f"221 2.3.0 {SMTP_NAME} closing connection")
                self._leave()
            case b"VRFY" | b"EXPN" | b"HELP":
                self._put("502 5.5.1 command not implemented")
            case _:
                self._put("500 5.5.2 unrecognized command")

    def _forget(self) -> None:
        self._sender = None
        self._recipients = 0

    @property
    def _is_covered(self) -> bool:
        """Say whether the session is as private as the settings ask for."""
        return self.is_tls or self._options.smtp_tls is not TlsMode.STARTTLS

    def _ehlo(self, verb: bytes, name: bytes) -> None:
        self._forget()
        if not name.strip():
            self._put("501 5.5.4 HELO/EHLO needs a name")
            return
        lines = [f"{SMTP_NAME} says {verb.decode()} to {self.peer}"]
        if verb == b"EHLO":
            if not self._is_covered:
                lines.append("STARTTLS")
            elif self._options.user:
                lines += ["AUTH=LOGIN PLAIN", "AUTH LOGIN PLAIN"]
            lines += ["ENHANCEDSTATUSCODES", "PIPELINING", f"SIZE {MESSAGE_BYTES_MAX}", "8BITMIME"]
        reply = "".join(f"250-{line}\r\n" for line in lines[:-1]) + f"250 {lines[-1]}"
        self._say(Phase.EHLO, reply, self._greet)

    def _greet(self) -> None:
        self._greeted = True

    def _starttls(self) -> None:
        if self._is_covered:
            self._put("503 5.5.1 STARTTLS not available")
        elif self._buffer:
            # What came behind STARTTLS could have been injected; the service refuses such sessions.
            self._put("503 5.5.1 commands behind STARTTLS")
            self._leave()
        else:
            self._say(Phase.STARTTLS, "220 2.0.0 continue", self._secure)

    def _secure(self) -> None:
        self._flush()
        self._greeted = False
        self.start_tls()

    # AUTH.

    def _auth(self, argument: bytes) -> None:
        if self._authed or not self._is_covered:
            self._put("503 5.5.1 AUTH not available")
            return
        if not self._greeted:
            self._put("550 5.5.1 RFC2821 HELO/EHLO needed")
            return
        mechanism, _, initial = argument.partition(b" ")
        fault = self.strike(Phase.AUTH)
        if fault is not None:
            self._spoil(fault, *self._auth_step(mechanism.upper(), initial))
            return
        reply, then = self._auth_step(mechanism.upper(), initial)
        self._put(reply)
        if then is not None:
            then()

    def _auth_step(self, mechanism: bytes, initial: bytes) -> tuple[str, Callable[[], None] | None]:
        """Return the first reply to AUTH, and what to do once it is sent."""
        if mechanism == b"PLAIN":
            if not initial:
                return "334 ", lambda: self._expect(self._plain)
            return self._judge_plain(initial)
        if mechanism == b"LOGIN":
            if not initial:
                return "334 VXNlcm5hbWU6", lambda: self._expect(self._login_user)
            self._user = initial
            return "334 UGFzc3dvcmQ6", lambda: self._expect(self._login_password)
        return "504 5.5.4 unrecognized authentication type", None

    def _expect(self, handler: Callable[[bytes], None]) -> None:
        self._take_line = handler

    def _plain(self, line: bytes) -> None:
        self._expect(self._command)
        self._end_auth(*self._judge_plain(line))

    def _login_user(self, line: bytes) -> None:
        self._user = line
        self._put("334 UGFzc3dvcmQ6")
        self._expect(self._login_password)

    def _login_password(self, line: bytes) -> None:
        self._expect(self._command)
        self._end_auth(*self._judge(_decode(self._user), _decode(line)))

    def _end_auth(self, reply: str, then: Callable[[], None] | None) -> None:
        self._put(reply)
        if then is not None:
            then()

    def _judge_plain(self, initial: bytes) -> tuple[str, Callable[[], None] | None]:
        parts = _decode(initial).split(b"\0")
        return self._judge(parts[1], parts[2]) if len(parts) == 3 else ("501 5.5.2 cannot decode", None)

    def _judge(self, user: bytes, password: bytes) -> tuple[str, Callable[[], None] | None]:
        right = hmac.compare_digest(user, self._options.user.encode())
        if hmac.compare_digest(password, self._options.key.encode()) and right:
            return "235 2.0.0 Authed. Go on.", self._welcome
        self.desk.refused += 1
        return "535 5.7.8 Sorry.", None

    def _welcome(self) -> None:
        self._authed = True

    # The transaction.

    def _mail(self, argument: bytes) -> None:
        self.desk.attempts += 1
        self.begin_transaction()
        address = _address(argument, b"FROM:")
        if not self._greeted:
            self._put("550 5.5.1 RFC2821 HELO/EHLO needed")
        elif self._sender is not None:
            self._put("503 5.5.1 nested MAIL")
        elif not self._authed or not self._is_covered:
            self.desk.refused += 1
            self._put("550 5.7.1 relaying denied")
        elif address is None:
            self._put("501 5.5.2 MAIL FROM syntax")
        elif _size(argument) > MESSAGE_BYTES_MAX:
            self._put("552 5.3.4 message size limit exceeded")
        else:
            self._say(Phase.MAIL, "250 2.0.0 MAIL FROM accepted", lambda: self._begin(address))

    def _begin(self, sender: str) -> None:
        self._sender = sender

    def _rcpt(self, argument: bytes) -> None:
        if self._sender is None:
            self._put("503 5.5.1 MAIL first")
        elif not _address(argument, b"TO:"):
            self._put("501 5.5.2 RCPT TO syntax")
        elif self._recipients >= RECIPIENTS_MAX:
            self._put("452 4.5.3 Service unavailable, recipients per message limit reached.")
        else:
            self._say(Phase.RCPT, "250 2.0.0 RCPT TO accepted", self._count_recipient)

    def _count_recipient(self) -> None:
        self._recipients += 1

    def _data(self) -> None:
        if not self._recipients:
            self._put("503 5.5.1 no valid recipients")
        else:
            self._say(Phase.DATA, '354 3.0.0 continue.  finished with "\\r\\n.\\r\\n"', self._open_data)

    def _open_data(self) -> None:
        self._in_data = True
        self._searched = 0

    def _finish(self, data: bytes) -> None:
        fault = self.strike(Phase.FINAL)
        if fault is None:
            self._put(self._take(data))
        elif fault.taken or fault.kind in (FaultKind.SLOW, FaultKind.STALL, FaultKind.TRUNCATE):
            # To have begun with its reply, the provider must have decided on the message.
            reply = self._take(data, answered=fault.kind is FaultKind.SLOW)
            self._spoil(fault, reply, None)
        else:
            self._spoil(fault, "", None)
        self._forget()
        if self.leaving and not self._waiting:
            self._leave()

    def _take(self, data: bytes, *, answered: bool = True) -> str:
        """Judge a message, take it if there is nothing against it, and return the reply."""
        sender = self._sender or ""
        message = read_message(data, sender, self._options)
        if message.error:
            self.desk.refused += 1
            return message.error
        serial = self.desk.next_serial()
        identity = f"{serial >> 8 & 0xFF:02X}/{serial & 0xFF:02X}-30607-{serial * 0x9E3779B1 & 0xFFFFFFFF:08X}"
        self.desk.take(
            identity,
            message_id=message.message_id,
            sender=sender,
            recipients=self._recipients,
            metadata=message.metadata,
            answered=answered,
            blackholed=self._options.binding_required and not message.has_binding,
        )
        return f"250 2.0.0 OK {identity}"


def _decode(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""


def _address(argument: bytes, prefix: bytes) -> str | None:
    """Return the address of a MAIL or RCPT command; None if it does not read like one (RFC 5321 section 4.1.2)."""
    if argument[: len(prefix)].upper() != prefix:
        return None
    begin, end = argument.find(b"<"), argument.find(b">")
    return argument[begin + 1 : end].decode("utf-8", "replace") if 0 <= begin < end else None


def _size(argument: bytes) -> int:
    """Return the size that a MAIL command announces (RFC 1870), 0 if none."""
    for word in argument.upper().split():
        if word.startswith(b"SIZE=") and word[5:].isdigit():
            return int(word[5:])
    return 0
