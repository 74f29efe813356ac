"""The end of a hooks object: ``aclose`` and ``async with``."""

from __future__ import annotations

import asyncio

from agents import RunContextWrapper

from cycles_otel.local import LocalCycles
from tests.run.desk import Desk, agent, cancelled, hooks_of, says


async def test_a_reserve_in_flight_is_waited_for_and_given_back(server: LocalCycles) -> None:
    with server.hold("reserve", applied=True) as hold:
        async with hooks_of(server) as hooks:
            run = Desk(server, hooks).start(agent(says(100)))
            await hold.arrived()
            await cancelled(run)
            closing = asyncio.create_task(hooks.aclose())
            assert not (await asyncio.wait([closing], timeout=0.3))[0]
            hold.release()
            await closing
            assert len(server.ledger().released) == 1
    assert not server.ledger().active


async def test_closing_waits_for_a_commit_in_flight(server: LocalCycles) -> None:
    with server.hold("commit") as hold:
        async with hooks_of(server, settle_timeout=0.01) as hooks:
            await Desk(server, hooks).run(agent(says(100)))
            assert server.ledger().charged("TOKENS") == 0
            closing = asyncio.create_task(hooks.aclose())
            await hold.arrived()
            assert not closing.done()
            hold.release()
            await closing
            assert server.ledger().charged("TOKENS") == 100


async def test_closing_gives_back_what_is_held_outside_of_any_run(server: LocalCycles) -> None:
    async with hooks_of(server) as hooks:
        await hooks.on_llm_start(RunContextWrapper(None), agent(), None, [])
    assert [each.release_reason for each in server.ledger().released] == ["shutdown"]


async def test_hooks_can_be_closed_twice_and_used_again(server: LocalCycles) -> None:
    async with hooks_of(server) as hooks:
        desk = Desk(server, hooks)
        await desk.run(agent(says(100)))
        await hooks.aclose()
        await hooks.aclose()
        await desk.run(agent(says(110)))
    assert server.ledger().charged("TOKENS") == 210
    assert not server.ledger().active
