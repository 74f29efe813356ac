"""The same property where several processes share one page, by the multiprocess mode of ``prometheus_client``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from tests.chaos.programs import played
from tests.chaos.schedule import Schedule
from tests.telemetry.otlp import Receiver
from tests.telemetry.readings import Readings, of_text
from tests.telemetry.told import of_otlp

_collect_from: Callable[..., object] = MultiProcessCollector
_mark_dead: Callable[..., None] = mark_process_dead


@pytest.mark.parametrize("seed", [2, 36])
def test_the_page_of_several_processes_equals_the_ledger_while_they_live_and_when_they_are_gone(
    seed: int, tmp_path: Path
) -> None:
    folder = tmp_path / "metrics"
    folder.mkdir()
    with Receiver() as receiver:
        environment = {"PROMETHEUS_MULTIPROC_DIR": str(folder), "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
        with played(Schedule.of(seed), tmp_path, programs=2, environment=environment) as play:
            page = {"while they live": _page(folder)}
            for pid in play.stop():
                _mark_dead(pid, str(folder))
            page["when they are gone"] = _page(folder)
            spans = of_otlp(receiver.span_requests)
            violations = play.accounts(spans, page).violations()
    assert len(spans) == play.spans
    assert not violations, "\n".join(violations)


def _page(folder: Path) -> Readings:
    registry = CollectorRegistry()
    _collect_from(registry, str(folder))
    return of_text(registry)
