"""A reader who types the Python blocks of a page, one after the other, into a program of its own.

Cycles is the embedded server and OpenAI a stand-in on loopback, to which the environment leads; nothing of a block is
changed. The process is forked from one that has the imports behind it, since a page costs far less than these.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import io
import multiprocessing
import os
import sys
import traceback
from contextlib import redirect_stdout
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import agents

from cycles_otel import CyclesRunHooks, setup_telemetry
from cycles_otel.local import LocalCycles
from cycles_otel.telemetry.setup import PROMETHEUS_PORT
from tests.docs.blocks import Block
from tests.docs.stages import Stage, stage_of
from tests.wire.answers import Answer
from tests.wire.stub import Stub

PATIENCE = 50.0
"""How long a page may take, in seconds."""
_LEAKING = ("CYCLES_", "OTEL_", "OPENAI_", "PROMETHEUS_")
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload([__name__])


class BlockError(AssertionError):
    """A block did not run to its end."""


def read(page: str, blocks: tuple[Block, ...], folder: Path) -> list[str]:
    """Run the blocks; what each of them printed.

    Raises
    ------
    BlockError: one of them raised something; the message is the traceback, with the page's own lines.
    """
    ours, theirs = _processes.Pipe()
    reader = _processes.Process(target=_reader, args=(page, blocks, folder, theirs), daemon=True)
    reader.start()
    theirs.close()
    try:
        if not ours.poll(PATIENCE):
            raise BlockError(f"{page}: the blocks take longer than {PATIENCE} s")
        printed, failure = ours.recv()
    except EOFError:
        raise BlockError(f"{page}: the program died in one of the blocks") from None
    finally:
        ours.close()
        reader.terminate()
        reader.join()
    if failure:
        raise BlockError(failure)
    return [str(each) for each in printed]


def _reader(page: str, blocks: tuple[Block, ...], folder: Path, answer: Connection) -> None:
    printed: list[str] = []
    failure = ""
    try:
        _play(page, blocks, folder, printed)
    except (Exception, SystemExit):  # noqa: BLE001 - whatever a block raises is the answer
        failure = f"{page} after {len(printed)} blocks:\n{traceback.format_exc()}"
    answer.send((printed, failure))


def _play(page: str, blocks: tuple[Block, ...], folder: Path, printed: list[str]) -> None:
    stage = stage_of(page)
    with LocalCycles(**stage.server(page)) as server, Stub() as stub:
        _prepare(server, stub, stage, folder)
        # One loop for all blocks: what a block awaits may outlive it, as in a notebook.
        loop = asyncio.new_event_loop()
        names: dict[str, Any] = {"__name__": "__main__", **stage.names}
        for number, block in enumerate(blocks):
            if number in stage.before:
                stage.before[number](server)
            with redirect_stdout(io.StringIO()) as shown:
                _run(block, names, loop)
            printed.append(shown.getvalue())
        loop.run_until_complete(_close(names))
        stage.afterwards(server, stub)
        loop.close()


def _prepare(server: LocalCycles, stub: Stub, stage: Stage, folder: Path) -> None:
    for name in [each for each in os.environ if each.startswith(_LEAKING)]:
        del os.environ[name]
    os.environ.update(server.environ(), OPENAI_API_KEY="sk-loopback", OPENAI_BASE_URL=stub.url)
    os.environ.update(CYCLES_JOURNAL_DIR=str(folder / "journal"), **stage.environ)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    stub.will(*stage.answers, *[Answer()] * 100)
    agents.set_trace_processors([])
    # A page that serves /metrics at the default port does so at one that is free: other tests run at the same time.
    defaults: dict[str, Any] = setup_telemetry.__kwdefaults__ or {}
    assert defaults["prometheus_port"] == PROMETHEUS_PORT
    defaults["prometheus_port"] = 0


def _run(block: Block, names: dict[str, Any], loop: asyncio.AbstractEventLoop) -> None:
    source = "\n" * (block.line - 1) + block.text
    # What is awaited on the top level is awaited here; a block without that may run a loop by itself.
    done = eval(compile(source, block.page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    if inspect.isawaitable(done):
        loop.run_until_complete(done)


async def _close(names: dict[str, Any]) -> None:
    for each in names.values():
        if isinstance(each, CyclesRunHooks):
            await each.aclose()
