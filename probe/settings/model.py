"""The frozen settings: what every other part is built from.

The names of the fields are those that the program reads. A field whose name ends in a unit has a shorter name in the
YAML file, where the value carries the unit (`timeout: 10s` becomes `timeout_s`).
"""

import re
import socket
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)

from probe.core.model import Persistence, Surface, Terms
from probe.settings.kinds import (
    NAME_PATTERN,
    VANTAGE_PATTERN,
    Authorization,
    BaseUrl,
    Body,
    CaFile,
    Count,
    Duration,
    Headers,
    Host,
    HostPort,
    LedgerUrl,
    MailAddress,
    Port,
    Secret,
    Url,
    UrlPath,
    WholeSeconds,
    is_loopback,
    redact_url,
    refuse,
)

TIMEOUT_MAX_S = 300.0  # the longest that the provider documents for a call
ATTEMPTS_PER_SECOND_MAX = 10
IN_FLIGHT_MAX = 1_000
TARGETS_MAX = 2_000
CONTROLS_MAX = 20
USES_MAX_API = 10_000
USES_MAX_SMTP = 100

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Family = Literal["any", "ipv4", "ipv6"]


class Frozen(BaseModel):
    """The ground of all settings: frozen, and strangers refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True, hide_input_in_errors=True
    )


def _named(name: str, default: Any, **limits: Any) -> Any:
    """Declare a field whose name in the YAML file is without its unit."""
    return Field(default=default, validation_alias=name, serialization_alias=name, **limits)


class Connections(Frozen):
    """How connections are reused and rotated."""

    mode: Literal["kept", "fresh"] = "kept"
    fresh_every: Count = Field(default=60, ge=0, le=86_400)  # each n-th attempt on a fresh connection; 0 is never
    age_max_s: Duration = _named("age_max", 900.0, gt=0, le=86_400)
    uses_max: Count = Field(default=USES_MAX_API, ge=1, le=1_000_000)


def _smtp_uses(connections: Connections) -> Connections:
    """Give SMTP its own default, which the provider documents."""
    if "uses_max" in connections.model_fields_set:
        return connections
    return connections.model_copy(update={"uses_max": USES_MAX_SMTP})


class Api(Frozen):
    """One face of a target: the call that hands over a message."""

    base_url: BaseUrl
    path: UrlPath = "/transmissions"
    key: Secret | None = None
    authorization: Authorization = "{key}"
    headers: Headers = Field(default_factory=dict)
    body: Body
    timeout_s: Duration = _named("timeout", 10.0, gt=0, le=TIMEOUT_MAX_S)
    connections: Connections = Field(default_factory=Connections)
    ca_file: CaFile = None
    family: Family = "any"

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        written = {"authorization", "content-length", "transfer-encoding", "host"}
        for name in self.headers:
            if name.lower() in written:
                raise refuse(
                    "no header that the program writes itself (use authorization for Authorization)",
                    found=f"the header {name}",
                    field="headers",
                )
        if self.key is None and "authorization" in self.model_fields_set and "{key}" in self.authorization:
            raise refuse("a key, because authorization asks for {key}", found="no key", field="key")
        if self.key is not None and re.search(r"[^!-~ ]", self.key.get_secret_value()):
            expected = "a key of printable ASCII, because it travels in a header"
            raise refuse(expected, found="other characters (not shown)", field="key")
        return self


class Smtp(Frozen):
    """The other face of a target: the injection of a message."""

    host: Host
    port: Port = 587
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    user: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    password: Secret | None = None
    auth: Literal["plain", "login"] = "plain"
    sender: MailAddress
    recipient: MailAddress
    headers: Headers = Field(default_factory=dict)
    ehlo: Host | Literal[""] = ""  # empty only in a part built by itself: Settings puts the vantage here
    timeout_s: Duration = _named("timeout", 10.0, gt=0, le=TIMEOUT_MAX_S)
    connections: Annotated[Connections, AfterValidator(_smtp_uses)] = Field(
        default_factory=lambda: Connections(uses_max=USES_MAX_SMTP)
    )
    ca_file: CaFile = None
    family: Family = "any"

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        for name in self.headers:
            if name.lower() in {"from", "to", "date", "message-id"}:
                raise refuse("no header that the program writes itself", found=f"the header {name}", field="headers")
        if self.user is not None and self.password is None:
            raise refuse("a password for the user", found="none", field="password")
        if self.user is None and self.password is not None:
            raise refuse("a user for the password", found="none", field="user")
        if self.user is not None and self.tls == "none" and not is_loopback(self.host):
            expected = "starttls or implicit, because the password would travel readable (fit for loopback only)"
            raise refuse(expected, found='"none"', field="tls")
        return self


class PersistenceTerms(Frozen):
    """When unavailability lasts; whole seconds."""

    unavailable_seconds: WholeSeconds = _named("unavailable", 60, ge=1, le=86_400)
    window_seconds: WholeSeconds = _named("window", 90, ge=1, le=86_400)
    recovery_seconds: WholeSeconds = _named("recovery", 60, ge=1, le=86_400)

    @model_validator(mode="after")
    def _can_hold(self) -> Self:
        if self.window_seconds < self.unavailable_seconds:
            expected = f"at least as much as unavailable ({self.unavailable_seconds}s), or no issue could ever open"
            raise refuse(expected, found=f"{self.window_seconds}s", field="window")
        return self


def _percent(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise refuse("a percentage such as 99.99")
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
    timeout_s: Duration = _named("timeout", 2.0, gt=0, le=TIMEOUT_MAX_S)
    ca_file: CaFile = None
    family: Family = "any"

    @model_validator(mode="after")
    def _names_its_aim(self) -> Self:
        wanted, other = ("address", "url") if self.kind == "tcp" else ("url", "address")
        if not getattr(self, wanted):
            raise refuse(f"{wanted}, because kind is {self.kind}", found="nothing", field=wanted)
        if getattr(self, other):
            raise refuse(f"no {other}, because kind is {self.kind}", found="one", field=other)
        return self


class Ledger(Frozen):
    """Where the durable record is kept, and for how long."""

    url: LedgerUrl = "/var/lib/sev1probe/ledger.sqlite3"
    attempts_kept_s: Duration = _named("attempts_kept", 35 * 86_400.0, ge=3_600, le=100 * 365 * 86_400)
    verdicts_kept_s: Duration = _named("verdicts_kept", 400 * 86_400.0, ge=3_600, le=100 * 365 * 86_400)
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
    """Where the daemon answers."""

    host: Host = "127.0.0.1"
    port: Annotated[int, Field(strict=True, ge=0, le=65_535)] = 9747  # 0 is any free port


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
    ledger: Ledger = Field(default_factory=Ledger)
    listener: Listener = Field(default_factory=Listener)
    log: Log = Field(default_factory=Log)

    @model_validator(mode="after")
    def _completed(self) -> Self:
        for kind, parts in (("targets", self.targets), ("controls", self.controls)):
            for place, first in repeated([part.name for part in parts]):
                raise refuse(
                    f"a name that {kind}[{first}] does not have already",
                    found=f'"{parts[place].name}"',
                    field=f"{kind}.{place}.name",
                )
        # Only here are the vantage and the injections known together; the models are frozen for everybody else.
        object.__setattr__(self, "targets", tuple(_with_ehlo(target, self.vantage) for target in self.targets))
        return self


def _with_ehlo(target: Target, vantage: str) -> Target:
    if target.smtp is None or target.smtp.ehlo:
        return target
    return target.model_copy(update={"smtp": target.smtp.model_copy(update={"ehlo": vantage})})
