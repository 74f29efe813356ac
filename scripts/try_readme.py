"""Do what the README says with the installed wheel and its extra `cli`, away from the repository.

The README is the one that the wheel brings. A scripted model stands for OpenAI, an embedded server for Cycles.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

README = metadata.metadata("cycles-otel").get_payload()
BIN = Path(sys.executable).parent
LONGEST = 60.0

MODEL = """
import asyncio
from agents import RunConfig
from agents.models.interface import ModelProvider
from agents.run import AgentRunner, set_default_agent_runner
from agents.testing import ScriptedModel, assistant_message

class Scripted(ModelProvider):
    def get_model(self, model_name):
        return ScriptedModel([[assistant_message("It is the right to spend.")]])

class ScriptedRunner(AgentRunner):
    async def run(self, starting_agent, input, **given):
        given["run_config"] = RunConfig(model_provider=Scripted())
        return await super().run(starting_agent, input, **given)

set_default_agent_runner(ScriptedRunner())
"""
USERS_TEST = """
async def test_the_run_is_charged(local_cycles, cycles_spans, cycles_metrics):
    async with CyclesRunHooks(config=local_cycles.config()) as hooks:
        await Runner.run(Agent(name="helper"), "hello", hooks=hooks)
    assert_allowed(cycles_spans.of(agent="helper").llm_calls)
    assert_nothing_reserved(local_cycles)
    assert cycles_metrics.value("cycles_client_runs_total", agent="helper") == 1
"""
DECORATED = """
from runcycles import CyclesClient, CyclesConfig, cycles

client = CyclesClient(CyclesConfig.from_env())

@cycles(estimate=50, action_kind="llm.completion", action_name="gpt-4o", tenant="acme", client=client)
def work():
    return "done"

work()
"""


def main() -> None:
    """Fail where the README promises what the wheel does not do."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ |= {"CYCLES_JOURNAL_DIR": folder, "OPENAI_AGENTS_DISABLE_TRACING": "1"}
        with served() as variables:
            os.environ |= variables
            charge_a_run()
            print_what_was_denied()
            see_the_decorator()
            assert "cycles_budget_remaining" in command("cycles-otel", "exporter", "--once")
        assert "telemetry" in command("cycles-otel", "demo").lower()
        command("cycles-otel", "dashboards", "export", "boards")
        assert list(Path("boards").rglob("budget-overview.json"))
        run_a_test()
    print(f"What the README of cycles-otel {metadata.version('cycles-otel')} says works in a clean environment.")


@contextlib.contextmanager
def served() -> Iterator[dict[str, str]]:
    """`cycles-otel serve`, and the variables that lead to it."""
    serving = [str(BIN / "cycles-otel"), "serve", "--port", "0"]
    with subprocess.Popen(serving, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        assert server.stdout is not None
        try:
            said = ""
            while not (found := re.search(r"on (http://\S+)\n.*: (cyc_\S+)", said)):
                line = server.stdout.readline()
                assert line, said
                said += line
            yield {"CYCLES_BASE_URL": found[1], "CYCLES_API_KEY": found[2]}
        finally:
            server.terminate()


def charge_a_run() -> None:
    """The program of "Add it to your agent"."""
    printed = python(MODEL + awaited(block("setup_telemetry"), "print(result.final_output, hooks)"))
    assert "It is the right to spend." in printed, printed


def print_what_was_denied() -> None:
    """The handler of a denial, where the budget is gone."""
    poor = block("setup_telemetry").replace('    tenant="acme",\n', '    tenant="acme",\n    llm_estimate=10**15,\n')
    lines = [line for line in poor.splitlines() if not line.startswith("result = ")]
    printed = python(MODEL + awaited("\n".join(lines) + "\n" + block("except BudgetExceededError"), ""))
    assert "BUDGET_EXCEEDED tenant:acme" in printed, printed


def see_the_decorator() -> None:
    """`opentelemetry-instrument python app.py`."""
    Path("app.py").write_text(DECORATED, encoding="utf-8")
    os.environ |= {"OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
    printed = command("opentelemetry-instrument", sys.executable, "app.py")
    assert '"name": "reserve llm.completion"' in printed, printed
    for name in ("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"):
        del os.environ[name]


def run_a_test() -> None:
    """A user's test with the fixtures."""
    imports = (
        "from agents import Agent, Runner\n"
        "from cycles_otel import CyclesRunHooks\n"
        "from cycles_otel.testing import assert_allowed, assert_nothing_reserved\n"
    )
    Path("test_agent.py").write_text(MODEL + imports + USERS_TEST, encoding="utf-8")
    assert "1 passed" in command(sys.executable, "-m", "pytest", "-q", "-o", "asyncio_mode=auto", "test_agent.py")


def block(word: str) -> str:
    """The block of Python of the README that has this word in it; the port of `/metrics` is any that is free."""
    blocks = re.findall(r"```python\n(.*?)```", str(README), re.DOTALL)
    (found,) = [each for each in blocks if word in each]
    return str(found).replace('service_name="helpdesk"', 'service_name="helpdesk", prometheus_port=0')


def awaited(program: str, then: str) -> str:
    """A program of a page, whose `await` stands outside of any function, as one that runs."""
    lines = "\n".join(f"    {line}" for line in f"{program}\n{then}".splitlines())
    return f"async def main():\n{lines}\n\nasyncio.run(main())\n"


def python(program: str) -> str:
    """What a program prints."""
    return command(sys.executable, "-c", program)


def command(name: str, *arguments: str) -> str:
    """What a command prints, which must succeed."""
    done = subprocess.run(
        [str(BIN / name), *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LONGEST
    )
    assert done.returncode == 0, f"{name} {' '.join(arguments)}\n{done.stdout}"
    return done.stdout


if __name__ == "__main__":
    main()
