"""The folder of keys: a file for each tenant, written by ``accounts``, read by the desk and by the exporter."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

FOLDER_VARIABLE = "CYCLES_KEYS"
READY = "ready"
"""A file that is there when all keys are there and all budgets open."""


def folder() -> Path:
    """The folder that the environment names."""
    return Path(os.environ[FOLDER_VARIABLE])


def write_key(place: Path, tenant: str, key: str) -> None:
    """Keep the key of a tenant; who reads it meanwhile finds the old one or the new one, whole."""
    new = place / f".{tenant}"
    new.write_text(key, encoding="utf-8")
    new.rename(place / tenant)


def read_keys(place: Path, tenants: Iterable[str]) -> dict[str, str]:
    """The keys by tenant, of those that have one."""
    files = {tenant: place / tenant for tenant in tenants}
    return {tenant: file.read_text(encoding="utf-8").strip() for tenant, file in files.items() if file.is_file()}
