"""Our spans below those of each instrumentation of the Agents SDK: the whole tree, as a user sees it.

The trees stand in ``trees/``. ``make test-beside`` sets up an environment for each instrumentation, since they cannot
be installed together; after a change that is meant,
``.venv-beside/NAME/bin/python -m tests.beside.program NAME > tests/beside/trees/NAME.txt`` writes one anew.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.beside.program import SET_UP

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / ".venv-beside"
TREES = Path(__file__).with_name("trees")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("instrumentation", SET_UP)
def test_each_span_has_its_parent_beside(instrumentation: str) -> None:
    python = ENVIRONMENTS / instrumentation / "bin" / "python"
    played = subprocess.run(
        [python, "-m", "tests.beside.program", instrumentation], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert played.returncode == 0, played.stderr
    assert played.stdout == (TREES / f"{instrumentation}.txt").read_text(encoding="utf-8")
