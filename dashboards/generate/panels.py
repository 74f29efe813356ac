"""The panels that boards are made of, each with a title, a description, a unit, and what it says when it is empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import bargauge, common, dashboard, heatmap, prometheus, stat, table, tempo
from grafana_foundation_sdk.builders import timeseries as lines
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heatmap_models
from grafana_foundation_sdk.models import tempo as tempo_models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards.generate.queries import Query
from dashboards.generate.thresholds import BUDGET_USED_INFO, BUDGET_USED_UP, BUDGET_USED_WARNING

DATASOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
NO_PROCESS = "No process reports"

Steps = Sequence[tuple[float | None, str]]
USED: Steps = (
    (None, "green"),
    (BUDGET_USED_INFO, "yellow"),
    (BUDGET_USED_WARNING, "orange"),
    (BUDGET_USED_UP, "red"),
)
NEVER: Steps = ((None, "green"), (1e-9, "red"))
"""For what must not happen."""
SELDOM: Steps = ((None, "green"), (1e-9, "orange"))
PLAIN: Steps = ((None, "blue"),)


@dataclass(frozen=True)
class Panel:
    """A panel and the room that it takes: a board is 24 wide, and a unit of height is 30 pixels."""

    builder: Any
    width: int
    height: int


@dataclass(frozen=True)
class Values:
    """What numbers stand for: a text and a colour for 0 and 1, say."""

    texts: Mapping[str, tuple[str, str]]

    def mapping(self) -> models.ValueMap:
        options = {
            value: models.ValueMappingResult(text=text, color=color, index=index)
            for index, (value, (text, color)) in enumerate(self.texts.items())
        }
        return models.ValueMap(options=options)


@dataclass(frozen=True)
class Column:
    """A column of a table: a label, or a query whose series have the labels that stand in other columns.

    Parameters
    ----------
    steps: thresholds that colour the value.
    bar: whether the value is a bar as well.
    link: where a click on it leads.
    """

    title: str
    label: str = ""
    expression: str = ""
    unit: str = ""
    decimals: int | None = None
    width: int | None = None
    steps: Steps = ()
    bar: bool = False
    link: str = ""
    values: Values | None = None


def number(
    title: str,
    description: str,
    expression: str,
    *,
    unit: str = "short",
    steps: Steps = PLAIN,
    empty: str = NO_PROCESS,
    width: int = 4,
    decimals: int | None = None,
    values: Values | None = None,
) -> Panel:
    """One figure, large."""
    panel = _described(stat.Panel(), title, description, unit, empty, steps, decimals)
    panel.with_target(_target(Query(expression, title, instant=True), "A"))
    panel.reduce_options(_last()).graph_mode(kinds.BigValueGraphMode.NONE).text_mode(kinds.BigValueTextMode.VALUE)
    panel.color_mode(kinds.BigValueColorMode.VALUE)
    if values:
        panel.mappings([values.mapping()])
    return Panel(panel, width, 4)


def bars(
    title: str,
    description: str,
    query: Query,
    *,
    unit: str,
    empty: str,
    steps: Steps = PLAIN,
    width: int = 8,
    height: int = 8,
    maximum: float | None = None,
) -> Panel:
    """A bar for each series, the largest first."""
    panel = _described(bargauge.Panel(), title, description, unit, empty, steps, None).min(0)
    panel.with_target(_target(Query(query.expression, query.legend, instant=True), "A"))
    panel.reduce_options(_last()).orientation(kinds.VizOrientation.HORIZONTAL)
    panel.display_mode(kinds.BarGaugeDisplayMode.GRADIENT).value_mode(kinds.BarGaugeValueMode.COLOR)
    if maximum is not None:
        panel.max(maximum)
    return Panel(panel, width, height)


def graph(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    empty: str,
    width: int = 12,
    height: int = 8,
    stacked: bool = False,
    steps: Steps = (),
    values: Sequence[str] = ("lastNotNull", "max"),
    right: bool = False,
    minimum: float | None = 0,
    log: bool = False,
    colors: Mapping[str, str] | None = None,
) -> Panel:
    """Lines over time.

    Parameters
    ----------
    stacked: areas on top of each other.
    values: what the legend says of each line.
    right: the legend stands beside the lines, for many of them.
    colors: of lines, by their names.
    """
    panel = _described(lines.Panel(), title, description, unit, empty, steps or PLAIN, None)
    for index, query in enumerate(queries):
        panel.with_target(_target(query, chr(ord("A") + index)))
    legend = common.VizLegendOptions().show_legend(True).calcs(list(values))
    legend.display_mode(kinds.LegendDisplayMode.TABLE if right else kinds.LegendDisplayMode.LIST)
    legend.placement(kinds.LegendPlacement.RIGHT if right else kinds.LegendPlacement.BOTTOM)
    panel.legend(legend).tooltip(_sorted_tooltip()).line_width(1).fill_opacity(30 if stacked else 8)
    panel.show_points(kinds.VisibilityMode.NEVER).span_nulls(False)
    panel.color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
    if stacked:
        panel.stacking(common.StackingConfig().mode(kinds.StackingMode.NORMAL).group("A"))
    if minimum is not None:
        panel.min(minimum)
    if log:
        panel.scale_distribution(common.ScaleDistributionConfig().type(kinds.ScaleDistribution.LOG).log(10))
    if steps:
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(kinds.GraphThresholdsStyleMode.DASHED))
    for name, color in (colors or {}).items():
        panel.override_by_name(name, [_property("color", {"mode": "fixed", "fixedColor": color})])
    return Panel(panel, width, height)


def heat(title: str, description: str, query: Query, *more: Query, unit: str, empty: str, width: int = 12) -> Panel:
    """How a histogram's observations spread over its buckets, over time."""
    panel = _described(heatmap.Panel(), title, description, unit, empty, (), None)
    panel.with_target(_target(query, "A", PromQueryFormat.HEATMAP))
    for index, each in enumerate(more):
        panel.with_target(_target(each, chr(ord("B") + index)))
    color = heatmap.HeatmapColorOptions().mode(heatmap_models.HeatmapColorMode.SCHEME).scheme("Turbo").steps(64)
    panel.color(color).calculate(False).y_axis(heatmap.YAxisConfig().unit(unit))
    panel.cell_values(heatmap.CellValues().unit("reqps")).show_legend()
    return Panel(panel, width, 8)


def rows(
    title: str,
    description: str,
    *columns: Column,
    empty: str,
    width: int = 24,
    height: int = 8,
    sort: str = "",
    descending: bool = True,
    hidden: Sequence[str] = (),
) -> Panel:
    """A table with a row for each set of labels.

    Parameters
    ----------
    sort: the title of the column by which rows are sorted.
    hidden: labels that tell rows apart, but are not shown.
    """
    panel = _described(table.Panel(), title, description, "short", empty, (), None)
    asked = [column for column in columns if column.expression]
    for index, column in enumerate(asked):
        target = _target(Query(column.expression, instant=True), chr(ord("A") + index), PromQueryFormat.TABLE)
        panel.with_target(target)
    panel.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    panel.with_transformation(
        models.DataTransformerConfig(id_val="organize", options=_organized(columns, asked, hidden))
    )
    for column in columns:
        if properties := _properties(column):
            panel.override_by_name(column.title, properties)
    if sort:
        panel.sort_by([common.TableSortByFieldState().display_name(sort).desc(descending)])
    panel.cell_height(kinds.TableCellHeight.SM)
    return Panel(panel, width, height)


def traces(title: str, description: str, query: str, *, empty: str) -> Panel:
    """The spans that a TraceQL query finds, from the data source that the variable ``traces`` names."""
    source = models.DataSourceRef(type_val="tempo", uid="${traces}")
    target = tempo.TempoQuery().ref_id("A").query_type("traceql").query(query).limit(50).datasource(source)
    panel = _described(table.Panel(), title, description, "short", empty, (), None).datasource(source)
    return Panel(panel.with_target(target.table_type(tempo_models.SearchTableType.SPANS)), 24, 10)


def _described(
    builder: Any, title: str, description: str, unit: str, empty: str, steps: Steps, decimals: int | None
) -> Any:
    builder.title(title).description(description).datasource(DATASOURCE).unit(unit).no_value(empty)
    if steps:
        threshold = [models.Threshold(value=at, color=color) for at, color in steps]
        builder.thresholds(dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(threshold))
        builder.color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
    if decimals is not None:
        builder.decimals(decimals)
    return builder


def _target(query: Query, ref: str, shape: PromQueryFormat = PromQueryFormat.TIME_SERIES) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query.expression).ref_id(ref).format(shape).datasource(DATASOURCE)
    if query.legend:
        target.legend_format(query.legend)
    if query.exemplar:
        target.exemplar(True)
    return target.instant() if query.instant else target.range()


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)


def _sorted_tooltip() -> common.VizTooltipOptions:
    return common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI).sort(kinds.SortOrder.DESCENDING)


def _organized(columns: Sequence[Column], asked: Sequence[Column], hidden: Sequence[str]) -> dict[str, Any]:
    """Options of Grafana's transformation that names, orders and hides columns."""
    # Grafana calls the values of the only query "Value", and those of several "Value #A" and so on.
    refs = {column.title: f"Value #{chr(ord('A') + index)}" for index, column in enumerate(asked)}
    if len(asked) == 1:
        refs = {asked[0].title: "Value"}
    sources = [column.label or refs[column.title] for column in columns]
    return {
        "excludeByName": dict.fromkeys(("Time", *hidden), True),
        "indexByName": {source: index for index, source in enumerate(sources)},
        "renameByName": {source: column.title for source, column in zip(sources, columns, strict=True)},
    }


def _properties(column: Column) -> list[models.DynamicConfigValue]:
    properties: dict[str, Any] = {}
    if column.unit:
        properties["unit"] = column.unit
    if column.decimals is not None:
        properties["decimals"] = column.decimals
    if column.width:
        properties["custom.width"] = column.width
    if column.steps:
        steps = [{"value": at, "color": color} for at, color in column.steps]
        properties["thresholds"] = {"mode": "absolute", "steps": steps}
        properties["color"] = {"mode": "thresholds"}
        properties["custom.cellOptions"] = {"type": "color-text"}
    if column.bar:
        properties["custom.cellOptions"] = {"type": "gauge", "mode": "gradient"}
        properties |= {"min": 0, "max": 1}
    if column.values:
        properties["mappings"] = [column.values.mapping()]
        properties["custom.cellOptions"] = {"type": "color-text"}
    if column.link:
        properties["links"] = [{"title": f"Open by {column.title.lower()}", "url": column.link}]
    return [_property(name, value) for name, value in properties.items()]


def _property(name: str, value: object) -> models.DynamicConfigValue:
    return models.DynamicConfigValue(id_val=name, value=value)
