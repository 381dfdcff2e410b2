"""What each cause means, in one sentence for whoever reads it in the ledger, the metrics or on the terminal.

`as_markdown` prints the page of the documentation, so that the page can't leave a cause out or give it another fault.
"""

from typing import Final

from probe.core.endings import fault_of
from probe.core.model import Cause, Fault
from probe.core.verdict import WORDLESS_CAUSES

OF_CONTROLS: Final = "; of a control"  # begins what a cause means of a control; it stands last
MEANING: Final[dict[Cause, str]] = {
    Cause.ACCEPTED: "The service took the message or the call; of a control: it answered.",
    Cause.ACCEPTED_WITH_ERRORS: "The service took the message and said what it disliked about it (API code 2000).",
    Cause.SILENT: "The connection stood and was clean, and no reply came until the deadline.",
    Cause.BODY_STALLED: "A reply began and did not go on until the deadline.",
    Cause.GATEWAY_TIMEOUT: "The service says itself that it timed out (HTTP 504, 522, 524).",
    Cause.HTTP_ERROR: "The service says itself that it failed (HTTP 5xx); of a control: the same.",
    Cause.SERVER_RESOURCES: "Trouble of the service under a status that blames us (API code 1502 and its like).",
    Cause.SERVICE_CLOSING: "SMTP 421: the service closes the connection over its own state.",
    Cause.REPLY_TRANSIENT: "SMTP 4yz that speaks of the service's own state.",
    Cause.REPLY_PERMANENT: "SMTP 5yz that speaks of the service's own state.",
    Cause.CLOSED: "The server closed the connection without a reason, over SMTP at any time (RFC 5321 section 3.8), "
    "over HTTP in the TLS handshake or within its reply.",
    Cause.RESET_IN_SESSION: "The server reset the connection after it had begun to serve us.",
    Cause.MALFORMED_REPLY: "A reply that is not the protocol, or is beyond every limit on a reply.",
    Cause.INCOMPLETE_BODY: "A status of success, and a body that was cut short.",
    Cause.UNREADABLE_BODY: "A status of success, and a body that is not the documented JSON.",
    Cause.TLS_SERVER_ERROR: "The server's own TLS failure: the alert internal_error, or 454 to STARTTLS.",
    Cause.AUTH_UNAVAILABLE: "SMTP 454 to AUTH: a temporary failure of the server's (RFC 4954 section 6).",
    Cause.CREDENTIALS: "The key or the login was refused.",
    Cause.QUOTA: "Our own sending limit is used up.",
    Cause.THROTTLED: "We were told to slow down, or to open fewer connections.",
    Cause.REQUEST_REJECTED: "Our request or message was refused for what it is, or for where it comes from.",
    Cause.REDIRECTED: "HTTP 3xx: the URL is the wrong one; it is not followed.",
    Cause.MISDIRECTED: "HTTP 421: the wrong origin or region for this connection.",
    Cause.REFUSED: "The connect was refused: nobody listens there, or something between says so.",
    Cause.RESET: "The connection was reset or closed before any byte of a reply.",
    Cause.UNREACHABLE: "A router said that the server's host can't be reached.",
    Cause.CONNECT_TIMEOUT: "Nobody answered the connect until the deadline.",
    Cause.NAME_NOT_FOUND: "The name does not exist or has no address, and another resolver confirms it; of a control, "
    "by our own resolver's word.",
    Cause.TLS_FAILED: "The TLS handshake failed, and either side's settings may be the reason.",
    Cause.CERTIFICATE_EXPIRED: "The server's certificate has expired by our clock.",
    Cause.CERTIFICATE_NAME: "The server's certificate is for another name.",
    Cause.NOT_TLS: "Plain text came where TLS was due.",
    Cause.STARTTLS_MISSING: "The server did not offer STARTTLS, or something between took the offer away.",
    Cause.FOREIGN_REPLY: "A reply that the service does not document: HTML from something between, perhaps.",
    Cause.SEND_STUCK: "Our request could not be written, or was never acknowledged.",
    Cause.PACKETS_LOST: "No reply until the deadline, on a connection that lost packets: the reply may be among them.",
    Cause.CAPPED: "The attempt was not made: as many were in flight as `in_flight_max` allows.",
    Cause.DESCRIPTORS: "Our host or our process has no file descriptors left.",
    Cause.MEMORY: "Our host or our process has no memory left for it.",
    Cause.PORTS_USED_UP: "Our host has no port or address left to connect from.",
    Cause.NO_ROUTE: "Our host has no route there, its link is down, or its own firewall said no.",
    Cause.RESOLVER: "Our own resolver was silent, failed, or called a name absent and no other resolver confirms it "
    "(`resolvers` in the settings); `reply` says which.",
    Cause.TRUST_STORE: "The server's certificate is signed by nobody whom our trust store knows, or is not valid yet.",
    Cause.CAPTIVE_NETWORK: "Something on our own side answered instead: a proxy or a login page (HTTP 407, 511).",
    Cause.LOSSY_NETWORK: "Only of a control: it was answered, but packets were lost now or in several of its latest "
    "attempts, so it does not vouch for our network.",
    Cause.STALLED: "Our own loop stood still or did not run enough, so the failure that was seen proves nothing.",
    Cause.STOPPED: "The attempt was cut off because the program was told to stop.",
    Cause.INTERNAL: "A mistake of the program's own, or an attempt that it began too late; the log says more.",
}

_COUNTS: Final[dict[Fault, str]] = {
    Fault.NONE: "no failure",
    Fault.SERVER_TIMEOUT: "by itself",
    Fault.SERVER_ERROR: "by itself",
    Fault.CLIENT: "never",
    Fault.NETWORK: "beside a working control",
    Fault.SELF: "never",
}


def counts(cause: Cause) -> str:
    """Say when a failure of this cause counts towards an unavailable second."""
    doubt = ", unless every control failed" if cause in WORDLESS_CAUSES else ""
    return _COUNTS[fault_of(cause)] + doubt


def as_markdown() -> str:
    """Print the page of the documentation: every cause with its fault, in the order of the model."""
    lines = [
        "# Causes",
        "",
        "Printed from `probe/core/causes.py`; a test holds both equal. These words stand in the ledger, the metrics,",
        "the export and what `sev1probe once` shows. Each belongs to one fault, whatever the surface.",
        "Which reply means which: [replies-api.md](replies-api.md), [replies-smtp.md](replies-smtp.md).",
        "How a second is judged by them: [attribution.md](attribution.md).",
        "A working control is one that worked in the same second and is trusted.",
        "",
        "| cause | fault | counts | means |",
        "|---|---|---|---|",
    ]
    lines += [f"| `{cause}` | {fault_of(cause)} | {counts(cause)} | {MEANING[cause]} |" for cause in Cause]
    return "\n".join(lines) + "\n"
