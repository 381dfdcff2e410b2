"""The simulated provider on the event loop that the daemon and the benchmarks use."""

import asyncio
import smtplib
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest
import uvloop

from probe.core.model import Phase, Surface
from probe.simulator import FaultKind, SimulatedFault, SimulatedProvider

BODY = b'{"recipients": [{"address": "a@b.test"}], "content": {"from": "me@example.com", "subject": "s", "text": "t"}}'


def call(provider: SimulatedProvider) -> int:
    """Make one API call on a fresh connection."""
    request = urllib.request.Request(f"{provider.api_url}/transmissions", BODY, {"Authorization": provider.key})
    context = ssl.create_default_context(cafile=str(provider.ca_file))
    try:
        with urllib.request.urlopen(request, timeout=0.5, context=context) as response:
            response.read()
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def inject(provider: SimulatedProvider) -> int:
    """Make one SMTP injection on a fresh connection."""
    context = ssl.create_default_context(cafile=str(provider.ca_file))
    with smtplib.SMTP("localhost", provider.smtp_port, timeout=0.5) as client:
        client.starttls(context=context)
        client.login(provider.user, provider.key)
        refused = client.sendmail("me@example.com", ["a@b.test"], "From: me@example.com\r\n\r\nx")
        return 250 if not refused else 0


# smtplib reports a reset under its own name, or as it came, by when it arrives.
RESET_TO_SMTPLIB = (ConnectionResetError, smtplib.SMTPServerDisconnected)
FAULTS: list[tuple[Surface, SimulatedFault, type[Exception] | tuple[type[Exception], ...]]] = [
    (Surface.API, SimulatedFault(kind=FaultKind.REFUSE), ConnectionRefusedError),
    (Surface.API, SimulatedFault(kind=FaultKind.RESET), ConnectionResetError),
    (Surface.API, SimulatedFault(kind=FaultKind.SILENT), TimeoutError),
    (Surface.API, SimulatedFault(kind=FaultKind.CLOSE, phase=Phase.TLS), (ssl.SSLError, ConnectionError)),
    (Surface.API, SimulatedFault(kind=FaultKind.WRONG_NAME), ssl.SSLCertVerificationError),
    (Surface.SMTP, SimulatedFault(kind=FaultKind.REFUSE), ConnectionRefusedError),
    (Surface.SMTP, SimulatedFault(kind=FaultKind.RESET, phase=Phase.BANNER), RESET_TO_SMTPLIB),
    (Surface.SMTP, SimulatedFault(kind=FaultKind.CLOSE), smtplib.SMTPServerDisconnected),
    (Surface.SMTP, SimulatedFault(kind=FaultKind.EXPIRED_CERTIFICATE), ssl.SSLCertVerificationError),
    (Surface.SMTP, SimulatedFault(kind=FaultKind.REPLY, reply="451 4.3.0 no"), smtplib.SMTPDataError),
]


def reason(error: BaseException) -> BaseException:
    """Look through urllib's wrapping."""
    return error.reason if isinstance(error, urllib.error.URLError) and isinstance(error.reason, OSError) else error


def test_faults_come_and_go_on_uvloop() -> None:
    """Each surface fails as told and works again, the listener closed and opened included."""
    attempts: dict[Surface, Callable[[SimulatedProvider], int]] = {Surface.API: call, Surface.SMTP: inject}

    async def drill() -> None:
        async with SimulatedProvider() as provider:
            for surface, fault, error in FAULTS:
                provider.set(surface, fault)
                with pytest.raises(OSError) as caught:  # noqa: PT011 - the kind is compared below, out of its wrapping.
                    await asyncio.to_thread(attempts[surface], provider)
                assert isinstance(reason(caught.value), error), (fault, caught.value)
                provider.clear(surface)
                assert await asyncio.to_thread(attempts[surface], provider) in (200, 250)
            assert len(provider.received(Surface.SMTP)) == 5

    uvloop.run(drill())
