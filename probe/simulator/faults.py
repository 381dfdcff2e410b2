"""What the simulated provider can be told to do wrong: a closed list of kinds, and which parameters each may have."""

from dataclasses import dataclass, replace
from enum import StrEnum

from probe.core.model import Phase, Surface

GARBAGE_BYTES_MAX = 16 * 1024 * 1024
DURATION_S_MAX = 366 * 86_400.0
BODY_BYTES_MAX = 1024 * 1024
REPLY_CHARACTERS_MAX = 64 * 1024


class FaultKind(StrEnum):
    """Everything that the simulated provider can do wrong."""

    REFUSE = "refuse"  # the listener is closed; open connections are reset
    CLOSE = "close"  # an orderly close instead of the reply
    CLOSE_AFTER_BANNER = "close_after_banner"
    RESET = "reset"  # RST instead of the reply
    SILENT = "silent"  # nothing instead of the reply; the connection stays open
    STALL = "stall"  # half of the reply, then nothing
    TRUNCATE = "truncate"  # half of the reply, then an orderly close
    SLOW = "slow"  # the right reply, late
    GARBAGE = "garbage"  # bytes that are not the protocol
    STATUS = "status"  # an HTTP status with a given body
    HTML = "html"  # a page of something in front of the API
    REPLY = "reply"  # an SMTP reply
    STARTTLS_MISSING = "starttls_missing"
    EXPIRED_CERTIFICATE = "expired_certificate"
    WRONG_NAME = "wrong_name"
    PLAIN_TEXT = "plain_text"  # no TLS where TLS is due
    TLS_ALERT = "tls_alert"  # the handshake ends with an alert
    IDLE_CLOSE = "idle_close"  # kept connections are closed once idle


class TlsAlert(StrEnum):
    """The alerts (RFC 8446 section 6.2) that a handshake can be made to end with."""

    HANDSHAKE_FAILURE = "handshake_failure"
    PROTOCOL_VERSION = "protocol_version"
    INTERNAL_ERROR = "internal_error"


TLS_ALERT_CODES = {TlsAlert.HANDSHAKE_FAILURE: 40, TlsAlert.PROTOCOL_VERSION: 70, TlsAlert.INTERNAL_ERROR: 80}


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedFault:
    """One thing to do wrong.

    `phase` says where; None means the usual place for the kind. `fraction` is the share of attempts that it strikes.
    `taken` says that the provider takes the message although the client does not see a success (a reply that was begun
    is always of a message taken). `by_s` belongs to
    `slow`, `after_s` to `idle_close`, `size` (bytes) to `garbage`, `alert` to `tls_alert`, `reply` to `reply`, the
    rest to `status` and `html`; an empty body means the documented one for the status.
    """

    kind: FaultKind
    phase: Phase | None = None
    fraction: float = 1.0
    taken: bool = False
    by_s: float = 0.0
    after_s: float = 1.0
    size: int = 512
    alert: TlsAlert = TlsAlert.INTERNAL_ERROR
    reply: str = ""
    status: int = 0
    body: bytes = b""
    content_type: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Which parameters a kind takes on one surface; the first phase is the usual one."""

    phases: tuple[Phase, ...]
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    phase_is_free: bool = False

    @property
    def parameters(self) -> tuple[str, ...]:
        """List the parameters that a scenario may write for the kind."""
        phase = ("phase",) if self.phase_is_free else ()
        return phase + self.required + self.optional


_SESSION = (Phase.BANNER, Phase.EHLO, Phase.STARTTLS, Phase.AUTH)
_TRANSACTION = (Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.FINAL)
_SMTP_REPLIES = (*_SESSION, *_TRANSACTION)
_FRONT = (Phase.CONNECT, Phase.TLS)

# Faults in these phases meet a client only on its way in, so they turn kept connections out first.
WAY_IN = frozenset((*_FRONT, *_SESSION))


def _free(*phases: Phase, required: tuple[str, ...] = (), optional: tuple[str, ...] = ()) -> Rule:
    return Rule(phases=phases, required=required, optional=("fraction", *optional), phase_is_free=True)


def _fixed(phase: Phase, *, required: tuple[str, ...] = (), optional: tuple[str, ...] = ()) -> Rule:
    return Rule(phases=(phase,), required=required, optional=("fraction", *optional))


_TLS = _fixed(Phase.TLS)
_BOTH: dict[FaultKind, Rule] = {
    FaultKind.REFUSE: Rule(phases=(Phase.CONNECT,)),
    FaultKind.EXPIRED_CERTIFICATE: _TLS,
    FaultKind.WRONG_NAME: _TLS,
    FaultKind.PLAIN_TEXT: _TLS,
    FaultKind.TLS_ALERT: _fixed(Phase.TLS, optional=("alert",)),
    FaultKind.IDLE_CLOSE: Rule(phases=(Phase.START,), optional=("after",)),
}
RULES: dict[Surface, dict[FaultKind, Rule]] = {
    Surface.API: _BOTH
    | {
        FaultKind.CLOSE: _free(Phase.FIRST_BYTE, *_FRONT, optional=("taken",)),
        FaultKind.RESET: _free(Phase.FIRST_BYTE, *_FRONT, Phase.BODY, optional=("taken",)),
        FaultKind.SILENT: _free(Phase.FIRST_BYTE, *_FRONT, optional=("taken",)),
        FaultKind.STALL: _fixed(Phase.BODY),
        FaultKind.TRUNCATE: _fixed(Phase.BODY),
        FaultKind.SLOW: _free(Phase.FIRST_BYTE, Phase.TLS, Phase.BODY, required=("by",)),
        FaultKind.GARBAGE: _free(Phase.FIRST_BYTE, Phase.TLS, optional=("size", "taken")),
        FaultKind.STATUS: _fixed(
            Phase.FIRST_BYTE, required=("status",), optional=("body", "content_type", "headers", "taken")
        ),
        FaultKind.HTML: _fixed(Phase.FIRST_BYTE, optional=("status", "body", "headers", "taken")),
    },
    Surface.SMTP: _BOTH
    | {
        FaultKind.CLOSE: _free(*_SMTP_REPLIES, *_FRONT, optional=("taken",)),
        FaultKind.CLOSE_AFTER_BANNER: _fixed(Phase.BANNER),
        FaultKind.RESET: _free(*_SMTP_REPLIES, *_FRONT, optional=("taken",)),
        FaultKind.SILENT: _free(*_SMTP_REPLIES, *_FRONT, optional=("taken",)),
        FaultKind.STALL: _free(Phase.FINAL, *_SESSION, *_TRANSACTION[:-1]),
        FaultKind.TRUNCATE: _free(Phase.FINAL, *_SESSION, *_TRANSACTION[:-1]),
        FaultKind.SLOW: _free(Phase.FINAL, Phase.TLS, *_SESSION, *_TRANSACTION[:-1], required=("by",)),
        FaultKind.GARBAGE: _free(*_SMTP_REPLIES, Phase.TLS, optional=("size", "taken")),
        FaultKind.REPLY: _free(Phase.FINAL, *_SESSION, *_TRANSACTION[:-1], required=("reply",), optional=("taken",)),
        FaultKind.STARTTLS_MISSING: _fixed(Phase.EHLO),
    },
}


def resolve(surface: Surface, fault: SimulatedFault) -> SimulatedFault:
    """Fill in the usual phase; raise ValueError with a sentence where the surface has no such fault."""
    rule = RULES[surface].get(fault.kind)
    if rule is None:
        raise ValueError(f"the {surface} surface has no fault {fault.kind.value!r}")
    phase = fault.phase or rule.phases[0]
    if phase not in rule.phases:
        expected = ", ".join(rule.phases)
        raise ValueError(f"fault {fault.kind.value!r} on {surface}: phase {phase.value!r} is not one of {expected}")
    for problem in _out_of_bounds(fault):
        raise ValueError(f"fault {fault.kind.value!r} on {surface}: {problem}")
    return replace(fault, phase=phase)


def _out_of_bounds(fault: SimulatedFault) -> list[str]:
    checks = (
        (0 < fault.fraction <= 1, "fraction must be above 0 and at most 1"),
        (1 <= fault.size <= GARBAGE_BYTES_MAX, f"size must be 1 to {GARBAGE_BYTES_MAX} bytes"),
        (0 <= fault.by_s <= DURATION_S_MAX, "by must be 0 to 366 days"),
        (0 < fault.after_s <= DURATION_S_MAX, "after must be above 0 and at most 366 days"),
        (fault.kind is not FaultKind.REPLY or is_smtp_reply(fault.reply), "reply must read like '451 4.3.0 text'"),
        (fault.kind is not FaultKind.STATUS or 200 <= fault.status <= 599, "status must be 200 to 599"),
    )
    return [sentence for holds, sentence in checks if not holds]


def is_smtp_reply(text: str) -> bool:
    """Say whether each line reads like an SMTP reply line (RFC 5321 section 4.2)."""
    lines = text.split("\n")
    return all(
        len(line) >= 3 and line[:3].isascii() and line[:3].isdigit() and line[3:4] in ("", " ", "-") for line in lines
    )


def describe(fault: SimulatedFault) -> str:
    """Say in a few words what a fault does, for people who watch the simulator."""
    words = [fault.kind.value.replace("_", " ")]
    if fault.kind in (FaultKind.STATUS, FaultKind.HTML) and fault.status:
        words.append(str(fault.status))
    if fault.kind is FaultKind.REPLY:
        words.append(repr(fault.reply))
    if fault.kind is FaultKind.SLOW:
        words.append(f"by {fault.by_s:g}s")
    if fault.phase not in (None, Phase.START):
        words.append(f"at {fault.phase}")
    if fault.fraction < 1:
        words.append(f"for {fault.fraction:.3%} of attempts")
    return " ".join(words)
