"""What is allowed but doubtful: each a sentence that `check-config` prints and the daemon logs at its start."""

import ipaddress
import math
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from probe.settings.duration import format_duration
from probe.settings.kinds import is_loopback
from probe.settings.model import Control, Settings, Target
from probe.settings.problem import Findings, Path

DOCUMENTED_CONNECTIONS_MAX = 10  # the most that the provider documents for a surface; more only by agreement

# Addresses that share these first bits are usually one network's: the least that is announced by itself on the
# internet (RFC 7454 section 6.1.3).
NETWORK_BITS: Mapping[int, int] = {4: 24, 6: 48}


def warn(settings: Settings, findings: Findings) -> None:
    """Note what an operator should know before relying on these settings."""
    for place, target in enumerate(settings.targets):
        _warn_of_caps(target, ("targets", place), findings)
    _warn_of_gaps_in_the_call_sheet(settings, findings)
    _warn_of_few_controls(settings, findings)
    _warn_of_shared_fates(settings, findings)
    _warn_of_plain_couriers(settings, findings)
    _warn_of_closed_reading(settings, findings)


def _warn_of_caps(target: Target, path: Path, findings: Findings) -> None:
    for surface in target.surfaces:
        part = getattr(target, surface)
        needed = math.ceil(part.timeout_s * target.attempts_per_second)
        if target.in_flight_max < needed:
            sentence = (
                f"{target.in_flight_max} attempts in flight are fewer than the {needed} that {surface} needs when all "
                f"hang ({format_duration(part.timeout_s)} at {target.attempts_per_second} a second), so some seconds "
                f"of an outage will be capped"
            )
            findings.warn((*path, "in_flight_max"), sentence)
    if target.in_flight_max > DOCUMENTED_CONNECTIONS_MAX:
        sentence = (
            f"the provider documents at most {DOCUMENTED_CONNECTIONS_MAX} connections for a surface; "
            f"agree on {target.in_flight_max} with the provider first"
        )
        findings.warn((*path, "in_flight_max"), sentence)


def _warn_of_gaps_in_the_call_sheet(settings: Settings, findings: Findings) -> None:
    """Find what the engineer who is woken at night would miss; the contract names what the provider asks for."""
    for place, target in enumerate(settings.targets):
        contract = target.contract
        if contract.has_line and not contract.severity_1_line:
            sentence = "there is none, so a Critical Issue can't say which number to call; it is on your order form"
            findings.warn(("targets", place, "contract", "severity_1_line"), sentence)
        if not contract.has_line and not (contract.tam.phone or contract.tam.email):
            sentence = (
                "neither phone nor email, so a Critical Issue can't say how to reach the Technical Account Manager"
            )
            findings.warn(("targets", place, "contract", "tam"), sentence)
    company = settings.company
    if missing := [name for name in type(company).model_fields if not getattr(company, name)]:
        findings.warn(("company",), f"the provider asks for it on the phone, and it is missing: {', '.join(missing)}")


def _warn_of_plain_couriers(settings: Settings, findings: Findings) -> None:
    for place, courier in enumerate(settings.notify):
        parts = urlsplit(courier.url.get_secret_value()) if courier.kind != "apprise" else None
        if parts is not None and parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            sentence = "what is told travels in plain text, and so do headers; use https unless the network is your own"
            findings.warn(("notify", place, "url"), sentence)


def _warn_of_few_controls(settings: Settings, findings: Findings) -> None:
    if not settings.controls:
        sentence = "there is no control, so a second of network faults stays inconclusive; name two on other networks"
        findings.warn(("controls",), sentence)
    elif len(settings.controls) == 1:
        sentence = "there is one control only, so network faults rest on one network; name two on different networks"
        findings.warn(("controls",), sentence)


def _warn_of_shared_fates(settings: Settings, findings: Findings) -> None:
    """Find controls that fail together with another one, or with what they are to be told apart from."""
    targets = {host: place for host, _, place in reversed(list(target_hosts(settings)))}
    hosts = [_control_host(control) for control in settings.controls]
    for place, host in enumerate(hosts):
        path: Path = ("controls", place, "address" if settings.controls[place].kind == "tcp" else "url")
        if place_of_target := targets.get(host):
            findings.warn(
                path,
                f"{host} is the host of {place_of_target} too, so this control fails with the provider and can't tell "
                "our network from theirs; name something that is not the provider",
            )
        for first, other in enumerate(hosts[:place]):
            if other == host:
                findings.warn(
                    path,
                    f"controls[{first}] is at {host} too, so one failure there takes both; "
                    "name a control on another network",
                )
                break
            if (network := _network(host)) and network == _network(other):
                findings.warn(
                    path,
                    f"controls[{first}] is in {network} too, so one failure there takes both; "
                    "name a control on another network",
                )
                break


def _warn_of_closed_reading(settings: Settings, findings: Findings) -> None:
    listener = settings.listener
    if not is_loopback(listener.host) and listener.tokens_file is None and not listener.open_reading:
        sentence = (
            "nobody can read /api/v1 from other hosts or this one, because off loopback that needs a token; name a "
            "tokens_file, or set open_reading"
        )
        findings.warn(("listener", "host"), sentence)


def target_hosts(settings: Settings) -> Iterator[tuple[str, int, str]]:
    """List the hosts and ports that are watched, each with the field that names it."""
    for place, target in enumerate(settings.targets):
        if target.api is not None:
            url = urlsplit(target.api.base_url)
            port = url.port or (443 if url.scheme == "https" else 80)
            yield _bare(url.hostname or ""), port, f"targets[{place}].api"
        if target.smtp is not None:
            yield _bare(target.smtp.host), target.smtp.port, f"targets[{place}].smtp"


def _control_host(control: Control) -> str:
    if control.kind == "tcp":
        return _bare(control.address.rpartition(":")[0])
    return _bare(urlsplit(control.url).hostname or "")


def _bare(host: str) -> str:
    """Write a host one way, so that two spellings of it are seen to be the same."""
    text = host.strip("[]").rstrip(".").lower()
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text


def _network(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ""
    return str(ipaddress.ip_network((address, NETWORK_BITS[address.version]), strict=False))
