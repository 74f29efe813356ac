"""Traces as trees, as a tracing tool would draw them; ids are shortened."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from opentelemetry.sdk.trace import ReadableSpan
from rich.text import Text
from rich.tree import Tree

from cycles_otel.cli.demo.amounts import POINTS, amount
from cycles_otel.telemetry import semconv

_ID_LENGTH = 8


def shortest_run_with_heartbeat(spans: Iterable[ReadableSpan]) -> list[ReadableSpan]:
    """The spans of the shortest run that was completed, with a handoff and a heartbeat in it if there is one."""
    completed = _traces(spans, lambda trace: _says(trace, semconv.RUN_OUTCOME, "completed"))
    wanted = ("extend", "event")
    rich = [trace for trace in completed if all(_says(trace, semconv.OPERATION_NAME, each) for each in wanted)]
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
    drawn = Tree(_line(root, "").append(f"  trace {root.context.trace_id:032x}"[: 8 + _ID_LENGTH] + "…", style="dim"))
    _grow(drawn, root, children)
    return drawn


def _grow(branch: Tree, parent: ReadableSpan, children: dict[int | None, list[ReadableSpan]]) -> None:
    for span in children[parent.context.span_id]:
        _grow(branch.add(_line(span, _unit(span, parent))), span, children)


def _unit(span: ReadableSpan, parent: ReadableSpan) -> str:
    """A commit is in the unit of its reservation; an event that no reservation was made for charges risk points."""
    return str(_said(span, semconv.UNIT) or _said(parent, semconv.UNIT) or POINTS)


def _line(span: ReadableSpan, unit: str) -> Text:
    line = Text(span.name, style="red" if _denied(span) else "bold" if span.parent is None else "")
    line.append(f"  {_milliseconds(span):.0f} ms", style="cyan")
    line.append("  " + ", ".join(str(fact) for fact in _facts(span, unit) if fact), style="dim")
    for event in span.events:
        line.append(f"  ⚡{event.name}", style="red")
    return line


def _facts(span: ReadableSpan, unit: str) -> list[object]:
    """The few attributes that say most, by the kind of span."""
    said = span.attributes or {}
    estimated, actual = (
        amount(int(str(said[key])), unit) if key in said else None
        for key in (semconv.AMOUNT_ESTIMATED, semconv.AMOUNT_ACTUAL)
    )
    decision, reason = said.get(semconv.DECISION), said.get(semconv.REASON_CODE)
    match said.get(semconv.OPERATION_NAME):
        case "reserve" | "decide":
            return [decision, reason, f"it would have cost {estimated}" if _denied(span) else f"{estimated} asked for"]
        case "extend":
            return [f"heartbeat {said.get(semconv.HEARTBEAT_SEQUENCE)}"]
        case "event":
            return [said.get(semconv.ACTION_NAME), actual]
        case "commit":
            return [actual]
    if span.parent is None:
        return [said.get(semconv.RUN_OUTCOME)]
    return [said.get(semconv.AGENT_NAME), said.get(semconv.ACTION_NAME), said.get(semconv.RESERVATION_OUTCOME), actual]


def _milliseconds(span: ReadableSpan) -> float:
    return ((span.end_time or 0) - (span.start_time or 0)) / 1e6


def _denied(span: ReadableSpan) -> bool:
    return _said(span, semconv.DECISION) == semconv.DENY or _said(span, semconv.RESERVATION_OUTCOME) == semconv.DENIED


def _said(span: ReadableSpan, key: str) -> object:
    return (span.attributes or {}).get(key)


def _says(trace: Iterable[ReadableSpan], key: str, value: str) -> bool:
    return any(_said(span, key) == value for span in trace)


def _traces(spans: Iterable[ReadableSpan], wanted: Callable[[list[ReadableSpan]], bool]) -> list[list[ReadableSpan]]:
    """The traces with exactly one root, the spans of which are all there."""
    traces: dict[int, list[ReadableSpan]] = defaultdict(list)
    for span in spans:
        traces[span.context.trace_id].append(span)
    return [trace for trace in traces.values() if sum(span.parent is None for span in trace) == 1 and wanted(trace)]
