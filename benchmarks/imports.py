"""What it takes to import the hooks, over the SDK alone: fresh interpreters, in turn."""

from __future__ import annotations

import subprocess
import sys
import time

_SDK = "import agents; agents.RunHooks"
_HOOKS = "import agents; import cycles_otel; cycles_otel.CyclesRunHooks"
_SET_UP = "import agents; import cycles_otel; cycles_otel.CyclesRunHooks; cycles_otel.setup_telemetry"


def seconds(rounds: int) -> dict[str, list[float]]:
    """The CPU-bound seconds of a start that imports each, round by round."""
    programs = {"agents": _SDK, "and CyclesRunHooks": _HOOKS, "and setup_telemetry": _SET_UP}
    said: dict[str, list[float]] = {name: [] for name in programs}
    for program in programs.values():
        _run(program)
    for _ in range(rounds):
        for name, program in programs.items():
            said[name].append(_run(program))
    return said


def _run(program: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True)
    return time.perf_counter() - began
