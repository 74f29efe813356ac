"""The rules as promtool sees them: they parse, and each alert fires and does not fire as its tests say."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from dashboards.generate.rules import DIRECTORY
from tests.stack.servers import programs

FILES = [DIRECTORY / "recording.yaml", DIRECTORY / "alerts.yaml"]


def promtool(*arguments: str | Path) -> str:
    """What it prints; it is an error if it finds one."""
    done = subprocess.run([programs() / "promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_sound(path: Path) -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", path)


def test_the_manifest_holds_the_same_groups(tmp_path: Path) -> None:
    spec = yaml.safe_load((DIRECTORY / "prometheusrule.yaml").read_text(encoding="utf-8"))["spec"]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    promtool("check", "rules", "--lint=all", "--lint-fatal", tmp_path / "rules.yaml")
    assert spec["groups"] == [group for path in FILES for group in yaml.safe_load(path.read_text("utf-8"))["groups"]]


@pytest.mark.parametrize("path", sorted((DIRECTORY / "tests").glob("*.yaml")), ids=lambda path: path.stem)
@pytest.mark.timeout(180)
def test_rules_do_as_their_tests_say(path: Path) -> None:
    promtool("test", "rules", path)
