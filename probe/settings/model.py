"""The frozen settings: what every other part is built from.

The names of the fields are those that the program reads. A field whose name ends in a unit has a shorter name in the
YAML file, where the value carries the unit (`timeout: 10s` becomes `timeout_s`).
"""

import re
import socket
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)

from probe.core.calendar import DatedException, ServiceZone
from probe.core.model import Persistence, Surface, Terms
from probe.core.obligations import Pledges
from probe.settings.cases import CaseSettings
from probe.settings.courier import Courier
from probe.settings.hours import EXCEPTIONS_MAX, BusinessHoursException
from probe.settings.kinds import (
    NAME_PATTERN,
    VANTAGE_PATTERN,
    CaFile,
    Count,
    Duration,
    Host,
    HostPort,
    KeyFile,
    LedgerUrl,
    MaybeMailAddress,
    NewFile,
    PageUrl,
    Phone,
    Program,
    Resolver,
    Url,
    WholeSeconds,
    is_loopback,
    redact_url,
    refuse,
    refuse_all,
)
from probe.settings.people import Company, Tam
from probe.settings.surface import TIMEOUT_MAX_S, Api, Family, Frozen, Smtp, named

ATTEMPTS_PER_SECOND_MAX = 10
IN_FLIGHT_MAX = 1_000
TARGETS_MAX = 2_000
CONTROLS_MAX = 20
RESOLVERS_MAX = 4
STATUS_PAGES_MAX = 10
COURIERS_MAX = 20

SECOND_US = 1_000_000
LINE_PROFILES = frozenset({"sparkpost-enterprise"})  # those whose contract has a Severity 1 line

Name = Annotated[str, Field(pattern=NAME_PATTERN)]


class PersistenceTerms(Frozen):
    """When unavailability lasts; whole seconds."""

    unavailable_seconds: WholeSeconds = named("unavailable", 60, ge=1, le=86_400)
    window_seconds: WholeSeconds = named("window", 90, ge=1, le=86_400)
    recovery_seconds: WholeSeconds = named("recovery", 60, ge=1, le=86_400)

    @model_validator(mode="after")
    def _can_hold(self) -> Self:
        if self.window_seconds < self.unavailable_seconds:
            expected = f"at least as much as unavailable ({self.unavailable_seconds}s), or no issue could ever open"
            raise refuse(expected, found=f"{self.window_seconds}s", field="window")
        return self


def _percent(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise refuse("a percentage such as 99.99")
    if isinstance(value, int | float) and abs(value) > 1_000_000:
        raise refuse("at most 100")
    return value


Percent = Annotated[
    Decimal,
    BeforeValidator(_percent),
    Field(gt=0, le=100, decimal_places=4),
    PlainSerializer(float, when_used="json"),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": 100}),
]


class Contract(Frozen):
    """The terms that a target is judged by."""

    profile: Literal["sparkpost-enterprise", "bird-premium-email"] = "sparkpost-enterprise"
    persistence: PersistenceTerms = Field(default_factory=PersistenceTerms)
    objective_percent: Percent = Decimal("99.99")
    severity_1_line: Phone = ""
    call_within_s: Duration = named("call_within", 300.0, ge=5, le=86_400)
    update_every_s: Duration = named("update_every", 1_800.0, ge=60, le=7 * 86_400)
    tam: Tam = Field(default_factory=Tam)
    support_email: MaybeMailAddress = ""
    service_time_zone: Literal["us-eastern", "us-pacific", "uk"] = "us-eastern"
    business_hours_exceptions: Annotated[tuple[BusinessHoursException, ...], Field(max_length=EXCEPTIONS_MAX)] = ()

    @model_validator(mode="after")
    def _has_each_day_once(self) -> Self:
        days = [exception.date.isoformat() for exception in self.business_hours_exceptions]
        for place, first in repeated(days):
            raise refuse(
                f"each date once; [{first}] has it already",
                found=f"{days[place]} in [{place}]",
                field="business_hours_exceptions",
            )
        return self

    @property
    def service_zone(self) -> ServiceZone:
        """Name the Service Time Zone as the rules want it."""
        return ServiceZone(self.service_time_zone)

    def exceptions(self) -> dict[date, DatedException]:
        """State the exceptions to the Business Hours as the rules want them."""
        return {one.date: one.stated() for one in self.business_hours_exceptions}

    @property
    def has_line(self) -> bool:
        """Say whether the profile has a Severity 1 line at all."""
        return self.profile in LINE_PROFILES

    def pledges(self) -> Pledges:
        """State what was agreed as the obligations want it."""
        return Pledges(
            has_line=self.has_line,
            call_within_us=round(self.call_within_s * SECOND_US),
            update_every_us=round(self.update_every_s * SECOND_US),
        )


class Target(Frozen):
    """One account at the provider that is watched."""

    name: Name
    api: Api | None = None
    smtp: Smtp | None = None
    contract: Contract = Field(default_factory=Contract)
    attempts_per_second: Count = Field(default=1, ge=1, le=ATTEMPTS_PER_SECOND_MAX)
    in_flight_max: Count = Field(default=10, ge=1, le=IN_FLIGHT_MAX)

    @model_validator(mode="after")
    def _has_a_surface(self) -> Self:
        if not self.surfaces:
            raise refuse("api, smtp or both", found="neither")
        return self

    @property
    def surfaces(self) -> tuple[Surface, ...]:
        """Name the surfaces that are watched, in their fixed order."""
        pairs = ((Surface.API, self.api), (Surface.SMTP, self.smtp))
        return tuple(surface for surface, part in pairs if part is not None)

    def terms(self) -> Terms:
        """State the terms as the rules want them."""
        persistence = self.contract.persistence
        return Terms(
            profile=self.contract.profile,
            persistence=Persistence(
                unavailable_seconds=persistence.unavailable_seconds,
                window_seconds=persistence.window_seconds,
                recovery_seconds=persistence.recovery_seconds,
            ),
            objective_ppm=int(self.contract.objective_percent * 10_000),
            surfaces=self.surfaces,
        )


class Control(Frozen):
    """Something that is not the provider, attempted each second to learn whether our own network works."""

    name: Name
    kind: Literal["tcp", "http"]
    address: HostPort = ""
    url: Url = ""
    timeout_s: Duration = named("timeout", 2.0, gt=0, le=TIMEOUT_MAX_S)
    ca_file: CaFile = None
    family: Family = "any"

    @model_validator(mode="after")
    def _names_its_aim(self) -> Self:
        wanted, other = ("address", "url") if self.kind == "tcp" else ("url", "address")
        refusals = []
        if not getattr(self, wanted):
            refusals.append(refuse(f"{wanted}, because kind is {self.kind}", found="nothing", field=wanted))
        if getattr(self, other):
            refusals.append(refuse(f"no {other}, because kind is {self.kind}", found="one", field=other))
        refuse_all(refusals)
        return self


class StatusPage(Frozen):
    """The provider's own words: a page of the Statuspage kind, kept as evidence; it changes no verdict."""

    name: Name
    url: PageUrl
    poll_s: Duration = named("poll", 60.0, ge=10, le=86_400)
    timeout_s: Duration = named("timeout", 10.0, gt=0, le=60)
    ca_file: CaFile = None


class Ledger(Frozen):
    """Where the durable record is kept, and for how long."""

    url: LedgerUrl = "/var/lib/sev1probe/ledger.sqlite3"
    attempts_kept_s: Duration = named("attempts_kept", 35 * 86_400.0, ge=3_600, le=100 * 365 * 86_400)
    verdicts_kept_s: Duration = named("verdicts_kept", 400 * 86_400.0, ge=3_600, le=100 * 365 * 86_400)
    queue_records_max: Count = Field(default=200_000, ge=1_000, le=10_000_000)

    def __repr_args__(self) -> Any:
        """Keep a database password out of every repr."""
        for name, value in super().__repr_args__():
            yield name, redact_url(value) if name == "url" else value

    @model_validator(mode="after")
    def _keeps_verdicts_longest(self) -> Self:
        if self.verdicts_kept_s < self.attempts_kept_s:
            raise refuse("at least as long as attempts_kept", found="less", field="verdicts_kept")
        return self


class Listener(Frozen):
    """Where the daemon answers, and whom."""

    host: Host = "127.0.0.1"
    port: Annotated[int, Field(strict=True, ge=0, le=65_535)] = 9747  # 0 is any free port
    tokens_file: NewFile = None
    tls_certificate: CaFile = None
    tls_key: KeyFile = None
    open_reading: Annotated[bool, Field(strict=True)] = False

    @model_validator(mode="after")
    def _keeps_tokens_secret(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            lacking = "tls_key" if self.tls_key is None else "tls_certificate"
            raise refuse("tls_certificate and tls_key together", found="nothing", field=lacking)
        if self.tokens_file is not None and self.tls_key is None and not is_loopback(self.host):
            expected = f"a certificate and tls_key, because tokens would travel unencrypted to {self.host}"
            raise refuse(expected, found="nothing", field="tls_certificate")
        return self


class Log(Frozen):
    """Lines for humans."""

    format: Literal["auto", "json", "console"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


def host_vantage() -> str:
    """Make a vantage of this host's name, with what a vantage may not hold replaced by a hyphen."""
    name = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname()).lstrip(".-")[:63]
    return name or "unnamed"


def repeated(names: list[str]) -> list[tuple[int, int]]:
    """Find the names that stand there already, as (place, first place)."""
    return [(place, names.index(name)) for place, name in enumerate(names) if names.index(name) < place]


class Settings(Frozen):
    """All that the daemon is told."""

    vantage: Annotated[str, Field(pattern=VANTAGE_PATTERN)] = Field(default_factory=host_vantage)
    targets: Annotated[tuple[Target, ...], Field(min_length=1, max_length=TARGETS_MAX)]
    controls: Annotated[tuple[Control, ...], Field(max_length=CONTROLS_MAX)] = ()
    resolvers: Annotated[tuple[Resolver, ...], Field(max_length=RESOLVERS_MAX)] = ()
    blind_after_s: Duration = named("blind_after", 30.0, ge=5, le=3_600)
    on_condition: Program = None
    company: Company = Field(default_factory=Company)
    cases: CaseSettings = Field(default_factory=CaseSettings)
    status_pages: Annotated[tuple[StatusPage, ...], Field(max_length=STATUS_PAGES_MAX)] = ()
    notify: Annotated[tuple[Courier, ...], Field(max_length=COURIERS_MAX)] = ()
    ledger: Ledger = Field(default_factory=Ledger)
    listener: Listener = Field(default_factory=Listener)
    log: Log = Field(default_factory=Log)

    @model_validator(mode="after")
    def _completed(self) -> Self:
        for kind, parts in self._named_parts():
            for place, first in repeated([part.name for part in parts]):
                raise refuse(
                    f"a name that {kind}[{first}] does not have already",
                    found=f'"{parts[place].name}"',
                    field=f"{kind}.{place}.name",
                )
        # Only here are the vantage and the injections known together; the models are frozen for everybody else.
        object.__setattr__(self, "targets", tuple(_with_ehlo(target, self.vantage) for target in self.targets))
        return self

    def _named_parts(self) -> tuple[tuple[str, Sequence[Target | Control | StatusPage | Courier]], ...]:
        return (
            ("targets", self.targets),
            ("controls", self.controls),
            ("status_pages", self.status_pages),
            ("notify", self.notify),
        )


def _with_ehlo(target: Target, vantage: str) -> Target:
    if target.smtp is None or target.smtp.ehlo:
        return target
    return target.model_copy(update={"smtp": target.smtp.model_copy(update={"ehlo": vantage})})
