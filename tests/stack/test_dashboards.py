"""Every panel of every dashboard against a real Prometheus: on a good day, and with everything that can go wrong.

The rules are the shipped ones with every duration a sixtieth as long. Panels that wait for a fault are empty on the
good day, and fill under it.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from dashboards.generate import rules
from tests.chaos.programs import ROOT
from tests.cli.program import running
from tests.dashboards.boards import BOARDS, shown_of
from tests.stack.servers import Prometheus, eventually

SCALE = 1 / 60
SCRAPED = 0.5
WITHIN = 60.0
"""Seconds until a panel has data; on an idle machine it is some 15."""
EMPTY_IN_HEALTH = {
    "agents": {"Calls without a price, by model", "Tools that the provider hosts"},
    "budget-overview": {
        *("Budgets over their limit", "Debt, as a share of the overdraft limit"),
        *("Denied steps, by tenant and reason", "Dollars refused per hour, by tenant"),
        "Share of decisions that deny, by kind of step",
    },
    "denials": {
        *("Dollars refused", "Denied steps, by reason", "Denials before a run", "What was done about it"),
        *("Whose steps were denied", "Budgets that refuse, or soon will", "Denied steps, by agent"),
        *("Dollars refused per hour, by agent", "Other units refused, by model or tool"),
        *("Would be denied, by reason", "Share that would be denied, by agent", "Whose steps would be denied"),
    },
    "enforcement": {
        *("Unenforced steps, by why", "Errors, by operation and type", "Failed heartbeats, expiries, leaks"),
        *("Telemetry errors, label overflow, journal failures", "Open circuits, and steps without a budget"),
    },
    "reconciliation": {"Denials, by reason", "Expired reservations, and overdrafts"},
}
"""Panels that wait for what a good day does not bring, by the board."""
OF_OTHER_PAGES = {
    *("Exporter, by target", "Polls of the exporter", "Runs of the server's maintenance"),
    *(f"{what}: difference" for what in ("Reserves", "Commits", "Releases", "Events")),
}
"""Panels of what the exporter and the server show on pages of their own."""
OF_TRACES = {"Denied steps, as traces"}
PANELS = [
    pytest.param(board, panel, id=f"{board}: {panel['title']}")
    for board, content in BOARDS.items()
    for panel in shown_of(content)
    if panel["title"] not in OF_TRACES
]
VALUES = {"tenant": ".*", "unit": ".*", "agent": ".*", "__range": "60s", "__rate_interval": "3s"}


class World:
    """A Prometheus, and programs that it scrapes."""

    def __init__(self, prometheus: Prometheus) -> None:
        self.prometheus = prometheus
        self._started = time.time()

    def has_data(self, panel: dict[str, Any]) -> bool:
        """Whether a query of the panel has had a value that is a number."""
        return any(self.values(target["expr"]) for target in panel["targets"])

    def values(self, expression: str) -> list[float]:
        """All values that an expression has had until now; a Prometheus that refuses it fails the test."""
        now = time.time()
        asked = {"query": _filled(expression), "start": self._started, "end": now, "step": 1}
        series = self._get("query_range", asked)["result"]
        return [value for each in series for _, text in each["values"] if not math.isnan(value := float(text))]

    def label_values(self, query: str) -> list[str]:
        """The values that a variable offers."""
        series, label = query.removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
        found: list[str] = self._get(f"label/{label}/values", {"match[]": series})
        return found

    def exemplars(self, expression: str) -> list[Any]:
        asked = {"query": _filled(expression), "start": self._started, "end": time.time()}
        found: list[Any] = self._get("query_exemplars", asked)
        return found

    def _get(self, what: str, asked: dict[str, Any]) -> Any:
        reply = httpx.get(f"{self.prometheus.url()}/api/v1/{what}", params=asked, timeout=30)
        assert reply.status_code == 200, f"{reply.text} to {asked}"
        return reply.json()["data"]


def _filled(expression: str) -> str:
    for name, value in VALUES.items():
        expression = expression.replace(f"${name}", value)
    return expression


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, World]]:
    """A good day as its pages are scraped, as it sends its metrics by OTLP, and one on which everything goes wrong."""
    folder = tmp_path_factory.mktemp("worlds")
    assert rules.main(["--out", str(folder), "--scale", str(SCALE)]) == 0
    with ExitStack() as stack:
        found = {}
        for name in ("otlp", "health", "faults"):
            prometheus = Prometheus(folder / name, [folder / "recording.yaml"], SCRAPED)
            found[name] = World(stack.enter_context(prometheus))
            if name == "otlp":
                continue
            environment = _both_ways(found["otlp"].prometheus) if name == "health" else {}
            pages = stack.enter_context(_program(name, folder / f"{name}-files", environment))
            prometheus.scrape("desk", pages["desk"])
            prometheus.scrape("server", pages["server"])
            if name == "health":
                exporter = running("exporter", "--port", "0", "--interval", "0.5", **pages["environment"])
                page = stack.enter_context(exporter).read_until("Metrics: ").split()[-1]
                prometheus.scrape("exporter", page)
        yield found


def _both_ways(prometheus: Prometheus) -> dict[str, str]:
    """The environment of a program that shows its metrics on a page, and sends them to this Prometheus as well."""
    return {
        "CYCLES_OTEL_METRICS": "both",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": prometheus.otlp_url,
        "OTEL_METRIC_EXPORT_INTERVAL": str(int(SCRAPED * 1_000)),
    }


@contextmanager
def _program(name: str, folder: Path, environment: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """The pages of a program of ``desk``, until the end of the block."""
    folder.mkdir()
    command, pipe = [sys.executable, "-m", "tests.stack.desk", name, str(folder)], subprocess.PIPE
    with (folder / "log").open("w") as log:
        environ = {**os.environ, **environment}
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stdin=pipe, stdout=pipe, stderr=log, text=True)
        with process:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, (folder / "log").read_text()
            yield json.loads(line)
            process.kill()


def _soon(holds: Callable[[], object]) -> bool:
    return bool(eventually(holds, bool, WITHIN))


@pytest.mark.timeout(WITHIN + 90)
class TestPanels:
    @pytest.mark.parametrize(("board", "panel"), PANELS)
    def test_have_data_on_a_good_day_or_wait_for_a_fault_and_fill_under_it(
        self, worlds: dict[str, World], board: str, panel: dict[str, Any]
    ) -> None:
        if panel["title"] not in EMPTY_IN_HEALTH[board]:
            assert _soon(lambda: worlds["health"].has_data(panel))
            return
        assert _soon(lambda: worlds["faults"].has_data(panel)), "it does not fill"
        # A counter is at 0 from its start on, and the end of a time range may hold what is no data.
        assert not any(value for target in panel["targets"] for value in worlds["health"].values(target["expr"]))

    @pytest.mark.parametrize("board", BOARDS)
    def test_have_data_by_otlp_too(self, worlds: dict[str, World], board: str) -> None:
        for panel in shown_of(BOARDS[board]):
            if panel["title"] not in EMPTY_IN_HEALTH[board] | OF_OTHER_PAGES | OF_TRACES:
                assert _soon(partial(worlds["otlp"].has_data, panel)), panel["title"]

    def test_that_wait_for_a_fault_exist(self) -> None:
        for board, titles in EMPTY_IN_HEALTH.items():
            assert titles <= {panel["title"] for panel in shown_of(BOARDS[board])}

    def test_of_latency_have_exemplars(self, worlds: dict[str, World]) -> None:
        for board in BOARDS.values():
            for panel in shown_of(board):
                for target in panel["targets"]:
                    if target.get("exemplar"):
                        found = [worlds[name].exemplars(target["expr"]) for name in worlds]
                        assert any(found), panel["title"]
                        assert not worlds["health"].values(target["expr"]), "it reads samples"


@pytest.mark.timeout(WITHIN + 90)
class TestVariables:
    @pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
    def test_each_offers_values(self, worlds: dict[str, World], board: dict[str, Any]) -> None:
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                query = variable["query"]["query"]
                assert _soon(partial(worlds["health"].label_values, query)), variable["name"]


@pytest.mark.timeout(WITHIN + 90)
class TestAnnotations:
    def test_of_deploys_and_denials_are_there(self, worlds: dict[str, World]) -> None:
        for annotation in BOARDS["denials"]["annotations"]["list"]:
            assert _soon(partial(worlds["faults"].values, annotation["target"]["expr"]))
