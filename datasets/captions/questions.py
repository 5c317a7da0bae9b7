"""What a vision-language model is asked about the images of a dataset, and how its answers are read.

One question per image asks for the six aspects of DIFFER's captions; one per person asks what the biometric sentences
of all images agree on. DIFFER does not publish its wording (`docs/captions.md`); this one asks for what can be seen,
and not to name or recognise anybody.
"""

import hashlib
import json
from collections.abc import Sequence
from functools import partial

import numpy as np

from ..base import UInt8Array
from .endpoint import Parts, UnusableAnswerError, image, text
from .features import ASPECTS

SENTENCES_PER_SUMMARY = 50
"""Most sentences that one summary is made from, about 2,000 tokens: they fit into the 4,096 of a small local server."""
LONGEST_ANSWER = 50_000
"""Letters; what is longer was asked of something that is no language model."""

_TOPICS = {
    "biometrics": (
        "what lasts about the body: apparent sex and age group, height, build, proportions, skin tone, glasses. "
        "No hair, no clothing"
    ),
    "hairstyle": "length, colour and cut of the hair, beard, and what covers the hair",
    "clothing": "each visible garment with its colour and pattern, shoes, headwear",
    "pose": "posture, what the body is doing, and from which side it is seen",
    "interaction": "what the person carries, holds or uses, and who is with them; say so when there is nothing",
    "environment": "the place, the light, and from how high the picture was taken",
}
assert tuple(_TOPICS) == ASPECTS  # noqa: S101

IMAGE_QUESTION = f"""\
The image shows one person in front of a camera. Describe what can be seen of the following {len(ASPECTS)} aspects, \
each in one plain English sentence of at most 30 words:
{"".join(f"- {aspect}: {topic}.{chr(10)}" for aspect, topic in _TOPICS.items())}\
Do not name or identify the person and do not guess who it is. Where something cannot be seen, say that it cannot.
Answer with one JSON object and nothing else, with exactly these keys, each a string:
{json.dumps(dict.fromkeys(ASPECTS, "…"), ensure_ascii=False)}"""

SUMMARY_QUESTION = """\
The sentences below describe the body of one and the same person in different images, some of them wrongly. Write one \
English sentence of at most 40 words about what most of them agree on: apparent sex and age group, height, build, \
proportions, skin tone, glasses. Leave out clothing, hairstyle, pose and place, and whatever only few of them say. Do \
not name or identify the person.
Answer with one JSON object and nothing else: {"summary": "…"}

"""


def version(*questions: str) -> str:
    """Changes with any word of the questions, so that answers to other words are not taken for answers to these."""
    return hashlib.sha256("\0".join(questions).encode()).hexdigest()[:8]


IMAGE_VERSION = version(IMAGE_QUESTION)


def image_question(pixels: UInt8Array) -> Parts:
    """Asks for the six aspects of an image [H, W, 3]."""
    return [image(pixels), text(IMAGE_QUESTION)]


def summary_question(sentences: Sequence[str]) -> str:
    """Asks what the biometric sentences of a person agree on; of very many, as many as fit, evenly spread.

    A sentence that stands there twice counts twice.
    """
    rows = np.linspace(0, len(sentences) - 1, min(len(sentences), SENTENCES_PER_SUMMARY)).round().astype(int).tolist()
    return SUMMARY_QUESTION + "".join(f"- {sentences[row]}\n" for row in rows)


def read_object(answer: str, *, keys: Sequence[str]) -> tuple[str, ...]:
    """The sentences under `keys` of the last JSON object in `answer`.

    Fences and text around it do not matter, nor do capitals in keys, other keys, and line breaks in a sentence. Raises
    UnusableAnswerError where there is no such object, or a key lacks or has no sentence.
    """
    if len(answer) > LONGEST_ANSWER:
        raise UnusableAnswerError(f"it is {len(answer)} letters long")
    found = [value for value in _objects(answer) if any(_plain(key) in keys for key in value)]
    if not found:
        raise UnusableAnswerError(f"it holds no JSON object with the key{'s' * (len(keys) > 1)} {', '.join(keys)}")
    values = {_plain(key): value for key, value in found[-1].items()}
    sentences = []
    for key in keys:
        if key not in values:
            raise UnusableAnswerError(f'the key "{key}" is missing')
        value = values[key]
        sentence = " ".join(value.encode(errors="replace").decode().split()) if isinstance(value, str) else ""
        if not any(letter.isalnum() for letter in sentence):
            raise UnusableAnswerError(f'the key "{key}" holds no sentence')
        sentences.append(sentence)
    return tuple(sentences)


read_description = partial(read_object, keys=ASPECTS)
read_summary = partial(read_object, keys=("summary",))


def _plain(key: str) -> str:
    return key.strip().lower()


def _objects(answer: str) -> list[dict[str, object]]:
    """The JSON objects that stand in a text, inner ones not counted."""
    decoder, found, start = json.JSONDecoder(strict=False), [], answer.find("{")
    while start >= 0:
        try:
            value, end = decoder.raw_decode(answer, start)
        except RecursionError:  # thousands of brackets: not an answer, and each start would take as long
            break
        except ValueError:
            end = start + 1
        else:
            found.append(value)
        start = answer.find("{", end)
    return found
