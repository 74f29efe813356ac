"""What an alert is, and all of them; what each means and what to do stands in its runbook."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from urllib.parse import quote

from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.schema import Metric, prometheus_label
from dashboards.generate.promql import MINUTE, WINDOW, Clock, aggregate
from dashboards.generate.recording import recorded

RUNBOOKS = "https://runbooks.example/cycles"
"""Where the pages of ``dashboards/runbooks/`` are served: the default is to be replaced."""
DASHBOARDS = "https://grafana.example/d"
"""Where Grafana shows a dashboard by its uid: the default is to be replaced."""

_VARIABLES = {"tenant": semconv.TENANT, "unit": semconv.UNIT, "agent": semconv.AGENT_NAME}


class Severity(Enum):
    """What has to happen."""

    CRITICAL = "critical"
    """Somebody must act now: steps run unguarded or not at all, or money is not in the ledger."""
    WARNING = "warning"
    """Somebody must act today."""
    INFO = "info"
    """Good to know when looking."""


class Board(Enum):
    """The dashboards, by their uid."""

    BUDGETS = "cycles-budget-overview"
    AGENTS = "cycles-agents"
    ENFORCEMENT = "cycles-enforcement"
    DENIALS = "cycles-denials"


@dataclass(frozen=True)
class Alert:
    """One alerting rule.

    Parameters
    ----------
    name: without the prefix ``Cycles``.
    labels: the attribute keys that tell one alert of this rule from another.
    lasting: seconds for which it must hold before it fires.
    keeping: seconds for which it goes on firing after that, so that what comes and goes is one alert.
    summary, description: templates of Prometheus.
    """

    name: str
    severity: Severity
    board: Board
    expression: str
    labels: tuple[str, ...]
    summary: str
    description: str
    lasting: float = 0
    keeping: float = 0

    @property
    def full_name(self) -> str:
        """The name of the alert, and of its runbook."""
        return f"Cycles{self.name}"

    def annotations(self, runbooks: str, dashboards: str) -> dict[str, str]:
        """What a receiver reads; the dashboard opens on what the alert is about."""
        return {
            "summary": self.summary,
            "description": self.description,
            "runbook_url": f"{runbooks}/{quote(self.full_name)}.md",
            "dashboard_url": f"{dashboards}/{self.board.value}{self._selection()}",
        }

    def _selection(self) -> str:
        chosen = [
            f"var-{variable}={{{{ $labels.{prometheus_label(key)} | urlquery }}}}"
            for variable, key in _VARIABLES.items()
            if key in self.labels
        ]
        return f"?{'&'.join(chosen)}" if chosen else ""


@dataclass(frozen=True)
class AlertGroup:
    """Alerts about one thing."""

    name: str
    alerts: tuple[Alert, ...]


EVENT_KEPT = 15 * MINUTE
"""For how long an alert about something that must not happen at all stays after it happened."""


def label(key: str) -> str:
    """An attribute of the alert, in a template."""
    return f"{{{{ $labels.{prometheus_label(key)} }}}}"


def value(form: str = "humanize") -> str:
    """The value of the alert's expression, in a template."""
    return f"{{{{ $value | {form} }}}}"


def counted(metric: Metric, keys: tuple[str, ...], clock: Clock, selector: str = "") -> str:
    """How many there were in the last five minutes, by these attributes; nothing where there was none."""
    rate = recorded(metric, "rate5m") + selector
    return f"{aggregate('sum', map(prometheus_label, keys), rate)} * {clock.seconds(WINDOW)} > 0"
