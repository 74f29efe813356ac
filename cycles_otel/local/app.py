"""The HTTP endpoints: each reads its request, checks whose it is, and asks the ledger."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from cycles_otel.local import bodies, errors, listing, replies
from cycles_otel.local.authentication import Caller
from cycles_otel.local.counters import Counters
from cycles_otel.local.envelope import Exchange
from cycles_otel.local.fields import Record
from cycles_otel.local.ledger import Ledger
from cycles_otel.local.replies import Json
from cycles_otel.local.scopes import LEVELS
from cycles_otel.local.snapshot import ReservationState
from cycles_otel.local.store import Store
from cycles_otel.local.sweeper import Sweeper


class Endpoints:
    """The operations of the protocol over HTTP.

    Parameters
    ----------
    store: read by the lists.
    ledger: does the work.
    counters: what `/actuator/prometheus` shows.
    """

    def __init__(self, store: Store, ledger: Ledger, counters: Counters) -> None:
        self._store = store
        self._ledger = ledger
        self._counters = counters

    def routes(self) -> list[Route]:
        """Each path with its method."""
        one = "/v1/reservations/{reservation_id}"
        return [
            Route("/v1/reservations", self.reserve, methods=["POST"]),
            Route("/v1/reservations", self.list_reservations, methods=["GET"]),
            Route(one, self.get_reservation, methods=["GET"]),
            Route(f"{one}/commit", self.commit, methods=["POST"]),
            Route(f"{one}/release", self.release, methods=["POST"]),
            Route(f"{one}/extend", self.extend, methods=["POST"]),
            Route("/v1/decide", self.decide, methods=["POST"]),
            Route("/v1/events", self.event, methods=["POST"]),
            Route("/v1/balances", self.balances, methods=["GET"]),
            Route("/v1/.well-known/{document}", self.well_known, methods=["GET"]),
            Route("/v1/evidence/{evidence_id}", self.evidence, methods=["GET"]),
            Route("/actuator/health", self.health, methods=["GET"]),
            Route("/actuator/prometheus", self.prometheus, methods=["GET"]),
        ]

    async def reserve(self, request: Request) -> Response:
        body, tenant = await self._subject_body(request, bodies.RESERVE)
        labels = {"tenant": tenant, "overage_policy": body["overage_policy"] or "DEFAULT"}
        with self._counters.outcome("reservations_reserve", labels) as outcome:
            reply = self._ledger.reserve(tenant, body)
            outcome(reply["decision"], reply.get("reason_code", "OK"))
        return JSONResponse(reply)

    async def decide(self, request: Request) -> Response:
        body, tenant = await self._subject_body(request, bodies.DECIDE)
        return JSONResponse(self._ledger.decide(tenant, body))

    async def event(self, request: Request) -> Response:
        body, tenant = await self._subject_body(request, bodies.EVENT)
        labels = {"tenant": tenant, "overage_policy": body["overage_policy"] or "DEFAULT"}
        with self._counters.outcome("events", labels) as outcome:
            reply = self._ledger.event(tenant, body)
            outcome(reply["status"], "OK")
        return JSONResponse(reply, 201)

    async def commit(self, request: Request) -> Response:
        return await self._settle(request, bodies.COMMIT, "commit", self._ledger.commit)

    async def release(self, request: Request) -> Response:
        return await self._settle(request, bodies.RELEASE, "release", self._ledger.release)

    async def extend(self, request: Request) -> Response:
        return await self._settle(request, bodies.EXTEND, "extend", self._ledger.extend)

    async def get_reservation(self, request: Request) -> Response:
        reservation = self._reservation(request)
        if reservation.status == "EXPIRED":
            raise errors.reservation_expired()
        return JSONResponse(replies.reservation(reservation))

    async def list_reservations(self, request: Request) -> Response:
        query = listing.ReservationQuery.parse(request.query_params)
        tenant = _list_tenant(_caller(request), request.query_params.get("tenant"))
        return JSONResponse(listing.list_reservations(self._store, tenant, query))

    async def balances(self, request: Request) -> Response:
        query = request.query_params
        limit = listing.page_size(query)
        listing.check_include_children(query)
        if not any(level in query for level in LEVELS):
            raise errors.invalid_request(f"At least one of {'/'.join(LEVELS)} must be provided")
        tenant = _list_tenant(_caller(request), query.get("tenant"))
        return JSONResponse(listing.list_balances(self._store, tenant, query, limit))

    async def well_known(self, request: Request) -> Response:
        raise errors.not_found(request.path_params["document"])

    async def evidence(self, request: Request) -> Response:
        evidence_id: str = request.path_params["evidence_id"]
        if not re.fullmatch("[0-9a-f]{64}", evidence_id):
            raise errors.validation_failed(["evidenceId: evidence_id must be 64 lowercase hex characters"])
        raise errors.not_found(evidence_id)

    async def health(self, request: Request) -> Response:
        return JSONResponse({"status": "UP"})

    async def prometheus(self, request: Request) -> Response:
        return PlainTextResponse(self._counters.exposition(), media_type="text/plain; version=0.0.4")

    async def _subject_body(self, request: Request, record: Record) -> tuple[Json, str]:
        body = await _read_body(request, record)
        caller = _caller(request)
        caller.require_tenant(body["subject"]["tenant"])
        return body, caller.tenant or ""

    async def _settle(
        self, request: Request, record: Record, operation: str, settle: Callable[[str, Json], Json]
    ) -> Response:
        body = await _read_body(request, record)
        reservation = self._reservation(request)
        with self._counters.outcome(f"reservations_{operation}", {"tenant": reservation.tenant}) as outcome:
            reply = settle(reservation.id, body)
            outcome(reply["status"], "OK")
        return JSONResponse(reply)

    def _reservation(self, request: Request) -> ReservationState:
        reservation_id: str = request.path_params["reservation_id"]
        if len(reservation_id) > 128:
            raise errors.validation_failed(["reservationId: size must be between 1 and 128"])
        reservation = self._ledger.reservation(reservation_id)
        _caller(request).require_tenant(reservation.tenant)
        return reservation


async def _read_body(request: Request, record: Record) -> Json:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise errors.invalid_request(f"Content-Type must be application/json, got {media_type or 'none'}", 415)
    body = bodies.parse_body(await request.body(), record)
    header_key = request.headers.get("x-idempotency-key")
    if header_key is not None and header_key != body["idempotency_key"]:
        raise errors.invalid_request("X-Idempotency-Key header does not match idempotency_key in request body")
    return body


def _list_tenant(caller: Caller, asked: str | None) -> str:
    if caller.is_admin and not (asked or "").strip():
        raise errors.invalid_request("tenant query parameter is required when using admin key authentication")
    caller.require_tenant(asked)
    return asked if asked is not None else caller.tenant or ""


def _caller(request: Request) -> Caller:
    return _exchange(request).caller or Caller()


def _exchange(request: Request) -> Exchange:
    exchange: Exchange = request.scope["cycles_exchange"]
    return exchange


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.ProtocolError)
    return _exchange(request).error(error)


async def _no_such_endpoint(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == 405:
        refusal = errors.invalid_request(f"Method {request.method} is not allowed for {request.url.path}", 405)
    else:
        refusal = errors.not_found(request.url.path)
    return _exchange(request).error(refusal)


async def _failure(request: Request, error: Exception) -> Response:
    return _exchange(request).error(errors.ProtocolError(500, "INTERNAL_ERROR", "Internal error"))


def build_app(endpoints: Endpoints, sweeper: Sweeper) -> Starlette:
    """The endpoints as an ASGI application, with the sweeper running as long as it does."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with sweeper.running():
            yield

    handlers: dict[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
        errors.ProtocolError: _refusal,
        HTTPException: _no_such_endpoint,
        Exception: _failure,
    }
    app = Starlette(routes=endpoints.routes(), exception_handlers=handlers, lifespan=lifespan)
    app.router.redirect_slashes = False
    return app
