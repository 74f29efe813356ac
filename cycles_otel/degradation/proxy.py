"""A transparent stand-in for an object, typed: the class of ``wrapt`` takes no parameter when the program runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import wrapt

if TYPE_CHECKING:
    Proxy = wrapt.ObjectProxy[Any]
else:
    Proxy = wrapt.ObjectProxy
