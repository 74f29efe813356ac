"""A small stand-in for OpenAI on loopback: it answers both of its APIs, as JSON and as streams, from a script."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from cycles_otel.local.http_server import HttpServer
from tests.wire import chat_api, responses_api
from tests.wire.answers import Answer, Refusal


@dataclass(frozen=True)
class Asked:
    """A request as it came in; names of headers are in lower case."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class Stub:
    """``with Stub() as stub:`` gives an address for ``base_url``; what it answers is a list that a test fills.

    A request beyond the end of the script is a 400, so that a call which should not have come is an error.
    """

    def __init__(self) -> None:
        self.script: list[Answer | Refusal] = []
        self.requests: list[Asked] = []
        self.let_go = threading.Event()
        routes = [Route(api.PATH, self._endpoint(api), methods=["POST"]) for api in (responses_api, chat_api)]
        self._http = HttpServer(Starlette(routes=routes), "127.0.0.1", 0)
        self.url = ""

    def __enter__(self) -> Stub:
        self.url = f"http://127.0.0.1:{self._http.start()}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        self._http.stop(self.let_go.set)

    def will(self, *answers: Answer | Refusal) -> None:
        """Answer with these next, one for each request."""
        self.script.extend(answers)

    def _endpoint(self, api: ModuleType) -> Any:
        async def endpoint(request: Request) -> Response:
            asked = Asked(request.url.path, dict(request.headers), await request.json())
            self.requests.append(asked)
            number = len(self.requests)
            answer = self.script.pop(0) if self.script else Refusal(400, "The script is at its end.")
            if isinstance(answer, Refusal):
                return JSONResponse(answer.body, answer.status, answer.headers)
            if asked.body.get("stream"):
                pieces = list(api.stream(answer, number, asked.body))
                if answer.fails:
                    pieces[len(pieces) // 2 :] = [api.FAILURE]
                return StreamingResponse(self._stream(pieces, answer, request), media_type="text/event-stream")
            if answer.breaks:
                self._http.drop(request.scope)
            await self._held(answer)
            return JSONResponse(api.body(answer, number, asked.body), headers={"x-request-id": f"req_{number}"})

        return endpoint

    async def _stream(self, pieces: list[str], answer: Answer, request: Request) -> AsyncIterator[str]:
        """The pieces of a stream; what goes wrong, or waits, does so after half of them."""
        half = len(pieces) // 2
        for piece in pieces[:half]:
            yield piece
        if answer.breaks:
            await asyncio.sleep(
                0
            )  # The connection sends at the end of a turn: first half of it goes out, then it breaks.
            self._http.drop(request.scope)
        await self._held(answer)
        for piece in pieces[half:]:
            yield piece

    async def _held(self, answer: Answer) -> None:
        if answer.held:
            await asyncio.to_thread(self.let_go.wait)
