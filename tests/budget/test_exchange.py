"""One request and its reply: bounded in time, and no failure of what lies below gets out of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from runcycles import AsyncCyclesClient, CyclesConfig

from cycles_otel.budget.decision import Ruling
from cycles_otel.budget.governor import Governor
from cycles_otel.budget.policy import Policy
from cycles_otel.local import LocalCycles
from tests.budget.conftest import MakeGovernor
from tests.budget.desk import Diary, step, unobserved

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"


@contextlib.asynccontextmanager
async def dripping_server() -> AsyncIterator[str]:
    """Answers at once, then sends a byte now and then, sooner than any read times out, and never comes to an end."""

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        with contextlib.suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.02)

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.close()


@pytest.mark.parametrize(("fail_open", "ruling"), [(True, Ruling.GO_UNENFORCED), (False, Ruling.UNAVAILABLE)])
async def test_a_server_that_never_comes_to_an_end_has_given_no_answer(
    diary: Diary, fail_open: bool, ruling: Ruling
) -> None:
    async with dripping_server() as url:
        config = CyclesConfig(
            base_url=url,
            api_key="cyc_test",
            tenant="acme",
            connect_timeout=0.2,
            read_timeout=0.2,
            journal_enabled=False,
            retry_flush_timeout=0.1,
        )
        governor = Governor(config, Policy(fail_open=fail_open), diary, unobserved)
        verdict = (await governor.reserve(step())).verdict
        await governor.aclose()
    assert (verdict.ruling, verdict.reason) == (ruling, "timeout")


async def test_whatever_the_client_raises_is_no_answer(
    server: LocalCycles, make_governor: MakeGovernor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fall_over(*_: Any, **__: Any) -> None:
        raise AssertionError("a fault of a library")

    monkeypatch.setattr(AsyncCyclesClient, "create_reservation", fall_over)
    verdict = (await make_governor().reserve(step())).verdict
    assert (verdict.ruling, verdict.reason) == (Ruling.GO_UNENFORCED, "connection_error")
