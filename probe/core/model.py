"""The words of the contract as plain values.

Every value that passes between the edges and the rules is one of these: frozen, comparable, and made of integers,
strings and tuples only, so that the same value always has the same canonical encoding in the ledger.

Units: `second` is a whole Unix second (UTC); `_us` is microseconds; `started_us` is Unix time in microseconds.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from probe.core.lapses import Lapse

REPLY_CHARACTERS_MAX: Final = 512  # of a reply's text in an outcome


class Surface(StrEnum):
    """A face of the target that the contract judges on its own (contract: Unavailable, arms (a) and (b))."""

    API = "api"
    SMTP = "smtp"


class Fault(StrEnum):
    """Whose failure an outcome was. Only the first two failures count by the contract's own words."""

    NONE = "none"
    SERVER_TIMEOUT = "server_timeout"
    SERVER_ERROR = "server_error"
    CLIENT = "client"
    NETWORK = "network"
    SELF = "self"


class Cause(StrEnum):
    """What exactly happened. A closed set: metric labels and the ledger use these words and no others."""

    # fault none
    ACCEPTED = "accepted"
    ACCEPTED_WITH_ERRORS = "accepted_with_errors"
    # fault server_timeout
    SILENT = "silent"  # connected, then no reply in a phase until the deadline
    BODY_STALLED = "body_stalled"  # a reply began and stopped
    GATEWAY_TIMEOUT = "gateway_timeout"  # the server says itself that it timed out (HTTP 504)
    # fault server_error
    HTTP_ERROR = "http_error"  # HTTP 5xx
    SERVER_RESOURCES = "server_resources"  # documented server trouble in another dress (HTTP 400 code 1502)
    SERVICE_CLOSING = "service_closing"  # SMTP 421
    REPLY_TRANSIENT = "reply_transient"  # SMTP 4yz that speaks of the server's state
    REPLY_PERMANENT = "reply_permanent"  # SMTP 5yz that speaks of the server's state
    CLOSED = "closed"  # connection closed without a reason, counts as 451 (RFC 5321 section 3.8)
    RESET_IN_SESSION = "reset_in_session"  # reset after the server had begun to serve us
    MALFORMED_REPLY = "malformed_reply"  # not the protocol, or beyond the limits on a reply
    INCOMPLETE_BODY = "incomplete_body"  # status received, body cut short
    UNREADABLE_BODY = "unreadable_body"  # success status, but the body is not the documented JSON
    TLS_SERVER_ERROR = "tls_server_error"  # the server's own TLS failure (alert internal_error, 454 to STARTTLS)
    AUTH_UNAVAILABLE = "auth_unavailable"  # SMTP 454 to AUTH: temporary server failure (RFC 4954 section 6)
    # fault client
    CREDENTIALS = "credentials"
    QUOTA = "quota"
    THROTTLED = "throttled"
    REQUEST_REJECTED = "request_rejected"
    REDIRECTED = "redirected"
    MISDIRECTED = "misdirected"  # HTTP 421: the wrong origin or region for this connection
    # fault network
    REFUSED = "refused"
    RESET = "reset"
    UNREACHABLE = "unreachable"
    CONNECT_TIMEOUT = "connect_timeout"
    NAME_NOT_FOUND = "name_not_found"
    TLS_FAILED = "tls_failed"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_NAME = "certificate_name"
    NOT_TLS = "not_tls"  # plain text where TLS was due
    STARTTLS_MISSING = "starttls_missing"
    FOREIGN_REPLY = "foreign_reply"  # a reply that the service does not document (HTML from something between)
    SEND_STUCK = "send_stuck"  # our request could not be written
    PACKETS_LOST = "packets_lost"  # no reply, on a connection that lost packets: the reply may be among them
    # fault self
    CAPPED = "capped"  # not made: too many attempts in flight already
    DESCRIPTORS = "descriptors"
    MEMORY = "memory"
    PORTS_USED_UP = "ports_used_up"
    NO_ROUTE = "no_route"
    RESOLVER = "resolver"
    TRUST_STORE = "trust_store"
    CAPTIVE_NETWORK = "captive_network"
    LOSSY_NETWORK = "lossy_network"  # of a control: packets were lost, so it does not vouch for our network
    STALLED = "stalled"  # the deadline was noticed late: our own loop stood still
    STOPPED = "stopped"  # cut off because the daemon was told to stop
    INTERNAL = "internal"  # our own bug; the log has the traceback


class Phase(StrEnum):
    """Where in an attempt. In order of the wire; `start` means that nothing was sent."""

    START = "start"
    LOOKUP = "lookup"
    CONNECT = "connect"
    TLS = "tls"
    BANNER = "banner"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    FINAL = "final"
    REQUEST = "request"
    FIRST_BYTE = "first_byte"
    BODY = "body"


class Connection(StrEnum):
    """What the attempt travelled on."""

    NONE = "none"
    FRESH = "fresh"
    KEPT = "kept"
    RENEWED = "renewed"  # a kept connection was found closed; one fresh connection was made within the same attempt


class Verdict(StrEnum):
    """The judgement of one second."""

    UNOBSERVED = "unobserved"
    AVAILABLE = "available"
    UNAVAILABLE = "unavailable"
    INCONCLUSIVE = "inconclusive"


class Basis(StrEnum):
    """What an unavailable verdict rests on; `none` for every other verdict."""

    NONE = "none"
    LITERAL = "literal"  # the contract's words alone
    CORROBORATED = "corroborated"  # a network fault, while a control of the same second worked


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """The right to make one attempt: who, what, and the second and ordinal that name it."""

    target: str
    vantage: str
    surface: Surface
    second: int
    ordinal: int

    @property
    def message_id(self) -> str:
        """Name the attempt uniquely, in characters that a Message-ID's left side may hold (RFC 5322 section 3.2.3)."""
        return f"{self.second}.{self.ordinal}.{self.surface}.{self.target}.{self.vantage}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one attempt saw.

    `code` is the SMTP reply code or HTTP status, 0 if there was none. `enhanced_code` is the SMTP enhanced status
    (RFC 3463) or the API's `errors[0].code`, "" if there was none. `reply` is the reply's text, bounded and redacted.
    `phases` holds the duration of each phase that was entered, in order, in microseconds. `maybe_accepted` says that
    the server may have taken the message although no success was seen (RFC 5321 section 4.2.5).
    """

    target: str
    surface: Surface
    second: int
    ordinal: int
    started_us: int
    duration_us: int
    fault: Fault
    cause: Cause
    phase: Phase
    code: int = 0
    enhanced_code: str = ""
    reply: str = ""
    message_id: str = ""
    connection: Connection = Connection.NONE
    address: str = ""
    maybe_accepted: bool = False
    phases: tuple[tuple[Phase, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlOutcome:
    """What one control attempt saw. A verdict asks of it whether it `worked` and was `trusted`.

    `trusted` says whether the control had a record, before this second, that lets its word count (core/controls.py).
    """

    control: str
    second: int
    started_us: int
    duration_us: int
    worked: bool
    cause: Cause
    trusted: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Persistence:
    """When unavailability lasts: a term of the contract (the shape of ITU-T G.826)."""

    unavailable_seconds: int = 60
    window_seconds: int = 90
    recovery_seconds: int = 60

    def __post_init__(self) -> None:
        """Refuse a rule that could never hold."""
        assert self.unavailable_seconds >= 1
        assert self.window_seconds >= self.unavailable_seconds
        assert self.recovery_seconds >= 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The configured contract of one target: what its judgements were made by."""

    profile: str
    persistence: Persistence
    objective_ppm: int  # share of seconds that must not be unavailable, in parts per million: 99.99 % is 999_900
    surfaces: tuple[Surface, ...]
    # Names the settings that attempts are made with, secrets aside; another name means other settings.
    settings: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The verdict of one surface for one second, and the counts it rests on.

    `evidence` has the controls that a corroborated verdict rests on, in order of their names; else it is empty.
    """

    surface: Surface
    verdict: Verdict
    basis: Basis
    attempts: int
    accepted: int
    evidence: tuple[ControlOutcome, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """A run of seconds in which the server refused credentials that it took before and after, settings unchanged.

    For humans to decide on: it never counts by itself. `seconds` of the run, both ends included, were like that;
    `codes` has the replies' codes, such as "401" or "550 5.7.1", in order and parted by a comma.
    """

    target: str
    surface: Surface
    first_second: int
    last_second: int
    seconds: int
    codes: str
    accepted_before_second: int
    accepted_after_second: int


class IssueTurn(StrEnum):
    """A turn in a Critical Issue's life that the program itself can see."""

    OPENED = "opened"
    RESTORED = "restored"


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueEvent:
    """A turn of a Critical Issue. `since_second` is dated back; `noticed_second` is the second that decided it."""

    issue: str
    target: str
    turn: IssueTurn
    since_second: int
    noticed_second: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One closed second of one target: what was seen, what was judged, what turned.

    `seconds` is 1, except for a run of unobserved seconds, which is one Step of any length with no outcomes; then
    `reason` says why nobody looked ("daemon was down", "clock stepped", "loop stalled", ...).
    """

    target: str
    second: int
    seconds: int
    verdict: Verdict
    basis: Basis
    judgements: tuple[Judgement, ...]
    outcomes: tuple[Outcome, ...] = ()
    events: tuple[IssueEvent, ...] = ()
    suspicions: tuple[Suspicion, ...] = ()
    reason: str = ""


class Synchronisation(StrEnum):
    """What the host's kernel says of its clock (adjtimex(2))."""

    SYNCHRONISED = "synchronised"
    UNSYNCHRONISED = "unsynchronised"
    UNKNOWN = "unknown"  # the kernel does not say


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockState:
    """What was known of the host's clock in one second.

    `ahead_us` is how far the wall clock was ahead of the time that seconds are named by. The errors are the kernel's
    own estimate and bound (adjtimex(2): esterror, maxerror), 0 where it says nothing.
    """

    second: int
    read_us: int
    synchronisation: Synchronisation
    estimated_error_us: int
    maximum_error_us: int
    ahead_us: int


class Exclusion(StrEnum):
    """Why a window is left out of the totals that a contract asks for."""

    PLANNED_MAINTENANCE = "planned_maintenance"
    FORCE_MAJEURE = "force_majeure"
    AGREED_EXCLUSION = "agreed_exclusion"


@dataclass(frozen=True, slots=True, kw_only=True)
class Amendment:
    """A window that is excluded from the totals, or the withdrawal of one; it changes no verdict.

    `target` and `surface` "" mean all. Both ends of the window are included. `withdraws` names the amendment that this
    one takes back, "" for none; it then repeats that one's window.
    """

    amendment: str
    target: str
    surface: str
    first_second: int
    last_second: int
    exclusion: Exclusion
    reason: str
    author: str
    added_us: int
    withdraws: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What the provider's status page said, word for word; evidence that changes no verdict.

    `code` is the HTTP status, 0 where there was no reply, and `trouble` then says why. `digest` is the SHA-256 of the
    body's bytes in hexadecimal. `body` is "" where the last statement of the same source has the same digest.
    """

    source: str
    second: int
    fetched_us: int
    code: int
    trouble: str
    digest: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Something about the prober itself that a human has to look at: the surface `self`.

    `condition` is a word of a closed set ("blind"); `target` is "" where it is about all. `raised` or over.
    """

    condition: str
    target: str
    since_second: int
    noticed_second: int
    raised: bool
    words: str


# What a ledger keeps beside the seconds.
Remark = ClockState | Amendment | Statement | Condition | Lapse
