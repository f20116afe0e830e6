"""A chat server on a real socket whose replies a function writes, one for each request."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]


@dataclass(frozen=True)
class Scripted:
    """A reply; a body that is no text is sent as JSON."""

    body: Any
    status: int = 200
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


def chat(content: Any, n: int = 1, finish: str | None = "stop", **message: Any) -> Body:
    """The body of a good chat reply: 100 prompt tokens, and 10 a choice."""
    said = {"role": "assistant", "content": content, **message}
    choice = {"message": said, "finish_reason": finish, "logprobs": None}
    usage = {"prompt_tokens": 100, "completion_tokens": 10 * n}
    return {"id": "x", "choices": [{"index": i, **choice} for i in range(n)], "usage": usage}


def good(body: Body) -> Scripted:
    """The answer to every request: explore."""
    return Scripted(chat("Action: {explore}", body.get("n", 1)))


class ScriptedServer:
    """Serves ``/v1/models`` and ``/v1/chat/completions``; everything else is 404.

    Args:
        reply: to a chat request, from its JSON.
        models: the reply to a request for the models.
    """

    def __init__(
        self,
        reply: Callable[[Body], Scripted] = good,
        models: Scripted = Scripted({"object": "list", "data": [{"id": "m"}]}),
    ) -> None:
        self.reply, self.models = reply, models
        self.bodies: list[Body] = []  # of chat requests
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                is_known = self.path == "/v1/models"
                self._send(server.models if is_known else Scripted({"error": "?"}, 404))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if self.path != "/v1/chat/completions":
                    self._send(Scripted({"error": "no such page"}, 404))
                    return
                server.bodies.append(body)
                self._send(server.reply(body))

            def _send(self, reply: Scripted) -> None:
                body = reply.body
                text = body if isinstance(body, str | bytes) else json.dumps(body)
                data = text if isinstance(text, bytes) else text.encode()
                self.send_response(reply.status)
                self.send_header("content-type", reply.kind)
                self.send_header("content-length", str(len(data)))
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.root = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.url = f"{self.root}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
