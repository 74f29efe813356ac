"""Whichever way a run ends: nothing is held afterwards, and what was used is charged once."""

from __future__ import annotations

import asyncio

import pytest

from cycles_otel.local import LocalCycles
from tests.run.desk import Desk, hooks_of
from tests.run.endings import ENDINGS, Ending

every_ending = pytest.mark.parametrize("ending", ENDINGS, ids=str)


@every_ending
async def test_nothing_is_held_and_what_was_used_is_charged_once(any_desk: Desk, ending: Ending) -> None:
    await ending.play(any_desk)
    tokens = ending.streamed_tokens if any_desk.streamed else ending.tokens
    assert await any_desk.charged() == (tokens, ending.points)
    assert any_desk.ledger.budget("tenant:acme", "TOKENS").reserved == 0


async def test_no_heartbeat_outlives_its_run(server: LocalCycles, streamed: bool) -> None:
    async with hooks_of(server, ttl_ms=1_000) as hooks:
        desk = Desk(server, hooks, streamed)
        await asyncio.gather(*(ending.play(desk) for ending in ENDINGS))
        await desk.no_heartbeat_is_left()
