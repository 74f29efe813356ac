"""Collectors that run the files of ``collector-config/``, and the back end that they send traces to."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.stack.servers import READY_WITHIN, Collector, Server, eventually, programs

CONFIGURATIONS = Path(__file__).parents[2] / "collector-config"


def config_options(*files: str) -> list[str]:
    """The options that lay these files over each other."""
    return [f"--config={CONFIGURATIONS / file}" for file in files]


class Restarted(Server):
    """A program that a test kills, and starts again with what it has left on disk."""

    def kill(self) -> None:
        """End it as a crash does: it gets no chance to finish anything."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def start_again(self) -> None:
        """Start it once more on the same ports."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self.command(), cwd=self.folder, stdout=log, stderr=log)
        assert eventually(self._is_ready, bool, READY_WITHIN), f"{self.name} is not ready again:\n{self.log}"


class Configured(Restarted):
    """A collector that runs files of ``collector-config/`` with these variables, its queue in its folder."""

    name, ready = "otelcol", "/"

    def __init__(self, folder: Path, *files: str, **variables: str) -> None:
        super().__init__(folder, ports=5)
        self._files = files
        self._variables = variables

    def command(self) -> list[str]:
        health, http, grpc, page, telemetry = self.ports
        variables = {
            "COLLECTOR_HEALTH_ENDPOINT": f"127.0.0.1:{health}",
            "COLLECTOR_OTLP_HTTP_ENDPOINT": f"127.0.0.1:{http}",
            "COLLECTOR_OTLP_GRPC_ENDPOINT": f"127.0.0.1:{grpc}",
            "COLLECTOR_METRICS_ENDPOINT": f"127.0.0.1:{page}",
            "COLLECTOR_TELEMETRY_HOST": "127.0.0.1",
            "COLLECTOR_TELEMETRY_PORT": str(telemetry),
            "COLLECTOR_QUEUE_DIRECTORY": str(self.queue),
            **self._variables,
        }
        assignments = [f"{name}={value}" for name, value in variables.items()]
        return ["env", *assignments, str(programs() / "otelcol"), *config_options(*self._files)]

    @property
    def queue(self) -> Path:
        """Where it keeps what it has not sent yet."""
        return self.folder / "queue"

    @property
    def otlp_url(self) -> str:
        """The base address for OTLP over HTTP."""
        return self.url(1)

    @property
    def grpc(self) -> str:
        """The address for OTLP over gRPC."""
        return f"127.0.0.1:{self.ports[2]}"

    def page(self) -> str:
        """The metrics that came by OTLP, in the format of OpenMetrics."""
        accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
        return httpx.get(f"{self.url(3)}/metrics", headers=accept).text

    def says(self, name: str, **labels: str) -> float:
        """The sum over a metric of the collector's own, of the series with these labels; 0 where it has none yet."""
        families = text_string_to_metric_families(httpx.get(f"{self.url(4)}/metrics").text)
        samples = (sample for family in families for sample in family.samples)
        named = (sample for sample in samples if sample.name.removesuffix("_total") == f"otelcol_{name}")
        return sum(sample.value for sample in named if labels.items() <= sample.labels.items())


class BackEnd(Collector, Restarted):
    """Stands for Tempo: takes spans by OTLP over gRPC, and writes them to a file."""

    def command(self) -> list[str]:
        configuration = {
            "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": self.grpc}}}},
            "exporters": {
                "file": {"path": "spans.bin", "format": "proto", "flush_interval": "50ms", "append": True},
            },
            "extensions": {"health_check": {"endpoint": f"127.0.0.1:{self.ports[0]}"}},
            "service": {
                "extensions": ["health_check"],
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["file"]}},
            },
        }
        (self.folder / "collector.json").write_text(json.dumps(configuration))
        return [str(programs() / "otelcol"), "--config", "collector.json"]

    @property
    def grpc(self) -> str:
        """The address for OTLP over gRPC."""
        return f"127.0.0.1:{self.ports[1]}"

    @property
    def content(self) -> bytes:
        """All that it ever got."""
        return (self.folder / "spans.bin").read_bytes()
