"""The generated rules are those of the repository, and read as they promise."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.schema import prometheus_label
from dashboards.generate.alerts import Alert
from dashboards.generate.promql import Clock
from dashboards.generate.recording import recording_groups
from dashboards.generate.rules import DIRECTORY, Settings, alert_groups, main, rule_files

RECORDINGS = [rule for group in recording_groups(Clock()) for rule in group.rules]
ALERTS = [alert for group in alert_groups(Clock()) for alert in group.alerts]


class TestFiles:
    def test_are_in_sync_with_what_generates_them(self) -> None:
        for name, text in rule_files(Settings()).items():
            assert (DIRECTORY / name).read_text(encoding="utf-8") == text

    def test_that_differ_are_named(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        main(["--out", str(tmp_path)])
        (tmp_path / "recording.yaml").write_text("groups: []", encoding="utf-8")

        assert main(["--out", str(tmp_path), "--check"]) == 1
        assert "recording.yaml" in capsys.readouterr().err

    def test_written_are_in_sync(self, tmp_path: Path) -> None:
        assert main(["--out", str(tmp_path / "new")]) == 0
        assert main(["--out", str(tmp_path / "new"), "--check"]) == 0


class TestRecordingRules:
    def test_have_a_name_of_their_own_each(self) -> None:
        names = [rule.record for rule in RECORDINGS]
        assert len(set(names)) == len(names)
        assert all(
            re.fullmatch(r"cycles:[a-z_]+:(rate5m|rate1h|rate1d|last|sum|max|count|ratio)", name) for name in names
        )

    def test_name_no_series_that_the_table_does_not_have(self) -> None:
        known = {metric.prometheus_name for metric in semconv.METRICS if not metric.name.startswith("cycles.exporter.")}
        named = {
            re.sub(r"_(bucket|sum|count)$", "", name) if re.sub(r"_(bucket|sum|count)$", "", name) in known else name
            for rule in RECORDINGS
            for name in re.findall(r"\bcycles_(?:client|budget)_\w+", rule.expression)
        }
        assert named == known

    def test_let_vanish_what_tells_one_process_from_another(self) -> None:
        for rule in RECORDINGS:
            outermost = re.match(r"(?:sum|max|count)(?: by \(([^)]*)\))? ?\(", rule.expression)
            of_raw_series = re.search(r"\bcycles_\w+", rule.expression)
            if of_raw_series:
                assert outermost, rule.record
                assert not {"job", "instance"} & set((outermost[1] or "").split(", "))

    def test_read_of_a_later_one_nothing(self) -> None:
        for group in recording_groups(Clock()):
            seen: set[str] = set()
            ours = {rule.record for rule in group.rules}
            for rule in group.rules:
                assert set(re.findall(r"cycles:\w+:\w+", rule.expression)) & ours <= seen, rule.record
                seen.add(rule.record)


class TestAlerts:
    @pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.full_name)
    def test_each_has_a_runbook_and_tests_that_it_fires_and_that_it_does_not(self, alert: Alert) -> None:
        runbook = (DIRECTORY.parent / "runbooks" / f"{alert.full_name}.md").read_text(encoding="utf-8")
        assert runbook.startswith(f"# {alert.full_name}\n\n**{alert.severity.value}**")
        assert "## See why" in runbook
        assert "## Do" in runbook
        tests = "".join(path.read_text(encoding="utf-8") for path in (DIRECTORY / "tests").glob("*.yaml"))
        assert f"- name: {alert.full_name} fires" in tests
        assert f"- name: {alert.full_name} does not fire" in tests

    def test_are_all_that_have_a_runbook(self) -> None:
        runbooks = {path.stem for path in (DIRECTORY.parent / "runbooks").glob("*.md")}
        assert runbooks == {alert.full_name for alert in ALERTS}

    def test_ask_only_for_what_is_recorded_or_in_the_table(self) -> None:
        recorded = {rule.record for rule in RECORDINGS}
        known = {metric.prometheus_name for metric in semconv.METRICS}
        for alert in ALERTS:
            assert set(re.findall(r"cycles:\w+:\w+", alert.expression)) <= recorded
            assert set(re.findall(r"\bcycles_(?:client|budget|exporter)_\w+\b", alert.expression)) <= known | {
                prometheus_label(semconv.EXPORTER_TARGET)
            }

    def test_link_to_where_a_site_says(self) -> None:
        (alert,) = [alert for alert in ALERTS if alert.name == "PriceUnknown"]
        links = alert.annotations("https://wiki.test/r", "https://grafana.test/d")
        assert links["runbook_url"] == "https://wiki.test/r/CyclesPriceUnknown.md"
        assert links["dashboard_url"] == "https://grafana.test/d/cycles-agents"

    def test_name_in_runbooks_only_series_that_exist(self) -> None:
        recorded = {rule.record for rule in RECORDINGS}
        known = {metric.prometheus_name for metric in semconv.METRICS}
        for path in (DIRECTORY.parent / "runbooks").glob("*.md"):
            text = path.read_text(encoding="utf-8")
            assert set(re.findall(r"\bcycles:\w+:\w+", text)) <= recorded, path.stem
            series = set(re.findall(r"\bcycles_(?:client|budget|exporter)_\w+\b", text))
            assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in series} <= known, path.stem


class TestClock:
    @pytest.mark.parametrize(
        ("scale", "seconds", "spelled"),
        [(1, 300, "5m"), (1, 86_400, "1d"), (1, 90, "90s"), (1 / 60, 30, "500ms"), (1 / 60, 300, "5s")],
    )
    def test_spells_a_duration_in_the_largest_unit_that_divides_it(
        self, scale: float, seconds: float, spelled: str
    ) -> None:
        assert Clock(scale).duration(seconds) == spelled

    @pytest.mark.parametrize("name", ["recording.yaml", "alerts.yaml"])
    def test_scales_durations_and_nothing_else(self, name: str) -> None:
        shipped, scaled = (_numbers(rule_files(Settings(scale))[name]) for scale in (1, 1 / 60))
        assert len(shipped) == len(scaled)
        assert {pair for pair in zip(shipped, scaled, strict=True) if pair[0] not in (pair[1], pair[1] * 60)} == set()


def _numbers(text: str) -> list[float]:
    """All numbers, durations in seconds."""
    seconds = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
    return [
        float(number) * seconds[unit] for number, unit in re.findall(r"(?<![\w.])(\d+(?:\.\d+)?)(ms|[smhd]|)\b", text)
    ]
