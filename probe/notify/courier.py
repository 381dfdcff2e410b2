"""What every courier can do, and what may come in between."""

import asyncio
from collections.abc import Iterable
from typing import Protocol, assert_never

from probe.core.notices import Notice
from probe.notify.charge import CourierCharge, CourierKind


class CourierError(Exception):
    """A notice was not told, or nobody knows; str() is fit to be shown: it holds no address and no secret."""


class Refused(CourierError):
    """The receiver will not take this notice; to send it once more hardly helps."""


class OutboxError(Exception):
    """What is to be told can't be read or settled now; str() is a sentence."""


class Courier(Protocol):
    """One way of telling. Its methods raise CourierError and nothing else; the caller sets their time limit."""

    async def tell(self, notice: Notice) -> None:
        """Tell one notice; on return the receiver has it."""
        ...

    async def repeat(self, lasting: Iterable[Notice]) -> None:
        """Tell again what lasts."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


def build(charge: CourierCharge) -> Courier:
    """Make the courier of a charge; nothing is sent yet.

    Raises:
        ValueError: If it can't be made of its settings; the message holds no secret.
    """
    # Imported here, since whoever uses one kind need not load the others.
    match charge.kind:
        case CourierKind.ALERTMANAGER:
            from probe.notify.alertmanager import AlertmanagerCourier

            return AlertmanagerCourier(charge)
        case CourierKind.WEBHOOK:
            from probe.notify.webhook import WebhookCourier

            return WebhookCourier(charge)
        case CourierKind.APPRISE:
            from probe.notify.services import AppriseCourier

            return AppriseCourier(charge)
        case _:
            assert_never(charge.kind)


async def tell_in_time(courier: Courier, charge: CourierCharge, notice: Notice) -> None:
    """Tell one notice within the courier's time.

    Raises:
        CourierError: If it is not known to be told.
    """
    try:
        async with asyncio.timeout(charge.timeout_s):
            await courier.tell(notice)
    except TimeoutError:
        raise CourierError(f"no answer within {charge.timeout_s:g} s") from None
