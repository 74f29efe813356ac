"""A program of its own that plays its share of a schedule's runs under hooks.

Where its telemetry goes is for its environment to say, as for any program that calls ``setup_telemetry()``. It prints
a line when its runs are over, and waits for one before it settles; then it prints what it did, and stays, so that its
page can be read, until its input ends.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
from dataclasses import asdict, dataclass, field
from typing import Any

import agents
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider

from cycles_otel.telemetry import Recorder, setup_telemetry
from tests.chaos.oracle import Oracle
from tests.chaos.play import runs_of
from tests.chaos.schedule import Schedule
from tests.chaos.stage import hooks_of
from tests.telemetry.witness import OpenSpans

SERVICE = "desk"


@dataclass(frozen=True)
class Part:
    """What a program is told.

    Parameters
    ----------
    connection: how to reach the server.
    number, programs: it plays each run whose number, divided by that of the programs, leaves this one.
    otlp_endpoint: an argument of the set-up.
    meters_endpoint: where a meter provider of the program's own sends its metrics, if it has one.
    """

    seed: int
    connection: dict[str, Any]
    number: int = 0
    programs: int = 1
    otlp_endpoint: str | None = None
    meters_endpoint: str | None = None


@dataclass
class Done:
    """What a program did: the unit and the amount that each step used, and the spans that it started."""

    used: dict[str, tuple[str, int]] = field(default_factory=dict)
    risks: dict[str, int] = field(default_factory=dict)
    spans: int = 0
    unended: list[str] = field(default_factory=list)
    metrics_url: str | None = None


def main() -> None:
    """Play the part that the first argument describes."""
    part = Part(**json.loads(sys.argv[1]))
    agents.set_trace_processors([])
    meters = None if part.meters_endpoint is None else _meters(part.meters_endpoint)
    recorder = Recorder(max_values=10**6, max_series=10**6, meter_provider=meters)
    telemetry = setup_telemetry(SERVICE, prometheus_port=0, otlp_endpoint=part.otlp_endpoint, recorder=recorder)
    open_spans = OpenSpans()
    assert isinstance(telemetry.tracer_provider, TracerProvider)
    telemetry.tracer_provider.add_span_processor(open_spans)
    oracle, done = Oracle(), Done(metrics_url=telemetry.metrics_url)
    asyncio.run(_work(part, oracle, done.risks, recorder))
    flushed = [telemetry.force_flush(), *([] if meters is None else [meters.force_flush()])]
    assert all(flushed), "not all of the telemetry was taken"
    done.used = {step: (used.unit, used.amount) for step, used in oracle.used.items()}
    done.spans, done.unended = open_spans.started, open_spans.names
    _say(asdict(done))
    sys.stdin.read()


async def _work(part: Part, oracle: Oracle, risks: dict[str, int], recorder: Recorder) -> None:
    schedule = Schedule.of(part.seed)
    runs = runs_of(schedule, oracle, risks)[part.number :: part.programs]
    async with hooks_of(schedule, part.connection, risks, recorder) as hooks:
        await asyncio.gather(*(run.play(hooks) for run in runs))
        _say("played")
        await asyncio.to_thread(sys.stdin.readline)


def _meters(endpoint: str) -> MeterProvider:
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint), export_interval_millis=math.inf)
    return MeterProvider([reader], Resource.create({SERVICE_NAME: SERVICE}))


def _say(what: object) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main()
