"""``cycles-otel dashboards export`` writes the files of the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from cycles_otel.cli import main
from tests.dashboards.boards import DIRECTORY


def files_below(folder: Path, *patterns: str) -> dict[str, bytes]:
    paths = (path for pattern in patterns for path in folder.glob(pattern))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


class TestExport:
    def test_writes_the_dashboards_the_rules_and_the_runbooks(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        target = tmp_path / "some" / "folder"
        assert main(["dashboards", "export", str(target)]) == 0

        expected = files_below(DIRECTORY, "*.json", "rules/*.yaml", "runbooks/*.md")
        assert files_below(target, "**/*.*") == expected
        assert capsys.readouterr().out.splitlines() == sorted(str(target / name) for name in expected)

    def test_writes_over_what_was_exported_before(self, tmp_path: Path) -> None:
        (tmp_path / "agents.json").write_text("{}")
        assert main(["dashboards", "export", str(tmp_path)]) == 0
        assert (tmp_path / "agents.json").read_bytes() == (DIRECTORY / "agents.json").read_bytes()

    def test_says_where_it_may_not_write(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "file").write_text("")
        assert main(["dashboards", "export", str(tmp_path / "file")]) == 2
        assert "file" in capsys.readouterr().err
