"""Sentences to features: the text files of a dataset through a frozen text tower, in DIFFER's layout."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from datasets.captions import ASPECTS, save_caption_features
from datasets.captions.encoders import encode_texts
from datasets.captions.features import FEATURES, SUMMARIES
from datasets.captions.texts import TEXTS, read_captions, read_summaries
from datasets.config import Strict
from datasets.errors import DataError

from ..data import Listener
from ..distribution import joined
from .folder import TextFolder, open_text_folder


class EncodeOptions(Strict):
    """What `encode` can be told, besides where the dataset lies."""

    text_model: str
    """EVA02-CLIP-B-16, EVA02-CLIP-L-14, EVA02-CLIP-bigE-14, or hashing-D, which needs no weights."""
    weights_file: Path | None = None
    """open_clip's weights of an EVA02-CLIP text tower, or of the whole model (safetensors or .pt)."""


def encode_dataset(name: str, values: Mapping[str, Any], listen: Listener) -> list[Path]:
    """Carry out `run.py encode`; the files written.

    `values`: keys of EncodeOptions, of the dataset and of the session.
    """
    place, options = open_text_folder(name, values, EncodeOptions)
    captions = read_captions(place.folder / TEXTS)
    summaries = read_summaries(place.folder / SUMMARIES)
    _compare_with_images(place, captions, summaries, listen)

    rows = [*captions.values(), *((summary,) for summary in summaries.values())]
    texts, inverse = np.unique([sentence for row in rows for sentence in row], return_inverse=True)

    def progress(done: int, total: int) -> None:
        listen({"event": "progress", "what": "encoding sentences", "done": done, "total": total})

    weights = options.weights_file and options.weights_file.expanduser()
    with joined(place.session.device) as world:
        features = encode_texts(options.text_model, texts.tolist(), weights, str(world.device), progress)
    of_images, of_people = np.split(features[inverse], [len(captions) * len(ASPECTS)])
    save_caption_features(
        place.folder,
        options.text_model,
        list(captions),
        of_images.reshape(len(captions), len(ASPECTS), -1),
        {person: (text, of_people[row]) for row, (person, text) in enumerate(summaries.items())},
    )
    return [place.folder / options.text_model / FEATURES, place.folder / SUMMARIES]


def _compare_with_images(
    place: TextFolder, captions: Mapping[str, object], summaries: Mapping[str, object], listen: Listener
) -> None:
    """Say how many training images have no text; raise DataError where the text is not this dataset's at all."""
    samples = place.dataset.split("train")
    lacking = [path for path in samples.paths if place.dataset.caption_key(path) not in captions]
    if len(lacking) == len(samples):
        raise DataError(
            f"{place.folder / TEXTS} names none of the training images of {place.dataset.name} "
            f"(first: {place.dataset.caption_key(lacking[0])}): is it another dataset's?"
        )
    people = {int(person) for person in summaries}
    alone = [person for person in np.unique(samples.person).tolist() if person not in people]
    for number, total, what in (
        (len(lacking), len(samples), "training images have no captions"),
        (len(alone), len(np.unique(samples.person)), "people have no summary"),
    ):
        if number:
            listen({"event": "warning", "message": f"{number} of {total} {what}."})
