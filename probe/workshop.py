"""Builds the edges that attempt: surfaces and controls, from settings; keeps what is dear to build."""

import hashlib
import ssl
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import aiodns

from probe.clock import SECOND_US, Clock
from probe.core.model import Surface
from probe.core.schedule import slots
from probe.notify import Courier, CourierCharge, build
from probe.plan import Charge, Control, Plan
from probe.settings import Control as ControlSettings
from probe.settings import Problem, Settings, SettingsError, StatusPage, Target
from probe.surfaces.api import ApiSurface
from probe.surfaces.control import ControlSurface
from probe.surfaces.dial import trust
from probe.surfaces.names import OtherResolvers
from probe.surfaces.smtp import SmtpSurface

TRUST_STORES_KEPT_MAX = 64
RESOLVER_TIMEOUT_S = 2.0
RESOLVER_TRIES = 2
# What may hold a secret has no part in the name of a target's settings, not even as a digest.
SECRET_FIELDS = {"key", "password", "authorization", "headers", "body"}
SETTINGS_NAME_LENGTH = 16


class Workshop:
    """Builds what attempts, with one resolver for all, and one TLS context per trust store.

    What was built for the same settings is handed out again, so that a reload which changes one target leaves the
    connections of all others as they are.
    """

    def __init__(
        self, clock: Clock, *, certificate_seen: Callable[[str, Surface, int], None] = lambda *_: None
    ) -> None:
        """`certificate_seen` hears until which second a certificate is good that a target has shown."""
        self.clock = clock
        self._certificate_seen = certificate_seen
        self.resolver = aiodns.DNSResolver(timeout=RESOLVER_TIMEOUT_S, tries=RESOLVER_TRIES)
        self.others = OtherResolvers()
        self._trust = lru_cache(TRUST_STORES_KEPT_MAX)(lambda ca_file, _identity: trust(ca_file))
        self._charges: dict[tuple[str, Surface], tuple[object, Charge]] = {}
        self._controls: dict[str, tuple[object, Control]] = {}
        self._changes: dict[str, int] = {}

    def plan(self, settings: Settings) -> Plan:
        """Build everything that the second loop works with.

        Raises:
            SettingsError: If a part can't be built from its settings.
        """
        charges = {
            (target.name, surface): self._charge(target, surface, settings.vantage)
            for target in settings.targets
            for surface in target.surfaces
        }
        controls = {control.name: self._control(control) for control in settings.controls}
        self.listener_tls(settings)
        self.pages(settings)  # A trust store that can't be used is an error of all the settings, also of a reload's.
        self._charges = {key: self._charges[key] for key in charges}
        self._controls = {name: self._controls[name] for name in controls}
        self.others.name(settings.resolvers)
        return Plan(
            vantage=settings.vantage,
            slots=slots(settings.vantage, ((t.name, t.surfaces, t.attempts_per_second) for t in settings.targets)),
            terms={target.name: replace(target.terms(), settings=self._name(target)) for target in settings.targets},
            charges=charges,
            controls=controls,
        )

    def pages(self, settings: Settings) -> list[tuple[StatusPage, ssl.SSLContext]]:
        """Give each status page the TLS context that it is asked with.

        Raises:
            SettingsError: If a trust store can't be used.
        """
        return [(page, self._context(page.ca_file)) for page in settings.status_pages]

    def couriers(self, settings: Settings) -> list[tuple[CourierCharge, Courier]]:
        """Build the couriers; nothing is sent.

        Raises:
            SettingsError: If one can't be built from its settings.
        """
        found = []
        for place, courier in enumerate(settings.notify):
            charge = CourierCharge.of(courier, self._context(courier.ca_file))
            try:
                found.append((charge, build(charge)))
            except ValueError as error:
                raise SettingsError((Problem(file=f"notify[{place}]", line=0, sentence=str(error)),)) from None
        return found

    def listener_tls(self, settings: Settings) -> ssl.SSLContext | None:
        """Build what the listener shows who it is with; None where it listens without TLS.

        Raises:
            SettingsError: If certificate and key can't be used.
        """
        if settings.listener.tls_certificate is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        renew(context, settings)
        return context

    def surface(self, target: Target, surface: Surface, vantage: str) -> ApiSurface | SmtpSurface:
        """Build the prober of one surface.

        Raises:
            SettingsError: If its settings can't be used.
        """
        try:
            return self._api(target, vantage) if surface is Surface.API else self._smtp(target, vantage)
        except ValueError as error:
            where = f"target {target.name}, {surface}"
            raise SettingsError((Problem(file=where, line=0, sentence=str(error)),)) from error

    def control(self, control: ControlSettings) -> ControlSurface:
        """Build a control."""
        return ControlSurface(control, resolver=self.resolver, clock=self.clock, tls=self._context(control.ca_file))

    async def close(self) -> None:
        """End all look-ups: an answer that comes after the loop has gone would find nobody."""
        await self.resolver.close()
        await self.others.close()

    def _charge(self, target: Target, surface: Surface, vantage: str) -> Charge:
        part = target.api if surface is Surface.API else target.smtp
        assert part is not None
        made_of = (part, target.in_flight_max, vantage, _identity(part.ca_file))
        known = self._charges.get((target.name, surface))
        if known is not None and known[0] == made_of:
            return known[1]
        if known is not None:
            self._changes[target.name] = self._changes.get(target.name, 0) + 1
        charge = Charge(
            prober=self.surface(target, surface, vantage),
            timeout_us=round(part.timeout_s * SECOND_US),
            in_flight_max=target.in_flight_max,
        )
        self._charges[target.name, surface] = (made_of, charge)
        return charge

    def _name(self, target: Target) -> str:
        """Name the settings that a target's attempts are made with.

        Of what is no secret it is a digest. That a secret changed shows in the number behind it, which counts the
        changes since the start: while the program is down nobody knows of changes, and nothing relies on the name then.
        """
        parts = [
            "" if part is None else part.model_dump_json(exclude=SECRET_FIELDS) for part in (target.api, target.smtp)
        ]
        digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:SETTINGS_NAME_LENGTH]
        changes = self._changes.get(target.name, 0)
        return f"{digest}+{changes}" if changes else digest

    def _control(self, control: ControlSettings) -> Control:
        made_of = (control, _identity(control.ca_file))
        known = self._controls.get(control.name)
        if known is not None and known[0] == made_of:
            return known[1]
        built = self.control(control)
        self._controls[control.name] = (made_of, built)
        return built

    def _api(self, target: Target, vantage: str) -> ApiSurface:
        assert target.api is not None
        return ApiSurface(
            target.api,
            target=target.name,
            vantage=vantage,
            resolver=self.resolver,
            clock=self.clock,
            tls=self._context(target.api.ca_file) if target.api.base_url.startswith("https:") else None,
            in_flight_max=target.in_flight_max,
            others=self.others,
            certificate_seen=partial(self._certificate_seen, target.name, Surface.API),
        )

    def _smtp(self, target: Target, vantage: str) -> SmtpSurface:
        assert target.smtp is not None
        return SmtpSurface(
            target.smtp,
            target=target.name,
            vantage=vantage,
            resolver=self.resolver,
            clock=self.clock,
            tls=self._context(target.smtp.ca_file) if target.smtp.tls != "none" else None,
            in_flight_max=target.in_flight_max,
            others=self.others,
            certificate_seen=partial(self._certificate_seen, target.name, Surface.SMTP),
        )

    def _context(self, ca_file: Path | None) -> ssl.SSLContext:
        """Return the TLS context for a trust store, the system's for None; a file that was replaced is read again."""
        try:
            return self._trust(None if ca_file is None else str(ca_file), _identity(ca_file))
        except OSError as error:  # ssl.SSLError is one.
            raise _unusable(ca_file, error) from error


def renew(context: ssl.SSLContext, settings: Settings) -> None:
    """Read the listener's certificate and key again, for the connections to come.

    Raises:
        SettingsError: If they can't be used; those that were there stay.
    """
    certificate, key = settings.listener.tls_certificate, settings.listener.tls_key
    assert certificate is not None
    # Tried on another context first: a certificate whose key does not fit would be taken in all the same.
    trial = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for one in (trial, context):
        try:
            # A key with a passphrase would ask for it on the terminal, and wait.
            one.load_cert_chain(certificate, key, password="")
        except OSError as error:
            is_format = isinstance(error, ssl.SSLError)
            reason = (
                "they are no certificate and the unencrypted key to it, in PEM form" if is_format else error.strerror
            )
            sentence = f"listener.tls_certificate and tls_key ({key}) can't be used: {reason}"
            raise SettingsError((Problem(file=str(certificate), line=0, sentence=sentence),)) from error


def _identity(ca_file: Path | None) -> tuple[int, int, int]:
    """Tell one content of a file from another, as far as its inode can."""
    if ca_file is None:
        return (0, 0, 0)
    try:
        found = ca_file.stat()
    except OSError as error:
        raise _unusable(ca_file, error) from error
    return (found.st_mtime_ns, found.st_ino, found.st_size)


def _unusable(ca_file: Path | None, error: OSError) -> SettingsError:
    reason = "it holds no certificate in PEM form" if isinstance(error, ssl.SSLError) else error.strerror
    return SettingsError((Problem(file=str(ca_file), line=0, sentence=f"ca_file can't be used: {reason}"),))
