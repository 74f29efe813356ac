"""What is compared: the SDK bare, this package with and without telemetry, the Cycles peer, instrumentations alone.

Spans are made and sampled everywhere alike, and end in a processor that does nothing: no exporter is compared.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.scenario import Play, agent_of, plain

if TYPE_CHECKING:  # Each environment has what its variant needs.
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from runcycles import CyclesConfig

    from cycles_otel import Recorder

SetUp = Callable[[str], Play]
"""Given the address of a stub, one run."""


@dataclass(frozen=True)
class Variant:
    """Something to compare.

    Parameters
    ----------
    environment: the one below ``.venv-beside/`` that has it; None for the project's own.
    package: whose version tells which one it is.
    settle: waits for what the runs left to the background, which is work of theirs too.
    """

    set_up: SetUp
    environment: str | None = None
    package: str = "openai-agents"
    settle: Callable[[], None] = lambda: None


def _bare(_: str) -> Play:
    return plain(None)


def _settle() -> None:
    from cycles_otel.budget.connection import settle_what_is_pending

    settle_what_is_pending(60)


def _ours(*, spans: bool = False, metrics: bool = False, **settings: Any) -> SetUp:
    def set_up(url: str) -> Play:
        from cycles_otel import CyclesRunHooks

        return plain(CyclesRunHooks(config=config(url), recorder=recorder(spans=spans, metrics=metrics), **settings))

    return set_up


def recorder(*, spans: bool, metrics: bool) -> Recorder:
    """Telemetry of its own for each set of hooks."""
    from prometheus_client import CollectorRegistry

    from cycles_otel import Recorder

    way_out = "prometheus" if metrics else "none"
    provider = tracer_provider() if spans else None
    return Recorder(metrics=way_out, registry=CollectorRegistry(), tracer_provider=provider)


def _peer(url: str) -> Play:
    module: Any = importlib.import_module("runcycles_openai_agents")
    hooks = module.CyclesRunHooks(config=config(url), tenant="acme")
    return lambda: hooks.run(agent_of(), "What is budget authority?")


def _instrumented(module: str) -> SetUp:
    def set_up(_: str) -> Play:
        _trace()
        instrumentation: Any = importlib.import_module(module)
        instrumentation.OpenAIAgentsInstrumentor().instrument()
        return plain(None)

    return set_up


def _logfire(_: str) -> Play:
    logfire: Any = importlib.import_module("logfire")
    logfire.configure(send_to_logfire=False, console=False, additional_span_processors=[_no_op()])
    logfire.instrument_openai_agents()
    return plain(None)


def config(url: str) -> CyclesConfig:
    """The same for all: the journal is on, as it is by default, and no reply of a stub comes too late."""
    from runcycles import CyclesConfig

    # A config that is not of the environment has to be told where.
    journal = os.environ["CYCLES_JOURNAL_DIR"]
    return CyclesConfig(
        base_url=url, api_key="none", tenant="acme", connect_timeout=60, read_timeout=60, journal_dir=journal
    )


def _no_op() -> SpanProcessor:
    from opentelemetry.sdk.trace import SpanProcessor

    return SpanProcessor()


def tracer_provider() -> TracerProvider:
    """Every span is sampled, and goes nowhere."""
    from opentelemetry.sdk.trace import TracerProvider

    provider = TracerProvider()
    provider.add_span_processor(_no_op())
    return provider


def _trace() -> None:
    from opentelemetry import trace

    trace.set_tracer_provider(tracer_provider())


BARE, OURS, AT_ONCE, ALL_ON, PEER = "SDK bare", "cycles_otel", "cycles_otel, no wait", "… spans and metrics", "peer"
VARIANTS: dict[str, Variant] = {
    BARE: Variant(_bare),
    OURS: Variant(_ours(), settle=_settle),
    AT_ONCE: Variant(_ours(settle_timeout=0), settle=_settle),
    "… spans": Variant(_ours(spans=True, settle_timeout=0), settle=_settle),
    "… metrics": Variant(_ours(metrics=True, settle_timeout=0), settle=_settle),
    ALL_ON: Variant(_ours(spans=True, metrics=True, settle_timeout=0), settle=_settle),
    PEER: Variant(_peer, "runcycles", "runcycles-openai-agents"),
}
ALONE: dict[str, Variant] = {
    "openinference": Variant(
        _instrumented("openinference.instrumentation.openai_agents"),
        "openinference",
        "openinference-instrumentation-openai-agents",
    ),
    "traceloop": Variant(
        _instrumented("opentelemetry.instrumentation.openai_agents"),
        "traceloop",
        "opentelemetry-instrumentation-openai-agents",
    ),
    "v2": Variant(
        _instrumented("opentelemetry.instrumentation.openai_agents"),
        "v2",
        "opentelemetry-instrumentation-openai-agents-v2",
    ),
    "logfire": Variant(_logfire, "logfire", "logfire"),
}
"""Instrumentations of the SDK without any budget."""
