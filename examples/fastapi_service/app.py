"""Agents behind HTTP, each customer under a budget of its own. How to run it: README.md."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

from agents import set_tracing_disabled
from desk import RISK, Desk, Visit
from fastapi import Depends, FastAPI, Header, Request
from fastapi.responses import JSONResponse, StreamingResponse
from problems import FAILURES, problem_of
from pydantic import BaseModel, Field
from requests_seen import RequestsSeen
from runcycles import AsyncCyclesClient, CyclesConfig

from cycles_otel import CyclesRunHooks, metrics_asgi_app, setup_telemetry

logging.basicConfig(level=logging.INFO, format="%(asctime)s [%(process)d] %(levelname)s %(name)s: %(message)s")
logging.getLogger("httpx").setLevel(logging.WARNING)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[Mapping[str, Any]]:
    """What a worker process has once: telemetry, the hooks, a client. It ends after the last request."""
    set_tracing_disabled("OPENAI_API_KEY" not in os.environ)
    telemetry = setup_telemetry("support-service", prometheus_port=None, subject_labels=("tenant", "workspace"))
    config = CyclesConfig.from_env()
    hooks = CyclesRunHooks(
        config=config,
        subject=lambda visit: {"workspace": visit.customer},
        tool_risk=RISK,
        llm_estimate=100_000,  # 0.1 cents; a call of the desk costs some 10,000 microcents
        fail_open=os.environ.get("FAIL_OPEN", "true") == "true",
        settle_timeout=0,
    )
    async with AsyncCyclesClient(config) as cycles, hooks:
        yield {"desk": Desk(hooks), "cycles": cycles}
    telemetry.shutdown()


app = FastAPI(title="Support", lifespan=lifespan)
app.add_middleware(RequestsSeen)
app.mount("/metrics", metrics_asgi_app())


class Question(BaseModel):
    """What a customer asks."""

    question: Annotated[str, Field(min_length=1, max_length=4_000)]


def visit_of(
    request: Request, x_customer: Annotated[str, Header(pattern="^[a-z0-9_.-]{1,64}$", description="who pays")]
) -> Visit:
    """The context of the request's run. In earnest the customer follows from a token, never from a bare header."""
    request.state.visit = Visit(x_customer, request.state.request_id)
    return request.state.visit  # type: ignore[no-any-return]


OfCustomer = Annotated[Visit, Depends(visit_of)]


@app.post("/answers")
async def answer(question: Question, visit: OfCustomer, request: Request) -> dict[str, Any]:
    """The whole answer, and what it has used."""
    text = await request.state.desk.answer(question.question, visit)
    return {"answer": text, "used": dict(visit.used), "request_id": visit.request_id}


@app.post("/answers/stream")
async def stream(question: Question, visit: OfCustomer, request: Request) -> StreamingResponse:
    """The answer as server-sent events.

    The first one is waited for: a run that is stopped before it has said anything has a status of its own.
    """
    events = request.state.desk.stream(question.question, visit)
    first = await anext(events)
    return StreamingResponse(_told(first, events, visit, request), media_type="text/event-stream", headers=_UNBUFFERED)


@app.get("/health")
async def health() -> dict[str, str]:
    """Whether this process serves. It does not ask Cycles: a restart of this process would not bring that back."""
    return {"status": "ok"}


async def _told(
    first: tuple[str, Any], events: AsyncIterator[tuple[str, Any]], visit: Visit, request: Request
) -> AsyncIterator[str]:
    try:
        yield _sse(*first)
        async for event in events:
            yield _sse(*event)
    except FAILURES as error:
        # The status has been sent: the problem is the last event.
        problem = await problem_of(error, visit, request.state.cycles)
        yield _sse("error", problem.body())


async def _failed(request: Request, error: Exception) -> JSONResponse:
    problem = await problem_of(error, request.state.visit, request.state.cycles)
    return problem.response()


for failure in FAILURES:
    app.add_exception_handler(failure, _failed)

_UNBUFFERED = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def _sse(event: str, data: Mapping[str, Any]) -> str:
    return f"event: {event}\ndata: {json.dumps(data)}\n\n"
