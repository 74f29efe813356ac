"""Traces as trees, as a tracing tool would draw them; ids are shortened."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from opentelemetry.sdk.trace import ReadableSpan
from rich.text import Text
from rich.tree import Tree

from cycles_otel.cli.demo.amounts import amount
from cycles_otel.telemetry import semconv

_ID_LENGTH = 8
_DETAILS = (
    semconv.AGENT_NAME,
    semconv.ACTION_NAME,
    semconv.DECISION,
    semconv.REASON_CODE,
    semconv.RESERVATION_OUTCOME,
    semconv.RUN_OUTCOME,
)
_AMOUNTS = {
    semconv.AMOUNT_ESTIMATED: "estimated",
    semconv.AMOUNT_ACTUAL: "actual",
    semconv.AMOUNT_CHARGED: "charged",
}


def shortest_run_with_heartbeat(spans: Iterable[ReadableSpan]) -> list[ReadableSpan]:
    """The spans of the shortest run that was completed, with a handoff and a heartbeat in it if there is one."""
    completed = _traces(spans, lambda trace: _says(trace, semconv.RUN_OUTCOME, "completed"))
    rich = [trace for trace in completed if {"extend", "event"} <= {_operation(span) for span in trace}]
    return min(rich or completed, key=len, default=[])


def shortest_denied_run(spans: Iterable[ReadableSpan]) -> list[ReadableSpan]:
    """The spans of the shortest run of which a step was denied."""
    denied = _traces(spans, lambda trace: _says(trace, semconv.RESERVATION_OUTCOME, semconv.DENIED))
    return min(denied, key=len, default=[])


def tree(trace: Sequence[ReadableSpan]) -> Tree:
    """The spans of one trace, below their parents, in the order in which they began."""
    children: dict[int | None, list[ReadableSpan]] = defaultdict(list)
    for span in sorted(trace, key=lambda span: span.start_time or 0):
        children[span.parent.span_id if span.parent else None].append(span)
    (root,) = children[None]
    drawn = Tree(_line(root).append(f"  trace {root.context.trace_id:032x}"[: 8 + _ID_LENGTH] + "…", style="dim"))
    _grow(drawn, root, children)
    return drawn


def _grow(branch: Tree, parent: ReadableSpan, children: dict[int | None, list[ReadableSpan]]) -> None:
    for span in children[parent.context.span_id]:
        _grow(branch.add(_line(span)), span, children)


def _line(span: ReadableSpan) -> Text:
    line = Text(span.name, style="red" if _denied(span) else "bold" if span.parent is None else "")
    line.append(f"  {_milliseconds(span):.0f} ms", style="cyan")
    line.append("  " + ", ".join(_details(span)), style="dim")
    for event in span.events:
        line.append(f"  ⚡{event.name}", style="red")
    return line


def _details(span: ReadableSpan) -> list[str]:
    said = span.attributes or {}
    name = span.name
    details = [str(said[key]) for key in _DETAILS if key in said and str(said[key]) not in name]
    unit = str(said.get(semconv.UNIT, ""))
    return details + [f"{word} {amount(int(str(said[key])), unit)}" for key, word in _AMOUNTS.items() if key in said]


def _milliseconds(span: ReadableSpan) -> float:
    return ((span.end_time or 0) - (span.start_time or 0)) / 1e6


def _denied(span: ReadableSpan) -> bool:
    said = span.attributes or {}
    return said.get(semconv.DECISION) == semconv.DENY or said.get(semconv.RESERVATION_OUTCOME) == semconv.DENIED


def _operation(span: ReadableSpan) -> object:
    return (span.attributes or {}).get(semconv.OPERATION_NAME)


def _says(trace: Iterable[ReadableSpan], key: str, value: str) -> bool:
    return any((span.attributes or {}).get(key) == value for span in trace)


def _traces(spans: Iterable[ReadableSpan], wanted: Callable[[list[ReadableSpan]], bool]) -> list[list[ReadableSpan]]:
    """The traces with exactly one root, the spans of which are all there."""
    traces: dict[int, list[ReadableSpan]] = defaultdict(list)
    for span in spans:
        traces[span.context.trace_id].append(span)
    return [trace for trace in traces.values() if sum(span.parent is None for span in trace) == 1 and wanted(trace)]
