"""``/metrics``, on a port of its own, inside of a web application, or from a registry of the program's own."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import urllib.request
from collections.abc import Iterable, Iterator
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.metrics_core import Metric

from cycles_otel import Recorder, metrics_asgi_app, metrics_wsgi_app, setup_telemetry
from cycles_otel.telemetry import TelemetryObserver, TelemetrySetupError, semconv
from cycles_otel.telemetry.pages import AsgiApp, WsgiApp

OPEN_METRICS = "application/openmetrics-text"
RUNS = semconv.RUNS.prometheus_name


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    tracers = TracerProvider(shutdown_on_exit=False)
    recorder = Recorder(registry=CollectorRegistry(), tracer_provider=tracers)
    TelemetryObserver(recorder).run("run-1", "agent").ended("completed", {}, leaked=0)
    yield recorder
    setup_telemetry(recorder=recorder, prometheus_port=None).shutdown()


def page_in(kind: str, recorder: Recorder) -> AsgiApp | WsgiApp:
    return metrics_asgi_app(recorder) if kind == "asgi" else metrics_wsgi_app(recorder)


async def ask(
    kind: str, app: AsgiApp | WsgiApp, path: str = "/", method: str = "GET", **headers: str
) -> httpx.Response:
    served: Any = app
    if kind == "wsgi":
        return await asyncio.to_thread(ask_wsgi, served, path, method, headers)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(served), base_url="http://shop") as client:
        return await client.request(method, path, headers=headers)


def ask_wsgi(app: Any, path: str, method: str, headers: dict[str, str]) -> httpx.Response:
    with httpx.Client(transport=httpx.WSGITransport(app), base_url="http://shop") as client:
        return client.request(method, path, headers=headers)


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
class TestApplication:
    @pytest.mark.parametrize(
        ("accepted", "type_", "end"),
        [
            (f"{OPEN_METRICS};version=1.0.0,text/plain;q=0.5", OPEN_METRICS, "# EOF\n"),
            ("text/plain;version=0.0.4", "text/plain", ""),
            ("*/*", "text/plain", ""),
        ],
    )
    async def test_the_format_is_what_the_scraper_asks_for(
        self, recorder: Recorder, kind: str, accepted: str, type_: str, end: str
    ) -> None:
        reply = await ask(kind, page_in(kind, recorder), Accept=accepted)
        assert reply.headers["Content-Type"].startswith(type_)
        assert RUNS in reply.text
        assert reply.text.endswith(end)
        assert ("# EOF" in reply.text) == bool(end)

    @pytest.mark.parametrize(("accepted", "is_small"), [("gzip", True), ("identity", False)])
    async def test_it_is_compressed_where_the_scraper_can_read_that(
        self, recorder: Recorder, kind: str, accepted: str, is_small: bool
    ) -> None:
        reply = await ask(kind, page_in(kind, recorder), **{"Accept-Encoding": accepted})
        assert (reply.headers.get("Content-Encoding") == "gzip") == is_small
        assert RUNS in reply.text

    async def test_a_scraper_may_ask_for_some_metrics_alone(self, recorder: Recorder, kind: str) -> None:
        TelemetryObserver(recorder).backlog(1, None)
        reply = await ask(kind, page_in(kind, recorder), f"/?name[]={semconv.BACKLOG.prometheus_name}")
        assert semconv.BACKLOG.prometheus_name in reply.text
        assert RUNS not in reply.text

    async def test_it_can_only_be_read(self, recorder: Recorder, kind: str) -> None:
        assert (await ask(kind, page_in(kind, recorder), method="POST")).status_code == 405

    async def test_a_registry_that_is_chosen_later_is_shown(self, kind: str) -> None:
        recorder, registry = Recorder(), CollectorRegistry()
        app = page_in(kind, recorder)
        setup_telemetry(recorder=recorder, prometheus_port=None, registry=registry)
        TelemetryObserver(recorder).run("run-1", "agent").ended("completed", {}, leaked=0)
        assert RUNS in (await ask(kind, app)).text
        setup_telemetry(recorder=recorder, prometheus_port=None).shutdown()


class TestAsgi:
    async def test_a_scrape_never_holds_up_the_event_loop(self, recorder: Recorder) -> None:
        threads: list[threading.Thread] = []

        class Noting:
            def collect(self) -> Iterable[Metric]:
                threads.append(threading.current_thread())
                return ()

        assert recorder.registry is not None
        recorder.registry.register(Noting())
        threads.clear()
        await ask("asgi", metrics_asgi_app(recorder))
        assert threads
        assert threading.current_thread() not in threads

    async def test_what_is_no_request_is_left_to_the_server(self, recorder: Recorder) -> None:
        async def nothing(*_: object) -> None:
            return None

        with pytest.raises(RuntimeError, match="lifespan"):
            await metrics_asgi_app(recorder)({"type": "lifespan"}, nothing, nothing)


class TestPort:
    def test_a_port_that_is_taken_is_left_for_the_next_free_one_where_that_is_asked_for(
        self, recorder: Recorder
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            telemetry = setup_telemetry(recorder=recorder, prometheus_port=port, next_free_port=True)
            served = int(str(telemetry.metrics_url).split(":")[2].removesuffix("/metrics"))
            assert port < served <= port + 100
            again = setup_telemetry(recorder=recorder, prometheus_port=port, next_free_port=True)
            assert again.metrics_url == telemetry.metrics_url

    def test_the_page_of_a_port_is_compressed_too(self, recorder: Recorder) -> None:
        telemetry = setup_telemetry(recorder=recorder, prometheus_port=0)
        assert telemetry.metrics_url is not None
        request = urllib.request.Request(telemetry.metrics_url, headers={"Accept-Encoding": "gzip"})
        with urllib.request.urlopen(request) as reply:
            assert RUNS in gzip.decompress(reply.read()).decode()


class TestRegistry:
    def test_metrics_are_made_in_the_registry_that_is_given(self) -> None:
        recorder, registry = Recorder(), CollectorRegistry()
        Counter("sold", "The program's own.", registry=registry).inc()
        telemetry = setup_telemetry(recorder=recorder, prometheus_port=0, registry=registry)
        TelemetryObserver(recorder).run("run-1", "agent").ended("completed", {}, leaked=0)
        with urllib.request.urlopen(str(telemetry.metrics_url)) as reply:
            text = reply.read().decode()
        assert "sold_total 1.0" in text
        assert RUNS in text
        telemetry.shutdown()

    def test_another_one_than_that_which_is_served_is_an_error(self, recorder: Recorder) -> None:
        setup_telemetry(recorder=recorder, prometheus_port=0)
        with pytest.raises(TelemetrySetupError, match="registry="):
            setup_telemetry(recorder=recorder, prometheus_port=0, registry=CollectorRegistry())
