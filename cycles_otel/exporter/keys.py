"""The key of a target: a text, or a file that is read anew, and never anything that is shown."""

from __future__ import annotations

from pathlib import Path

from cycles_otel.api_key import is_key
from cycles_otel.telemetry.errors import TelemetrySetupError

_PREFIX = "cyc_"
_KEY = "a key of the Cycles server, printable ASCII without spaces"


class ApiKey:
    """A key from the environment or the configuration.

    Parameters
    ----------
    parameter: how the caller named it.

    Raises
    ------
    TelemetrySetupError: for what cannot be a key; the message does not show it.
    """

    def __init__(self, parameter: str, text: object) -> None:
        self._text = checked_key(parameter, text)

    def read(self) -> str:
        """The key as it is now."""
        return self._text


class ApiKeyFile:
    """A key in a file of its own, such as a mounted secret, which may be replaced at any time.

    Raises
    ------
    TelemetrySetupError: the file cannot be read, or holds no key.
    """

    def __init__(self, parameter: str, path: str) -> None:
        self._path = Path(path)
        try:
            self._text = checked_key(parameter, self._path.read_text(encoding="ascii").strip())
        except OSError as error:
            accepted = f"a file that can be read ({error.strerror})"
            raise TelemetrySetupError(parameter, concealed(path), accepted) from None
        except UnicodeDecodeError:
            raise TelemetrySetupError(parameter, path, "a file with " + _KEY) from None

    def read(self) -> str:
        """The key that the file holds now; the last one that it held, while it holds none."""
        try:
            self._text = checked_key("", self._path.read_text(encoding="ascii").strip())
        except (OSError, ValueError):
            # Somebody is replacing it: the next poll reads it again.
            return self._text
        return self._text


Key = ApiKey | ApiKeyFile


def checked_key(parameter: str, text: object) -> str:
    """``text`` if it can be a key."""
    if not isinstance(text, str) or not is_key(text):
        raise TelemetrySetupError(parameter, type(text), _KEY)
    return text


def concealed(value: str) -> object:
    """A value as it may be shown: of one that looks like a key, given in the wrong place, only the type."""
    return type(value) if value.startswith(_PREFIX) else value
