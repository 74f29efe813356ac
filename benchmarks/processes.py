"""The processes of a benchmark: a worker for each variant, a stub for each delay, all gone when it ends."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.variants import ALONE, VARIANTS

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENTS = ROOT / ".venv-beside"


class Process:
    """A process of ours that talks by lines, and ends when its standard input is closed."""

    def __init__(self, python: str | Path, module: str, argument: str, journal: str) -> None:
        environment = {**os.environ, "CYCLES_JOURNAL_DIR": journal, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [str(python), "-m", module, argument],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env=environment,
        )

    def read(self) -> str:
        """The next line that it prints."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended with status {self._process.wait()}")
        return line

    def ask(self, order: str, **settings: Any) -> dict[str, Any]:
        """The figures of one order."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([order, settings]) + "\n")
        self._process.stdin.flush()
        figures: dict[str, Any] = json.loads(self.read())
        if "error" in figures:
            raise RuntimeError(f"{self._process.args!r}: {figures['error']}")
        return figures

    def end(self) -> None:
        """Close its input, and wait; one that does not hear is killed."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def stub(delay_ms: int) -> Iterator[str]:
    """A server that answers after so many ms: its address."""
    process = Process(sys.executable, "benchmarks.stub", str(delay_ms), "")
    try:
        yield f"http://127.0.0.1:{int(process.read())}"
    finally:
        process.end()


@contextlib.contextmanager
def worker(name: str) -> Iterator[Process]:
    """The worker of a variant, in the environment that has it."""
    environment = {**VARIANTS, **ALONE}[name].environment
    python = sys.executable if environment is None else ENVIRONMENTS / environment / "bin" / "python"
    with tempfile.TemporaryDirectory() as journal:
        process = Process(python, "benchmarks.worker", name, journal)
        try:
            yield process
        finally:
            process.end()


def is_there(name: str) -> bool:
    """Whether the environment of a variant has been set up."""
    environment = {**VARIANTS, **ALONE}[name].environment
    return environment is None or (ENVIRONMENTS / environment / ".ready").exists()
