"""The six states of SimpleDoorKey, as the environment gives them, and a small chat server."""

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

import pytest
from asking import Make
from bad_server import BadServer
from scripted_server import ScriptedServer

from llm4teach.envs.plan import parse_plan
from llm4teach.envs.task import State, state_key
from llm4teach.teacher_labeling.backends.openai import client as openai_client

_Server = TypeVar("_Server", BadServer, ScriptedServer)

SCENES = [  # sees, holds
    ("nothing", "nothing"),
    ("door", "nothing"),
    ("key", "nothing"),
    ("key, door", "nothing"),
    ("nothing", "key"),
    ("door", "key"),
]


def make_state(sees: str, holds: str) -> State:
    seen = ", ".join(f"<{thing}>" for thing in sees.split(", "))
    text = f"Agent sees {seen}, holds <{holds}>."
    plans = ["explore"]
    if "key" in sees and holds == "nothing":
        plans.append("go to key > pick up key")
    if "door" in sees:
        plans.append("go to door > open door")
    if holds == "key":
        plans.append("drop key")
    key = state_key("SimpleDoorKey", text)
    return State(key, text, tuple(parse_plan(plan) for plan in plans))


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is learned of a test's server is not kept for the next."""
    monkeypatch.setenv("LLM4TEACH_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def states() -> list[State]:
    return [make_state(*scene) for scene in SCENES]


@pytest.fixture
def unheard_of_state() -> State:
    return make_state("purple cow", "nothing")


class ChatServer:
    """A small real HTTP server that speaks just enough of the OpenAI protocol.

    ``script`` holds what to do with the next chat requests, one by one: "ok", an HTTP status,
    "html", "reset", "no choices". When it is used up, ``default`` is done.
    """

    def __init__(self) -> None:
        self.script: list[str | int] = []
        self.default: str | int = "ok"
        self.reply = "1. Seen.\n2. Done.\n3. Action: {go to <key>, pick up <key>}"
        self.replies: list[str] = []  # taken first, one a choice
        self.raw = ""  # if set, the body of every good chat reply
        self.ignore_n = False
        self.models = ["test-model"]
        self.key = ""
        self.headers: dict[str, str] = {}  # sent with every error
        self.requests: list[dict[str, Any]] = []
        self.delay_s = 0.0  # before each chat reply
        self.poison = ""  # a request with this in its last message fails for ever
        self.poisoned: str | int = 500  # in this way
        self._lock = threading.Lock()
        chat_server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if chat_server.key and not self._knows_key():
                    self._send(401, {"error": {"message": "who are you?"}})
                elif self.path == "/v1/models":
                    self._send(200, {"data": [{"id": name} for name in chat_server.models]})
                else:
                    self._send(404, {"error": "no such page"})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with chat_server._lock:
                    chat_server.requests.append(body)
                    script = chat_server.script
                    act = script.pop(0) if script else chat_server.default
                if chat_server.key and not self._knows_key():
                    act = 401
                time.sleep(chat_server.delay_s)
                if chat_server.poison and chat_server.poison in body["messages"][-1]["content"]:
                    act = chat_server.poisoned
                if act == "reset":
                    linger = struct.pack("ii", 1, 0)  # close with RST
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self.close_connection = True
                    self.connection.close()
                elif act == "html":
                    self._send(200, "<html>Welcome to your router</html>")
                elif act == "no choices":
                    self._send(200, {"choices": []})
                elif isinstance(act, int):
                    echo = self.headers.get("authorization", "")
                    self._send(act, {"error": {"message": f"no: {echo}"}}, chat_server.headers)
                elif chat_server.raw:
                    self._send(200, chat_server.raw)
                else:
                    n = 1 if chat_server.ignore_n else body["n"]
                    texts = [chat_server._next_reply() for _ in range(n)]
                    choices = [{"message": {"role": "assistant", "content": t}} for t in texts]
                    usage = {"prompt_tokens": 100, "completion_tokens": 10 * n}
                    self._send(200, {"choices": choices, "usage": usage})

            def _knows_key(self) -> bool:
                return self.headers.get("authorization") == f"Bearer {chat_server.key}"

            def _send(
                self, status: int, content: Any, headers: dict[str, str] | None = None
            ) -> None:
                data = (content if isinstance(content, str) else json.dumps(content)).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def _next_reply(self) -> str:
        with self._lock:
            return self.replies.pop(0) if self.replies else self.reply

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key and no proxy of the machine's, and short waits before a question is sent again."""
    for variable in ("LLM4TEACH_API_KEY", "OPENAI_API_KEY", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(openai_client, "FIRST_WAIT_S", 0.01)


@pytest.fixture
def chat_server(direct: None) -> Iterator[ChatServer]:
    server = ChatServer()
    yield server
    server.close()


@pytest.fixture
def serve(direct: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.setattr(openai_client, "RESTS_S", (0.05, 0.1, 0.2, 0.4))
    yield from _serving(BadServer)


@pytest.fixture
def serve_scripted(direct: None) -> Iterator[Callable[..., ScriptedServer]]:
    yield from _serving(ScriptedServer)


def _serving(kind: Callable[..., _Server]) -> Iterator[Callable[..., _Server]]:
    """Yield what starts servers, and end those that it has started."""
    made: list[_Server] = []

    def serve(*arguments: Any, **settings: Any) -> _Server:
        made.append(kind(*arguments, **settings))
        return made[-1]

    yield serve
    for server in made:
        server.close()
