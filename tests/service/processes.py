"""The service of the example and its Cycles server, each in a process of its own, of which none is left behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import httpx

from cycles_otel.local import LedgerSnapshot
from cycles_otel.local.store import Store

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "fastapi_service"
SECRET = "cyc_test_of_the_service_load"
_PATIENCE = 45.0
_SET_DEATH_SIGNAL = 1
T = TypeVar("T")


class Process:
    """A program with a log of its own.

    Parameters
    ----------
    log: where it writes to.
    when_left: the signal that it gets where this process dies before it has ended it (on Linux).
    """

    def __init__(
        self, command: Sequence[str], log: Path, when_left: signal.Signals, cwd: Path, environment: Mapping[str, str]
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                [sys.executable, *command],
                cwd=cwd,
                env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: _die_with_parent(when_left),
            )

    def kill(self) -> None:
        """SIGKILL, to it and to what it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()

    def said(self, pattern: str) -> str:
        """Wait until its log matches, and return the first group."""

        def found() -> str | None:
            match = re.search(pattern, self.log.read_text(errors="replace"))
            assert match or self.popen.poll() is None, f"it has ended: {self.log.read_text(errors='replace')[-2000:]}"
            return match and match[1]

        return waited_for(found, f"{pattern} in {self.log}")


class CyclesServer:
    """An embedded Cycles server with its ledger on the disk, which can be killed and comes back at the same address.

    Parameters
    ----------
    budgets: by customer, what it may spend, by unit.
    """

    def __init__(self, folder: Path, budgets: Mapping[str, Mapping[str, int]]) -> None:
        self._folder = folder
        self._file = folder / "budgets.yaml"
        lines = ["budgets:"]
        for customer, amounts in budgets.items():
            lines += [f"  {scope_of(customer)}:", *(f"    {unit}: {amount}" for unit, amount in amounts.items())]
        lines += ["keys:", f"  - {{name: service, tenant: acme, secret: {SECRET}}}", ""]
        self._file.write_text("\n".join(lines))
        self._port = "0"
        self._starts = 0
        self._process: Process | None = None

    def start(self) -> None:
        """Start it, or start it again, and wait until it listens."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            self._process = process = self._started()
            try:
                self._port = process.said(r"Listening on http://127\.0\.0\.1:(\d+)")
                return
            except AssertionError:
                # Somebody may have been given the port for a moment, as the near end of a connection.
                if time.monotonic() > deadline or process.popen.poll() is None:
                    raise
                time.sleep(0.5)

    def kill(self) -> None:
        """End it as the kernel does: nothing is said to anybody."""
        if self._process is not None:
            self._process.kill()

    @property
    def environment(self) -> dict[str, str]:
        """What leads a client here."""
        url = f"http://127.0.0.1:{self._port}"
        return {"CYCLES_BASE_URL": url, "CYCLES_API_KEY": SECRET, "CYCLES_TENANT": "acme"}

    def ledger(self) -> LedgerSnapshot:
        """What the ledger holds, whether the server lives or not."""
        with contextlib.closing(Store(self._folder / "ledger.db")) as store:
            return store.snapshot()

    def _started(self) -> Process:
        self._starts += 1
        ledger, log = self._folder / "ledger.db", self._folder / f"cycles-{self._starts}.log"
        command = (
            "-m",
            "cycles_otel",
            "serve",
            "--budgets",
            str(self._file),
            "--db",
            str(ledger),
            "--port",
            self._port,
        )
        return Process(command, log, signal.SIGKILL, self._folder, {})


class Service:
    """The example under gunicorn, as its README starts it.

    Parameters
    ----------
    environment: further variables of the service.
    """

    def __init__(self, folder: Path, cycles: CyclesServer, environment: Mapping[str, str]) -> None:
        self.journal = folder / "journal"
        own = {
            "BIND": "127.0.0.1:0",
            "WEB_CONCURRENCY": "2",
            "PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics"),
            "CYCLES_JOURNAL_DIR": str(self.journal),
        }
        everything = {**cycles.environment, **own, **environment}
        self._process = Process(("-m", "gunicorn"), folder / "service.log", signal.SIGTERM, EXAMPLE, everything)

    def wait_until_it_serves(self) -> None:
        """Wait until a worker answers."""
        self.url = self._process.said(r"Listening at: (http://127\.0\.0\.1:\d+)")
        waited_for(self._is_healthy, "a healthy service")
        waited_for(lambda: len(self.workers) >= 2, "two workers")

    @property
    def workers(self) -> list[int]:
        """The processes that have begun to serve so far, those that are gone too."""
        found = re.findall(r"\[(\d+)\] \[INFO\] Application startup complete", self.log)
        return [int(pid) for pid in found]

    @property
    def answering(self) -> set[str]:
        """The processes that have answered a customer."""
        return set(re.findall(r"\[(\d+)\] INFO service: POST /answers", self.log))

    @property
    def log(self) -> str:
        return self._process.log.read_text(errors="replace")

    def page(self) -> str:
        """What `/metrics` says, in the text format."""
        return httpx.get(f"{self.url}/metrics/", timeout=_PATIENCE).raise_for_status().text

    def reload(self) -> None:
        """Replace all workers by new ones."""
        self._process.popen.send_signal(signal.SIGHUP)

    def terminate(self) -> None:
        """Ask for the end; it comes when the requests are answered."""
        self._process.popen.terminate()

    def exit_status(self) -> int:
        """Wait for the end."""
        return self._process.popen.wait(_PATIENCE + 60)

    def kill(self) -> None:
        self._process.kill()

    def _is_healthy(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=_PATIENCE).is_success
        except httpx.TransportError:
            return False


def scope_of(customer: str) -> str:
    """Where the budgets of a customer stand."""
    return f"tenant:acme/workspace:{customer}"


def waited_for(condition: Callable[[], T | None], what: str, seconds: float = _PATIENCE) -> T:
    """The first result of the condition that is true; it is an error if none is within the given time."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.1)
    return found


def _die_with_parent(number: signal.Signals) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, int(number))
