"""The part of Grafana's HTTP API that dashboards are put into it with.

https://grafana.com/docs/grafana/latest/developers/http_api/ (dashboard and folder), the same in Grafana 11 and 12.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

import httpx

from cycles_otel.addresses import is_http_address
from cycles_otel.dashboards.files import Board
from cycles_otel.errors import InvalidParameterError

TIMEOUT = 20.0
"""Seconds that a request may take."""
_FOLDERS_AT_ONCE = 1_000

_ADVICE = {
    401: "the token is not valid: --token, or GRAFANA_TOKEN, must be that of a service account",
    403: "the token may not do that: its service account needs the role Editor",
    404: "there is no such thing: is --url the address of Grafana, its path included?",
    412: "Grafana has another dashboard or folder of that name, or a newer version of it",
}


class GrafanaError(ConnectionError):
    """Grafana did not do what it was asked; the message says what, why, and what to mend. It never has the token."""


class Grafana:
    """A Grafana, by the HTTP API; use it as a context manager.

    Parameters
    ----------
    url: its address, with the path below which it is served, if any.
    token: of a service account with the role Editor.

    Raises
    ------
    InvalidParameterError: the address or the token cannot be one.
    """

    def __init__(self, url: str, token: str) -> None:
        if not is_http_address(url):
            raise InvalidParameterError("url", url, "an address that begins with http:// or https://")
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            # Not the value: it may be a token with a blank too many.
            raise InvalidParameterError("token", "...", "the token of a service account, by --token or GRAFANA_TOKEN")
        self._url = url.rstrip("/")
        self._http = httpx.Client(
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"}, timeout=TIMEOUT
        )

    def __enter__(self) -> Grafana:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._http.close()

    def folder(self, title: str) -> str | None:
        """The uid of the top folder of this name; None where there is none.

        Raises
        ------
        GrafanaError: Grafana does not answer, or refuses.
        """
        page = 1
        while found := self._ask("GET", "/api/folders", params={"limit": _FOLDERS_AT_ONCE, "page": page}):
            for each in found:
                if each["title"] == title:
                    return str(each["uid"])
            if len(found) < _FOLDERS_AT_ONCE:
                break
            page += 1
        return None

    def create_folder(self, title: str) -> str:
        """Make a top folder, and return its uid.

        Raises
        ------
        GrafanaError: Grafana does not answer, or refuses.
        """
        return str(self._ask("POST", "/api/folders", json={"title": title})["uid"])

    def board(self, uid: str) -> tuple[Board, str] | None:
        """A dashboard and the uid of its folder, "" for none; None where there is no such dashboard.

        Raises
        ------
        GrafanaError: Grafana does not answer, or refuses.
        """
        reply = self._send("GET", f"/api/dashboards/uid/{uid}")
        if reply.status_code == 404 and _said(reply):
            return None
        found = self._read(reply)
        return found["dashboard"], str(found["meta"].get("folderUid") or "")

    def save(self, board: Board, folder: str, message: str) -> str:
        """Put a dashboard into a folder, in the place of one with its uid, and return the address to see it at.

        Raises
        ------
        GrafanaError: Grafana does not answer, or refuses.
        """
        asked = {"dashboard": {**board, "id": None}, "folderUid": folder, "overwrite": True, "message": message}
        path = str(self._ask("POST", "/api/dashboards/db", json=asked)["url"])
        # With a path of its own Grafana gives it here, too.
        origin = httpx.URL(self._url)
        return str(origin.copy_with(raw_path=path.encode())) if path.startswith(origin.path) else self._url + path

    def _ask(self, method: str, path: str, **request: Any) -> Any:
        return self._read(self._send(method, path, **request))

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            return self._http.request(method, self._url + path, **request)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise GrafanaError(f"{self._url} does not answer: {error or type(error).__name__}") from error

    def _read(self, reply: httpx.Response) -> Any:
        asked = f"{reply.request.method} {reply.request.url.copy_with(query=None)}"
        if not reply.is_success:
            said, advice = _said(reply), _ADVICE.get(reply.status_code)
            reasons = "; ".join(reason for reason in (said, advice) if reason)
            raise GrafanaError(f"{asked} was answered {reply.status_code}: {reasons or reply.reason_phrase}")
        try:
            return reply.json()
        except ValueError:
            message = f"{asked} was not answered by Grafana's API: is --url its address, and not that of a login page?"
            raise GrafanaError(message) from None


def _said(reply: httpx.Response) -> str:
    """The message of Grafana's own replies to what it refuses; "" for a reply that is not Grafana's."""
    try:
        body = reply.json()
    except ValueError:
        return ""
    return str(body.get("message", "")) if isinstance(body, dict) else ""
