"""What holds for every test: nothing of the developer's own set-up leaks in, and nothing leaves the machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import agents
import pytest

_LEAKING = ("CYCLES_", "OTEL_", "OPENAI_", "PROMETHEUS_")


@pytest.fixture(scope="session", autouse=True)
def own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No keys, addresses or exporters of the shell; the journal of pending commits lies in a folder of this session."""
    journal = tmp_path_factory.mktemp("journal")
    with pytest.MonkeyPatch.context() as environment:
        for name in list(os.environ):
            if name.startswith(_LEAKING):
                environment.delenv(name)
        environment.setenv("CYCLES_JOURNAL_DIR", str(journal))
        yield journal


@pytest.fixture(scope="session", autouse=True)
def traces_stay_here() -> None:
    """The SDK's tracing works, and sends nothing."""
    agents.set_trace_processors([])
