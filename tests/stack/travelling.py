"""A workload under hooks whose telemetry goes through collectors: what was sent, and what has arrived."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents import Runner, function_tool
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from cycles_otel import CyclesRunHooks, StepDeniedError
from cycles_otel.local import Fault, LocalCycles
from tests.run.desk import agent, calls, says
from tests.stack.collectors import BackEnd, Configured
from tests.stack.servers import eventually
from tests.telemetry.told import ToldSpan, of_otlp, of_sdk
from tests.telemetry.witness import Witness

BUDGETS = {
    "tenant:acme": {"TOKENS": 10_000_000, "RISK_POINTS": 10_000_000},
    "tenant:acme/agent:poor": {"TOKENS": 5},
}
SLOW = 0.5
"""Seconds that a slow call takes at least."""


@function_tool
def look_up(query: str) -> str:
    """Finds something."""
    return "found"


class Travelling:
    """What is recorded here is also sent to an agent, by OTLP over HTTP."""

    def __init__(self, agent_url: str) -> None:
        # Metrics go to the agent and to a registry here, so that what arrives can be held against it.
        self.witness = Witness(otlp=agent_url)
        self._spans = BatchSpanProcessor(OTLPSpanExporter(f"{agent_url}/v1/traces"))
        self.witness.provider.add_span_processor(self._spans)

    def send(self) -> None:
        """Send everything that waits; the agent has taken it when this returns."""
        assert self._spans.force_flush()
        assert self.witness.meters.force_flush()

    @property
    def sent(self) -> list[ToldSpan]:
        return of_sdk(self.witness.spans)

    def traces(self, is_one: Callable[[ToldSpan], bool]) -> set[str]:
        """The traces that have a span of a kind."""
        return {span.trace_id for span in self.sent if is_one(span)}


class Workload:
    """Runs of agents, each in a trace of its own."""

    def __init__(self, server: LocalCycles, witness: Witness) -> None:
        self._server = server
        self._witness = witness

    async def ordinary(self, times: int) -> None:
        """Runs of which there is nothing to say: an LLM call, a tool, and another LLM call."""
        async with self._hooks() as hooks:
            for _ in range(times):
                desk = agent(calls(10, "look_up", query="x"), says(20), tools=[look_up])
                await Runner.run(desk, "hello", hooks=hooks)

    async def denied(self, times: int) -> None:
        """Runs that the budget stops."""
        async with self._hooks() as hooks:
            await self._poor(hooks, times)

    async def would_be_denied(self, times: int) -> None:
        """Runs that the budget would stop, if it were asked in earnest."""
        async with self._hooks(dry_run=True) as hooks:
            await self._poor(hooks, times)

    async def unenforced(self, times: int) -> None:
        """Runs whose steps get no answer from the server, and go all the same."""
        async with self._hooks() as hooks:
            self._server.inject(Fault("reserve", status=503, times=None))
            for _ in range(times):
                await Runner.run(agent(says(20)), "hello", hooks=hooks)
            self._server.clear_faults()

    async def slow(self) -> None:
        """A run of which one call takes long."""
        async with self._hooks() as hooks:
            self._server.inject(Fault("commit", delay=SLOW))
            await Runner.run(agent(says(20)), "hello", hooks=hooks)

    async def _poor(self, hooks: CyclesRunHooks, times: int) -> None:
        for _ in range(times):
            with contextlib.suppress(StepDeniedError):
                await Runner.run(agent(says(20), name="poor"), "hello", hooks=hooks)

    def _hooks(self, **parameters: Any) -> CyclesRunHooks:
        given = {"llm_unit": "TOKENS", "llm_estimate": 100, "settle_timeout": 5.0, **parameters}
        return CyclesRunHooks(config=self._server.config(), recorder=self._witness.recorder, **given)


@dataclass
class Line:
    """Application → agent → gateway → back end."""

    travelling: Travelling
    agent: Configured
    gateway: Configured
    back_end: BackEnd

    def send(self) -> None:
        """Send everything that waits, and see the agent and the gateway through with it."""
        self.travelling.send()
        for collector in (self.agent, self.gateway):
            assert eventually(lambda: collector.says("exporter_queue_size"), lambda size: size == 0) == 0  # noqa: B023


@contextlib.contextmanager
def line_of(folder: Path, **variables: str) -> Iterator[Line]:
    """A line of its own, whose gateway has these variables."""
    quick = {"COLLECTOR_BATCH_TIMEOUT": "200ms"}
    with contextlib.ExitStack() as started:
        back_end = started.enter_context(BackEnd(folder / "back_end"))
        to_back_end = {"COLLECTOR_TRACES_ENDPOINT": back_end.grpc, **quick, **variables}
        gateway = started.enter_context(Configured(folder / "gateway", "gateway.yaml", **to_back_end))
        to_gateway = {"COLLECTOR_GATEWAY_ENDPOINT": gateway.grpc, **quick}
        agent = started.enter_context(Configured(folder / "agent", "agent.yaml", **to_gateway))
        travelling = Travelling(agent.otlp_url)
        started.callback(travelling.witness.close)
        yield Line(travelling, agent, gateway, back_end)


def arrived(back_end: BackEnd) -> list[ToldSpan]:
    """The spans that have arrived, each as often as it has."""
    return of_otlp(back_end.span_requests())


def arrivals(back_end: BackEnd, expected: Iterable[ToldSpan]) -> list[ToldSpan]:
    """The spans that have arrived when all that are expected have; those that have after a while, if they do not."""
    ids = {span.span_id for span in expected}
    return eventually(lambda: arrived(back_end), lambda spans: ids <= {span.span_id for span in spans}, 30.0)
