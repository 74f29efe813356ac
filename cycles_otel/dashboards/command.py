"""``cycles-otel dashboards export`` and ``push``: what they print."""

from __future__ import annotations

from pathlib import Path

from cycles_otel.dashboards.files import export_files, shipped_boards
from cycles_otel.dashboards.grafana import Grafana
from cycles_otel.dashboards.push import NEW, Push, push_boards

_SHOWN = 40
"""Lines of a difference that are printed."""


def run_export(folder: str) -> int:
    """Write the files, and say which."""
    for path in export_files(Path(folder)):
        print(path)
    return 0


def run_push(url: str, token: str, folder: str | None, dry_run: bool) -> int:
    """Put the dashboards into Grafana, and say what became of each; with ``dry_run`` what would."""
    with Grafana(url, token) as grafana:
        for push in push_boards(grafana, shipped_boards(), folder, dry_run=dry_run):
            _print(push, dry_run)
    return 0


def _print(push: Push, dry_run: bool) -> None:
    print(f"{push.state:10} {push.title}" + (f"  {push.url}" if push.url else ""))
    if dry_run and push.state != NEW:
        for line in push.difference[:_SHOWN]:
            print(f"    {line}")
        if (left := len(push.difference) - _SHOWN) > 0:
            print(f"    … and {left} lines more")
