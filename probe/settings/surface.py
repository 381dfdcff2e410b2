"""The frozen settings of the two surfaces of a target, and of their connections."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from probe.settings.kinds import (
    Authorization,
    BaseUrl,
    Body,
    CaFile,
    Count,
    Duration,
    Ehlo,
    Headers,
    Host,
    MailAddress,
    Port,
    Secret,
    UrlPath,
    is_loopback,
    refuse,
    refuse_all,
)

TIMEOUT_MAX_S = 300.0  # the longest that the provider documents for a call
USES_MAX_API = 10_000  # with USES_MAX_SMTP: what the provider documents for one connection
USES_MAX_SMTP = 100

API_HEADERS_WRITTEN = frozenset({"authorization", "content-length", "transfer-encoding", "host"})
SMTP_HEADERS_WRITTEN = frozenset({"from", "to", "date", "message-id"})

Family = Literal["any", "ipv4", "ipv6"]


class Frozen(BaseModel):
    """The ground of all settings: frozen, and strangers refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True, hide_input_in_errors=True
    )


def named(name: str, default: Any, **limits: Any) -> Any:
    """Declare a field whose name in the YAML file is without its unit."""
    return Field(default=default, validation_alias=name, serialization_alias=name, **limits)


class Connections(Frozen):
    """How connections are reused and rotated."""

    mode: Literal["kept", "fresh"] = "kept"
    fresh_every: Count = Field(default=60, ge=0, le=86_400)  # each n-th attempt on a fresh connection; 0 is never
    age_max_s: Duration = named("age_max", 900.0, gt=0, le=86_400)
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
    timeout_s: Duration = named("timeout", 10.0, gt=0, le=TIMEOUT_MAX_S)
    connections: Connections = Field(default_factory=Connections)
    ca_file: CaFile = None
    family: Family = "any"

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        refuse_all(self._contradictions())
        return self

    def _contradictions(self) -> Iterator[PydanticCustomError]:
        for name in self.headers:
            if name.lower() in API_HEADERS_WRITTEN:
                expected = "no header that the program writes itself (use authorization for Authorization)"
                yield refuse(expected, found=f"the header {name}", field="headers")
        if self.key is None and "authorization" in self.model_fields_set and "{key}" in self.authorization:
            yield refuse("a key, because authorization asks for {key}", found="no key", field="key")
        if self.key is not None and re.search(r"[^ -~]", self.key.get_secret_value()):
            expected = "a key of printable ASCII, because it travels in a header"
            yield refuse(expected, found="other characters (not shown)", field="key")


class Smtp(Frozen):
    """The other face of a target: the injection of a message."""

    host: Host
    port: Port = 587
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    user: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,512}$")] | None = None
    password: Secret | None = None
    auth: Literal["plain", "login"] = "plain"
    sender: MailAddress
    recipient: MailAddress
    headers: Headers = Field(default_factory=dict)
    ehlo: Ehlo = ""  # empty only in a part built by itself: Settings puts the vantage here
    timeout_s: Duration = named("timeout", 10.0, gt=0, le=TIMEOUT_MAX_S)
    connections: Annotated[Connections, AfterValidator(_smtp_uses)] = Field(
        default_factory=lambda: Connections(uses_max=USES_MAX_SMTP)
    )
    ca_file: CaFile = None
    family: Family = "any"

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        refuse_all(self._contradictions())
        return self

    def _contradictions(self) -> Iterator[PydanticCustomError]:
        for name in self.headers:
            if name.lower() in SMTP_HEADERS_WRITTEN:
                expected = "no header that the program writes itself"
                yield refuse(expected, found=f"the header {name}", field="headers")
        if self.password is not None and re.search(r"[\x00-\x1f\x7f]", self.password.get_secret_value()):
            expected = "a password without control characters"
            yield refuse(expected, found="one with them (not shown)", field="password")
        if self.user is not None and self.password is None:
            yield refuse("a password for the user", found="none", field="password")
        if self.user is None and self.password is not None:
            yield refuse("a user for the password", found="none", field="user")
        if self.user is not None and self.tls == "none" and not is_loopback(self.host):
            expected = "starttls or implicit, because the password would travel readable (fit for loopback only)"
            yield refuse(expected, found='"none"', field="tls")
