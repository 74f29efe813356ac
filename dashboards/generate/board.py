"""A board from its rows of panels: layout, variables, links to the others, annotations; and its JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.schema import Metric, prometheus_label
from dashboards.generate.panels import DATASOURCE, Panel
from dashboards.generate.promql import WINDOW
from dashboards.generate.queries import REASON, TENANT, VARIABLES, series, total
from dashboards.generate.recording import recorded

BUDGETS, AGENTS = "cycles-budget-overview", "cycles-agents"
ENFORCEMENT, DENIALS, RECONCILIATION = "cycles-enforcement", "cycles-denials", "cycles-reconciliation"
TITLES = {
    BUDGETS: "Cycles / Budget overview",
    AGENTS: "Cycles / Agents",
    ENFORCEMENT: "Cycles / Enforcement health",
    DENIALS: "Cycles / Denials",
    RECONCILIATION: "Cycles / Ledger reconciliation",
}
"""The boards by their uid."""
TAG = "cycles"
WIDTH = 24

_VALUES_FROM: dict[str, Metric] = {
    semconv.TENANT: semconv.DECISIONS,
    semconv.UNIT: semconv.AMOUNT_RESERVED_TOTAL,
    semconv.AGENT_NAME: semconv.DECISIONS,
}
"""The recorded counter from which a variable takes its values."""


@dataclass(frozen=True)
class Row:
    """Panels under a heading; those without one stand at the top of the board."""

    title: str
    panels: Sequence[Panel]
    collapsed: bool = False


@dataclass(frozen=True)
class Dashboard:
    """One dashboard."""

    uid: str
    description: str
    rows: Sequence[Row]
    traces: bool = False

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.uid.removeprefix('cycles-')}.json"

    def json(self) -> str:
        """The file's text, as Grafana reads it."""
        built = json.loads(json.dumps(self._built(), cls=JSONEncoder))
        built["annotations"] = {"list": [_denials(), _deploys()]}
        built["panels"] = _laid_out(self.rows)
        for variable in built["templating"]["list"]:
            # Of the SDK's own making; Grafana's schema does not have it.
            for key in ("auto", "auto_min", "auto_count"):
                variable.pop(key, None)
        return json.dumps(built, indent=2, ensure_ascii=False) + "\n"

    def _built(self) -> models.Dashboard:
        board = dashboard.Dashboard(TITLES[self.uid]).uid(self.uid).description(self.description).tags([TAG])
        board.editable().time("now-3h", "now").refresh("30s").timezone("browser")
        board.tooltip(models.DashboardCursorSync.CROSSHAIR)
        board.with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        if self.traces:
            traces = dashboard.DatasourceVariable("traces").label("Traces").type("tempo")
            board.with_variable(traces.description("Where the traces are, for the panels that show them."))
        for key, name in VARIABLES.items():
            board.with_variable(_variable(key, name))
        for uid in TITLES:
            if uid != self.uid:
                board.link(_link(uid))
        return board.build()


def _variable(key: str, name: str) -> dashboard.QueryVariable:
    label = prometheus_label(key)
    query = f"label_values({recorded(_VALUES_FROM[key], 'rate5m')}, {label})"
    variable = dashboard.QueryVariable(name).label(name.capitalize()).datasource(DATASOURCE)
    variable.query({"query": query, "refId": f"variable-{name}"}).refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
    variable.sort(models.VariableSort.ALPHABETICAL_ASC).multi(True).include_all(True)
    # Not the list of all values: a series without the label is meant, too.
    variable.all_value(".*")
    return variable.current(models.VariableOption(text="All", value="$__all", selected=True))


def _link(uid: str) -> dashboard.DashboardLink:
    link = dashboard.DashboardLink(TITLES[uid].removeprefix("Cycles / ")).url(f"/d/{uid}")
    return link.type(models.DashboardLinkType.LINK).icon("dashboard").include_vars(True).keep_time(True)


def _denials() -> dict[str, Any]:
    denied = total(series(semconv.DENIALS, "rate5m"), TENANT, REASON)
    return _annotation("Denials", f"{denied} > 0", "red", "Steps denied", f"{{{{{TENANT}}}}}: {{{{{REASON}}}}}")


def _deploys() -> dict[str, Any]:
    """A version or a setting that no process had five minutes before."""
    labels = [prometheus_label(key) for key in (semconv.VERSION, semconv.FAIL_OPEN, semconv.DRY_RUN)]
    now = total(recorded(semconv.INFO, "count"), *labels)
    before = total(f"{recorded(semconv.INFO, 'count')} offset {WINDOW}s", *labels)
    text = "cycles-otel {{%s}}, fail_open={{%s}}, dry_run={{%s}}" % tuple(labels)  # noqa: UP031
    return _annotation("Deploys", f"{now} unless {before}", "blue", "A new version or setting", text)


def _annotation(name: str, expression: str, color: str, title: str, text: str) -> dict[str, Any]:
    """An annotation from a query; the SDK knows of no formats."""
    return {
        "name": name,
        "datasource": {"type": DATASOURCE.type_val, "uid": DATASOURCE.uid},
        "enable": True,
        "iconColor": color,
        "target": {"expr": expression, "refId": "Anno", "interval": "30s"},
        "titleFormat": title,
        "textFormat": text,
    }


def _laid_out(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The panels of all rows with their places and ids."""
    out: list[dict[str, Any]] = []
    y, next_id = 0, 1
    for row in rows:
        heading: dict[str, Any] | None = None
        if row.title:
            heading = {"type": "row", "title": row.title, "collapsed": row.collapsed, "id": next_id, "panels": []}
            heading["gridPos"] = {"x": 0, "y": y, "w": WIDTH, "h": 1}
            out.append(heading)
            y, next_id = y + 1, next_id + 1
        x, lowest, inside = 0, 0, []
        for panel in row.panels:
            if x + panel.width > WIDTH:
                x, y, lowest = 0, y + lowest, 0
            placed = json.loads(json.dumps(panel.builder.build(), cls=JSONEncoder))
            placed |= {"id": next_id, "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height}}
            inside.append(placed)
            x, lowest, next_id = x + panel.width, max(lowest, panel.height), next_id + 1
        if heading is not None and row.collapsed:
            heading["panels"] = inside
        else:
            out += inside
            y += lowest
    return out
