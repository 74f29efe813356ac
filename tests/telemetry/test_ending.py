"""How a program ends: what waits is sent, within a bound, and the program ends as it would have."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cycles_otel.local import Fault, LocalCycles
from tests.telemetry.otlp import Receiver
from tests.telemetry.program import RUN, ended, run_program, start_program

if sys.platform == "win32":
    pytest.skip("the system has no SIGTERM that a program can handle", allow_module_level=True)

SET_UP = """
from cycles_otel.telemetry import setup_telemetry
telemetry = setup_telemetry("desk", prometheus_port=None, otlp_endpoint={url!r}, flush_timeout={seconds})
"""
READY = "\nprint('ready', flush=True)\n"
WAIT = "import time; time.sleep(50)\n"


def program(url: str, then: str = READY + WAIT, before: str = "", seconds: float = 20) -> str:
    return before + SET_UP.format(url=url, seconds=seconds) + RUN + then


@contextmanager
def slow_server() -> Iterator[LocalCycles]:
    with LocalCycles(budgets={"tenant:acme": {"USD_MICROCENTS": 1_000}}) as server:
        server.inject(Fault("commit", delay=0.5))
        yield server


def environment_of(server: LocalCycles | None) -> dict[str, str]:
    if server is None:
        return {}
    named = {"CYCLES_BASE_URL": server.url, "CYCLES_API_KEY": server.api_key, "CYCLES_TENANT": server.tenant}
    return {**named, "CYCLES_RETRY_FLUSH_TIMEOUT": "30"}


def terminated(source: str, server: LocalCycles | None = None) -> subprocess.Popen[str]:
    """A program that got SIGTERM when it was ready."""
    process = start_program(source, **environment_of(server))
    assert process.stdout is not None
    while (line := process.stdout.readline()) != "ready\n":
        assert line, process.communicate()
    process.send_signal(signal.SIGTERM)
    return process


@pytest.fixture
def mute() -> Iterator[str]:
    """The address of a receiver that takes everything and answers nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


SERVE = """
import asyncio, uvicorn
from opentelemetry import trace

async def ready():
    while not server.started:
        await asyncio.sleep(0.01)
    print("ready", flush=True)

async def app(scope, receive, send):
    await receive()
    announcing = asyncio.create_task(ready())
    await send({"type": "lifespan.startup.complete"})
    await receive()
    trace.get_tracer("app").start_span("end of the server").end()
    await send({"type": "lifespan.shutdown.complete"})

server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
server.run()
"""


class TestSigterm:
    def test_what_waits_is_sent_and_the_program_dies_of_the_signal(self) -> None:
        with Receiver() as receiver:
            ended(terminated(program(receiver.url)), status=-signal.SIGTERM)
            assert receiver.spans == [("desk", "cycles.run agent")]

    def test_an_event_loop_does_not_keep_it(self) -> None:
        loop = "import asyncio\nasync def main():\n    print('ready', flush=True)\n    await asyncio.sleep(50)\n"
        with Receiver() as receiver:
            ended(terminated(program(receiver.url, loop + "asyncio.run(main())")), status=-signal.SIGTERM)
            assert receiver.spans == [("desk", "cycles.run agent")]

    def test_a_receiver_that_never_answers_is_waited_for_no_longer_than_asked(self, mute: str) -> None:
        output = ended(terminated(program(mute, seconds=0.2)), status=-signal.SIGTERM)
        assert "could be sent within 0.2 s" in output

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_a_handler_of_the_program_stays(self, when: str) -> None:
        handler = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\n"
        before, after = (handler, "") if when == "before" else ("", handler)
        with Receiver() as receiver:
            ended(terminated(program(receiver.url, after + READY + WAIT, before)), status=3)
            assert receiver.spans == [("desk", "cycles.run agent")], "by the exit that the handler asked for"

    def test_a_program_that_ignores_it_goes_on_ignoring_it(self) -> None:
        ignoring = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        with Receiver() as receiver:
            process = terminated(program(receiver.url, READY + "input()", ignoring))
            assert process.stdin is not None
            process.stdin.write("\n")
            ended(process)
            assert len(receiver.spans) == 1

    def test_without_anything_to_send_no_handler_is_installed(self) -> None:
        output = run_program(
            "import signal\nfrom cycles_otel.telemetry import setup_telemetry\nsetup_telemetry(prometheus_port=0)\n"
            "print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)"
        )
        assert output == "True\n"

    def test_a_set_up_in_another_thread_leaves_signals_alone(self) -> None:
        with Receiver() as receiver:
            lines = [f"    {line}" for line in SET_UP.format(url=receiver.url, seconds=20).splitlines()]
            source = "import signal, threading\ndef set_up():\n" + "\n".join(lines)
            run = "\nthread = threading.Thread(target=set_up); thread.start(); thread.join()\n"
            check = "assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL\n"
            run_program(source + run + check + RUN)
            assert len(receiver.spans) == 1

    def test_a_web_server_ends_its_requests_first_and_the_program_dies_of_the_signal(self) -> None:
        with Receiver() as receiver:
            ended(terminated(program(receiver.url, SERVE)), status=-signal.SIGTERM)
            assert [name for _, name in receiver.spans] == ["cycles.run agent", "end of the server"]


CONNECTED = """
import asyncio
from cycles_otel.assembly import observed_governor
from cycles_otel.budget.policy import Policy
from cycles_otel.budget.requests import Spend
from tests.telemetry import requests
from runcycles import CyclesConfig
governor = observed_governor(CyclesConfig.from_env(), Policy(), None, tenant="acme")
asyncio.run(governor.reserve(requests.step(100))).admitted.release("requested")
"""
COMMIT = """
asyncio.run(governor.reserve(requests.step(100))).admitted.commit(Spend(40, "price"))
"""


class TestSettlement:
    """A spend whose commit is still on its way when the program ends."""

    def test_it_is_charged_and_seen_before_the_program_dies_of_sigterm(self) -> None:
        with slow_server() as server, Receiver() as receiver:
            ended(terminated(program(receiver.url, CONNECTED + COMMIT + READY + WAIT), server), status=-signal.SIGTERM)
            assert server.ledger().charged("USD_MICROCENTS") == 40
            assert "commit llm.completion" in [name for _, name in receiver.spans]

    def test_it_is_seen_at_the_exit_though_the_set_up_came_last(self) -> None:
        with slow_server() as server, Receiver() as receiver:
            ended(start_program(program(receiver.url, COMMIT, CONNECTED), **environment_of(server)))
            assert "commit llm.completion" in [name for _, name in receiver.spans]


class TestExit:
    def test_a_receiver_that_never_answers_is_waited_for_no_longer_than_asked(self, mute: str) -> None:
        assert "could be sent within 0.2 s" in run_program(program(mute, "", seconds=0.2))

    def test_an_exception_that_ends_the_program_is_no_hindrance(self) -> None:
        with Receiver() as receiver:
            run_program(program(receiver.url, "raise SystemExit(5)"), 5)
            assert len(receiver.spans) == 1
