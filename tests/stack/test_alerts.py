"""Each alert fires in a real Prometheus for its real cause, and none where all is well.

The rules are the shipped ones with every duration a sixtieth as long, made by their generator. The causes work side by
side; what breaks budgets, what breaks enforcement and what is healthy has a Prometheus each, since some alerts look at
all requests together.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from cycles_otel.local import LocalCycles
from cycles_otel.telemetry import semconv
from dashboards.generate import rules
from tests.chaos.programs import ROOT
from tests.cli.program import running
from tests.stack.servers import Prometheus, eventually

SCALE = 1 / 60
SCRAPED = 1.0
"""Seconds: a minute otherwise."""
FIRES_WITHIN = 120.0
"""Seconds; on an idle machine all have fired after some 50."""
WORLDS = {
    "budgets": {
        *("CyclesBudgetUsed80", "CyclesBudgetUsed95", "CyclesBudgetExhausted", "CyclesBudgetExhaustedIn1h"),
        *("CyclesBudgetExhaustedIn24h", "CyclesBudgetBurnFast", "CyclesDenialRateHigh", "CyclesPriceUnknown"),
        *("CyclesEstimateFarOff", "CyclesStepsUnbudgeted", "CyclesTelemetryErrors", "CyclesRunBracketingInactive"),
        "CyclesExporterDown",
    },
    "enforcement": {
        *("CyclesStepsUnenforced", "CyclesUnavailable", "CyclesLatencyHigh", "CyclesHeartbeatFailures"),
        *("CyclesSettlementLost", "CyclesSettlementBacklog", "CyclesSettlementOld", "CyclesJournalFailures"),
        "CyclesReservationsLeaked",
    },
}
SIDE_EFFECTS = {
    # Where the machine is busy with something else.
    "budgets": {"CyclesLatencyHigh"},
    "enforcement": set[str](),
}
CASES = [(world, alert) for world, alerts in WORLDS.items() for alert in sorted(alerts)]


@pytest.fixture(scope="module")
def rule_paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The rules with shorter durations."""
    folder = tmp_path_factory.mktemp("rules")
    assert rules.main(["--out", str(folder), "--scale", str(SCALE)]) == 0
    return [folder / "recording.yaml", folder / "alerts.yaml"]


@pytest.fixture(scope="module")
def worlds(rule_paths: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Prometheus]]:
    """A Prometheus for each of ``budgets``, ``enforcement`` and ``health``, with the programs that it scrapes."""
    programs = {
        "budgets": ("budgets", "names", "another_sdk"),
        "enforcement": ("enforcement", "outage"),
        "health": ("health",),
    }
    folder = tmp_path_factory.mktemp("worlds")
    with ExitStack() as stack:
        found = {name: stack.enter_context(Prometheus(folder / name, rule_paths, SCRAPED)) for name in programs}
        started = [
            (found[world], program, stack.enter_context(_program(program, folder / f"{program}-files")))
            for world, names in programs.items()
            for program in names
        ]
        for prometheus, program, process in started:
            assert process.stdout is not None
            prometheus.scrape(program, process.stdout.readline().strip())
        _let_an_exporter_be_killed(found["budgets"])
        yield found


@pytest.mark.timeout(FIRES_WITHIN + 120)
class TestFires:
    @pytest.mark.parametrize(("world", "alert"), CASES, ids=[alert for _, alert in CASES])
    def test_for_its_real_cause(self, worlds: dict[str, Prometheus], world: str, alert: str) -> None:
        has_fired = f'count(last_over_time(ALERTS{{alertname="{alert}", alertstate="firing"}}[10m]))'
        assert eventually(lambda: worlds[world].value(has_fired), bool, FIRES_WITHIN), _states(worlds[world])

    def test_is_all_of_them(self) -> None:
        every = {alert.full_name for group in rules.alert_groups(rules.Settings().clock) for alert in group.alerts}
        assert set.union(*WORLDS.values()) == every


@pytest.mark.timeout(FIRES_WITHIN + 120)
class TestDoesNotFire:
    def test_where_all_is_well(self, worlds: dict[str, Prometheus]) -> None:
        ratio, allocated = "cycles:budget_used:ratio", "cycles:budget_burn:rate5m > 0"
        is_long = f"max(count_over_time({ratio}[10m])) > 60 and max({allocated})"
        assert eventually(lambda: worlds["health"].value(is_long), bool, FIRES_WITHIN)
        assert _states(worlds["health"]) == set()

    @pytest.mark.parametrize("world", WORLDS)
    def test_for_another_cause(self, worlds: dict[str, Prometheus], world: str) -> None:
        assert _fired(worlds[world]) <= WORLDS[world] | SIDE_EFFECTS[world]


def _let_an_exporter_be_killed(prometheus: Prometheus) -> None:
    up = f"max({semconv.EXPORTER_UP.prometheus_name})"
    with (
        LocalCycles({"tenant:acme": {"TOKENS": 1_000}}) as server,
        running("exporter", "--port", "0", "--interval", "0.5", **server.environ()) as exporter,
    ):
        prometheus.scrape("exporter", exporter.read_until("Metrics: ").split()[-1])
        assert eventually(lambda: prometheus.value(up), lambda value: value == 1) == 1


@contextmanager
def _program(name: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A program of ``causes``, until the end of the block."""
    folder.mkdir()
    command = [sys.executable, "-m", "tests.stack.causes", name, str(folder)]
    pipe = subprocess.PIPE
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=log, text=True)
        with process:
            yield process
            process.kill()


def _states(prometheus: Prometheus) -> set[str]:
    """What has been pending or firing at any time."""
    return prometheus.names("last_over_time(ALERTS[10m])")


def _fired(prometheus: Prometheus) -> set[str]:
    return prometheus.names('last_over_time(ALERTS{alertstate="firing"}[10m])')
