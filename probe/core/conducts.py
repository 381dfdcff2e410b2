"""What a server can do to an attempt, and what must be said of it: the words that both surfaces' tables share.

The tables in `conducts_smtp` and `conducts_api` are the other side of `replies_*`: those are rules, these are cases.
Each case was reasoned from the contract, the provider's documentation and the RFC that its row names, never read off
the rules, so that the two can disagree. The documentation prints the cases, and tests play each over real sockets.
"""

from dataclasses import dataclass
from typing import Final

from probe.core.model import Cause, Fault, Phase


@dataclass(frozen=True, slots=True)
class Expected:
    """What must be said of a case; `phase` where it is another than the one in which the server did it."""

    fault: Fault
    cause: Cause
    phase: Phase | None = None

    def __str__(self) -> str:
        """Name fault and cause as the documentation does."""
        return f"{self.fault}: {self.cause}" + (f" (in `{self.phase}`)" if self.phase is not None else "")


TAKEN: Final = Expected(Fault.NONE, Cause.ACCEPTED)
SILENT: Final = Expected(Fault.SERVER_TIMEOUT, Cause.SILENT)
STALLED: Final = Expected(Fault.SERVER_TIMEOUT, Cause.BODY_STALLED)
CLOSED: Final = Expected(Fault.SERVER_ERROR, Cause.CLOSED)
RESET_IN_SESSION: Final = Expected(Fault.SERVER_ERROR, Cause.RESET_IN_SESSION)
NO_PROTOCOL: Final = Expected(Fault.SERVER_ERROR, Cause.MALFORMED_REPLY)
TLS_DOWN: Final = Expected(Fault.SERVER_ERROR, Cause.TLS_SERVER_ERROR)
TLS_REFUSED: Final = Expected(Fault.NETWORK, Cause.TLS_FAILED)
NOT_TLS: Final = Expected(Fault.NETWORK, Cause.NOT_TLS)
EXPIRED: Final = Expected(Fault.NETWORK, Cause.CERTIFICATE_EXPIRED)
WRONG_NAME: Final = Expected(Fault.NETWORK, Cause.CERTIFICATE_NAME)
NOT_TRUSTED: Final = Expected(Fault.SELF, Cause.TRUST_STORE)
REFUSED: Final = Expected(Fault.NETWORK, Cause.REFUSED)
UNANSWERED: Final = Expected(Fault.NETWORK, Cause.CONNECT_TIMEOUT)
STUCK: Final = Expected(Fault.NETWORK, Cause.SEND_STUCK)
KEY: Final = Expected(Fault.CLIENT, Cause.CREDENTIALS)
QUOTA: Final = Expected(Fault.CLIENT, Cause.QUOTA)
LIMIT: Final = Expected(Fault.CLIENT, Cause.THROTTLED)
OURS: Final = Expected(Fault.CLIENT, Cause.REQUEST_REJECTED)

# Reasons that both tables give for the same case.
WHY_SILENT: Final = "A server-side timeout in the contract's own words."
WHY_ALERT: Final = "Either side's TLS settings may be the reason, so a control must speak."
WHY_CERTIFICATE: Final = "The server's only if our clock and our path are sound, so a control must speak."
WHY_TRUST: Final = "Our own bundle is the likelier reason (not yet valid: our own clock)."


def line(*cells: str) -> str:
    """Return one line of a table in Markdown."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
