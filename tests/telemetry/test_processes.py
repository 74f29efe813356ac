"""Several worker processes behind one page: what they counted together is what the ledger says, whoever dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from cycles_otel.local import LocalCycles
from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.schema import Metric
from tests.run.desk import until
from tests.telemetry.program import end_all, run_program

if sys.platform == "win32":
    pytest.skip("gunicorn does not run there", allow_module_level=True)

APP = "tests.telemetry.shop:app"
SERVERS = {
    "gunicorn": ["gunicorn", "--preload", "-k", "uvicorn_worker.UvicornWorker", "-w", "2", APP, "--bind", "unix:{}"],
    "uvicorn": ["uvicorn", "--workers", "2", APP, "--log-level", "warning", "--uds", "{}"],
}


class Shop:
    """A web server with two workers, and its page."""

    def __init__(self, socket: Path) -> None:
        self._client = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(socket), limits=httpx.Limits(max_keepalive_connections=0)),
            base_url="http://shop",
            timeout=30,
        )

    def post(self, path: str, **parameters: int) -> int:
        """Ask for a run; the process that it ran in."""
        reply = self._client.post(path, params=parameters).raise_for_status()
        return int(reply.json()["pid"])

    def is_up(self) -> bool:
        try:
            return self._client.get("/metrics/").is_success
        except httpx.TransportError:
            return False

    def total(self, metric: Metric) -> float | None:
        """The sum of all series of a metric on the page; None where it has none, or nobody answers."""
        try:
            page = self._client.get("/metrics/")
        except httpx.TransportError:
            return None
        values = [
            sample.value
            for family in text_string_to_metric_families(page.text)
            for sample in family.samples
            if sample.name == metric.prometheus_name
        ]
        return sum(values) if values else None


@pytest.fixture
def ledger() -> Iterator[LocalCycles]:
    with LocalCycles(budgets={"tenant:acme": {"TOKENS": 1_000_000_000}}) as server:
        yield server


@contextmanager
def serving(name: str, ledger: LocalCycles, folder: Path) -> Iterator[tuple[Shop, subprocess.Popen[bytes]]]:
    metrics, socket = folder / "metrics", folder / "s"
    metrics.mkdir()
    environment = {
        "CYCLES_BASE_URL": ledger.url,
        "CYCLES_API_KEY": ledger.api_key,
        "CYCLES_TENANT": ledger.tenant,
        "PROMETHEUS_MULTIPROC_DIR": str(metrics),
    }
    command = [sys.executable, "-m", *(part.format(socket) for part in SERVERS[name])]
    process: Any = subprocess.Popen(command, env=os.environ | environment, start_new_session=True)
    try:
        yield Shop(socket), process
    finally:
        end_all(process)


def has_served(shop: Shop, workers: set[int], number: int) -> bool:
    """Whether so many workers have served a run each; if not, one more is asked for."""
    if len(workers) < number:
        workers.add(shop.post("/run", tokens=7 + len(workers)))
    return len(workers) == number


@pytest.mark.timeout(180)  # A busy machine takes its time to import everything in four processes.
@pytest.mark.parametrize("name", SERVERS)
class TestWorkers:
    async def test_their_sum_is_the_ledger_and_a_killed_one_takes_only_its_gauges_with_it(
        self, name: str, ledger: LocalCycles, tmp_path: Path
    ) -> None:
        with serving(name, ledger, tmp_path) as (shop, process):
            await until(shop.is_up, seconds=45)
            workers: set[int] = set()
            await until(lambda: has_served(shop, workers, 2), seconds=45)
            dying = shop.post("/hold")
            charged = ledger.ledger().charged("TOKENS")
            await until(lambda: shop.total(semconv.AMOUNT_COMMITTED_TOTAL) == charged > 0)
            await until(lambda: shop.total(semconv.RESERVATIONS_ACTIVE) == 1)

            os.kill(dying, signal.SIGKILL)
            await until(lambda: not shop.total(semconv.RESERVATIONS_ACTIVE))
            assert shop.total(semconv.AMOUNT_COMMITTED_TOTAL) == charged
            await until(lambda: has_served(shop, workers, 3), seconds=45)
            charged = ledger.ledger().charged("TOKENS")
            await until(lambda: shop.total(semconv.AMOUNT_COMMITTED_TOTAL) == charged)
            assert shop.total(semconv.RUNS) == len(ledger.ledger().committed)
            assert shop.total(semconv.BUDGETS["remaining"]) == ledger.ledger().budget("tenant:acme", "TOKENS").remaining
            process.terminate()
            assert process.wait(30) in (0, -signal.SIGTERM)


class TestSetting:
    def test_a_folder_that_is_named_too_late_is_warned_of_and_each_process_counts_for_itself(self) -> None:
        output = run_program(
            "import os, urllib.request, prometheus_client\n"
            "os.environ['PROMETHEUS_MULTIPROC_DIR'] = '/nowhere'\n"
            "from cycles_otel.telemetry import setup_telemetry, default_observer\n"
            "telemetry = setup_telemetry(prometheus_port=0)\n"
            "default_observer().run('run-1', 'agent').ended('completed', {}, leaked=0)\n"
            "print(urllib.request.urlopen(telemetry.metrics_url).read().decode())\n"
        )
        assert "PROMETHEUS_MULTIPROC_DIR was set after prometheus_client had been imported" in output
        assert semconv.RUNS.prometheus_name in output

    def test_a_folder_that_does_not_exist_is_an_error_that_names_the_variable(self) -> None:
        output = run_program(
            "from cycles_otel.telemetry import TelemetrySetupError, setup_telemetry\n"
            "try:\n    setup_telemetry(prometheus_port=0)\nexcept TelemetrySetupError as error:\n    print(error)\n",
            PROMETHEUS_MULTIPROC_DIR="/nowhere",
        )
        assert "PROMETHEUS_MULTIPROC_DIR='/nowhere' cannot be used" in output
