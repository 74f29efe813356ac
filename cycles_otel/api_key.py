"""The key of a tenant: what can be one, and how much of it may be shown."""

from __future__ import annotations

_LONGEST_PREFIX = 8
_LONGEST_MESSAGE = 200


def is_key(value: object) -> bool:
    """Whether a value can stand in the header that a key is sent in.

    A key with a line break or another script cannot, and the library that finds out quotes it whole in its error.
    """
    return isinstance(value, str) and bool(value) and value.isascii() and value.isprintable() and " " not in value


def masked(key: str) -> str:
    """Enough of a key to tell it from others, and not enough to use it."""
    return f"{key[: min(_LONGEST_PREFIX, len(key) // 4)]}..."


def without_key(text: str, key: str) -> str:
    """What a server or a library said, in one line that does not show the key."""
    return " ".join(text.replace(key, "(the key)").split())[:_LONGEST_MESSAGE]
