"""A few lines of the real ``/metrics`` page, fetched over HTTP as a Prometheus does."""

from __future__ import annotations

from urllib.request import urlopen

from cycles_otel.telemetry import semconv

_SHOWN = (
    (semconv.AMOUNT_COMMITTED_TOTAL, "llm.completion"),
    (semconv.DECISIONS, semconv.DENY),
    (semconv.BUDGETS["remaining"], "USD"),
    (semconv.HEARTBEAT_MARGIN_SECONDS, "_count"),
    (semconv.RUNS, ""),
)
_LINES_EACH = 2


def fetch(url: str) -> str:
    """The whole page."""
    with urlopen(url, timeout=10) as reply:
        return str(reply.read().decode())


def excerpt(page: str) -> list[str]:
    """A few lines of each of the metrics that say most."""
    lines = page.splitlines()
    shown: list[str] = []
    for metric, word in _SHOWN:
        of_metric = [line for line in lines if line.startswith(metric.prometheus_name) and word in line]
        shown += [line for line in of_metric if "_created" not in line][:_LINES_EACH]
    return shown
