"""The imports are as docs/architecture.md says: the contracts hold, and the page has the same layers as they."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
CONTRACTS: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
    "importlinter"
]["contracts"]


def test_every_contract_is_kept() -> None:
    # In a process of its own: it disables the loggers of the one that it runs in.
    lint = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", lint], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_has_the_layers_of_the_contract() -> None:
    (contract,) = (each for each in CONTRACTS if each["id"] == "layers")
    in_code = [sorted(re.findall(r"\w+", layer)) for layer in contract["layers"]]
    table = PAGE.partition("## Layers")[2].partition("\n\n`degradation`")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    assert [sorted(re.findall(r"`(\w+)`", row)) for row in rows] == in_code


def test_the_page_names_only_what_there_is() -> None:
    named = re.findall(r"`([\w/]+/|[\w/]+\.py)`", PAGE)
    assert len(named) > 20
    missing = [each for each in named if not any((folder / each).exists() for folder in (ROOT, ROOT / "cycles_otel"))]
    assert not missing
