"""The adapter to the protocol suite: `python -m tests.recovery.adapter SCENARIO_ID < inputs`.

It reads a scenario's inputs (JSON or YAML), runs the tests that are bound to the scenario, and prints one JSON object:
``{"scenario_id", "passed", "native_tests"}``. It fails where the inputs name a fault that no bound test lets happen.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml


class Record:
    """Notes which tests ran, what became of them, and which faults they let happen."""

    def __init__(self) -> None:
        self.tests: list[str] = []
        self.faults: set[str] = set()
        self.failed = False

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.tests = [item.nodeid for item in session.items]
        for item in session.items:
            for mark in item.iter_markers("scenario"):
                self.faults.update(mark.kwargs["faults"])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed = self.failed or report.outcome != "passed"


def run(scenario_id: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """Run one scenario's tests."""
    named = inputs.get("id", inputs.get("scenario_id", scenario_id))
    if named != scenario_id:
        raise SystemExit(f"the inputs are those of {named!r}, not of {scenario_id!r}")
    record = Record()
    arguments = [str(Path(__file__).parent), "--scenario", scenario_id, "-q", "-p", "no:cacheprovider"]
    with contextlib.redirect_stdout(sys.stderr):
        status = pytest.main(arguments, plugins=[record])
    missing = set(inputs.get("faults") or ()) - record.faults
    passed = status == 0 and bool(record.tests) and not record.failed and not missing
    return {"scenario_id": scenario_id, "passed": passed, "native_tests": record.tests}


def main() -> None:
    """Exit with 0 where the scenario passed."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    inputs = yaml.safe_load(sys.stdin.read()) or {}
    if not isinstance(inputs, dict):
        raise SystemExit("the inputs of a scenario are an object")
    result = run(sys.argv[1], inputs)
    print(json.dumps(result))
    raise SystemExit(0 if result["passed"] else 1)


if __name__ == "__main__":
    main()
