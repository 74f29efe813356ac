"""A process of its own that governs: `python -m tests.budget.child COMMAND...`, and how a test starts it.

Commands: ``reserve``, ``commit`` (what was reserved last), ``charge``, ``wait-for-journal`` (until it is empty),
``pause`` (until a line comes in), ``fork`` (go on in a child), ``collect`` (the governor, as garbage), ``close``,
``await-no-thread`` (until the main thread is alone).
"""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runcycles import CyclesConfig

from cycles_otel.budget.governor import Governor
from cycles_otel.budget.observer import SILENT
from cycles_otel.budget.policy import Policy
from cycles_otel.budget.reservation import Reservation
from cycles_otel.local import LocalCycles
from tests.budget.desk import reserve, sent, step, unobserved, used

USED = 40
LONG = 40.0
"""Seconds, for what must not come: longer than a test takes, shorter than its timeout."""


def start(
    server: LocalCycles, *commands: str, journal: Path | None = None, host: str = "127.0.0.1", flush: float = LONG
) -> subprocess.Popen[str]:
    """Start a process that does what the commands say, one after the other, and then ends."""
    environment = {
        **os.environ,
        "CYCLES_BASE_URL": server.url.replace("127.0.0.1", host),
        "CYCLES_API_KEY": server.api_key,
        "CYCLES_TENANT": server.tenant,
        "CYCLES_JOURNAL_ENABLED": str(journal is not None).lower(),
        "CYCLES_JOURNAL_DIR": str(journal),
        "CYCLES_RETRY_INITIAL_DELAY": "0.01",
        "CYCLES_RETRY_FLUSH_TIMEOUT": str(flush),
    }
    command = [sys.executable, "-m", "tests.budget.child", *commands]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def run(server: LocalCycles, *commands: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """The same to its end, which must be a good one."""
    return ended(start(server, *commands, **options))


def ended(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Wait for the good end of a process, which a ``pause`` does not keep any more."""
    try:
        output, errors = process.communicate("\n", timeout=LONG - 10)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, errors
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def until_sent(server: LocalCycles, operation: str) -> None:
    """Wait until a request of the operation has come in."""
    wait_until(lambda: bool(sent(server, operation)))


def main(commands: list[str]) -> None:
    config = CyclesConfig.from_env()
    governor = Governor(config, Policy(), SILENT, unobserved)
    reservation: Reservation | None = None
    for command in commands:
        if command == "reserve":
            reservation = asyncio.run(reserve(governor))
        elif command == "commit":
            assert reservation is not None
            reservation.commit(used(USED))
        elif command == "pause":
            sys.stdin.readline()
        elif command == "charge":
            governor.charge(step(), used(USED))
        elif command == "wait-for-journal":
            wait_until(lambda: not list(Path(str(config.journal_dir)).rglob("*.json")))
        elif command == "fork":
            fork()
        elif command == "collect":
            del governor, reservation
            gc.collect()
        elif command == "await-no-thread":
            wait_until(lambda: gc.collect() >= 0 and threading.active_count() == 1)
        elif command == "close":
            asyncio.run(governor.aclose())
        else:
            raise ValueError(command)


def wait_until(condition: Callable[[], bool]) -> None:
    """Without an event loop; it is an error if the condition does not hold in time."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.005)


def fork() -> None:
    """Go on in a child; the parent ends with it, at once, and with its status."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main(sys.argv[1:])
