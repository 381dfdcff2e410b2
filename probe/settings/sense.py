"""What is allowed but doubtful: each a sentence that `check-config` prints."""

import math

from probe.settings.duration import format_duration
from probe.settings.model import Settings, Target
from probe.settings.problem import Findings, Path

DOCUMENTED_CONNECTIONS_MAX = 10  # the most that the provider documents for a surface; more only by agreement


def warn(settings: Settings, findings: Findings) -> None:
    """Note what an operator should know before relying on these settings."""
    for place, target in enumerate(settings.targets):
        _warn_of_caps(target, ("targets", place), findings)
    if not settings.controls:
        sentence = "there is no control, so a second of network faults stays inconclusive; name two on other networks"
        findings.warn(("controls",), sentence)
    elif len(settings.controls) == 1:
        sentence = "there is one control only, so network faults rest on one network; name two on different networks"
        findings.warn(("controls",), sentence)


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
