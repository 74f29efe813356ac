"""The command line as a person starts it: a process of its own, with what it printed and how it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

BOUND = 55.0
"""Seconds after which a process that has not ended is a failure of the test."""


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    def line(self, beginning: str) -> str:
        """The only line of the output that begins so."""
        (found,) = [line for line in self.lines if line.startswith(beginning)]
        return found

    def words_after(self, beginning: str) -> list[str]:
        return self.line(beginning).removeprefix(beginning).split()


@dataclass(frozen=True)
class Traced:
    """A demo that sent its traces, and what arrived at the address: service and name of each span."""

    demo: Ended
    url: str
    spans: list[tuple[str, str]]


def cycles_otel(*arguments: str, **environment: str) -> Ended:
    """``cycles-otel`` with these arguments, its output a pipe; ``environment`` adds to what it inherits."""
    return ended("-m", "cycles_otel", *arguments, **environment)


def ended(*arguments: str, **environment: str) -> Ended:
    """Python with these arguments, to its end."""
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=BOUND,
        check=False,
        env={**os.environ, **environment},
    )
    return Ended(done.returncode, done.stdout, done.stderr)


class Running:
    """A process that has not ended yet."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._read: list[str] = []

    def read_until(self, word: str) -> str:
        """Read lines until one has the word in it; that one."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._read.append(line)
            if word in line:
                return line
        raise AssertionError(f"{word!r} was not printed:\n{''.join(self._read)}")

    def interrupt(self) -> Ended:
        """Ctrl-C, and what came of it."""
        return self.signalled(signal.SIGINT)

    def signalled(self, number: signal.Signals) -> Ended:
        """Send a signal, and see what came of it."""
        self._process.send_signal(number)
        out, err = self._process.communicate(timeout=BOUND)
        return Ended(self._process.returncode, "".join(self._read) + out, err)

    def stop_reading(self) -> Ended:
        """Close the pipe that it writes to, and wait for its end."""
        assert self._process.stdout is not None
        self._process.stdout.close()
        assert self._process.stderr is not None
        err = self._process.stderr.read()
        return Ended(self._process.wait(BOUND), "".join(self._read), err)


@contextmanager
def running(*arguments: str, **environment: str) -> Iterator[Running]:
    """``cycles-otel`` with these arguments, killed at the end of the block, or when it takes too long."""
    command: Sequence[str] = [sys.executable, "-m", "cycles_otel", *arguments]
    pipe = subprocess.PIPE
    inherited = {**os.environ, **environment}
    with subprocess.Popen(
        command, stdout=pipe, stderr=pipe, text=True, preexec_fn=_heed_interrupts, env=inherited
    ) as process:
        guard = threading.Timer(BOUND, process.kill)
        guard.start()
        try:
            yield Running(process)
        finally:
            guard.cancel()
            process.kill()


def _heed_interrupts() -> None:
    """As in a terminal: what a shell starts in the background ignores Ctrl-C, and so does all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
