"""Real programs that take telemetry, as a test starts and stops them: a Prometheus and an OpenTelemetry Collector.

They listen on loopback alone, on ports that were free, and keep everything in a folder of the test.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.telemetry.readings import Example, Reading, Readings, plain

READY_WITHIN = 30.0
TARGET_LABELS = {"job", "instance", "route"}
_TAKEN = "address already in use"

Got = TypeVar("Got")


def programs() -> Path:
    """The folder that ``make stack`` has filled."""
    folder = os.environ.get("STACK")
    assert folder, "these tests need a real Prometheus and a real collector: make test-stack"
    return Path(folder)


def eventually(ask: Callable[[], Got], is_right: Callable[[Got], bool], seconds: float = 20.0) -> Got:
    """The first right answer; the last answer where none comes in time, for an assertion that shows it."""
    deadline = time.monotonic() + seconds
    while not is_right(answer := ask()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return answer


class Server:
    """A program that serves HTTP while it is entered; what it logs is in the message of a failure.

    Parameters
    ----------
    folder: for its configuration, its data and its log.
    ports: how many it listens on; others are tried where one of them was taken meanwhile.
    """

    name: str
    ready: str

    def __init__(self, folder: Path, ports: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._count = ports
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """What is started, after its configuration is written."""
        raise NotImplementedError

    def __enter__(self) -> Any:
        while not self._start():
            pass
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def url(self, number: int = 0) -> str:
        """The address of one of its ports."""
        return f"http://127.0.0.1:{self.ports[number]}"

    def _start(self) -> bool:
        """Start it and wait until it is ready; False where another program was faster to take a port."""
        self.ports = _free_ports(self._count)
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(self.command(), cwd=self.folder, stdout=log, stderr=log)
        if eventually(self._is_ready, bool, READY_WITHIN):
            return True
        self.__exit__()
        assert _TAKEN in self.log, f"{self.name} is not ready:\n{self.log}"
        return False

    def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            assert _TAKEN in self.log, f"{self.name} has ended:\n{self.log}"
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(self.url() + self.ready).status_code == 200
        return False


class Prometheus(Server):
    """Takes OTLP, scrapes what it is told to, and evaluates rules.

    Parameters
    ----------
    rules: files with recording and alerting rules.
    interval: seconds from one scrape of a page to the next.
    """

    name, ready = "prometheus", "/-/ready"

    def __init__(self, folder: Path, rules: Sequence[Path] = (), interval: float = 0.25) -> None:
        super().__init__(folder, ports=1)
        self._interval = f"{round(interval * 1000)}ms"
        self._rules = [str(path) for path in rules]
        self._jobs: list[dict[str, Any]] = []

    def command(self) -> list[str]:
        self._configure()
        return [
            str(programs() / "prometheus"),
            "--config.file=prometheus.yaml",
            f"--web.listen-address=127.0.0.1:{self.ports[0]}",
            "--web.enable-lifecycle",
            "--web.enable-otlp-receiver",
            "--enable-feature=exemplar-storage",
            "--storage.tsdb.path=data",
            "--log.level=warn",
        ]

    @property
    def otlp_url(self) -> str:
        """Where metrics are sent by OTLP."""
        return f"{self.url()}/api/v1/otlp/v1/metrics"

    def scrape(self, route: str, url: str, *, honor_labels: bool = False) -> None:
        """Scrape the page at ``url`` from now on; its series have the label ``route``."""
        page = httpx.URL(url)
        target = {"targets": [page.netloc.decode()], "labels": {"route": route}}
        job = {"job_name": route, "metrics_path": page.path, "honor_labels": honor_labels}
        self._jobs.append({**job, "static_configs": [target]})
        self._configure()
        httpx.post(f"{self.url()}/-/reload").raise_for_status()

    def readings(self, route: str) -> Readings:
        """The last values of the series with this ``route``; "" for what came by OTLP."""
        return Readings(
            Reading(labels.pop("__name__"), _untargeted(labels), float(each["value"][1]))
            for each in self._ask("query", query=f'{{__name__=~"cycles_.+", route="{route}"}}')["result"]
            if (labels := dict(each["metric"]))
        )

    def value(self, expression: str) -> float | None:
        """The only value of an expression; None where it has none."""
        results = self._ask("query", query=expression)["result"]
        return float(results[0]["value"][1]) if results else None

    def names(self, expression: str) -> set[str]:
        """Of which alerts an expression has series."""
        return {each["metric"]["alertname"] for each in self._ask("query", query=expression)["result"]}

    def examples(self, route: str) -> dict[str, set[Example]]:
        """The exemplars by the names of their series."""
        found: dict[str, set[Example]] = {}
        query = f'{{__name__=~"cycles_.+", route="{route}"}}'
        for each in self._ask("query_exemplars", query=query, start="0", end=str(time.time() + 60)):
            named = {Example(one["labels"]["trace_id"], one["labels"]["span_id"]) for one in each["exemplars"]}
            found.setdefault(each["seriesLabels"]["__name__"], set()).update(named)
        return found

    def _ask(self, what: str, **parameters: str) -> Any:
        reply = httpx.get(f"{self.url()}/api/v1/{what}", params=parameters)
        assert reply.status_code == 200, f"{reply.text}\n{self.log}"
        return reply.json()["data"]

    def _configure(self) -> None:
        configuration = {
            "global": {"scrape_interval": self._interval},
            "rule_files": self._rules,
            "scrape_configs": self._jobs,
        }
        (self.folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration))


class Collector(Server):
    """Takes OTLP over HTTP, shows metrics on a page, and writes spans to a file."""

    name, ready = "otelcol", "/"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, ports=3)

    def command(self) -> list[str]:
        health, otlp, page = (f"127.0.0.1:{port}" for port in self.ports)
        metrics = {
            "endpoint": page,
            "enable_open_metrics": True,
            # Neither of the other routes has the labels of the scope.
            "without_scope_info": True,
        }
        configuration = {
            "receivers": {"otlp": {"protocols": {"http": {"endpoint": otlp}}}},
            "exporters": {
                "prometheus": metrics,
                "file": {"path": "spans.bin", "format": "proto", "flush_interval": "50ms"},
            },
            "extensions": {"health_check": {"endpoint": health}},
            "service": {
                "extensions": ["health_check"],
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {
                    "metrics": {"receivers": ["otlp"], "exporters": ["prometheus"]},
                    "traces": {"receivers": ["otlp"], "exporters": ["file"]},
                },
            },
        }
        (self.folder / "collector.json").write_text(json.dumps(configuration))
        return [str(programs() / "otelcol"), "--config", "collector.json"]

    @property
    def otlp_url(self) -> str:
        """The base address for OTLP."""
        return self.url(1)

    @property
    def page_url(self) -> str:
        """The page that shows the metrics which came by OTLP."""
        return f"{self.url(2)}/metrics"

    def span_requests(self) -> list[ExportTraceServiceRequest]:
        """The spans in the file: messages, each behind its length in four bytes."""
        content, found = (self.folder / "spans.bin").read_bytes(), []
        while len(content) >= 4 and len(content) >= (end := 4 + int.from_bytes(content[:4], "big")):
            found.append(ExportTraceServiceRequest.FromString(content[4:end]))
            content = content[end:]
        return found


def _untargeted(labels: Mapping[str, str]) -> Mapping[str, str]:
    """The labels that the metric itself has, not its target."""
    return plain({key: value for key, value in labels.items() if key not in TARGET_LABELS})


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as bound:
        sockets = [bound.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]
