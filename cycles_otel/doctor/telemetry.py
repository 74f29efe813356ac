"""The ways out of telemetry: whether an OTLP receiver takes what is sent, and whether ``/metrics`` can be scraped."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx

from cycles_otel.doctor.finding import Finding, note, skipped, well, wrong
from cycles_otel.doctor.setup import Asked
from cycles_otel.parameters import without_login
from cycles_otel.telemetry.processes import VARIABLE

OTLP, METRICS, FOLDER = "OTLP", "/metrics", "metrics folder"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_OURS = "cycles_"


def look(asked: Asked) -> Iterator[Finding]:
    """Both ways, as the environment says that they are used."""
    yield _otlp(asked.timeout)
    yield _scraped(asked)
    if folder := os.environ.get(VARIABLE):
        yield _multiprocess(folder)


def _otlp(timeout: float) -> Finding:
    endpoint = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), None)
    if endpoint is None:
        return skipped(OTLP, "OTEL_EXPORTER_OTLP_ENDPOINT is not set: no traces are sent")
    shown = without_login(endpoint)
    if next((os.environ[name] for name in _PROTOCOLS if os.environ.get(name)), "") == "grpc":
        return _connects(endpoint, shown, timeout)
    address = endpoint if os.environ.get(_ENDPOINTS[0]) else f"{endpoint.rstrip('/')}/v1/traces"
    try:
        # A message without any span: a receiver takes it, and nothing is stored.
        reply = httpx.post(address, content=b"", headers={"content-type": "application/x-protobuf"}, timeout=timeout)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return wrong(OTLP, f"{shown}: {_why(error)}", "Start the collector, or set OTEL_EXPORTER_OTLP_ENDPOINT to it")
    if reply.is_success:
        return well(OTLP, f"{shown} takes traces")
    mend = "That is no OTLP over HTTP: its port is mostly 4318, and OTEL_EXPORTER_OTLP_PROTOCOL=grpc is for 4317"
    return wrong(OTLP, f"{shown} answers {reply.status_code}", mend)


def _connects(endpoint: str, shown: str, timeout: float) -> Finding:
    address = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
    try:
        with socket.create_connection((address.hostname or "", address.port or 4317), timeout=timeout):
            return well(OTLP, f"{shown} can be connected to (gRPC)")
    except OSError as error:
        return wrong(OTLP, f"{shown}: {_why(error)}", "Start the collector, or set OTEL_EXPORTER_OTLP_ENDPOINT to it")


def _scraped(asked: Asked) -> Finding:
    if asked.metrics_url is None:
        return skipped(METRICS, "no address was given: --metrics-url http://127.0.0.1:9464/metrics")
    try:
        reply = httpx.get(asked.metrics_url, timeout=asked.timeout)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        mend = "Start the program with setup_telemetry(), or correct the address"
        return wrong(METRICS, f"{asked.metrics_url}: {_why(error)}", mend)
    if not reply.is_success:
        return wrong(METRICS, f"{asked.metrics_url} answers {reply.status_code}", "Correct the address")
    if f"\n{_OURS}" not in f"\n{reply.text}":
        mend = "Another program serves there (the port was taken?), or nothing was governed yet"
        return wrong(METRICS, f"{asked.metrics_url} has no metric of Cycles", mend)
    return well(METRICS, f"{asked.metrics_url} has the metrics of Cycles")


def _multiprocess(folder: str) -> Finding:
    if not os.path.isdir(folder):
        return wrong(FOLDER, f"{VARIABLE}={folder} is no folder", "Make it, empty, before the program starts")
    if not os.access(folder, os.W_OK):
        return wrong(FOLDER, f"{VARIABLE}={folder} cannot be written", "Let the program's user write there")
    if left := len(os.listdir(folder)):
        return note(FOLDER, f"{VARIABLE}={folder} holds {left} files", "Empty it before each start of the program")
    return well(FOLDER, f"{VARIABLE}={folder} is there, and empty")


def _why(error: Exception) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error or type(error).__name__).split())
