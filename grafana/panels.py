"""What all panels have, and the shapes that they come in.

A panel cannot be made without a unit, a description, and what it says while there is nothing to show: an empty panel
must say whether that is good.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from grafana_foundation_sdk.builders import bargauge, common, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders.dashboard import DashboardLink, FieldColor
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    GraphDrawStyle,
    GraphTresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    ScaleDistribution,
    SortOrder,
    StackingMode,
    TableCellHeight,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    FieldColorModeId,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.look import GOOD, LINE_COLOURS, PLAIN, by_threshold, coloured, dashed, from_value, known

SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
DOCUMENTS: Final = "${documents}"
# The contract counts seconds: 259.2 s, where Grafana's own unit would say 4.3 min.
COUNTED_SECONDS: Final = "suffix:s"
BAR_FILL_PERCENT: Final = 80
SHORTEST_S: Final = 0.001

Panel = stat.Panel | statetimeline.Panel | timeseries.Panel | table.Panel | bargauge.Panel
Shape = TypeVar("Shape", stat.Panel, statetimeline.Panel, timeseries.Panel, table.Panel, bargauge.Panel)


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a panel says about itself. `page` is the document that says more, as a path in this repository."""

    title: str
    description: str
    unit: str
    no_value: str
    page: str = "docs/metrics.md"
    width: int = 12
    height: int = 8


@dataclass(frozen=True, slots=True)
class Query:
    """A question to Prometheus; `now` asks for the end of the range alone."""

    expression: str
    legend: str = "{{target}}"
    now: bool = False


def _described(panel: Shape, about: About, queries: Sequence[Query], *, tabular: bool = False) -> Shape:
    described = (
        panel.title(about.title)
        .description(about.description)
        .unit(about.unit)
        .no_value(about.no_value)
        .datasource(SOURCE)
        .span(about.width)
        .height(about.height)
        .links([DashboardLink("What this means").type(DashboardLinkType.LINK).url(f"{DOCUMENTS}/{about.page}")])
    )
    for letter, query in zip("ABCDEF", queries, strict=False):
        asked = prometheus.Dataquery().ref_id(letter).expr(query.expression).legend_format(query.legend)
        asked = asked.instant() if query.now else asked.range()
        shape = PromQueryFormat.TABLE if tabular else PromQueryFormat.TIME_SERIES
        described.with_target(asked.format(shape).datasource(SOURCE))
    return described


def big_number(about: About, query: Query) -> stat.Panel:
    """Show one value for each series, on a ground of its colour; without a legend it is one, which needs no name."""
    return (
        _described(stat.Panel(), about, [query])
        .thresholds(known(GOOD))
        .color_scheme(by_threshold())
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .color_mode(BigValueColorMode.BACKGROUND_SOLID)
        .graph_mode(BigValueGraphMode.NONE)
        .text_mode(BigValueTextMode.VALUE_AND_NAME if query.legend else BigValueTextMode.VALUE)
        .orientation(VizOrientation.AUTO)
    )


def plain_number(about: About, query: Query) -> stat.Panel:
    """Show one value for each series, which is neither good nor bad."""
    return big_number(about, query).color_mode(BigValueColorMode.NONE).thresholds(from_value("text"))


def bars_now(about: About, query: Query) -> bargauge.Panel:
    """Compare values of the same kind by the length of bars."""
    return (
        _described(bargauge.Panel(), about, [query])
        .thresholds(known(PLAIN))
        .color_scheme(by_threshold())
        .min(0)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .display_mode(BarGaugeDisplayMode.BASIC)
        .orientation(VizOrientation.HORIZONTAL)
    )


def strip(about: About, *queries: Query) -> statetimeline.Panel:
    """Show states side by side over time."""
    return (
        _described(statetimeline.Panel(), about, queries)
        .thresholds(from_value(PLAIN))
        .color_scheme(by_threshold())
        .show_value(VisibilityMode.NEVER)
        .merge_values(True)
        .row_height(0.8)
        .line_width(0)
        .fill_opacity(100)
        .legend(_legend())
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.SINGLE).sort(SortOrder.NONE))
    )


def lines(about: About, *queries: Query) -> timeseries.Panel:
    """Show values over time as lines."""
    return (
        _described(timeseries.Panel(), about, queries)
        .axis_soft_min(0)
        .color_scheme(FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC))
        .line_width(2)
        .fill_opacity(0)
        .show_points(VisibilityMode.NEVER)
        .legend(_legend())
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    )


def stacked_bars(about: About, *queries: Query) -> timeseries.Panel:
    """Show counts over time as bars on top of each other."""
    return (
        lines(about, *queries)
        .draw_style(GraphDrawStyle.BARS)
        .line_width(0)
        .fill_opacity(BAR_FILL_PERCENT)
        .stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))
    )


def half_and_most(panel: timeseries.Panel) -> timeseries.Panel:
    """Tell the lines of a median and of an upper quantile apart, by more than their colour."""
    return panel.override_by_name("half", [coloured(PLAIN), dashed()]).override_by_name("99 %", [coloured(PLAIN)])


def told_apart(panel: timeseries.Panel, *names: str) -> timeseries.Panel:
    """Give lines colours that nobody confuses and that say nothing about good and bad."""
    for name, colour in zip(names, LINE_COLOURS, strict=False):
        panel.override_by_name(name, [coloured(colour)])
    return panel


def logarithmic(panel: timeseries.Panel) -> timeseries.Panel:
    """Show durations from a millisecond to the timeout side by side."""
    scale = common.ScaleDistributionConfig().type(ScaleDistribution.LOG).log(10)
    return panel.scale_distribution(scale).axis_soft_min(SHORTEST_S)


def limit_line(panel: timeseries.Panel, value: float, colour: str) -> timeseries.Panel:
    """Draw a line at a limit."""
    dashed = common.GraphThresholdsStyleConfig().mode(GraphTresholdsStyleMode.DASHED)
    return panel.thresholds(from_value("transparent", (value, colour))).thresholds_style(dashed)


def rows(about: About, queries: Sequence[Query], transformations: Sequence[DataTransformerConfig]) -> table.Panel:
    """Show a table."""
    panel = _described(table.Panel(), about, queries, tabular=True).cell_height(TableCellHeight.SM)
    return panel.thresholds(from_value("text")).color_scheme(by_threshold()).transformations(list(transformations))


def columns(titles: Mapping[str, str]) -> list[DataTransformerConfig]:
    """Keep these columns, in this order, under these titles."""
    order = {name: place for place, name in enumerate(titles)}
    return [
        DataTransformerConfig(id_val="filterFieldsByName", options={"include": {"names": list(titles)}}),
        DataTransformerConfig(id_val="organize", options={"indexByName": order, "renameByName": dict(titles)}),
    ]


def merged() -> DataTransformerConfig:
    """Put the answers of several queries into one table, row by row of equal labels."""
    return DataTransformerConfig(id_val="merge", options={})


def _legend() -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(LegendDisplayMode.LIST)
        .placement(LegendPlacement.BOTTOM)
        .calcs([])
    )
