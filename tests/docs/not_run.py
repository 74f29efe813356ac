"""What stands in the documentation and is not run here, with the reason. Everything else is.

A command is known by its program, a block by its page and first line. An entry that fits nothing any more fails a test.
"""

from __future__ import annotations

PROGRAMS = {
    "docker": "no container engine runs the tests; tests/stack checks the compose file",
    "gunicorn": "it serves until it is ended; tests/telemetry/test_processes.py runs it",
    "kubectl": "there is no cluster; tests/stack checks the manifests",
    "opentelemetry-instrument": "tests/telemetry/test_instrumentor.py runs it",
    "otelcol-contrib": "tests/stack runs the collector with these files",
    "uvicorn": "it serves until it is ended; tests/telemetry/test_processes.py runs its workers",
}
"""Commands of others: their arguments are checked where they are files of the project, and they are not run."""

BLOCKS = {
    (
        "collector-config/README.md",
        "application ── OTLP ──► agent.yaml ── OTLP ──► gateway.yaml ──► traces: Tempo, Jaeger, …",
    ): ("a drawing"),
    ("deploy/README.md", "accounts ── tenants, keys, budgets ──► cycles-admin ─┐"): "a drawing",
    ("docs/architecture.md", "Agents SDK ──► hooks, guardrail ──► governor ──► runcycles client ──► Cycles server"): (
        "a drawing"
    ),
    (
        "docs/governing.md",
        "Agents SDK          hooks                governor              Cycles server        telemetry",
    ): ("a drawing; the block of Python below it shows the same requests"),
}
"""Blocks that are text for readers."""
