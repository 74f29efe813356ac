"""CyclesInstrumentor: every client of the process, observed without a line of code."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import entry_points, requires
from pathlib import Path
from typing import Any

import pytest
import runcycles.lifecycle
import runcycles.streaming
from agents import Agent, Runner
from agents.testing import ScriptedModel, assistant_message
from inline_snapshot import snapshot
from opentelemetry import baggage, context, propagate, trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceFlags, TraceState
from runcycles import (
    Action,
    Amount,
    AsyncCyclesClient,
    BudgetExceededError,
    CyclesClient,
    CyclesConfig,
    CyclesResponse,
    Subject,
    Unit,
    cycles,
)

from cycles_otel import CyclesInstrumentor, CyclesRunHooks
from cycles_otel.budget.exchange import OPERATIONS
from cycles_otel.local import Fault, LocalCycles
from cycles_otel.telemetry import TelemetrySetupError, observe_client, recorder, semconv
from cycles_otel.telemetry.exchange import Request
from tests.run.desk import until
from tests.telemetry import requests
from tests.telemetry.otlp import Receiver
from tests.telemetry.span_tree import tree
from tests.telemetry.witness import Witness, attributes, span_id

PROGRAM = Path(__file__).with_name("zero_code.py")
WORK: dict[str, Any] = {"estimate": 50, "action_kind": "llm.completion", "action_name": requests.MODEL}


@pytest.fixture
def instrumented(witness: Witness) -> Iterator[CyclesInstrumentor]:
    """The instrumentor at work, recording with the witness's providers."""
    instrumentor = CyclesInstrumentor()
    instrumentor.instrument(tracer_provider=witness.provider, meter_provider=witness.meters)
    yield instrumentor
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()


@pytest.fixture
def blocking(server: LocalCycles) -> Iterator[CyclesClient]:
    with CyclesClient(quick(server)) as client:
        yield client


def quick(server: LocalCycles) -> CyclesConfig:
    """The config of a client that tries again soon."""
    return server.config(retry_initial_delay=0.05)


@pytest.mark.usefixtures("instrumented")
class TestEachCall:
    def test_a_blocking_client_is_observed(self, blocking: CyclesClient, witness: Witness) -> None:
        blocking.create_reservation(requests.reserve())
        blocking.get_balances(tenant="acme")
        assert tree(witness.spans) == snapshot(
            """\
balances CLIENT
reserve llm.completion CLIENT decision=ALLOW\
"""
        )

    async def test_an_asynchronous_client_is_observed(self, server: LocalCycles, witness: Witness) -> None:
        async with AsyncCyclesClient(server.config()) as client:
            await client.decide(requests.reserve())
        assert tree(witness.spans) == snapshot("decide llm.completion CLIENT decision=ALLOW")

    def test_metrics_go_to_the_meter_provider_that_was_given(self, blocking: CyclesClient, witness: Witness) -> None:
        blocking.create_event(requests.event(5))
        assert list(witness.otel_series(semconv.AMOUNT_COMMITTED_TOTAL).values()) == [5]
        assert not list(witness.samples(semconv.AMOUNT_COMMITTED_TOTAL))

    def test_a_client_that_is_observed_by_itself_is_observed_once(
        self, blocking: CyclesClient, witness: Witness
    ) -> None:
        blocking.decide(requests.reserve())
        observe_client(blocking, witness.recorder).decide(requests.reserve())
        assert len(witness.spans) == 2

    def test_nothing_is_observed_where_instrumentation_is_suppressed(
        self, blocking: CyclesClient, witness: Witness
    ) -> None:
        with suppress_instrumentation():
            assert blocking.decide(requests.reserve()).is_success
        assert not witness.spans

    async def test_beside_the_hooks_each_request_has_one_span(self, server: LocalCycles, witness: Witness) -> None:
        agent = Agent(name="clerk", model=ScriptedModel([[assistant_message("done")]]))
        async with CyclesRunHooks(config=server.config(), recorder=witness.recorder) as hooks:
            await Runner.run(agent, "hello", hooks=hooks)
        assert len(witness.client_spans) == len(server.requests) == 2


@pytest.mark.usefixtures("instrumented")
class TestTrace:
    def test_the_request_carries_the_trace_and_its_state_but_no_baggage(
        self, blocking: CyclesClient, witness: Witness, server: LocalCycles
    ) -> None:
        caller = SpanContext(7, 8, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState([("vendor", "x")]))
        token = context.attach(
            baggage.set_baggage("user", "someone", trace.set_span_in_context(NonRecordingSpan(caller)))
        )
        try:
            blocking.decide(requests.reserve())
        finally:
            context.detach(token)
        headers = server.requests[0].headers
        assert trace.format_span_id(span_id(witness.spans[0])) in headers["traceparent"]
        assert headers["tracestate"] == "vendor=x"
        assert "baggage" not in headers

    def test_what_instruments_httpx_sends_no_baggage_either(self, blocking: CyclesClient, server: LocalCycles) -> None:
        blocking._http.event_hooks["request"].append(lambda request: propagate.inject(request.headers))
        token = context.attach(baggage.set_baggage("user", "someone"))
        try:
            blocking.decide(requests.reserve())
        finally:
            context.detach(token)
        assert "baggage" not in server.requests[0].headers

    async def test_an_asynchronous_client_sends_it_as_well(self, server: LocalCycles, witness: Witness) -> None:
        async with AsyncCyclesClient(server.config()) as client:
            await client.decide(requests.reserve())
        assert trace.format_span_id(span_id(witness.spans[0])) in server.requests[0].headers["traceparent"]


@pytest.mark.usefixtures("instrumented")
class TestDecorator:
    def test_what_is_spent_belongs_to_the_span_of_the_program(self, blocking: CyclesClient, witness: Witness) -> None:
        @cycles(**WORK, client=blocking, ttl_ms=1_000)
        def work() -> str:
            until_blocking(lambda: beats(witness))
            return "done"

        with witness.provider.get_tracer("program").start_as_current_span("program"):
            work()
        assert tree(witness.spans) == snapshot(
            """\
program
  commit llm.completion CLIENT
  extend llm.completion CLIENT
  reserve llm.completion CLIENT decision=ALLOW\
"""
        )

    def test_without_a_span_of_the_program_it_belongs_to_the_reserve(
        self, blocking: CyclesClient, witness: Witness
    ) -> None:
        @cycles(**WORK, client=blocking, ttl_ms=1_000)
        def work() -> str:
            until_blocking(lambda: beats(witness))
            return "done"

        work()
        assert tree(witness.spans) == snapshot(
            """\
reserve llm.completion CLIENT decision=ALLOW
  commit llm.completion CLIENT
  extend llm.completion CLIENT\
"""
        )

    async def test_an_asynchronous_function_is_the_same(self, server: LocalCycles, witness: Witness) -> None:
        async with AsyncCyclesClient(quick(server)) as client:

            @cycles(**WORK, client=client, ttl_ms=1_000)
            async def work() -> str:
                await until(lambda: beats(witness))
                return "done"

            with witness.provider.get_tracer("program").start_as_current_span("program"):
                await work()
        assert tree(witness.spans) == snapshot("""\
program
  commit llm.completion CLIENT
  extend llm.completion CLIENT
  reserve llm.completion CLIENT decision=ALLOW\
""")

    def test_a_denial_is_no_error(self, blocking: CyclesClient, witness: Witness) -> None:
        @cycles(**{**WORK, "estimate": 10**9}, client=blocking)
        def work() -> None:
            raise AssertionError("it was denied")

        with pytest.raises(BudgetExceededError):
            work()
        assert tree(witness.spans) == snapshot("reserve llm.completion CLIENT decision=DENY")

    @pytest.mark.parametrize("asynchronous", [False, True])
    async def test_a_commit_that_is_tried_again_later_counts_its_tries_and_stays_in_the_trace(
        self, server: LocalCycles, witness: Witness, asynchronous: bool
    ) -> None:
        server.inject(Fault(operation="commit", status=503, times=2))
        with witness.provider.get_tracer("program").start_as_current_span("program"):
            await run_decorated(server, asynchronous=asynchronous)
        await until(lambda: bool(server.ledger().committed))
        await until(lambda: sum(span.name.startswith("commit") for span in witness.spans) == 3)
        assert tree(witness.spans) == snapshot("""\
program
  commit llm.completion CLIENT error=INTERNAL_ERROR
  commit llm.completion CLIENT resent=1 error=INTERNAL_ERROR
  commit llm.completion CLIENT resent=2
  reserve llm.completion CLIENT decision=ALLOW\
""")

    def test_a_commit_that_came_too_late_is_an_event_in_the_same_trace(
        self, server: LocalCycles, blocking: CyclesClient, witness: Witness
    ) -> None:
        server.inject(Fault(operation="commit", status=410, body={"error": "RESERVATION_EXPIRED", "message": "late"}))

        @cycles(**WORK, client=blocking)
        def work() -> str:
            return "done"

        work()
        until_blocking(lambda: len(witness.spans) == 3)
        assert tree(witness.spans) == snapshot("""\
reserve llm.completion CLIENT decision=ALLOW
  commit llm.completion CLIENT error=RESERVATION_EXPIRED
  event llm.completion CLIENT\
""")


@pytest.mark.usefixtures("instrumented")
class TestStreamReservation:
    def test_a_blocking_stream_is_observed(self, blocking: CyclesClient, witness: Witness) -> None:
        with blocking.stream_reservation(**STREAM) as stream:
            stream.usage.set_actual_cost(20)
        assert tree(witness.spans) == snapshot("""\
reserve llm.completion CLIENT decision=ALLOW
  commit llm.completion CLIENT\
""")

    async def test_an_asynchronous_stream_is_observed(self, server: LocalCycles, witness: Witness) -> None:
        async with AsyncCyclesClient(server.config()) as client, client.stream_reservation(**STREAM) as stream:
            stream.usage.set_actual_cost(20)
        assert tree(witness.spans) == snapshot("""\
reserve llm.completion CLIENT decision=ALLOW
  commit llm.completion CLIENT\
""")


class TestHooks:
    @pytest.fixture(autouse=True)
    def _uninstrumented(self) -> Iterator[None]:
        yield
        CyclesInstrumentor().uninstrument()

    async def test_they_say_more_on_the_span_of_a_call(
        self, server: LocalCycles, blocking: CyclesClient, witness: Witness
    ) -> None:
        def before(span: Span, request: Request) -> None:
            span.set_attribute("customer", request.body["subject"]["tenant"])

        def after(span: Span, request: Request, response: CyclesResponse) -> None:
            span.set_attribute("answer", f"{request.operation} {response.status}")

        CyclesInstrumentor().instrument(tracer_provider=witness.provider, request_hook=before, response_hook=after)
        blocking.decide(requests.reserve())
        async with AsyncCyclesClient(server.config()) as client:
            await client.decide(requests.reserve())
        said = [(attributes(span)["customer"], attributes(span)["answer"]) for span in witness.spans]
        assert said == [("acme", "decide 200")] * 2

    async def test_they_see_the_calls_of_the_hooks_that_share_their_recorder(
        self, server: LocalCycles, witness: Witness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(recorder, "_default", witness.recorder)
        CyclesInstrumentor().instrument(request_hook=lambda span, request: span.set_attribute("seen", True))
        agent = Agent(name="clerk", model=ScriptedModel([[assistant_message("done")]]))
        async with CyclesRunHooks(config=server.config()) as hooks:
            await Runner.run(agent, "hello", hooks=hooks)
        assert [attributes(span).get("seen") for span in witness.client_spans] == [True, True]

    def test_what_they_raise_does_not_reach_the_call(
        self, blocking: CyclesClient, witness: Witness, caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken(*_: object) -> None:
            raise RuntimeError("no")

        CyclesInstrumentor().instrument(tracer_provider=witness.provider, request_hook=broken, response_hook=broken)
        assert blocking.decide(requests.reserve()).is_success
        assert tree(witness.spans) == snapshot("decide llm.completion CLIENT decision=ALLOW")
        assert [record.levelname for record in caplog.records if record.name == "cycles_otel"] == ["WARNING"]

    def test_one_that_is_no_function_is_refused(self) -> None:
        try:
            with pytest.raises(TelemetrySetupError, match="request_hook='no'"):
                CyclesInstrumentor().instrument(request_hook="no")
        finally:
            CyclesInstrumentor().instrument()


class TestUninstrument:
    def test_it_restores_the_classes_and_the_clients(
        self, instrumented: CyclesInstrumentor, blocking: CyclesClient, witness: Witness, server: LocalCycles
    ) -> None:
        blocking.decide(requests.reserve())
        instrumented.uninstrument()
        blocking.decide(requests.reserve())
        assert len(witness.spans) == 1
        assert "traceparent" not in server.requests[1].headers
        assert blocking._http.event_hooks["request"] == []
        for kind in (CyclesClient, AsyncCyclesClient):
            assert all(not hasattr(vars(kind)[name], "__wrapped__") for name in OPERATIONS)
        in_thread = [vars(module)["_run_sync_attempt"] for module in (runcycles.lifecycle, runcycles.streaming)]
        assert not any(hasattr(function, "__wrapped__") for function in in_thread)

    def test_it_can_be_started_again(self, instrumented: CyclesInstrumentor, blocking: CyclesClient) -> None:
        blocking.decide(requests.reserve())
        instrumented.uninstrument()
        later = Witness()
        instrumented.instrument(tracer_provider=later.provider)
        blocking.decide(requests.reserve())
        assert len(later.spans) == 1
        later.close()


class TestZeroCode:
    def test_it_is_found_by_its_entry_point(self) -> None:
        (found,) = (each for each in entry_points(group="opentelemetry_instrumentor") if each.name == "cycles")
        assert found.load() is CyclesInstrumentor

    def test_it_works_with_what_the_package_depends_on(self) -> None:
        (needed,) = CyclesInstrumentor().instrumentation_dependencies()
        assert needed.replace(" ", "") in (requires("cycles-otel") or ())

    def test_it_does_not_import_the_agents_sdk(self) -> None:
        check = (
            "import sys, cycles_otel; cycles_otel.CyclesInstrumentor().instrument(); sys.exit('agents' in sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0

    def test_a_program_with_the_decorator_needs_no_line_of_code(self, server: LocalCycles) -> None:
        with Receiver() as receiver:
            ended = subprocess.run(
                [Path(sys.executable).with_name("opentelemetry-instrument"), sys.executable, PROGRAM],
                env={
                    **os.environ,
                    "CYCLES_BASE_URL": server.url,
                    "CYCLES_API_KEY": server.api_key,
                    "CYCLES_TENANT": "acme",
                    "OTEL_SERVICE_NAME": "program",
                    "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
                    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                    "OTEL_LOGS_EXPORTER": "none",
                    "CYCLES_OTEL_METRICS": "otlp",
                },
                capture_output=True,
                text=True,
                check=False,
            )
        assert (ended.returncode, ended.stderr) == (0, "")
        assert sorted(receiver.spans) == snapshot(
            [
                ("program", "commit llm.completion"),
                ("program", "commit tool.call"),
                ("program", "reserve llm.completion"),
                ("program", "reserve tool.call"),
            ]
        )
        assert "cycles.client.amount.committed" in receiver.metrics


STREAM: dict[str, Any] = {
    "subject": Subject(tenant="acme"),
    "action": Action(kind="llm.completion", name=requests.MODEL),
    "estimate": Amount(unit=Unit.USD_MICROCENTS, amount=50),
}


async def run_decorated(server: LocalCycles, *, asynchronous: bool) -> None:
    """A function with a budget, run to its end; its client is closed at the end of the test."""
    if asynchronous:
        client = AsyncCyclesClient(quick(server))

        @cycles(**WORK, client=client)
        async def work_async() -> str:
            return "done"

        await work_async()
    else:
        blocking = CyclesClient(quick(server))

        @cycles(**WORK, client=blocking)
        def work() -> str:
            return "done"

        await asyncio.to_thread(work)


def beats(witness: Witness) -> bool:
    """Whether a heartbeat was answered."""
    return any(span.name.startswith("extend") for span in witness.spans)


def until_blocking(condition: Any, seconds: float = 10.0) -> None:
    """Wait, without an event loop, until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.01)
