"""Each file of ``collector-config/`` by itself and with its layers: valid, and run."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from cycles_otel.local import LocalCycles
from tests.stack.collectors import BackEnd, Configured, config_options
from tests.stack.servers import Prometheus, eventually, programs
from tests.stack.travelling import BUDGETS, Travelling, Workload, arrivals
from tests.telemetry.readings import of_registry

LAYERS = (
    ("agent.yaml",),
    ("gateway.yaml",),
    ("all-in-one.yaml",),
    ("gateway.yaml", "remote-write.yaml"),
    ("gateway.yaml", "traces-http.yaml"),
    ("gateway.yaml", "traces-http.yaml", "remote-write.yaml"),
    ("all-in-one.yaml", "remote-write.yaml"),
    ("all-in-one.yaml", "traces-otlp.yaml"),
    ("all-in-one.yaml", "traces-otlp.yaml", "remote-write.yaml"),
)


@pytest.mark.parametrize("files", LAYERS, ids=" ".join)
def test_the_collector_finds_the_files_valid(files: tuple[str, ...], tmp_path: Path) -> None:
    command = [str(programs() / "otelcol"), "validate", *config_options(*files)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


class RemoteWritten(Prometheus):
    """A Prometheus that is written to."""

    def command(self) -> list[str]:
        return [*super().command(), "--web.enable-remote-write-receiver"]


def play(collector: Configured) -> Travelling:
    """A run that works and one that is denied, sent to a collector."""
    travelling = Travelling(collector.otlp_url)
    with LocalCycles(budgets=BUDGETS) as server:
        workload = Workload(server, travelling.witness)
        asyncio.run(workload.ordinary(1))
        asyncio.run(workload.denied(1))
    travelling.send()
    travelling.witness.close()
    return travelling


class TestAllInOne:
    def test_by_itself_it_shows_metrics_and_says_how_many_spans_it_keeps(self, tmp_path: Path) -> None:
        with Configured(tmp_path, "all-in-one.yaml") as collector:
            sent = play(collector).sent
            kept = "exporter_sent_spans"
            assert eventually(lambda: collector.says(kept, exporter="debug"), lambda said: said == len(sent)) == len(
                sent
            )
            assert "cycles_client_decisions_total{" in eventually(collector.page, lambda page: "cycles_" in page)

    def test_with_its_layers_spans_go_to_a_back_end_and_metrics_are_written_to_prometheus(self, tmp_path: Path) -> None:
        with RemoteWritten(tmp_path / "prometheus") as prometheus, BackEnd(tmp_path / "back_end") as back_end:
            variables = {
                "COLLECTOR_REMOTE_WRITE_ENDPOINT": f"{prometheus.url()}/api/v1/write",
                "COLLECTOR_TRACES_ENDPOINT": back_end.grpc,
            }
            layers = ("all-in-one.yaml", "traces-otlp.yaml", "remote-write.yaml")
            with Configured(tmp_path / "collector", *layers, **variables) as collector:
                travelling = play(collector)
                sent = travelling.sent
                assert {each.span_id for each in arrivals(back_end, sent)} == {each.span_id for each in sent}
                series = of_registry(travelling.witness.registry).series()
                assert eventually(lambda: prometheus.readings("").series(), lambda said: said == series) == series
