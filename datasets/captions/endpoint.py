"""An OpenAI-compatible chat endpoint (vLLM, Ollama, llama.cpp, a hosted service): a question in, a checked answer out.

    POST {endpoint}/chat/completions  {"model": …, "temperature": 0, "messages": [{"role": "user", "content": parts}]}
    {"choices": [{"message": {"content": "…"}, "finish_reason": "stop"}], "usage": {…}}

Requests start evenly spread over each minute. What may pass is asked again: time-outs, broken connections, the states
408, 425, 429 and 5xx, and answers that cannot be used. Any other state ends the work: no question would fare better.
"""

import asyncio
import base64
import datetime
import email.utils
import io
import os
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import httpx
from pydantic import Field

from ..base import UInt8Array
from ..config import Strict
from ..errors import DataError, UsageError

T = TypeVar("T")
Parts = list[dict[str, Any]]
"""The content of a message: text and images in the order in which the model sees them."""

PASSING = frozenset({408, 425, 429})
"""States below 500 after which the same request may succeed."""
FAULTY = frozenset({400, 413, 422})
"""States that may be about the content of this one request."""
CONNECT_SECONDS = 10.0
LONGEST_BACKOFF = 60.0
LONGEST_HOLD = 600.0
"""Seconds that a server may ask for with Retry-After before the work is better taken up again later."""

_AGAIN = "start the server again, then the same command goes on"


class EndpointConfig(Strict):
    """Where the model answers, and how much is asked of it."""

    endpoint: str
    """Address up to the version, such as http://127.0.0.1:8000/v1."""
    per_minute: float = Field(default=60, gt=0)
    """Most requests started in a minute, repeated ones counted."""
    parallel: int = Field(default=4, ge=1, le=256)
    """Most requests under way at once."""
    timeout: float = Field(default=60, gt=0)
    """Seconds that a request may take from start to end."""
    retries: int = Field(default=5, ge=0)
    """How often a question is asked again."""
    backoff: float = Field(default=1, ge=0)
    """Longest pause ahead of the first repetition in seconds; it doubles each time and is shortened at random."""
    max_tokens: int | None = Field(default=1024, ge=1)
    """Longest answer; none leaves the length to the server."""
    api_key_env: str | None = None
    """Name of the environment variable that holds the key, where the endpoint wants one."""


class EndpointError(DataError):
    """The endpoint cannot be reached or does not let us in: nothing more can be asked."""


class RefusedError(EndpointError):
    """The endpoint finds fault with one request (400, 413, 422): with its image, or with every request like it."""


class UnusableAnswerError(Exception):
    """The model answered something else than was asked for; the message says what is wrong with it."""


class UnansweredError(Exception):
    """One question got no usable answer, however often it was asked; others may fare better."""


class _PassingError(Exception):
    """The server or the connection failed in a way that may pass."""

    def __init__(self, reason: str, *, hold: float | None = None, mend: str = ""):
        super().__init__(reason)
        self.hold = hold
        """Seconds that the server wants to be left alone, 0 for a while; None: this request can be repeated alone."""
        self.mend = mend
        """What to do when it lasts, where every other question would meet the same."""


class RateLimit:
    """Lets work begin at most `per_minute` times in any minute: two starts are at least 60 / per_minute s apart."""

    def __init__(
        self,
        per_minute: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ):
        self._interval = 60 / per_minute
        self._clock, self._sleep = clock, sleep
        self._next = clock()
        self._queue = asyncio.Lock()

    async def turn(self) -> None:
        """Wait for the next start, first come first served."""
        async with self._queue:
            while (wait := self._next - self._clock()) > 0:
                await self._sleep(wait)
            self._next = self._clock() + self._interval

    def hold(self, seconds: float) -> None:
        """Nothing starts for so long, not even what waits already."""
        self._next = max(self._next, self._clock() + seconds)


class ChatEndpoint:
    """A client for the body of `async with`. Raises UsageError for an address or a key variable that cannot be used."""

    def __init__(self, config: EndpointConfig):
        self.config = config
        self.in_flight: set[asyncio.Task[Any]] = set()
        """The tasks whose request is with the server."""
        self.tokens = {"prompt_tokens": 0, "completion_tokens": 0}
        """What all answers together cost, where the server says so."""
        url = _url(config.endpoint)
        self.local = url.host in ("localhost", "127.0.0.1", "::1")
        """Whether what is sent stays on this machine."""
        self.address = str(url.copy_with(username=None, password=None, query=None))
        self._url = url.copy_with(path=f"{url.path.rstrip('/')}/chat/completions")
        self._key = _key(config.api_key_env)
        self._rate = RateLimit(config.per_minute)
        self._reached = False
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=httpx.Timeout(None, connect=min(CONNECT_SECONDS, config.timeout)),  # `timeout` counts from outside
            limits=httpx.Limits(max_connections=config.parallel, max_keepalive_connections=config.parallel),
            trust_env=not self.local,  # a proxy would look for this machine's own address on its side
        )

    async def __aenter__(self) -> "ChatEndpoint":
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *reason: Any) -> None:
        await self._client.__aexit__(*reason)

    async def ask(self, model: str, question: Parts, read: Callable[[str], T]) -> T:
        """What `read` makes of the model's answer. `read` raises UnusableAnswerError where it can make nothing of it.

        Raises UnansweredError when all attempts are used up, RefusedError where the endpoint finds fault with this
        question, and another EndpointError where it is no use to go on asking.
        """
        parts, reason, mend = question, "", ""
        for attempt in range(self.config.retries + 1):
            pause = min(LONGEST_BACKOFF, self.config.backoff * 2**attempt) * random.uniform(0.5, 1)
            try:
                return read(await self._answer(model, parts))
            except UnusableAnswerError as error:
                reason, mend = str(error), ""
                # At temperature 0 the same words would get the same answer.
                parts = [*question, text(f"Your last answer could not be used: {error}. Answer as asked above.")]
            except _PassingError as error:
                reason, mend = str(error), error.mend
                if error.hold is not None:
                    self._rate.hold(error.hold or pause)
                    continue
            if attempt < self.config.retries:
                await asyncio.sleep(pause)
        attempts = f"{self.config.retries + 1} times in a row" if self.config.retries else "once, with retries=0"
        if mend:
            raise EndpointError(f"{self.address}: {reason}, {attempts}; {mend}.")
        raise UnansweredError(f"{reason}, {attempts}")

    async def _answer(self, model: str, parts: Parts) -> str:
        """The text of one answer."""
        body = {"model": model, "temperature": 0, "messages": [{"role": "user", "content": parts}]}
        if self.config.max_tokens is not None:
            body["max_tokens"] = self.config.max_tokens
        await self._rate.turn()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        self.in_flight.add(task)
        try:
            async with asyncio.timeout(self.config.timeout):
                response = await self._client.post(self._url, json=body)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            if not self._reached:
                raise EndpointError(
                    f"No connection to {self.address} ({_said(error)}): start the server, or correct endpoint=."
                ) from None
            raise _PassingError(f"the connection failed ({_said(error)})", mend=_AGAIN) from None
        except TimeoutError:
            raise _PassingError(f"no answer within {self.config.timeout:g} s") from None
        except httpx.RequestError as error:
            raise _PassingError(f"the connection broke ({_said(error)})") from None
        finally:
            self.in_flight.discard(task)
        self._reached = True
        self._check_state(response)
        return self._content(response)

    def _check_state(self, response: httpx.Response) -> None:
        state = f"{response.status_code} {response.reason_phrase}".strip()
        if response.is_success:
            return
        message = self._message(response)
        if response.status_code not in PASSING and response.status_code < 500:
            kind = RefusedError if response.status_code in FAULTY else EndpointError
            raise kind(f"{self.address} answered {state}: {message}{_mend(response.status_code)}")
        reason = f"the server answered {state} ({message})"
        wait = _retry_after(response)
        if wait is not None and wait > LONGEST_HOLD:
            raise EndpointError(
                f"{self.address} answered {state} and wants to be left alone for {wait:.0f} s: "
                f"give the same command again after that."
            )
        if response.status_code == 429:
            raise _PassingError(reason, hold=wait or 0, mend="ask less often with a smaller per_minute=")
        raise _PassingError(reason, hold=wait)

    def _content(self, response: httpx.Response) -> str:
        try:
            body = response.json()
            usage = body.get("usage") or {}
            for name in self.tokens:
                self.tokens[name] += int(usage.get(name) or 0)
            choice = body["choices"][0]
            content = choice["message"]["content"]
        except (ValueError, LookupError, TypeError, AttributeError):
            raise UnusableAnswerError(f"the response is not a chat completion ({self._message(response)})") from None
        if isinstance(content, list):  # some servers answer in parts, too
            content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
        if not isinstance(content, str) or not content.strip():
            raise UnusableAnswerError("the answer is empty")
        if choice.get("finish_reason") == "length":
            raise UnusableAnswerError("the answer was cut off at max_tokens, be brief")
        return content

    def _message(self, response: httpx.Response) -> str:
        """What the server says about an error, on one printable line."""
        try:
            said = response.json()
            for name in ("error", "message", "detail"):
                said = said.get(name, said) if isinstance(said, dict) else said
        except ValueError:
            said = response.text
        line = "".join(letter if letter.isprintable() else " " for letter in str(said))
        if self._key:  # some servers repeat it
            line = line.replace(self._key, "…")
        return " ".join(line.split())[:300].rstrip(".") or "no message"


def text(words: str) -> dict[str, Any]:
    """A part of a question."""
    return {"type": "text", "text": words}


def image(pixels: UInt8Array) -> dict[str, Any]:
    """A part of a question: [H, W, 3] RGB, without loss, as a data URL."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="png")
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}


def _url(endpoint: str) -> httpx.URL:
    try:
        url = httpx.URL(endpoint)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise UsageError(
            f"endpoint={endpoint} is not an address: write it up to the version, http://127.0.0.1:8000/v1."
        )
    return url.copy_with(path=url.path.rstrip("/").removesuffix("/chat/completions"), fragment=None)


def _key(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UsageError(f"api_key_env={variable}: there is no such environment variable, or it is empty.")
    if not key.isascii() or not key.isprintable():
        raise UsageError(f"api_key_env={variable}: its value is not a key that a request can carry.")
    return key


def _said(error: BaseException) -> str:
    """The first cause: httpx and what lies below it wrap the operating system's words."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else cause
    number = error.errno if isinstance(error, OSError) else None
    reason = os.strerror(number) if number is not None and number > 0 else str(error)
    return " ".join(reason.split()) or type(error).__name__


def _mend(state: int) -> str:
    if state in (401, 403):
        return "; name the variable that holds a valid key with api_key_env=VARIABLE."
    if state == 404:
        return "; endpoint= should end at the version, as in http://127.0.0.1:8000/v1, and model= name a served model."
    return "."


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds of the header Retry-After, which holds seconds or a date; None without one that can be read."""
    value = response.headers.get("Retry-After", "").strip()
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        date = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=datetime.UTC)
    return max(0.0, (date - datetime.datetime.now(datetime.UTC)).total_seconds())
