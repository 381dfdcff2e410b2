"""What each fault of the simulated provider is, by the contract and the RFCs: the truth that the soak compares with.

Written by hand and read from nothing in `probe/core`, so that a wrong row there is a disagreement here.
"""

from dataclasses import dataclass, replace

from probe.core.model import Phase, Surface
from probe.simulator import FaultKind, SimulatedFault
from probe.simulator.faults import TlsAlert

# What a second may be: a verdict, and for an unavailable one what it rests on.
AVAILABLE = frozenset({"available/none"})
LITERAL = frozenset({"unavailable/literal"})
CORROBORATED = frozenset({"unavailable/corroborated"})
UNAVAILABLE = LITERAL | CORROBORATED
INCONCLUSIVE = frozenset({"inconclusive/none"})
UNOBSERVED = frozenset({"unobserved/none"})

TIMEOUT_S = 3
SLOW_S = 1.0  # Twice, since EHLO comes twice, it still fits into the deadline.
TOO_SLOW_S = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A fault, what its seconds are, and whether the provider may take and answer while the client gives up."""

    fault: SimulatedFault
    truth: frozenset[str]
    answers_late: bool = False

    @property
    def name(self) -> str:
        """Say in few words which row this is."""
        fault = self.fault
        parts = [fault.kind.value, str(fault.phase or "")]
        parts += [str(fault.status or ""), fault.reply.split("\n")[-1], fault.body.decode()[:40]]
        parts += [
            fault.alert.value if fault.kind is FaultKind.TLS_ALERT else "",
            f"by {fault.by_s:g}s" * bool(fault.by_s),
        ]
        parts += [f"fraction {fault.fraction:g}" * (fault.fraction < 1), "taken" * fault.taken]
        return " ".join(part for part in parts if part)

    def with_fraction(self, fraction: float) -> "Row":
        """Strike only a share of the attempts."""
        return replace(self, fault=replace(self.fault, fraction=fraction))


def _row(kind: FaultKind, truth: frozenset[str], phase: Phase | None = None, **more: object) -> Row:
    late = bool(more.pop("answers_late", False))
    return Row(fault=SimulatedFault(kind=kind, phase=phase, **more), truth=truth, answers_late=late)  # type: ignore[arg-type]


def _both() -> list[Row]:
    """List the faults of TCP and TLS: nobody has shown that they are the server's, so a control must speak."""
    return [
        _row(FaultKind.REFUSE, CORROBORATED),
        _row(FaultKind.EXPIRED_CERTIFICATE, CORROBORATED),
        _row(FaultKind.WRONG_NAME, CORROBORATED),
        _row(FaultKind.TLS_ALERT, LITERAL, alert=TlsAlert.INTERNAL_ERROR),  # RFC 8446 6.2: unrelated to the peer.
        _row(FaultKind.TLS_ALERT, CORROBORATED, alert=TlsAlert.HANDSHAKE_FAILURE),
        _row(FaultKind.TLS_ALERT, CORROBORATED, alert=TlsAlert.PROTOCOL_VERSION),
        _row(FaultKind.GARBAGE, CORROBORATED, Phase.TLS),
        _row(FaultKind.IDLE_CLOSE, AVAILABLE, after_s=0.5),
        _row(FaultKind.IDLE_CLOSE, AVAILABLE, after_s=0.97),
        _row(FaultKind.SILENT, LITERAL, Phase.CONNECT),
        _row(FaultKind.SILENT, LITERAL, Phase.TLS),
        _row(FaultKind.CLOSE, LITERAL, Phase.CONNECT),
        _row(FaultKind.CLOSE, LITERAL, Phase.TLS),
        # A reset right after the accept may still be seen as the connect's own failure.
        _row(FaultKind.RESET, UNAVAILABLE, Phase.CONNECT),
        _row(FaultKind.RESET, LITERAL, Phase.TLS),
        _row(FaultKind.SLOW, AVAILABLE, Phase.TLS, by_s=SLOW_S),
        _row(FaultKind.SLOW, LITERAL, Phase.TLS, by_s=TOO_SLOW_S),
    ]


def _api_statuses() -> list[Row]:
    server = (500, 501, 502, 503, 504, 507, 520, 524)
    ours = (302, 401, 403, 404, 405, 408, 409, 413, 415, 420, 421, 422, 429, 505, 511)
    rejected = b'{"errors":[{"message":"Unconfigured Sending Domain","code":"7001"}]}'
    down = b'{"errors":[{"message":"Server resources unavailable","code":"1502"}]}'
    return [
        *(_row(FaultKind.STATUS, LITERAL, status=status) for status in server),
        *(_row(FaultKind.STATUS, INCONCLUSIVE, status=status) for status in ours),
        _row(FaultKind.STATUS, LITERAL, status=400),  # The documented body says 1502.
        _row(FaultKind.STATUS, LITERAL, status=422, body=down),
        _row(FaultKind.STATUS, INCONCLUSIVE, status=400, body=rejected),
        _row(FaultKind.STATUS, LITERAL, status=503, taken=True),
        _row(FaultKind.HTML, CORROBORATED),
        _row(FaultKind.HTML, CORROBORATED, status=404),
        _row(FaultKind.HTML, INCONCLUSIVE, status=403),
        _row(FaultKind.HTML, LITERAL, status=200),
        _row(FaultKind.HTML, LITERAL, status=502),
        _row(FaultKind.HTML, LITERAL, status=503),
    ]


def _api() -> list[Row]:
    return [
        *_both(),
        *_api_statuses(),
        _row(FaultKind.PLAIN_TEXT, CORROBORATED),
        # HTTP has no rule that makes a bare close the server's word.
        _row(FaultKind.CLOSE, CORROBORATED, Phase.FIRST_BYTE),
        _row(FaultKind.CLOSE, CORROBORATED, Phase.FIRST_BYTE, taken=True),
        _row(FaultKind.RESET, CORROBORATED, Phase.FIRST_BYTE),
        _row(FaultKind.RESET, LITERAL, Phase.BODY),
        _row(FaultKind.SILENT, LITERAL, Phase.FIRST_BYTE),
        _row(FaultKind.SILENT, LITERAL, Phase.FIRST_BYTE, taken=True),
        _row(FaultKind.STALL, LITERAL),
        _row(FaultKind.TRUNCATE, LITERAL),
        _row(FaultKind.SLOW, AVAILABLE, Phase.FIRST_BYTE, by_s=SLOW_S),
        _row(FaultKind.SLOW, AVAILABLE, Phase.BODY, by_s=SLOW_S),
        _row(FaultKind.SLOW, LITERAL, Phase.FIRST_BYTE, by_s=TOO_SLOW_S, answers_late=True),
        _row(FaultKind.SLOW, LITERAL, Phase.BODY, by_s=TOO_SLOW_S, answers_late=True),
        _row(FaultKind.GARBAGE, LITERAL, Phase.FIRST_BYTE),
    ]


_REPLIES: tuple[tuple[Phase, frozenset[str], tuple[str, ...]], ...] = (
    (
        Phase.BANNER,
        LITERAL,
        ("421 4.3.2 try later", "554 no SMTP service here", "451 4.3.0 not now", "421-4.3.2 a\n421 4.3.2 b"),
    ),
    (Phase.BANNER, INCONCLUSIVE, ("554 5.7.1 your address is listed",)),
    (Phase.EHLO, LITERAL, ("421 4.3.2 try later", "451 4.3.0 not now")),
    (Phase.EHLO, INCONCLUSIVE, ("502 5.5.1 command not implemented",)),
    (Phase.STARTTLS, LITERAL, ("454 4.7.0 TLS not available", "421 4.7.0 TLS Negotiation failed")),
    (Phase.AUTH, LITERAL, ("454 4.7.0 temporary authentication failure", "421 4.3.2 try later")),
    (Phase.AUTH, INCONCLUSIVE, ("535 5.7.8 Sorry.", "504 5.5.4 unrecognized authentication type")),
    (Phase.MAIL, LITERAL, ("421 4.4.2 timeout", "451 4.3.0 not now", "452 4.3.1 insufficient system storage")),
    (Phase.MAIL, INCONCLUSIVE, ("550 5.7.1 relaying denied", "530 5.7.0 authentication required")),
    (Phase.RCPT, LITERAL, ("421 4.3.2 try later", "451 4.3.0 not now", "451-4.3.0 not\n451 4.3.0 now")),
    (Phase.RCPT, INCONCLUSIVE, ("550 5.1.1 no such user", "452 4.5.3 too many recipients", "450 4.2.1 mailbox busy")),
    (Phase.DATA, LITERAL, ("421 4.3.2 try later", "451 4.3.0 not now")),
    (Phase.DATA, INCONCLUSIVE, ("554 5.5.1 no valid recipients",)),
    (Phase.FINAL, LITERAL, ("421 4.3.3 [internal] trouble", "451 4.3.0 transaction failed", "554 5.3.0 system error")),
    (
        Phase.FINAL,
        INCONCLUSIVE,
        (
            "550 5.7.1 Unconfigured Sending Domain <example.com>",
            "552 5.3.4 message size limit exceeded",
            "550 5.6.0 X-MSYS-API cannot be read",
            "550 5.3.0 [internal] message body missing",
        ),
    ),
)


def _smtp() -> list[Row]:
    session = (Phase.EHLO, Phase.STARTTLS, Phase.AUTH, Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.FINAL)
    phases = (Phase.BANNER, *session)
    return [
        *_both(),
        # The client's hello read as a command: answered if it happens to hold a line feed, else met with silence.
        _row(FaultKind.PLAIN_TEXT, UNAVAILABLE),
        _row(FaultKind.STARTTLS_MISSING, CORROBORATED),
        _row(FaultKind.CLOSE_AFTER_BANNER, LITERAL),
        _row(FaultKind.RESET, UNAVAILABLE, Phase.BANNER),  # As early as at `connect`.
        *(_row(FaultKind.RESET, LITERAL, phase) for phase in session),
        # RFC 5321 section 3.8: a close without a reason is to be taken for a 451.
        *(_row(FaultKind.CLOSE, LITERAL, phase) for phase in phases),
        _row(FaultKind.CLOSE, LITERAL, Phase.FINAL, taken=True),
        *(_row(FaultKind.SILENT, LITERAL, phase) for phase in phases),
        _row(FaultKind.SILENT, LITERAL, Phase.FINAL, taken=True),
        *(_row(FaultKind.STALL, LITERAL, phase) for phase in phases),
        *(_row(FaultKind.TRUNCATE, LITERAL, phase) for phase in phases),
        *(_row(FaultKind.GARBAGE, LITERAL, phase) for phase in phases),
        *(_row(FaultKind.SLOW, AVAILABLE, phase, by_s=SLOW_S) for phase in phases),
        *(_row(FaultKind.SLOW, LITERAL, phase, by_s=TOO_SLOW_S, answers_late=phase is Phase.FINAL) for phase in phases),
        *(_row(FaultKind.REPLY, truth, phase, reply=reply) for phase, truth, replies in _REPLIES for reply in replies),
    ]


ROWS: dict[Surface, tuple[Row, ...]] = {Surface.API: tuple(_api()), Surface.SMTP: tuple(_smtp())}
# These are for all or for nobody.
WHOLE_KINDS = frozenset({FaultKind.REFUSE, FaultKind.IDLE_CLOSE})
