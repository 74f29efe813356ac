"""The page ``/metrics``: whether it can be scraped and is that of this package, and the folder of several workers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import httpx

from cycles_otel.addresses import without_login
from cycles_otel.doctor.finding import Finding, note, skipped, well, wrong
from cycles_otel.telemetry.errors import TelemetrySetupError
from cycles_otel.telemetry.processes import VARIABLE
from cycles_otel.telemetry.recorder import checked_bound, checked_route
from cycles_otel.telemetry.setup import PROMETHEUS_PORT

METRICS, FOLDER = "/metrics", "metrics folder"
_USUAL_URL = f"http://127.0.0.1:{PROMETHEUS_PORT}/metrics"
_OURS = "cycles_"


def look(url: str | None, timeout: float) -> Iterator[Finding]:
    """The page at ``url``, by default where a program mostly serves it, and what the environment says of it."""
    try:
        route = checked_route(None)
        checked_bound(None)
    except TelemetrySetupError as error:
        yield wrong(METRICS, " ".join(str(error).split()), f"Correct {error.parameter}, or unset it")
        return
    if url is not None:
        yield _page(url, timeout)
    elif route in ("prometheus", "both"):
        yield _usual_page(timeout)
    else:
        yield skipped(METRICS, f"CYCLES_OTEL_METRICS={route} serves none")
    if folder := os.environ.get(VARIABLE):
        yield _multiprocess(folder)


def _page(url: str, timeout: float) -> Finding:
    shown = without_login(url)
    try:
        status, text = _read(url, timeout)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        mend = "Start the program with setup_telemetry(), or correct the address"
        return wrong(METRICS, f"{shown}: {_why(error)}", mend)
    if status != httpx.codes.OK:
        return wrong(METRICS, f"{shown} answers {status}", "Correct the address")
    if not _is_ours(text):
        mend = "Another program serves there (the port was taken?), or nothing was governed yet"
        return wrong(METRICS, f"{shown} has no metric of Cycles", mend)
    return well(METRICS, f"{shown} has the metrics of Cycles")


def _usual_page(timeout: float) -> Finding:
    """Nobody said that a program runs just now, so that nothing here is wrong."""
    try:
        status, text = _read(_USUAL_URL, timeout)
    except httpx.ConnectError:
        because = f"nobody serves {_USUAL_URL}: start the program, or give --metrics-url"
        return skipped(METRICS, because)
    except httpx.HTTPError as error:
        status, text = 0, _why(error)
    if status == httpx.codes.OK and _is_ours(text):
        return well(METRICS, f"{_USUAL_URL} has the metrics of Cycles")
    mend = "Give setup_telemetry() another prometheus_port, if that is not your program before its first run"
    return note(METRICS, f"the port {PROMETHEUS_PORT} is taken by what has no metric of Cycles", mend)


def _read(url: str, timeout: float) -> tuple[int, str]:
    """Status and text of a page, which must be whole in time: each read of it may take as long by itself."""
    deadline, text = time.monotonic() + timeout, []
    with httpx.stream("GET", url, timeout=timeout) as reply:
        for part in reply.iter_text():
            text.append(part)
            if time.monotonic() > deadline:
                raise httpx.ReadTimeout(f"no whole page within {timeout:g} s")
        return reply.status_code, "".join(text)


def _is_ours(text: str) -> bool:
    return f"\n{_OURS}" in f"\n{text}"


def _multiprocess(folder: str) -> Finding:
    if not os.path.isdir(folder):
        return wrong(FOLDER, f"{VARIABLE}={folder} is no folder", "Make it, empty, before the program starts")
    if not os.access(folder, os.W_OK):
        return wrong(FOLDER, f"{VARIABLE}={folder} cannot be written", "Let the program's user write there")
    if left := len(os.listdir(folder)):
        return note(FOLDER, f"{VARIABLE}={folder} holds {left} files", "Empty it before each start of the program")
    return well(FOLDER, f"{VARIABLE}={folder} is there, and empty")


def _why(error: Exception) -> str:
    return " ".join((str(error) or type(error).__name__).split())
