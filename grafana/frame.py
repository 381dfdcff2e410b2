"""What is around the panels: variables, annotations, links between the dashboards."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.dashboard import DashboardLinkType, VariableOption, VariableRefresh, VariableSort

from grafana.look import BETWEEN, GOOD, THEIRS
from grafana.panels import DOCUMENTS, SOURCE, Panel
from grafana.queries import PROBER, TARGETS
from probe.core.model import IssueTurn

TAG: Final = "sev1probe"
# Where this repository can be read; the name is nobody's, since every house keeps its copy elsewhere.
DOCUMENTS_DEFAULT: Final = "https://git.example/sev1probe/blob/main"
PAGE: Final = "docs/grafana.md"
RUNBOOKS: Final = "deploy/runbooks"
ALL: Final = "$__all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What a dashboard is called, its range, and the step in which its annotations are looked for."""

    uid: str
    title: str
    description: str
    since: str
    refresh: str
    annotation_step: str


class Turns(models.AnnotationQuery):
    """Annotations from Prometheus, with the fields that the kit's model leaves out."""

    def __init__(self, *, name: str, colour: str, expression: str, title: str, text: str, step: str) -> None:
        super().__init__(name=name, datasource=SOURCE, enable=True, hide=False, icon_color=colour, expr=expression)
        self._more: dict[str, object] = {"step": step, "titleFormat": title, "textFormat": text, "tagKeys": "target"}

    def to_json(self) -> dict[str, object]:
        """Give the JSON of the model and the rest."""
        return super().to_json() | self._more


class _Ready(Builder[models.AnnotationQuery]):
    """Hand over what is built already, to those who take builders only."""

    def __init__(self, built: models.AnnotationQuery) -> None:
        self._built = built

    def build(self) -> models.AnnotationQuery:
        return self._built


def begin(frame: Frame) -> dashboard.Dashboard:
    """Make a dashboard without panels."""
    begun = (
        dashboard.Dashboard(frame.title)
        .uid(frame.uid)
        .description(frame.description)
        .tags([TAG])
        .timezone("utc")
        .time(frame.since, "now")
        .refresh(frame.refresh)
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .editable()
        .link(_others())
        .link(dashboard.DashboardLink("How to read this").type(DashboardLinkType.LINK).url(f"{DOCUMENTS}/{PAGE}"))
        .link(dashboard.DashboardLink("Runbooks").type(DashboardLinkType.LINK).url(f"{DOCUMENTS}/{RUNBOOKS}"))
        .link(dashboard.DashboardLink("Status").type(DashboardLinkType.LINK).url("http://${instance}/api/v1/status"))
    )
    for variable in _variables():
        begun.with_variable(variable)
    for turns in annotations(frame.annotation_step):
        begun.annotation(_Ready(turns))
    return begun


def fill(begun: dashboard.Dashboard, title: str, panels: Sequence[Panel]) -> None:
    """Add a row of panels under a title; the first row has none."""
    if title:
        begun.with_row(dashboard.Row(title))
    for panel in panels:
        begun.with_panel(panel)


def _others() -> dashboard.DashboardLink:
    others = dashboard.DashboardLink("sev1probe").type(DashboardLinkType.DASHBOARDS).tags([TAG])
    return others.include_vars(True).as_dropdown(False)


def _variables() -> list[Builder[models.VariableModel]]:
    return [
        dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"),
        _query("job", "Job", "label_values(sev1probe_build_info, job)"),
        # One at a time: each vantage judges the same seconds, so those of two must never be added up.
        _query("instance", "Vantage", 'label_values(sev1probe_build_info{job="$job"}, instance)'),
        _query("target", "Target", f"label_values(sev1probe_target_seconds_total{{{PROBER}}}, target)")
        .multi(True)
        .include_all(True)
        .current(VariableOption(selected=True, text=["All"], value=[ALL])),
        _text_box("documents", "Documents at", DOCUMENTS_DEFAULT),
    ]


def _query(name: str, label: str, query: str) -> dashboard.QueryVariable:
    asked = dashboard.QueryVariable(name).label(label).query({"query": query, "refId": name}).datasource(SOURCE)
    return asked.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.ALPHABETICAL_ASC)


def _text_box(name: str, label: str, text: str) -> dashboard.TextBoxVariable:
    """Let the reader type something."""
    chosen = VariableOption(selected=True, text=text, value=text)
    return dashboard.TextBoxVariable(name).label(label).default_value(text).current(chosen).options([chosen])


def annotations(step: str) -> list[Turns]:
    """Mark what turned in Critical Issues: the time for which one was open, its opening, its restoration.

    A turn is marked in the step in which it was scraped; the issue itself is dated back, see the panels.
    """
    turned = f"sev1probe_critical_issue_turns_total{{{TARGETS},turn="

    def turn(word: IssueTurn) -> str:
        return f'({turned}"{word}"}} - {turned}"{word}"}} offset {step}) > 0'

    return [
        Turns(
            name="Critical Issue open",
            colour=BETWEEN,
            expression=f"sev1probe_critical_issue_open{{{TARGETS}}} == 1",
            title="Critical Issue open",
            text="{{target}}",
            step=step,
        ),
        Turns(
            name="Critical Issue opened",
            colour=THEIRS,
            expression=turn(IssueTurn.OPENED),
            title="Critical Issue opened",
            text="{{target}}: what to do says sev1probe issue call-sheet",
            step=step,
        ),
        Turns(
            name="Service restored",
            colour=GOOD,
            expression=turn(IssueTurn.RESTORED),
            title="Service restored",
            text="{{target}}: not resolved until both have agreed",
            step=step,
        ),
    ]
