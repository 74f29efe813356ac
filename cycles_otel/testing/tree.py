"""Spans as a tree of text, one line each."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from opentelemetry.sdk.trace import ReadableSpan

Line = Callable[[ReadableSpan], str]
Branch = list[str]
Ordered = Callable[[list[Branch]], list[Branch]]


def drawn(spans: Iterable[ReadableSpan], line: Line, ordered: Ordered = list) -> str:
    """Each span below its parent; a span whose parent is not among them is a root.

    Parameters
    ----------
    line: what is written of a span.
    ordered: puts siblings, each the lines of a branch, into another order than that of ``spans``.
    """
    spans = list(spans)
    known = {span_id(span) for span in spans}
    below: dict[int | None, list[ReadableSpan]] = {}
    for span in spans:
        parent = parent_id(span)
        below.setdefault(parent if parent in known else None, []).append(span)

    def branches(parent: int | None) -> Branch:
        grown = [[line(span), *("  " + each for each in branches(span_id(span)))] for span in below.get(parent, ())]
        return [each for branch in ordered(grown) for each in branch]

    return "\n".join(branches(None))


def parent_id(span: ReadableSpan) -> int | None:
    """The id of the span that this one is below, if there is one."""
    return span.parent.span_id if span.parent is not None else None


def span_id(span: ReadableSpan) -> int:
    """The id of the span."""
    context = span.get_span_context()
    assert context is not None
    return context.span_id
