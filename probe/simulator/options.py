"""How the simulated provider is set up."""

from dataclasses import dataclass, field
from enum import StrEnum

from probe.simulator.desk import RECORDS_MAX_DEFAULT

API_PATH = "/api/v1"


class TlsMode(StrEnum):
    """How a surface uses TLS; the API knows `implicit` and `none` only."""

    STARTTLS = "starttls"
    IMPLICIT = "implicit"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderOptions:
    """Settings of the simulated provider.

    A port of 0 takes a free one. An empty `key` makes a new one. An empty `user` asks for no AUTH. An empty
    `sending_domains` takes mail from every domain. `authorization` is the Authorization header's expected value with
    `{key}` in it; Basic with the key as the user is always accepted too. `binding_required` swallows SMTP messages
    without an X-Binding header, as the Enterprise service does. `names` are host names and addresses that the
    certificate is good for beside those of loopback.
    """

    host: str = "127.0.0.1"
    names: tuple[str, ...] = ()
    api_port: int = 0
    smtp_port: int = 0
    page_port: int | None = None  # a status page, over TLS as the API
    api_tls: TlsMode = TlsMode.IMPLICIT
    smtp_tls: TlsMode = TlsMode.STARTTLS
    base_path: str = API_PATH
    key: str = field(default="", repr=False)
    user: str = "SMTP_Injection"
    authorization: str = "{key}"
    sending_domains: tuple[str, ...] = ("example.com",)
    binding_required: bool = False
    seed: int = 1
    records_max: int = RECORDS_MAX_DEFAULT
    # The provider cuts idle SMTP connections after a minute, and asks API clients to leave after fifteen.
    smtp_idle_s: float = 60.0
    api_idle_s: float = 900.0

    def __post_init__(self) -> None:
        """Refuse settings that no listener could have."""
        assert self.api_tls is not TlsMode.STARTTLS
        assert self.base_path == "" or (self.base_path.startswith("/") and not self.base_path.endswith("/"))
        assert self.records_max >= 1

    def takes_domain_of(self, address: str) -> bool:
        """Say whether the address is of a configured sending domain."""
        return not self.sending_domains or domain_of(address) in self.sending_domains


def domain_of(address: str) -> str:
    """Return the domain of an address, in small letters, without what may stand around it."""
    return address.rpartition("@")[2].strip(" <>").lower()
