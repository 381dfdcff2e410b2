"""What a courier is made of: plain values, of which no `repr` shows what may be a secret."""

import ssl
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from pydantic import SecretStr

from probe.settings import Courier


class CourierKind(StrEnum):
    """The ways of telling."""

    ALERTMANAGER = "alertmanager"
    WEBHOOK = "webhook"
    APPRISE = "apprise"


@dataclass(frozen=True, slots=True, kw_only=True)
class CourierCharge:
    """One courier as it is configured. Two that are equal tell the same to the same."""

    name: str
    kind: CourierKind
    url: SecretStr = field(repr=False)
    secret: SecretStr | None = field(repr=False, default=None)
    headers: tuple[tuple[str, str], ...] = field(repr=False, default=())
    labels: tuple[tuple[str, str], ...] = ()
    timeout_s: float
    repeat_s: float  # 0: told once
    tls: ssl.SSLContext | None = field(repr=False, default=None)

    @classmethod
    def of(cls, settings: Courier, tls: ssl.SSLContext | None) -> Self:
        """Make the charge of a courier that is configured."""
        kind = CourierKind(settings.kind)
        headers = {
            name: value.get_secret_value() if isinstance(value, SecretStr) else value
            for name, value in settings.headers.items()
        }
        return cls(
            name=settings.name,
            kind=kind,
            url=settings.url,
            secret=settings.secret,
            headers=tuple(headers.items()),
            labels=tuple(settings.labels.items()),
            timeout_s=settings.timeout_s,
            repeat_s=settings.repeat_s if kind is CourierKind.ALERTMANAGER else 0,
            tls=tls,
        )
