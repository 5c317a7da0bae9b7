"""Many questions to one endpoint at once: answers are kept as they come, a signal or hopelessness ends it cleanly."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from datasets.captions.endpoint import ChatEndpoint, EndpointError, Parts, RefusedError, UnansweredError

from ..interruption import Interruption, StoppedError

HOPELESS = 20
"""Questions in a row without a usable answer after which the model or the server is taken to be at fault."""
GRACE = 10.0
"""Seconds that requests under way get to come back after a signal; a second signal does not wait."""
_POLL = 0.1

Answer = tuple[str, ...]


@dataclass(frozen=True)
class Question:
    """Something to ask the model."""

    key: str
    """Of the image or the person it is about."""
    parts: Callable[[], Parts]
    """Made when its turn comes, in a thread: images are decoded here."""
    read: Callable[[str], Answer]
    """Checks an answer; raises UnusableAnswerError."""


@dataclass(frozen=True)
class Listeners:
    """Each is called in the order of the answers, in one thread."""

    answered: Callable[[str, Answer], None]
    """With the question's key."""
    failed: Callable[[str, str], None]
    """With the question's key and the reason: no usable answer after all retries."""
    drop_refused: bool = False
    """Whether a question that the endpoint refuses is one that failed, and not the end of the work."""


async def ask_all(
    endpoint: ChatEndpoint, model: str, questions: Sequence[Question], listen: Listeners, interruption: Interruption
) -> None:
    """Ask every question, as many at once as the endpoint's configuration says.

    Raises EndpointError where it is no use to go on, and StoppedError after a signal: what waits is dropped, what the
    server is working on may still come back.
    """
    pending = iter(questions)
    failures_in_a_row = 0

    async def work() -> None:
        nonlocal failures_in_a_row
        for question in pending:
            if interruption.requested:
                return
            parts = await asyncio.to_thread(question.parts)
            try:
                answer = await endpoint.ask(model, parts, question.read)
            except (UnansweredError, RefusedError) as error:
                if isinstance(error, RefusedError) and not listen.drop_refused:
                    raise EndpointError(f"{question.key}: {error} missing=drop goes on without it.") from None
                listen.failed(question.key, str(error).rstrip("."))
                failures_in_a_row += 1
                if failures_in_a_row == HOPELESS:
                    raise EndpointError(
                        f"{endpoint.address}: no usable answer to {HOPELESS} questions in a row (the last: {error}); "
                        f"look at the server and at model={model}, then the same command goes on."
                    ) from None
            else:
                failures_in_a_row = 0
                listen.answered(question.key, answer)

    tasks = {asyncio.create_task(work()) for _ in range(min(endpoint.config.parallel, len(questions)))}
    try:
        while tasks:
            done, tasks = await asyncio.wait(tasks, timeout=_POLL, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
            if interruption.requested:
                await _let_finish(endpoint, tasks)
                raise StoppedError(f"Stopped by {interruption.requested}: the same command goes on where it stopped.")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _let_finish(endpoint: ChatEndpoint, tasks: set[asyncio.Task[None]]) -> None:
    """Wait for the requests that are with the server; end what waits for its turn or to ask again."""
    deadline = asyncio.get_running_loop().time() + GRACE
    while tasks and asyncio.get_running_loop().time() < deadline:
        for task in tasks - endpoint.in_flight:
            task.cancel()
        _, tasks = await asyncio.wait(tasks, timeout=_POLL)
