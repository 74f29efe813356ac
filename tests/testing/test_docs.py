"""docs/testing.md: its blocks, one after the other, are a test file that passes and a script that runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.testing.desk import run_pytest, runs_pytest

pytestmark = runs_pytest
PAGE = Path(__file__).resolve().parents[2] / "docs" / "testing.md"


def blocks(language: str) -> list[str]:
    """The blocks of the page in a language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_tests_of_the_page_pass(tmp_path: Path) -> None:
    *tests, _ = blocks("python")
    run = run_pytest(tmp_path, "\n\n".join(tests))
    assert "3 passed" in run.stdout, run.stdout + run.stderr


def test_what_is_for_outside_of_pytest_runs(capsys: pytest.CaptureFixture[str]) -> None:
    first, *_, script = blocks("python")
    names: dict[str, object] = {}
    exec(compile(first, PAGE.name, "exec"), names)
    exec(compile(script, PAGE.name, "exec"), names)
    printed = capsys.readouterr().out
    assert "run helper: completed\n  llm ScriptedModel by helper: committed" in printed
    assert "cycles_client_runs_total" in printed


def test_a_failure_looks_as_the_page_shows_it(tmp_path: Path) -> None:
    first, *_ = blocks("python")
    run = run_pytest(tmp_path, first.replace("at=3", "at=2"))
    (shown,) = blocks("text")
    for line in shown.splitlines():
        said = line.removeprefix("E").strip().removeprefix("CyclesAssertionError: ")
        assert said in run.stdout, run.stdout
