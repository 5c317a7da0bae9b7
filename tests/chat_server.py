"""A real HTTP server on loopback that speaks the chat protocol, answers as it is told to, and counts what it is asked.

`python -m tests.chat_server [PORT]` serves until it is stopped: the commands of docs/captions.md can be tried on it.
"""

import base64
import io
import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

from datasets.captions import ASPECTS


@dataclass(frozen=True)
class Reply:
    """What goes over the wire."""

    content: str | None = None
    """The answer's text, in a chat completion; or else `body` is sent as it is."""
    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    """Seconds ahead of the reply."""
    cut: int = 0
    """Bytes that are announced and never sent."""
    finish_reason: str = "stop"
    tokens: tuple[int, int] = (900, 120)

    def encoded(self) -> bytes:
        if self.body is not None:
            return self.body
        message = {"role": "assistant", "content": self.content}
        choices = [{"index": 0, "message": message, "finish_reason": self.finish_reason}]
        sent, received = self.tokens
        usage = {"prompt_tokens": sent, "completion_tokens": received, "total_tokens": sent + received}
        return json.dumps({"object": "chat.completion", "choices": choices, "usage": usage}).encode()


def error(status: int, message: str, **headers: str) -> Reply:
    """A refusal as OpenAI's API words it."""
    body = json.dumps({"error": {"message": message, "type": "error", "code": None}}).encode()
    return Reply(status=status, body=body, headers={name.replace("_", "-"): value for name, value in headers.items()})


@dataclass
class Asked:
    """One request, as the server saw it."""

    number: int
    """1, 2, … in the order of arrival."""
    path: str
    model: str
    words: str
    image: bytes | None
    """The PNG file, or None for a question in words alone."""
    body: dict[str, Any]
    key: str | None
    at: float
    """Seconds of the monotonic clock."""

    @property
    def look(self) -> str:
        """Names the image by its pixels: (width)x(height) and mean colour."""
        assert self.image is not None
        picture = Image.open(io.BytesIO(self.image)).convert("RGB")
        return f"{picture.width}x{picture.height} {picture.resize((1, 1)).getpixel((0, 0))}"


def describing(asked: Asked) -> Reply:
    """A well-behaved model: every sentence names the image it is about; a summary says how many sentences it saw."""
    if asked.image is None:
        count = asked.words.count("\n- ") + asked.words.startswith("- ")
        return Reply(json.dumps({"summary": f"A person seen {count} times."}))
    return Reply(json.dumps({aspect: f"The {aspect} of {asked.look}." for aspect in ASPECTS}))


class Server(ThreadingHTTPServer):
    """A client that has heard enough may close its connection; that is no news for standard error."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class ChatServer:
    """Serves on a free port of 127.0.0.1 during the body of `with`; `reply` decides on each request's answer."""

    def __init__(self, reply: Callable[[Asked], Reply] = describing, port: int = 0):
        self.reply = reply
        self.asked: list[Asked] = []
        """Every request, in the order of arrival."""
        self.answered: list[Asked] = []
        """Those whose answer left in full, with status 200."""
        self._lock = threading.Lock()
        self._server = Server(("127.0.0.1", port), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def images(self) -> list[str]:
        return [asked.look for asked in self.asked if asked.image is not None]

    def __enter__(self) -> "ChatServer":
        self._thread.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Take no more connections; those that are open live on."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # header and body leave apart: each answer would take 40 ms

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with owner._lock:
                    asked = _asked(len(owner.asked) + 1, self.path, body, self.headers.get("Authorization"))
                    owner.asked.append(asked)
                reply = owner.reply(asked) if self.path == "/v1/chat/completions" else error(404, "Not Found")
                time.sleep(reply.delay)
                content = reply.encoded()
                self.send_response(reply.status)
                for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content) + reply.cut))
                self.end_headers()
                self.wfile.write(content)
                self.close_connection = bool(reply.cut)
                if reply.status == 200 and not reply.cut:
                    with owner._lock:
                        owner.answered.append(asked)

            def handle(self) -> None:
                try:
                    super().handle()
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True  # the client did not wait, as some tests want it

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                """Silent: tests look at `asked`."""

        return Handler


def _asked(number: int, path: str, body: dict[str, Any], authorization: str | None) -> Asked:
    (message,) = body["messages"]
    words = "\n".join(part["text"] for part in message["content"] if part["type"] == "text")
    pictures = [part["image_url"]["url"] for part in message["content"] if part["type"] == "image_url"]
    image = None
    if pictures:
        (url,) = pictures
        assert url.startswith("data:image/png;base64,")
        image = base64.b64decode(url.partition(",")[2], validate=True)
    key = authorization.removeprefix("Bearer ") if authorization else None
    return Asked(number, path, body["model"], words, image, body, key, time.monotonic())


if __name__ == "__main__":
    with ChatServer(port=int(sys.argv[1]) if len(sys.argv) > 1 else 8000) as running:
        print(running.endpoint, flush=True)
        threading.Event().wait()
