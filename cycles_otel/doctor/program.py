"""The program's own side: the SDK, whether runs can be bracketed, and the versions that matter."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from cycles_otel._version import __version__
from cycles_otel.bracketing import BRACKETING
from cycles_otel.doctor.finding import Finding, well, wrong

VERSIONS, RUNS = "versions", "runs"
_SHOWN = ("openai-agents", "runcycles", "opentelemetry-sdk", "prometheus-client")


def look() -> Iterator[Finding]:
    """What is installed, and whether a run's end is seen whatever way it ends."""
    yield well(VERSIONS, ", ".join(f"{name} {_version(name)}" for name in ("cycles-otel", *_SHOWN)))
    if BRACKETING.install():
        yield well(RUNS, "begin and end with the SDK's runner: what a run holds is settled whatever way it ends")
    else:
        yield wrong(
            RUNS,
            "this openai-agents has no AgentRunner.run to wrap: a failed run leaves its holds to their TTL",
            "Install a version of openai-agents that this package was tested with, or call release_pending()",
        )


def _version(name: str) -> str:
    if name == "cycles-otel":
        return __version__
    try:
        return version(name)
    except PackageNotFoundError:
        return "(none)"
