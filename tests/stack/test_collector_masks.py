"""What other instrumentations say of a conversation, and keys wherever they stand, leave neither agent nor gateway."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Status, StatusCode

from tests.stack.collectors import Configured
from tests.stack.servers import eventually
from tests.stack.travelling import Line, arrived, line_of

PROMPT = "marked-prompt-51c7"
SECRET = "51c7Marked51c7Marked51c7Marked"
KEYS = (
    f"sk-proj-{SECRET}",
    f"cyc_live_{SECRET}",
    f"Authorization: Bearer {SECRET}",
    f"basic {SECRET}=",
    f"eyJhbGciOi.{SECRET}.{SECRET}",
    f"ghp_{SECRET}",
    f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----",
    f"https://user:{SECRET}@example.org/",
)
CONVERSATIONS = (
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.system_instructions",
    "gen_ai.prompt",
    "gen_ai.prompt.0.content",
    "gen_ai.completion.0.content",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "gen_ai.tool.definitions",
    "llm.prompts",
    "llm.input_messages.0.message.content",
    "input.value",
    "output.value",
    "traceloop.entity.input",
    "langfuse.observation.output",
    "all_messages_events",
)
SETTINGS = ("http.request.header.authorization", "http.request.header.x-cycles-api-key", "password")
HARMLESS = {
    "gen_ai.usage.input_tokens": 7,
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.output.type": "text",
    "llm.token_count.prompt": 7,
    "note": "task-list-of-the-basic-plan for the risk-assessment-of-everything",
}


def planted() -> dict[str, object]:
    """Attributes that say what they must not."""
    spoken = dict.fromkeys(CONVERSATIONS, f"{PROMPT}\n{PROMPT}")
    keys = {f"note.{number}": f"see {key} there" for number, key in enumerate(KEYS)}
    return {**spoken, **dict.fromkeys(SETTINGS, SECRET), **keys, "notes": list(KEYS), "gen_ai.messages": [PROMPT]}


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    with line_of(tmp_path_factory.mktemp("line"), COLLECTOR_SPAN_METRICS_INTERVAL="200ms") as line:
        resource = Resource.create({"service.name": "foreign", **planted()})  # type: ignore[dict-item]
        emit_span(line.agent, resource)
        emit_metric(line.agent, resource)
        yield line


def emit_span(agent: Configured, resource: Resource) -> None:
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{agent.otlp_url}/v1/traces")))
    tracer = provider.get_tracer("foreign", attributes=planted())  # type: ignore[arg-type]
    with tracer.start_as_current_span(f"chat {KEYS[0]}", attributes={**planted(), **HARMLESS}) as span:  # type: ignore[dict-item]
        span.add_event("gen_ai.content.prompt", planted())  # type: ignore[arg-type]
        span.add_event("gen_ai.user.message", {"content": PROMPT})
        span.add_event(f"said {KEYS[1]}")
        span.record_exception(ValueError(f"Incorrect API key provided: {KEYS[0]}"))
        span.set_status(Status(StatusCode.ERROR, f"Incorrect API key provided: {KEYS[0]}"))
    assert provider.force_flush()
    provider.shutdown()


def emit_metric(agent: Configured, resource: Resource) -> None:
    reader = PeriodicExportingMetricReader(
        OTLPMetricExporter(f"{agent.otlp_url}/v1/metrics"), export_interval_millis=math.inf
    )
    provider = MeterProvider([reader], resource=resource)
    provider.get_meter("foreign").create_counter("foreign.calls").add(1, {**planted(), **HARMLESS})  # type: ignore[dict-item]
    assert provider.force_flush()
    provider.shutdown()


class TestMasks:
    def test_no_word_and_no_key_is_in_what_the_back_end_got(self, line: Line) -> None:
        assert eventually(lambda: arrived(line.back_end), bool)
        assert_clean(line.back_end.content)

    def test_none_is_on_the_gateways_page(self, line: Line) -> None:
        wanted = ("foreign_calls_total{", 'span_name="chat ****"')
        page = eventually(line.gateway.page, lambda page: all(each in page for each in wanted))
        assert [each in page for each in wanted] == [True, True]
        assert_clean(page.encode())

    def test_none_is_in_what_the_queues_have_on_disk_nor_in_a_log(self, line: Line) -> None:
        assert eventually(lambda: arrived(line.back_end), bool)
        for collector in (line.agent, line.gateway):
            files = [path for path in collector.queue.rglob("*") if path.is_file()]
            assert files
            for path in (*files, collector.folder / "log"):
                assert_clean(path.read_bytes())

    def test_what_is_harmless_is_as_it_was(self, line: Line) -> None:
        (span,) = eventually(lambda: arrived(line.back_end), bool)
        assert span.name == "chat ****"
        assert HARMLESS.items() <= span.attributes.items()
        assert span.attributes["note.0"] == "see **** there"
        assert span.attributes["gen_ai.prompt"] == "****\n****"
        assert {key for key in span.attributes if key.startswith("lent.")} == set()

    def test_a_resource_is_masked_by_the_gateway_too_for_those_who_send_to_it_straight(
        self, line: Line, tmp_path: Path
    ) -> None:
        before = len(arrived(line.back_end))
        emit_span(line.gateway, Resource.create({"service.name": "straight", **planted()}))  # type: ignore[dict-item]
        assert len(eventually(lambda: arrived(line.back_end), lambda spans: len(spans) > before)) > before
        assert_clean(line.back_end.content)


def assert_clean(content: bytes) -> None:
    assert PROMPT.encode() not in content
    assert SECRET.encode() not in content
