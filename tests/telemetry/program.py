"""A program in a process of its own, where the global providers are not set yet."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

RUN = """
from cycles_otel.telemetry import default_observer
run = default_observer().run("run-1", "agent")
run.ended("completed", {}, leaked=0)
"""
"""A run of an agent, as a governor tells it."""


def start_program(source: str, **environment: str) -> subprocess.Popen[str]:
    """Start a program, with a pipe to each of its ends."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "CYCLES_OTEL"))}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", source],
        env=kept | environment,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        text=True,
        start_new_session=True,
    )


def run_program(source: str, status: int = 0, /, **environment: str) -> str:
    """Run a program to its end, and return what it wrote."""
    return ended(start_program(source, **environment), status)


def ended(process: subprocess.Popen[str], status: int = 0) -> str:
    """Wait for the end of a program, which must have this exit status."""
    try:
        output, errors = process.communicate(timeout=50)
    finally:
        end_all(process)
    assert process.returncode == status, errors
    return output + errors


def end_all(process: subprocess.Popen[str]) -> None:
    """Let neither a program nor a child of it be left."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
