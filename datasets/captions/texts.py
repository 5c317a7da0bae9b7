"""The sentences behind caption features, as files: what `caption` and `synthesize` write and `encode` reads.

    <split>_captions.json                       {"<caption key>": [six sentences]}, in the order of ASPECTS
    <split>_caption_summary_biometric.json      {"<person number>": {"text": "…"}}, DIFFER's own layout

DIFFER's release has its sentences in train_CogVLMTextDescriptions.json, whose inner layout is not known here; hence a
file of another name, which cannot be taken for that one.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..files import write_json
from .features import ASPECTS, SUMMARIES
from .journal import CaptionJournal

TEXTS = "train_captions.json"

Texts = Mapping[str, Sequence[str]]


def names(split: str) -> tuple[str, str]:
    """Names of the two files of a split."""
    return TEXTS.replace("train", split, 1), SUMMARIES.replace("train", split, 1)


def read_captions(path: Path) -> dict[str, tuple[str, ...]]:
    """Caption key → six sentences. Raises DataError for anything else."""
    content = _read(path)
    bad = [key for key, sentences in content.items() if not _six_sentences(sentences)]
    if bad or not content:
        first = f" (first wrong entry: {bad[0]})" if bad else ""
        raise DataError(f'{path} is not {{"image": [{len(ASPECTS)} sentences]}}{first}: make it with `run.py caption`.')
    return {key: tuple(sentences) for key, sentences in content.items()}


def read_summaries(path: Path) -> dict[str, str]:
    """Person number, as it stands in the file → text. Raises DataError for anything else."""
    content = _read(path)
    bad = [person for person, entry in content.items() if not (person.isdecimal() and _has_text(entry))]
    if bad or not content:
        first = f" (first wrong entry: {bad[0]})" if bad else ""
        raise DataError(f'{path} is not {{"person number": {{"text": …}}}}{first}: make it with `run.py caption`.')
    return {person: entry["text"] for person, entry in content.items()}


def check_replaceable(folder: Path, split: str, journal: CaptionJournal) -> None:
    """Raise DataError where a text file lies in `folder` that was not made from `journal`: it may be the authors'."""
    for path, read in zip((folder / name for name in names(split)), (read_captions, read_summaries), strict=True):
        if path.exists() and not journal.wrote(path.name, _digest(read(path))):
            raise DataError(
                f"{path} was not written by this verb and would be overwritten: "
                f"move it away or choose another caption_folder=DIR."
            )


def write_texts(
    folder: Path, split: str, captions: Texts, summaries: Mapping[str, str], journal: CaptionJournal
) -> tuple[Path, Path]:
    """Write both files, each at once. One that says the same already stays, with the features that `encode` added."""
    of_images, of_people = (folder / name for name in names(split))
    for path, texts, content in (
        (of_images, captions, {key: list(sentences) for key, sentences in captions.items()}),
        (of_people, summaries, {person: {"text": text} for person, text in summaries.items()}),
    ):
        read = read_captions if path == of_images else read_summaries
        if not path.exists() or _digest(read(path)) != _digest(texts):
            journal.keep_written(path.name, _digest(texts))  # first: a file without it would never be replaced
            write_json(path, content)
    return of_images, of_people


def _digest(texts: Mapping[str, Any]) -> str:
    """Of the sentences alone: features beside them do not count."""
    content = {key: value if isinstance(value, str) else list(value) for key, value in texts.items()}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        mend = "make it with `run.py caption`, or say caption_folder=DIR"
        raise DataError(f"{path} is missing: {mend}.") from None
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON ({error}): copy or make the file again.") from None
    return content if isinstance(content, dict) else {}


def _six_sentences(value: object) -> bool:
    return (
        isinstance(value, list) and len(value) == len(ASPECTS) and all(isinstance(item, str) and item for item in value)
    )


def _has_text(entry: object) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("text"), str) and bool(entry["text"].strip())
