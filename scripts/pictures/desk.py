"""The desk of the demo at work, with an exporter beside it, for a Prometheus to scrape.

It prints the addresses of all that is to be scraped, and goes on until its input ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from cycles_otel.cli.demo.cases import cases
from cycles_otel.cli.demo.stage import Stage, stage
from cycles_otel.cli.demo.tenants import TENANTS
from cycles_otel.cli.demo.workload import DeskLog, serve_customers

CUSTOMERS, SEED, PAUSE = 40, 1, 8.0
EXPORTER_PORT = 9465


async def main() -> None:
    """Serve customers, round after round, each with fresh money."""
    async with stage(CUSTOMERS) as set_up:
        with tempfile.TemporaryDirectory() as folder:
            exporter = _exporter(set_up, Path(folder))
            try:
                pages = {
                    "desk": f"{set_up.telemetry.metrics_url}",
                    "exporter": f"http://127.0.0.1:{EXPORTER_PORT}/metrics",
                    "server": f"{set_up.server.url}/actuator/prometheus",
                }
                print(json.dumps(pages), flush=True)
                work = asyncio.create_task(_serve(set_up))
                await asyncio.to_thread(sys.stdin.read)
                work.cancel()
            finally:
                exporter.terminate()
                exporter.wait()


async def _serve(set_up: Stage) -> None:
    first = 1
    while True:
        await serve_customers(cases(CUSTOMERS, SEED, first), set_up.accounts, DeskLog())
        await asyncio.sleep(PAUSE)
        first += CUSTOMERS
        set_up.server.clear_requests()
        set_up.witness.clear()
        set_up.top_up(CUSTOMERS)


def _exporter(set_up: Stage, folder: Path) -> subprocess.Popen[bytes]:
    names = [tenant.name for tenant in TENANTS]
    keys = {f"KEY_OF_{name.upper()}": set_up.server.api_key_for(name) for name in names}
    targets = [{"tenant": name, "api_key_env": key} for name, key in zip(names, keys, strict=True)]
    configuration = folder / "targets.json"  # which is YAML
    configuration.write_text(json.dumps({"base_url": set_up.server.url, "interval": 5, "targets": targets}))
    command = [sys.executable, "-m", "cycles_otel", "exporter", "--config", str(configuration)]
    return subprocess.Popen([*command, "--port", str(EXPORTER_PORT)], env={**os.environ, **keys})


if __name__ == "__main__":
    asyncio.run(main())
