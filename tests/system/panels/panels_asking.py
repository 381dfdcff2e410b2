"""Dashboards as Grafana reads them, and their questions as Grafana puts them to Prometheus."""

import json
import math
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tests.system.panels.panels_recording import INSTANCE, JOB, SCRAPE_EVERY_S
else:
    from panels_recording import INSTANCE, JOB, SCRAPE_EVERY_S


FOLDER: Final = Path(__file__).resolve().parents[3] / "grafana"
NAMES: Final = ("on-call.json", "month.json", "prober.json")
# What is asked of a panel whose width in pixels Grafana would take.
POINTS: Final = 1000
ANSWER_TIMEOUT_S: Final = 20.0
DURATIONS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

Series = tuple[dict[str, str], list[tuple[float, float]]]  # labels, and values with their times


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One query of a panel."""

    panel: str
    expression: str
    legend: str
    now: bool
    interval_s: int
    points: int


def read(name: str) -> dict[str, Any]:
    """Read a dashboard as it is checked in."""
    return dict(json.loads((FOLDER / "dashboards" / name).read_text(encoding="utf-8")))


def panels_of(dashboard: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List the panels that show something."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries_of(dashboard: Mapping[str, Any]) -> Iterator[Asked]:
    """List what the panels ask."""
    for panel in panels_of(dashboard):
        for query in panel["targets"]:
            yield Asked(
                panel=panel["title"],
                expression=query["expr"],
                legend=query["legendFormat"],
                now=query["instant"],
                interval_s=seconds(panel.get("interval", "0s")),
                points=int(panel.get("maxDataPoints", POINTS)),
            )


def query_of(dashboard: Mapping[str, Any], title: str, place: int = 0) -> Asked:
    """Give a query of the panel whose title begins like this."""
    return [asked for asked in queries_of(dashboard) if asked.panel.startswith(title)][place]


def seconds(duration: str) -> int:
    """Read a duration such as 5m."""
    return int(duration[:-1]) * DURATIONS_S[duration[-1]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The range of a dashboard, in Unix seconds."""

    start: int
    end: int

    def step_s(self, asked: Asked) -> int:
        """Give the step: as many as fit, no finer than the scrapes, and what the panel asks for at least."""
        fitting_s = math.ceil((self.end - self.start) / asked.points)
        return max(fitting_s, SCRAPE_EVERY_S, asked.interval_s)


class Prometheus:
    """A running Prometheus that holds the recording."""

    def __init__(self, address: str) -> None:
        self.address = address

    def get(self, path: str, **parameters: str) -> Any:
        """Ask its API; a question that it does not understand is an error that says why."""
        url = f"{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=ANSWER_TIMEOUT_S) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as refused:
            raise AssertionError(f"{parameters}: {refused.read().decode()}") from refused

    def ask(self, asked: Asked, span: Span) -> list[Series]:
        """Ask what a panel asks, in the range of its dashboard."""
        step_s = span.step_s(asked)
        expression = filled_in(asked.expression, span, step_s)
        if asked.now:
            return self.now(expression, span.end)
        return self.over(expression, span, step_s)

    def now(self, expression: str, second: int) -> list[Series]:
        """Ask for one moment."""
        found = self.get("query", query=expression, time=str(second))["result"]
        return [(one["metric"], [(float(one["value"][0]), float(one["value"][1]))]) for one in found]

    def over(self, expression: str, span: Span, step_s: int) -> list[Series]:
        """Ask for a range; its steps are whole multiples, as Grafana asks for them."""
        start, end = span.start // step_s * step_s, span.end // step_s * step_s
        parameters = {"query": expression, "start": str(start), "end": str(end), "step": str(step_s)}
        found = self.get("query_range", **parameters)["result"]
        return [(one["metric"], [(float(at), float(value)) for at, value in one["values"]]) for one in found]


def filled_in(text: str, span: Span, step_s: int) -> str:
    """Put in what Grafana puts in for its variables; none may be left."""
    range_s = span.end - span.start
    values = {
        "$__rate_interval": f"{max(step_s + SCRAPE_EVERY_S, 4 * SCRAPE_EVERY_S)}s",
        "$__interval": f"{step_s}s",
        "$__range_s": str(range_s),
        "$__range": f"{range_s}s",
        "$job": JOB,
        "$instance": INSTANCE,
        "$target": "(main|spare)",
    }
    for variable, value in values.items():
        text = text.replace(variable, value)
    assert "$" not in text, text
    return text


def drawn(legend: str, labels: Mapping[str, str]) -> str:
    """Write a legend as Grafana does."""
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found.group(1), ""), legend)
