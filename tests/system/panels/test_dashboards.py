"""The dashboards as they are checked in: what the code builds, complete, and true to the catalogue."""

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grafana_foundation_sdk.models.units as known_units
import pytest
import yaml

from grafana import look
from grafana.build import BUILDERS, texts
from grafana.frame import DOCUMENTS_DEFAULT
from probe.core.case_obligations import CaseDuty
from probe.core.model import Fault, Verdict
from probe.core.obligations import Duty, ObligationState
from probe.metrics.catalogue import CATALOGUE
from probe.metrics.families import Kind

if TYPE_CHECKING:
    from tests.system.panels.panels_asking import FOLDER, NAMES, panels_of, queries_of, read
else:
    from panels_asking import FOLDER, NAMES, panels_of, queries_of, read

ROOT = FOLDER.parent
COLUMNS = 24
# What Prometheus itself adds.
OF_PROMETHEUS = {"up": {"job", "instance"}}
ADDED_LABELS = {"job", "instance"}
# Labels that a query makes up to tell its parts apart.
MADE_UP_LABELS = {"reason", "row", "owed_in"}
UNITS = {value for name, value in vars(known_units).items() if isinstance(value, str) and not name.startswith("__")}

SELECTOR = re.compile(r"\b((?:sev1probe_\w+)|up)\{([^}]*)\}")
BARE = re.compile(r"\bsev1probe_\w+")
GROUPING = re.compile(r"\b(?:by|on|group_left|without|ignoring) \(([^)]*)\)")
DOCUMENTED = re.compile(r"\$\{documents\}/(.+)")


@pytest.fixture(params=NAMES)
def dashboard(request: pytest.FixtureRequest) -> Any:
    """Give each dashboard."""
    return read(request.param)


def expressions(dashboard: Any) -> Iterator[str]:
    """List everything that is asked: by panels, annotations and variables."""
    yield from (asked.expression for asked in queries_of(dashboard))
    yield from (annotation["expr"] for annotation in dashboard["annotations"]["list"])
    yield from (one["query"]["query"] for one in dashboard["templating"]["list"] if one["type"] == "query")


def labels_of(metric: str) -> set[str] | None:
    """Give the labels that a metric has in Prometheus; None if there is no such metric."""
    if metric in OF_PROMETHEUS:
        return OF_PROMETHEUS[metric]
    for described in CATALOGUE:
        names = {described.name}
        if described.kind is Kind.HISTOGRAM:
            names |= {f"{described.name}{suffix}" for suffix in ("_bucket", "_sum", "_count")}
        if metric in names:
            bucket = {"le"} if metric.endswith("_bucket") else set()
            return {*described.labels, *ADDED_LABELS, *bucket}
    return None


def breaches(expression: str) -> list[str]:
    """Name the metrics and labels in a query that the program does not have."""
    found, known = [], set(MADE_UP_LABELS | ADDED_LABELS | {"le"})
    for metric in BARE.findall(expression):
        labels = labels_of(metric)
        found += [] if labels else [f"no metric {metric}"]
        known |= labels or set()
    for metric, selector in SELECTOR.findall(expression):
        labels = labels_of(metric)
        for label in re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", selector):
            found += [] if labels is None or label in labels else [f"{metric} has no label {label}"]
    for grouping in GROUPING.findall(expression):
        found += [f"no label {label}" for label in re.findall(r"\w+", grouping) if label not in known]
    return found


def test_what_is_checked_in_is_what_the_code_builds() -> None:
    """Each file under grafana/dashboards is what `make dashboards` would write, and there is no other."""
    checked_in = {path.name: path.read_text(encoding="utf-8") for path in (FOLDER / "dashboards").iterdir()}
    assert sorted(checked_in) == sorted(NAMES) == sorted(BUILDERS)
    assert checked_in == texts()


def test_every_panel_says_what_it_shows_in_which_unit_and_what_nothing_means(dashboard: Any) -> None:
    """Each panel has a title of its own, a description, a known unit, and words for when there is nothing to show."""
    for panel in panels_of(dashboard):
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"] in UNITS or re.fullmatch(r"suffix:\w+", defaults["unit"]), panel["title"]
        assert len(panel["description"].split()) >= 5, panel["title"]
        assert len(defaults["noValue"].split()) >= 2, panel["title"]
    assert max(Counter(panel["title"] for panel in panels_of(dashboard)).values()) == 1


def test_no_panel_leaves_its_colours_and_names_to_chance(dashboard: Any) -> None:
    """Each panel says what its colours go by, and a single value is not named by all its labels."""
    for panel in panels_of(dashboard):
        assert panel["fieldConfig"]["defaults"]["color"]["mode"], panel["title"]
        if panel["type"] == "stat":
            is_named = bool(panel["targets"][0]["legendFormat"])
            assert panel["options"]["textMode"] == ("value_and_name" if is_named else "value"), panel["title"]


def test_what_is_not_known_is_never_green(dashboard: Any) -> None:
    """The words for no value stand on grey: Grafana gives them the colour of the first threshold."""
    coloured = [panel for panel in panels_of(dashboard) if panel["options"].get("colorMode") == "background_solid"]
    assert len(coloured) >= 4
    for panel in coloured:
        assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["color"] == look.NOBODY, panel["title"]


def test_counted_seconds_are_shown_as_seconds(dashboard: Any) -> None:
    """What counts seconds of a verdict shows 259.2 s, never 4.3 min, since the contract counts seconds."""
    for panel in panels_of(dashboard):
        counts = [query["expr"] for query in panel["targets"] if "unavailable_seconds" in query["expr"]]
        if counts and panel["fieldConfig"]["defaults"]["unit"] not in ("none", "percent"):
            assert panel["fieldConfig"]["defaults"]["unit"] == "suffix:s", panel["title"]


def test_every_metric_and_label_that_is_asked_for_exists(dashboard: Any) -> None:
    """Queries, annotations, variables and legends name only metrics and labels of the catalogue."""
    asked = list(expressions(dashboard))
    assert len(asked) > 15
    assert [breach for expression in asked for breach in breaches(expression)] == []
    every_label = {label for described in CATALOGUE for label in described.labels}
    for one in queries_of(dashboard):
        assert set(re.findall(r"{{(\w+)}}", one.legend)) <= every_label | MADE_UP_LABELS, one.panel


@pytest.mark.parametrize(
    "expression",
    [
        "sev1probe_second_total",
        'sev1probe_seconds_total{vantage="here"}',
        "sum by (courier) (sev1probe_seconds_total)",
        'sev1probe_blind_bucket{target="main"}',
        'up{target="main"}',
    ],
)
def test_a_metric_or_label_that_does_not_exist_is_found(expression: str) -> None:
    """What the catalogue does not have is named."""
    assert len(breaches(expression)) == 1


def test_panels_lie_side_by_side(dashboard: Any) -> None:
    """Panels fill their rows of 24 columns from edge to edge, do not overlap, and can be named by a number."""
    taken: Counter[tuple[int, int]] = Counter()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        taken.update(
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        )
    height = max(y for _, y in taken) + 1
    assert taken == Counter({(x, y): 1 for x in range(COLUMNS) for y in range(height)})
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_every_link_leads_to_a_document_that_is_there(dashboard: Any) -> None:
    """Each panel links a document of this repository, and so do the dashboard's own links."""
    for links in (dashboard["links"], *(panel["links"] for panel in panels_of(dashboard))):
        pages = [found.group(1) for link in links if (found := DOCUMENTED.fullmatch(link["url"]))]
        assert pages
        assert [page for page in pages if not (ROOT / page).exists()] == []


def test_every_word_of_the_contract_has_a_colour_and_a_name() -> None:
    """Verdicts, faults and obligations are all shown in words, none as a bare number."""
    shown = " ".join(word for word, _ in look.STRIP_WORDS.values())
    assert [verdict for verdict in Verdict if verdict not in shown] == []
    assert set(look.FAULT_WORDS) == set(Fault)
    assert set(look.OBLIGATION_WORDS) == {
        *(*Duty, *CaseDuty),
        *(ObligationState.PENDING, ObligationState.MISSED, look.OVERDUE, look.CAME_LATE),
    }


def test_grafana_is_told_where_prometheus_and_the_dashboards_are() -> None:
    """The provisioning files are YAML of Grafana's version 1, and the dashboards ask a source of the type provided."""
    sources = yaml.safe_load((FOLDER / "provisioning/datasources/sev1probe.yaml").read_text(encoding="utf-8"))
    providers = yaml.safe_load((FOLDER / "provisioning/dashboards/sev1probe.yaml").read_text(encoding="utf-8"))
    assert sources["apiVersion"] == providers["apiVersion"] == 1
    [source], [provider] = sources["datasources"], providers["providers"]
    assert {"name", "uid", "type", "access", "url"} <= set(source)
    assert re.fullmatch(r"\d+s", source["jsonData"]["timeInterval"])
    assert provider["type"] == "file"
    assert provider["options"]["path"].startswith("/")
    for name in NAMES:
        [variable] = [one for one in read(name)["templating"]["list"] if one["type"] == "datasource"]
        assert variable["query"] == source["type"]


def test_the_documented_commands_put_the_files_where_grafana_is_told_to_look(tmp_path: Path) -> None:
    """The commands of docs/grafana.md, on a host that has Grafana's folders, bring all files to their places."""
    documented = (ROOT / "docs/grafana.md").read_text(encoding="utf-8")
    commands = re.findall(r"^```\n(.*?)^```$", documented, flags=re.DOTALL | re.MULTILINE)[0]
    for folder in ("var/lib/grafana", "etc/grafana/provisioning/dashboards", "etc/grafana/provisioning/datasources"):
        (tmp_path / folder).mkdir(parents=True)
        commands = commands.replace(f"/{folder}/", f"{tmp_path / folder}/")
    here = commands.replace("systemctl restart grafana-server", "true")
    subprocess.run(["sh", "-euc", here], cwd=ROOT, check=True, timeout=20)
    told = yaml.safe_load((tmp_path / "etc/grafana/provisioning/dashboards/sev1probe.yaml").read_text(encoding="utf-8"))
    shown = tmp_path / told["providers"][0]["options"]["path"].lstrip("/")
    assert sorted(path.name for path in shown.iterdir()) == sorted(NAMES)
    assert (tmp_path / "etc/grafana/provisioning/datasources/sev1probe.yaml").exists()
    # What the documents tell to put one's own address in place of.
    assert all(
        f"s,{DOCUMENTS_DEFAULT}," in documented and DOCUMENTS_DEFAULT in path.read_text() for path in shown.iterdir()
    )


def test_dashboards_can_be_told_apart() -> None:
    """Each has a name for links of its own, and all have the tag by which they link each other."""
    read_ones = [read(name) for name in NAMES]
    assert len({one["uid"] for one in read_ones}) == len({one["title"] for one in read_ones}) == len(NAMES)
    assert all("sev1probe" in one["tags"] for one in read_ones)
