"""The settings of Support Cases: by which relay they are mailed, and what was agreed of answers."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from probe.core.drafting import DraftRule
from probe.settings.kinds import (
    CaFile,
    Duration,
    Host,
    MaybeMailAddress,
    Port,
    Secret,
    WholeSeconds,
    is_loopback,
    refuse,
    refuse_all,
)
from probe.settings.problem import Findings
from probe.settings.secret import Vault
from probe.settings.surface import Frozen, named


class Relay(Frozen):
    """The mail server that takes Support Cases; not the provider under test, which may be out of order."""

    host: Host
    port: Port = 587
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    user: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,512}$")] | None = None
    password: Secret | None = None
    ca_file: CaFile = None
    timeout_s: Duration = named("timeout", 30.0, gt=0, le=300)

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        refuse_all(self._contradictions())
        return self

    def _contradictions(self) -> Iterator[PydanticCustomError]:
        if self.password is not None and re.search(r"[\x00-\x1f\x7f]", self.password.get_secret_value()):
            expected = "a password without control characters"
            yield refuse(expected, found="one with them (not shown)", field="password")
        if self.user is not None and self.password is None:
            yield refuse("a password for the user", found="none", field="password")
        if self.user is None and self.password is not None:
            yield refuse("a user for the password", found="none", field="user")
        if self.tls == "none" and not is_loopback(self.host):
            expected = "starttls or implicit, because the case would travel readable (fit for loopback only)"
            yield refuse(expected, found='"none"', field="tls")


class DraftSettings(Frozen):
    """When the program drafts a case by itself: at Unavailable seconds of one cause that did not persist."""

    enabled: Annotated[bool, Field(strict=True)] = True
    unavailable_seconds: WholeSeconds = named("unavailable", 3, ge=1, le=3_600)
    period_s: WholeSeconds = named("period", 3_600, ge=60, le=86_400)

    @model_validator(mode="after")
    def _can_hold(self) -> Self:
        if self.period_s < self.unavailable_seconds:
            expected = (
                f"at least as much as unavailable ({self.unavailable_seconds}s), or no case would ever be drafted"
            )
            raise refuse(expected, found=f"{self.period_s}s", field="period")
        return self

    def rule(self) -> DraftRule | None:
        """State the rule as the program wants it; None if nothing is to be drafted."""
        return DraftRule(unavailable_seconds=self.unavailable_seconds, period_s=self.period_s) if self.enabled else None


class CaseSettings(Frozen):
    """How Support Cases are mailed, and within what business time the provider answers, as agreed."""

    relay: Relay | None = None
    sender: MaybeMailAddress = ""
    respond_within_s: Duration = named("respond_within", 8 * 3_600.0, ge=60, le=30 * 86_400)
    update_every_s: Duration = named("update_every", 24 * 3_600.0, ge=60, le=30 * 86_400)
    draft: DraftSettings = Field(default_factory=DraftSettings)

    @model_validator(mode="after")
    def _has_a_sender(self) -> Self:
        if self.relay is not None and not self.sender:
            raise refuse("the address that cases come from, because there is a relay", found="none", field="sender")
        return self


def read_relay_password(cases: Any, vault: Vault) -> None:
    """Replace the relay's password, in place."""
    relay = cases.get("relay") if isinstance(cases, dict) else None
    if isinstance(relay, dict) and relay.get("password") is not None:
        relay["password"] = vault.read(relay["password"], ("cases", "relay", "password"))


def refuse_relay_under_test(relay: Relay | None, hosts: Iterator[tuple[str, int, str]], findings: Findings) -> None:
    """Refuse a relay that is the provider under test; `hosts` are bare hosts, ports and the fields that name them.

    On loopback the port tells one server from another.
    """
    if relay is None:
        return
    for host, port, place in hosts:
        if host == relay.host.strip("[]").rstrip(".").lower() and (port == relay.port or not is_loopback(host)):
            expected = f"a relay that is not the provider under test ({place}), which may be out of order"
            findings.refuse(("cases", "relay", "host"), f'"{relay.host}"', expected)
            return
