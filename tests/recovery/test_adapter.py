"""The adapter runs the tests of a scenario, and every scenario has some."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.recovery.binding import SCENARIOS


def adapter(scenario_id: str, inputs: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.recovery.adapter", scenario_id],
        input=json.dumps(inputs),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    return done.returncode, json.loads(done.stdout)


def test_it_prints_what_ran_and_whether_that_passed() -> None:
    status, result = adapter("CR-CORE-001", {"id": "CR-CORE-001", "faults": ["commit_response_lost"]})
    assert status == 0
    assert (result["scenario_id"], result["passed"]) == ("CR-CORE-001", True)
    assert [test.rpartition("::")[2] for test in result["native_tests"]] == [
        "test_a_lost_reply_to_a_commit_is_asked_for_with_the_same_key"
    ]


def test_a_fault_that_no_test_lets_happen_fails_it() -> None:
    status, result = adapter("CR-CORE-001", {"faults": ["server_on_fire"]})
    assert (status, result["passed"]) == (1, False)


def test_a_scenario_without_a_test_does_not_pass() -> None:
    status, result = adapter("CR-NEW-001", {})
    assert (status, result) == (1, {"scenario_id": "CR-NEW-001", "passed": False, "native_tests": []})


def test_every_scenario_of_the_profile_is_bound(request: pytest.FixtureRequest) -> None:
    options = ("--collect-only", "-q", "-p", "no:cacheprovider", "-p", "tests.recovery.bound")
    bound = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/recovery", *options],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        cwd=request.config.rootpath,
    )
    assert set(json.loads(bound.stdout.splitlines()[-1])) == set(SCENARIOS)
