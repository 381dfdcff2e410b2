"""Telling people and their tools: the outbox of what the ledger keeps, and one courier for each way of telling."""

from probe.notify.charge import CourierCharge, CourierKind
from probe.notify.courier import Courier, CourierError, OutboxError, Refused, build, tell_in_time
from probe.notify.desk import Desk, Kept, Pace, Watch
from probe.notify.office import Office

__all__ = [
    "Courier",
    "CourierCharge",
    "CourierError",
    "CourierKind",
    "Desk",
    "Kept",
    "Office",
    "OutboxError",
    "Pace",
    "Refused",
    "Watch",
    "build",
    "tell_in_time",
]
