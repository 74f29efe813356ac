"""What stands in the documentation and is not run here, with the reason. Everything else is.

An entry that fits nothing any more fails a test.
"""

from __future__ import annotations

PROGRAMS = {
    "curl": "it asks a service that the reader has started; tests/service asks it the same",
    "docker": "no container engine runs the tests; tests/stack checks the compose file",
    "gunicorn": "it serves until it is ended; tests/telemetry/test_processes.py runs it",
    "kubectl": "there is no cluster; tests/stack checks the manifests",
    "opentelemetry-instrument": "tests/telemetry/test_instrumentor.py runs it",
    "otelcol-contrib": "tests/stack runs the collector with these files",
    "uvicorn": "it serves until it is ended; tests/telemetry/test_processes.py runs its workers",
}
"""Commands of others: their arguments are checked where they are files of the project, and they are not run."""

RUN_ELSEWHERE = {"docs/testing.md": "tests/testing/test_docs.py"}
"""Pages whose Python blocks another test runs: these are a test file, for pytest to run."""

BLOCKS = {
    ("collector-config/README.md", "application ── OTLP"): "a drawing",
    ("deploy/README.md", "accounts ── tenants, keys, budgets"): "a drawing",
    ("docs/architecture.md", "Agents SDK ──► hooks"): "a drawing",
    ("docs/governing.md", "Agents SDK          hooks"): "a drawing; the Python below it prints the same requests",
    ("docs/testing.md", "E   CyclesAssertionError"): "what a test that fails prints: tests/testing/test_docs.py",
}
"""Blocks of text that are not the output of the block before them, by the beginning of their first line."""
