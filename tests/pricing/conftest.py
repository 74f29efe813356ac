from __future__ import annotations

from tests.hooks.conftest import make_hooks, server, witness

__all__ = ["make_hooks", "server", "witness"]
