"""The generated rules are those of the repository, and read as they promise."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cycles_otel.telemetry import semconv
from dashboards.generate.promql import Clock
from dashboards.generate.recording import recording_groups
from dashboards.generate.rules import DIRECTORY, Settings, main, rule_files

RECORDINGS = [rule for group in recording_groups(Clock()) for rule in group.rules]


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
        known = {metric.prometheus_name for metric in semconv.METRICS}
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


class TestClock:
    @pytest.mark.parametrize(
        ("scale", "seconds", "spelled"),
        [(1, 300, "5m"), (1, 86_400, "1d"), (1, 90, "90s"), (1 / 60, 30, "500ms"), (1 / 60, 300, "5s")],
    )
    def test_spells_a_duration_in_the_largest_unit_that_divides_it(
        self, scale: float, seconds: float, spelled: str
    ) -> None:
        assert Clock(scale).duration(seconds) == spelled

    def test_scales_durations_and_nothing_else(self) -> None:
        def without_durations(text: str) -> str:
            return re.sub(r"\d+(ms|s|m|h|d)\b|/ 300|/ 5", "", text)

        shipped, scaled = rule_files(Settings()), rule_files(Settings(1 / 60))
        assert {name: without_durations(text) for name, text in scaled.items()} == {
            name: without_durations(text) for name, text in shipped.items()
        }
