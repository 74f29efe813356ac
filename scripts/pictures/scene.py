"""What is drawn: a desk at work, and a real Prometheus that scrapes it and evaluates the recording rules."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import httpx

from dashboards.generate import rules

SCRAPE = 5
"""Seconds from one scrape to the next."""
SCALE = 1 / 6
"""The windows of the rules, so that ten minutes show what else an hour does."""
_LISTEN = "127.0.0.1:9091"


@contextlib.contextmanager
def scene() -> Iterator[str]:
    """The address of the Prometheus, while it scrapes the desk.

    Raises
    ------
    SystemExit: the folder of a real Prometheus is not in the variable ``STACK``.
    """
    programs = os.environ.get("STACK")
    if not programs:
        raise SystemExit("a real Prometheus is needed: make pictures")
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as started:
        folder = Path(name)
        desk = _start(started, [sys.executable, "-m", "scripts.pictures.desk"])
        _configure(folder, json.loads(desk.readline()))
        command = [
            f"{programs}/prometheus",
            f"--config.file={folder}/prometheus.yaml",
            f"--storage.tsdb.path={folder}/data",
        ]
        command += [f"--web.listen-address={_LISTEN}", "--enable-feature=exemplar-storage", "--log.level=warn"]
        _start(started, command)
        _wait_for(f"http://{_LISTEN}/-/ready")
        yield f"http://{_LISTEN}"


def _start(started: contextlib.ExitStack, command: list[str]) -> IO[str]:
    """Start a program that ends with the block, and return what it prints."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None

    def stop() -> None:
        process.stdin.close()
        if command[0] != sys.executable:
            process.terminate()
        process.wait()

    started.callback(stop)
    assert process.stdout is not None
    return process.stdout


def _configure(folder: Path, pages: dict[str, str]) -> None:
    rules.main(["--out", str(folder / "rules"), "--scale", str(SCALE)])
    jobs = [
        {
            "job_name": name,
            "metrics_path": "/" + page.split("/", 3)[3],
            "static_configs": [{"targets": [page.split("/")[2]]}],
        }
        for name, page in pages.items()
    ]
    intervals = {"scrape_interval": f"{SCRAPE}s", "evaluation_interval": f"{SCRAPE}s"}
    configuration = {"global": intervals, "rule_files": [f"{folder}/rules/recording.yaml"], "scrape_configs": jobs}
    (folder / "prometheus.yaml").write_text(json.dumps(configuration))


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url).status_code == 200:
                return
        if time.monotonic() > deadline:
            raise SystemExit(f"{url} does not answer")
        time.sleep(0.1)
