"""Ways in which an attempt ends without a reply, and whose fault each is.

One table for both surfaces, for the rows of the provider's reference (section 5) that speak of DNS, TCP and TLS, plus
the table of operating system errors. `probe.core.replies_*` judge the replies themselves.
"""

import errno
from typing import Final

from probe.core.model import Cause, Fault

Judged = tuple[Fault, Cause]

# A kept connection that the server HAD closed says so one round trip after our write at the latest, and no round trip
# between data centres takes this long. An end that comes later came while the server was at work on this attempt.
RENEWAL_US_MAX: Final = 250_000

# Where a row departs from the reference's proposal, the reason stands beside it.
FAULT_BY_CAUSE: Final[dict[Cause, Fault]] = {
    Cause.ACCEPTED: Fault.NONE,
    Cause.ACCEPTED_WITH_ERRORS: Fault.NONE,
    Cause.SILENT: Fault.SERVER_TIMEOUT,
    Cause.BODY_STALLED: Fault.SERVER_TIMEOUT,
    Cause.GATEWAY_TIMEOUT: Fault.SERVER_TIMEOUT,
    Cause.HTTP_ERROR: Fault.SERVER_ERROR,
    Cause.SERVER_RESOURCES: Fault.SERVER_ERROR,
    Cause.SERVICE_CLOSING: Fault.SERVER_ERROR,
    Cause.REPLY_TRANSIENT: Fault.SERVER_ERROR,
    Cause.REPLY_PERMANENT: Fault.SERVER_ERROR,
    Cause.CLOSED: Fault.SERVER_ERROR,
    Cause.RESET_IN_SESSION: Fault.SERVER_ERROR,
    Cause.MALFORMED_REPLY: Fault.SERVER_ERROR,
    Cause.INCOMPLETE_BODY: Fault.SERVER_ERROR,
    Cause.UNREADABLE_BODY: Fault.SERVER_ERROR,
    Cause.TLS_SERVER_ERROR: Fault.SERVER_ERROR,
    Cause.AUTH_UNAVAILABLE: Fault.SERVER_ERROR,
    Cause.CREDENTIALS: Fault.CLIENT,
    Cause.QUOTA: Fault.CLIENT,
    Cause.THROTTLED: Fault.CLIENT,
    Cause.REQUEST_REJECTED: Fault.CLIENT,
    Cause.REDIRECTED: Fault.CLIENT,
    Cause.MISDIRECTED: Fault.CLIENT,
    Cause.REFUSED: Fault.NETWORK,
    Cause.RESET: Fault.NETWORK,
    Cause.UNREACHABLE: Fault.NETWORK,
    Cause.CONNECT_TIMEOUT: Fault.NETWORK,
    Cause.NAME_NOT_FOUND: Fault.NETWORK,
    # The reference would call these the server's, "after own clock and trust store are checked". Nobody has checked
    # them at the moment of the attempt, so they need a control's word.
    Cause.TLS_FAILED: Fault.NETWORK,
    Cause.CERTIFICATE_EXPIRED: Fault.NETWORK,
    Cause.CERTIFICATE_NAME: Fault.NETWORK,
    Cause.NOT_TLS: Fault.NETWORK,
    Cause.STARTTLS_MISSING: Fault.NETWORK,
    Cause.FOREIGN_REPLY: Fault.NETWORK,
    Cause.SEND_STUCK: Fault.NETWORK,
    Cause.PACKETS_LOST: Fault.NETWORK,
    Cause.CAPPED: Fault.SELF,
    Cause.DESCRIPTORS: Fault.SELF,
    Cause.MEMORY: Fault.SELF,
    Cause.PORTS_USED_UP: Fault.SELF,
    Cause.NO_ROUTE: Fault.SELF,
    Cause.RESOLVER: Fault.SELF,
    Cause.TRUST_STORE: Fault.SELF,
    Cause.CAPTIVE_NETWORK: Fault.SELF,
    Cause.LOSSY_NETWORK: Fault.SELF,
    Cause.STALLED: Fault.SELF,
    Cause.STOPPED: Fault.SELF,
    Cause.INTERNAL: Fault.SELF,
}

CAUSE_BY_ERRNO: Final[dict[int, Cause]] = {
    errno.ECONNREFUSED: Cause.REFUSED,
    errno.ECONNRESET: Cause.RESET,
    errno.ECONNABORTED: Cause.RESET,
    errno.EPIPE: Cause.RESET,
    errno.ETIMEDOUT: Cause.CONNECT_TIMEOUT,
    errno.EHOSTUNREACH: Cause.UNREACHABLE,
    errno.EHOSTDOWN: Cause.UNREACHABLE,
    # ENETUNREACH is what our own kernel says when it has no route; a router far away is heard as EHOSTUNREACH too, and
    # then a second of the provider's would be lost to us rather than wrongly laid at its door.
    errno.ENETUNREACH: Cause.NO_ROUTE,
    errno.ENETDOWN: Cause.NO_ROUTE,
    errno.EADDRNOTAVAIL: Cause.PORTS_USED_UP,
    errno.EMFILE: Cause.DESCRIPTORS,
    errno.ENFILE: Cause.DESCRIPTORS,
    errno.ENOBUFS: Cause.MEMORY,
    errno.ENOMEM: Cause.MEMORY,
    errno.EACCES: Cause.NO_ROUTE,  # a local firewall said no
    errno.EPERM: Cause.NO_ROUTE,
}


def fault_of(cause: Cause) -> Fault:
    """Return whose failure a cause is; every cause has exactly one."""
    return FAULT_BY_CAUSE[cause]


def cause_of_errno(number: int | None) -> Cause:
    """Return the cause that an operating system error stands for; an unknown error is our own until shown otherwise."""
    return CAUSE_BY_ERRNO.get(number or 0, Cause.INTERNAL)


def own_cause_of(error: BaseException | None) -> Cause | None:
    """Return the cause of an error that was raised within our own process or kernel; None if it may be another's.

    What ends a connection is not always the other side: our own reading of it may have failed, or the memory for it.
    """
    if error is None:
        return None
    if isinstance(error, MemoryError):
        return Cause.MEMORY
    if isinstance(error, OSError):
        cause = CAUSE_BY_ERRNO.get(error.errno or 0)
        return cause if cause is not None and fault_of(cause) is Fault.SELF else None
    return Cause.INTERNAL
