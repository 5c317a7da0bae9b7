"""DIFFER's text for any dataset: a vision-language model describes the training images and sums up each person.

    images ─► six sentences each ─► one summary per person ─► train_captions.json, train_caption_summary_biometric.json

Every answer goes into the caption folder's journal at once; the files are written when all are there. The same command
again asks only what has no answer yet.
"""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from datasets.base import ReIDDataset, Samples
from datasets.captions import ASPECTS
from datasets.captions.endpoint import ChatEndpoint, EndpointConfig, text
from datasets.captions.journal import CaptionJournal
from datasets.captions.questions import (
    IMAGE_VERSION,
    image_question,
    read_description,
    read_summary,
    summary_question,
    version,
)
from datasets.captions.texts import check_replaceable, write_texts
from datasets.errors import DataError

from ..data import Listener
from ..interruption import Interruption
from .asking import Answer, Listeners, Question, ask_all
from .folder import open_text_folder

EXAMPLES = 3
"""Images whose sentences a trial with limit=N shows."""


class CaptionOptions(EndpointConfig):
    """What `caption` can be told, besides where the dataset lies."""

    model: str
    """Vision-language model, under the name by which the endpoint knows it."""
    summary_model: str | None = None
    """Model that sums up each person; the vision-language model when not given."""
    split: str = "train"
    """Which images; methods read the text of train only."""
    limit: int | None = Field(default=None, ge=1)
    """A trial: describe only the first so many images, show some, and write no files but the journal."""
    missing: Literal["error", "drop"] = "error"
    """What to do about images without a usable answer: write no files yet, or write them without these images. An image
    that the endpoint refuses ends the work, or is left out."""


@dataclass
class _Captioning:
    options: CaptionOptions
    dataset: ReIDDataset
    samples: Samples
    endpoint: ChatEndpoint
    journal: CaptionJournal
    listen: Listener
    interruption: Interruption

    async def ask(
        self, kind: Literal["image", "person"], model: str, versions: Mapping[str, str], questions: list[Question]
    ) -> tuple[dict[str, Answer], dict[str, str]]:
        """Answers by key, those of earlier runs too, and the reasons of the questions that got none.

        `versions`: of the wording of each key's question.
        """
        what = {"image": f"describing {self.options.split}", "person": "summing up people"}[kind]
        split, total = self.options.split, len(questions)
        of = {key: (kind, split, key, model, versions[key]) for key in versions}
        stored = {key: self.journal.answer(*question) for key, question in of.items()}
        answers = {key: answer for key, answer in stored.items() if answer is not None}
        reasons: dict[str, str] = {}

        def show() -> None:
            done = len(answers) + len(reasons)
            self.listen({"event": "progress", "what": what, "done": done, "total": total})

        def answered(key: str, answer: Answer) -> None:
            self.journal.keep(*of[key], answer)
            answers[key] = answer
            show()

        def failed(key: str, reason: str) -> None:
            self.journal.keep_failure(kind, split, key, model, reason)
            reasons[key] = reason
            show()

        left = [question for question in questions if question.key not in answers]
        if left:
            self.note(_plan(what, len(left), total, model, self.options.per_minute))
            listeners = Listeners(answered, failed, drop_refused=self.options.missing == "drop")
            await ask_all(self.endpoint, model, left, listeners, self.interruption)
        return {key: answers[key] for key in versions if key in answers}, reasons

    async def describe(self) -> tuple[dict[str, Answer], dict[str, str]]:
        """Six sentences per caption key."""
        questions = [
            Question(self.dataset.caption_key(path), partial(self._image_parts, path), read_description)
            for path in self.samples.paths
        ]
        versions = {question.key: IMAGE_VERSION for question in questions}
        return await self.ask("image", self.options.model, versions, questions)

    def _image_parts(self, path: str) -> list[dict[str, Any]]:
        return image_question(self.dataset.read_image(path))

    async def sum_up(self, captions: Mapping[str, Answer]) -> tuple[dict[str, Answer], dict[str, str]]:
        """One sentence per person, as a decimal number, of all biometric sentences about them."""
        keys = np.array([self.dataset.caption_key(path) for path in self.samples.paths], dtype=object)
        words: dict[str, str] = {}
        for person in np.unique(self.samples.person).tolist():
            described = [key for key in keys[self.samples.person == person] if key in captions]
            if described:
                sentences = [captions[key][ASPECTS.index("biometrics")] for key in described]
                words[str(person)] = summary_question(sentences)
        questions = [Question(person, partial(_text_parts, asked), read_summary) for person, asked in words.items()]
        versions = {person: version(asked) for person, asked in words.items()}  # other sentences, another summary
        return await self.ask("person", self.options.summary_model or self.options.model, versions, questions)

    def note(self, message: str) -> None:
        self.listen({"event": "note", "message": message})

    async def run(self) -> list[Path]:
        """The files written. Raises DataError, when all else is done, where questions got no usable answer."""
        async with self.endpoint:
            try:
                captions, unanswered = await self.describe()
                if self.options.limit is not None:
                    self._show_examples(captions)
                self._settle(unanswered, len(self.samples), "images", captions)
                if self.options.limit is not None:
                    return [self.journal.path]
                summaries, unanswered = await self.sum_up(captions)
                self._settle(unanswered, len(summaries) + len(unanswered), "people", summaries)
            finally:
                if any(self.endpoint.tokens.values()):
                    sent, received = self.endpoint.tokens.values()
                    self.note(f"The server counted {sent:,} tokens of questions and {received:,} of answers.")
        sentences = {person: answer[0] for person, answer in summaries.items()}
        folder = self.journal.path.parent
        return list(write_texts(folder, self.options.split, captions, sentences, self.journal))

    def _settle(self, unanswered: Mapping[str, str], total: int, what: str, answers: Mapping[str, Answer]) -> None:
        """Go on only with all answers, or with some where the others may be dropped."""
        if not unanswered:
            return
        first, reason = next(iter(unanswered.items()))
        sentence = f"{len(unanswered)} of {total} {what} got no usable answer (first {first}: {reason})"
        if self.options.missing == "error" or not answers:
            raise DataError(f"{sentence}: the same command asks again for these, and missing=drop leaves them out.")
        self.note(f"{sentence}: left out.")

    def _show_examples(self, captions: Mapping[str, Answer]) -> None:
        for key, sentences in list(captions.items())[:EXAMPLES]:
            self.note(key)
            for aspect, sentence in zip(ASPECTS, sentences, strict=True):
                self.note(f"  {aspect}: {sentence}")


def caption_dataset(name: str, values: Mapping[str, Any], listen: Listener) -> list[Path]:
    """Carry out `run.py caption`; the files written.

    `values`: keys of CaptionOptions, of the dataset and of the session. `listen` hears progress and notes. Raises
    UsageError or DataError before anything is asked where the folder or an option is wrong.
    """
    place, options = open_text_folder(name, values, CaptionOptions)
    samples = place.dataset.split(options.split)
    _refuse_repeated_keys(place.dataset, samples)
    if options.limit is not None:
        samples = samples.take(range(min(options.limit, len(samples))))
    endpoint, interruption = ChatEndpoint(options), Interruption()
    with CaptionJournal(place.folder) as journal:
        if options.limit is None:
            check_replaceable(place.folder, options.split, journal)
        work = _Captioning(options, place.dataset, samples, endpoint, journal, listen, interruption)
        if not endpoint.local:
            terms = place.dataset.terms or "none are known here, so ask its authors."
            listen(
                {
                    "event": "warning",
                    "message": f"images are sent to {endpoint.address}. Terms of {place.dataset.title}: {terms}",
                }
            )
        with interruption.listening(), interruption.deferred():
            return asyncio.run(work.run())


def _refuse_repeated_keys(dataset: ReIDDataset, samples: Samples) -> None:
    keys = {dataset.caption_key(path) for path in samples.paths}
    if len(keys) != len(samples):
        raise DataError(
            f"{len(samples) - len(keys)} images of {dataset.name} share their name in caption files with another: "
            f"caption_key of its adapter has to tell them apart."
        )


def _text_parts(words: str) -> list[dict[str, Any]]:
    return [text(words)]


def _plan(what: str, left: int, total: int, model: str, per_minute: float) -> str:
    duration = str(timedelta(seconds=math.ceil(60 * left / per_minute)))
    return f"{what}: {left:,} of {total:,} to ask {model}, {per_minute:g} a minute: at least {duration}"
