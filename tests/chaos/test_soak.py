"""A short soak: whatever the length, nothing may be left, and the ledger equals what was used."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.timeout(180)
def test_hundreds_of_steps_at_64_at_a_time_leave_nothing_and_are_charged_exactly() -> None:
    arguments = [sys.executable, "-m", "tests.chaos.soak", "--steps", "600", "--leaks-only"]
    soak = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert soak.returncode == 0, soak.stdout + soak.stderr
    assert "The soak holds." in soak.stdout
