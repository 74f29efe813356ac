"""A Grafana of which only the HTTP API for folders and dashboards is there, answering as its documentation says."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

EDITOR, VIEWER = "glsa_editor", "glsa_viewer"
Answer = tuple[int, Any]


@dataclass
class GrafanaState:
    """What it holds.

    Parameters
    ----------
    path: below which it is served.
    requests: method and path of each request, in their order.
    broken: what it answers to everything instead.
    """

    path: str = ""
    folders: dict[str, str] = field(default_factory=dict)
    boards: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    broken: tuple[int, str] | None = None
    refused: Answer | None = None
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    url: str = ""

    @property
    def writes(self) -> list[str]:
        return [request for request in self.requests if not request.startswith("GET")]

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any, token: str) -> Answer:
        if token not in (EDITOR, VIEWER):
            return 401, {"message": "Invalid API key"}
        if method == "POST" and token == VIEWER:
            return 403, {"message": "You'll need additional permissions to perform this action."}
        if (method, path) == ("GET", "/api/folders"):
            first = (int(query["page"][0]) - 1) * int(query["limit"][0])
            every = [{"uid": uid, "title": title} for uid, title in self.folders.items()]
            return 200, every[first : first + int(query["limit"][0])]
        if (method, path) == ("POST", "/api/folders"):
            return self._make_folder(body)
        if method == "GET" and path.startswith("/api/dashboards/uid/"):
            return self._board(path.rsplit("/", 1)[1])
        if (method, path) == ("POST", "/api/dashboards/db"):
            return self.refused or self._save(body)
        return 404, {"message": "Not found"}

    def _make_folder(self, body: Any) -> Answer:
        if body["title"] in self.folders.values():
            return 412, {"message": "a folder with the same name already exists in the current location"}
        uid = f"folder-{next(self.ids)}"
        self.folders[uid] = body["title"]
        return 200, {"id": next(self.ids), "uid": uid, "title": body["title"], "url": f"{self.path}/dashboards/f/{uid}"}

    def _board(self, uid: str) -> Answer:
        if uid not in self.boards:
            return 404, {"message": "Dashboard not found", "traceID": ""}
        kept = self.boards[uid]
        return 200, {"dashboard": kept["dashboard"], "meta": {"folderUid": kept["folder"], "version": 1}}

    def _save(self, body: Any) -> Answer:
        board, folder = dict(body["dashboard"]), body.get("folderUid", "")
        if folder and folder not in self.folders:
            return 400, {"message": "folder not found"}
        uid, kept = board["uid"], self.boards.get(board["uid"])
        if kept and not body.get("overwrite"):
            return 412, {"message": "The dashboard has been changed by someone else", "status": "version-mismatch"}
        board["id"] = kept["dashboard"]["id"] if kept else next(self.ids)
        board["version"] = kept["dashboard"]["version"] + 1 if kept else 1
        self.boards[uid] = {"dashboard": board, "folder": folder, "message": body.get("message")}
        return 200, {"uid": uid, "url": f"{self.path}/d/{uid}/slug", "status": "success", "version": board["version"]}


@contextmanager
def grafana_api(path: str = "") -> Iterator[GrafanaState]:
    """Serve it on loopback, while the block runs."""
    state = GrafanaState(path)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply("GET", None)

        def do_POST(self) -> None:
            self._reply("POST", json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def log_message(self, *_: object) -> None:
            pass

        def _reply(self, method: str, body: Any) -> None:
            asked = urlsplit(self.path)
            state.requests.append(f"{method} {asked.path}")
            if state.broken:
                self._send(*state.broken, "text/html")
            elif not asked.path.startswith(state.path + "/"):
                self._send(404, "<html>nothing here</html>", "text/html")
            else:
                token = self.headers.get("Authorization", "").removeprefix("Bearer ")
                below = asked.path.removeprefix(state.path)
                status, answer = state.answer(method, below, parse_qs(asked.query), body, token)
                self._send(status, json.dumps(answer), "application/json")

        def _send(self, status: int, text: str, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(text.encode())

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_port}{path}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
