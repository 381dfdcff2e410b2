"""Everything else that people use, through Apprise: PagerDuty, Opsgenie, Slack, SMS, mail and some hundred more.

The library waits where it sends, so each courier has a thread of its own for it: never one that others need. Its
addresses are secrets, and it names them in its log; that log is closed here, and what went wrong is said in our words.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final

from probe.core.notices import Bearing, Notice, Severity
from probe.notify.charge import CourierCharge
from probe.notify.courier import CourierError

# Loggers of the library and of what it sends by; their lines hold addresses.
_TALKATIVE: Final = ("apprise", "urllib3", "requests")


class AppriseCourier:
    """Tells whatever one Apprise URL stands for."""

    def __init__(self, charge: CourierCharge) -> None:
        for name in _TALKATIVE:
            logger = logging.getLogger(name)
            logger.addHandler(logging.NullHandler())
            logger.propagate = False
        # Imported here: it takes a fifth of a second, and most do without it.
        import apprise

        asset = apprise.AppriseAsset(app_id="sev1probe", async_mode=False, secure_logging=True)
        self._apprise = apprise.Apprise(asset=asset)
        self._types = {
            Severity.CRITICAL: apprise.NotifyType.FAILURE,
            Severity.WARNING: apprise.NotifyType.WARNING,
            Severity.INFO: apprise.NotifyType.INFO,
        }
        self._over = apprise.NotifyType.SUCCESS
        if not self._apprise.add(charge.url.get_secret_value()):
            raise ValueError(f"courier {charge.name}: Apprise knows no service with a URL like this one (not shown)")
        for service in self._apprise:
            # A page that is too long for a service must arrive all the same; the library's default is to let it fail.
            if "overflow=" not in charge.url.get_secret_value():
                service.overflow_mode = apprise.OverflowMode.TRUNCATE
        self._thread = _OneCall(f"courier-{charge.name}")

    async def tell(self, notice: Notice) -> None:
        """Tell one notice."""
        kind = self._over if notice.bearing is Bearing.ENDS else self._types[notice.severity]
        body = f"{notice.text}\n\n{notice.call_sheet}" if notice.call_sheet else notice.text

        def call() -> bool:
            return bool(self._apprise.notify(title=notice.title, body=body, notify_type=kind))

        try:
            taken = await self._thread.run(call)
        except CourierError:
            raise
        except Exception as error:  # noqa: BLE001 - a library with a hundred plugins raises what it likes
            # Without its cause and its words, which may hold the address.
            raise CourierError(f"the service was not reached: {type(error).__name__}") from None
        if not taken:
            raise CourierError("the service did not take it")

    async def repeat(self, lasting: Iterable[Notice]) -> None:
        """Do nothing: people who were told once know."""

    async def close(self) -> None:
        """Ask no more of the thread; one that hangs does not keep the program from ending."""


class _OneCall:
    """Runs one synchronous call at a time, in a daemon thread made for it.

    A call that nobody waits for any more goes on until it ends; meanwhile no other one is begun, so there is at most
    one thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._busy = False

    async def run(self, call: Callable[[], bool]) -> bool:
        if self._busy:
            raise CourierError("the service has not answered the last notice yet")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()

        def work() -> None:
            result, error = False, None
            try:
                result = call()
            except BaseException as raised:  # noqa: BLE001 - whatever it is, the caller must hear of it
                error = raised
            self._busy = False
            try:
                loop.call_soon_threadsafe(_answer, future, result, error)
            except RuntimeError:  # The loop was closed meanwhile.
                return

        self._busy = True
        threading.Thread(target=work, name=self._name, daemon=True).start()
        return await future


def _answer(future: "asyncio.Future[bool]", result: bool, error: Any) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
