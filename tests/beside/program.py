"""Plays the scenarios beside one instrumentation of the Agents SDK, and prints the tree of spans of each.

``python -m tests.beside.program openinference``: one process for each, since they take each other's place.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Callable
from typing import Any

import agents
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cycles_otel import Recorder
from tests.telemetry.scenarios import SCENARIOS, play
from tests.telemetry.span_tree import tree


def by_instrumentor(module: str) -> Callable[[InMemorySpanExporter], None]:
    """Set an instrumentation up as its documentation says."""

    def set_up(exporter: InMemorySpanExporter) -> None:
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        trace.set_tracer_provider(provider)
        importlib.import_module(module).OpenAIAgentsInstrumentor().instrument()

    return set_up


def by_logfire(exporter: InMemorySpanExporter) -> None:
    """Set logfire up, which brings a tracer provider of its own."""
    logfire: Any = importlib.import_module("logfire")
    processors = [SimpleSpanProcessor(exporter)]
    logfire.configure(send_to_logfire=False, console=False, additional_span_processors=processors)
    logfire.instrument_openai_agents()


SET_UP = {
    "openinference": by_instrumentor("openinference.instrumentation.openai_agents"),
    "traceloop": by_instrumentor("opentelemetry.instrumentation.openai_agents"),
    "v2": by_instrumentor("opentelemetry.instrumentation.openai_agents"),
    "logfire": by_logfire,
}


def trees(instrumentation: str) -> str:
    """The tree of each scenario below its name; scenarios with the same tree stand together."""
    exporter = InMemorySpanExporter()
    agents.set_trace_processors([])
    SET_UP[instrumentation](exporter)
    recorder, named = Recorder(metrics="none"), dict[str, list[str]]()
    for scenario in SCENARIOS:
        asyncio.run(play(scenario, recorder, trace.get_tracer("program")))
        named.setdefault(tree(exporter.get_finished_spans()), []).append(scenario.__name__)
        exporter.clear()
    return "\n\n".join(f"== {', '.join(names)}\n{found}" for found, names in named.items())


if __name__ == "__main__":
    print(trees(sys.argv[1]))
