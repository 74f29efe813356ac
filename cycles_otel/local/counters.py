"""The counters that the server shows about itself at `/actuator/prometheus`."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from cycles_otel.local.errors import ProtocolError


class Counters:
    """Counts operations by name and labels."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()

    def add(self, name: str, labels: Mapping[str, str]) -> None:
        """Count one more of `name` with `labels`."""
        with self._lock:
            self._counts[name, tuple(sorted(labels.items()))] += 1

    @contextmanager
    def outcome(self, name: str, labels: Mapping[str, str]) -> Iterator[Callable[[str, str], None]]:
        """Count one operation by the decision and reason that the block tells, or as a DENY by the error it raises."""

        def tell(decision: str, reason: str) -> None:
            self.add(name, {**labels, "decision": decision, "reason": reason})

        try:
            yield tell
        except ProtocolError as error:
            tell("DENY", error.code)
            raise

    def exposition(self) -> str:
        """All counts in the text format that Prometheus reads."""
        with self._lock:
            counts = sorted(self._counts.items())
        lines: list[str] = []
        for (name, labels), count in counts:
            heading = f"# TYPE cycles_{name}_total counter"
            if heading not in lines:
                lines.append(heading)
            text = ",".join(f'{label}="{value}"' for label, value in labels)
            lines.append(f"cycles_{name}_total{{{text}}} {count}" if text else f"cycles_{name}_total {count}")
        return "\n".join(lines) + "\n"
