"""The course of ``cycles-otel exporter``: read the targets, serve or send, poll until told to end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from cycles_otel.addresses import warn_of_plain_http
from cycles_otel.exporter.exporter import MAX_BUDGETS, Exporter
from cycles_otel.exporter.pace import Pace
from cycles_otel.exporter.targets import Target, from_environment
from cycles_otel.telemetry import Recorder, Telemetry, TelemetrySetupError, setup_telemetry
from cycles_otel.telemetry.recorder import METRICS_VARIABLE, checked_route

DOWN = 1
_SERVICE_NAME = "cycles-otel-exporter"
_LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"


@dataclass(frozen=True)
class Options:
    """What the command line asks for; see its help.

    Parameters
    ----------
    pace: the numbers of ``Pace`` that it names.
    """

    config: str | None = None
    host: str = "127.0.0.1"
    port: int = 9465
    metrics: str | None = None
    once: bool = False
    max_budgets: int = MAX_BUDGETS
    pace: Mapping[str, object] = field(default_factory=dict)


def run_exporter(options: Options) -> int:
    """Run the exporter until SIGTERM (0) or Ctrl-C; with ``once`` 0 where all targets are up, else 1.

    Raises
    ------
    TelemetrySetupError: for what is not accepted of the options, the file or the environment.
    """
    _log_to_stderr()
    route = _route(options.metrics)
    targets = _targets(options)
    for target in targets:
        warn_of_plain_http(target.base_url)
    registry, most = CollectorRegistry(), options.max_budgets
    recorder = Recorder(metrics=route, registry=registry, max_values=most, max_series=most)
    exporter = Exporter(targets, recorder, most)
    if options.once:
        return asyncio.run(_once(exporter, recorder, route, registry))
    ProcessCollector(registry=registry)
    telemetry = setup_telemetry(
        _service_name(), metrics=route, prometheus_host=options.host, prometheus_port=options.port, recorder=recorder
    )
    try:
        _announce(telemetry, targets)
        asyncio.run(_until_told_to_end(exporter))
    finally:
        telemetry.shutdown()
    return 0


async def _until_told_to_end(exporter: Exporter) -> None:
    polling = asyncio.ensure_future(exporter.run())
    loop, told = asyncio.get_running_loop(), False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal told
        told = True
        loop.call_soon_threadsafe(polling.cancel)

    before = signal.signal(signal.SIGTERM, end)
    try:
        await polling
    except asyncio.CancelledError:
        # Ctrl-C cancels as well, and has a status of its own.
        if not told:
            raise
    finally:
        signal.signal(signal.SIGTERM, before)


async def _once(exporter: Exporter, recorder: Recorder, route: str, registry: CollectorRegistry) -> int:
    telemetry = setup_telemetry(_service_name(), metrics=route, prometheus_port=None, recorder=recorder)
    try:
        up = await exporter.poll_once()
    finally:
        telemetry.shutdown()
    if route != "otlp":
        sys.stdout.write(generate_latest(registry).decode())
    return 0 if up else DOWN


def _targets(options: Options) -> Sequence[Target]:
    pace = Pace().with_changes(options.pace, lambda name: "--" + name.replace("_", "-"))
    if options.config is None:
        return [from_environment(pace)]
    from cycles_otel.exporter.config_file import read_targets

    return read_targets(Path(options.config), pace)


def _route(metrics: str | None) -> str:
    route = checked_route(metrics)
    if route == "none":
        raise TelemetrySetupError(METRICS_VARIABLE, route, "prometheus, otlp or both")
    return route


def _service_name() -> str | None:
    return None if os.environ.get("OTEL_SERVICE_NAME") else _SERVICE_NAME


def _log_to_stderr() -> None:
    logging.basicConfig(format=_LOG_FORMAT, level=logging.WARNING)
    logging.getLogger("cycles_otel").setLevel(logging.INFO)
    # It tells of every request that fails; the exporter tells of every change.
    logging.getLogger("runcycles").setLevel(logging.CRITICAL)


def _announce(telemetry: Telemetry, targets: Sequence[Target]) -> None:
    if telemetry.metrics_url:
        print(f"Metrics: {telemetry.metrics_url}")
    for target in targets:
        what = ", ".join(f"{level} {value}" for level, value in target.levels.items()) or "the key's tenant"
        print(f"  target {target.name}: {what} at {target.base_url}, every {target.pace.interval:g} s")
    print("Ctrl-C ends it.", flush=True)
