"""A web application whose every request is an agent's run, for a server with several workers."""

from __future__ import annotations

import asyncio
import os

from agents import Agent, RunConfig, Runner, Usage
from agents.testing import ModelCall, ModelStep, ScriptedModel, assistant_message
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from cycles_otel import CyclesRunHooks, metrics_asgi_app, setup_telemetry

setup_telemetry("shop", prometheus_port=None)
hooks = CyclesRunHooks(llm_unit="TOKENS", llm_estimate=100)
held: list[asyncio.Task[object]] = []


async def run(request: Request) -> JSONResponse:
    """A run that uses so many tokens."""
    tokens = int(request.query_params["tokens"])
    usage = Usage(requests=1, input_tokens=tokens - 1, output_tokens=1, total_tokens=tokens)
    await _run(ModelStep(output=[assistant_message("done")], usage=usage))
    return JSONResponse({"pid": os.getpid()})


async def hold(_: Request) -> JSONResponse:
    """A run that holds a reservation for as long as this process lives."""
    reached = asyncio.Event()

    async def never(_: ModelCall) -> ModelStep:
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    held.append(asyncio.create_task(_run(ModelStep.respond(never))))
    await reached.wait()
    return JSONResponse({"pid": os.getpid()})


async def _run(step: ModelStep) -> object:
    agent = Agent(name="clerk", model=ScriptedModel([step]))
    return await Runner.run(agent, "hello", hooks=hooks, run_config=RunConfig(tracing_disabled=True))


app = Starlette(
    routes=[
        Route("/run", run, methods=["POST"]),
        Route("/hold", hold, methods=["POST"]),
        Mount("/metrics", metrics_asgi_app()),
    ]
)
