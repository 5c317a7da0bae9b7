"""Do the caption files cover the training images, and their summaries the training people?"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..base import ReIDDataset, Samples
from ..captions import CaptionConfig, caption_features
from ..captions.features import FEATURES, SUMMARIES
from ..errors import DataError
from .findings import Finding


def check_captions(dataset: ReIDDataset, train: Samples, folder: Path | None) -> Iterator[Finding]:
    """Coverage of the files of each text model in `folder`, read as training reads them. None is fine unless named."""
    if dataset.caption_texts(train.take([0])) is not None:
        yield Finding("ok", f"captions: {dataset.name} describes its images itself")
        return
    stored = [] if folder is None else sorted(path.parent.name for path in folder.glob(f"*/{FEATURES}"))
    if folder is None or not stored:
        usual = folder in (None, dataset.beside / "captions" / dataset.folder)
        mend = "" if usual else ": name the right folder with caption_folder=DIR"
        where = "" if folder is None else f", {folder}/*/{FEATURES} is not there"
        yield Finding("ok" if usual else "error", f"captions: none{where}{mend}")
        return
    for text_model in stored:
        config, file = CaptionConfig(text_model=text_model, missing="drop"), folder / text_model / FEATURES
        try:
            found = caption_features(dataset, train, config, folder)
        except DataError as error:
            yield Finding("error", str(error))
            continue
        _, aspects, width = found.features.shape
        said = f"{text_model} {len(found.rows):,} of {len(train):,} images of train, {aspects} × {width} numbers each"
        yield Finding("ok", f"captions: {said}")
        if len(missing := np.setdiff1d(np.arange(len(train)), found.rows)):
            yield Finding(
                "error",
                f"Training images without a caption in {file}: {len(missing):,}, first {train.paths[missing[0]]}: "
                f"complete the file, or train without them (captions.missing=drop).",
            )
    if (folder / SUMMARIES).is_file():
        yield _summaries(folder / SUMMARIES, train)


def _summaries(file: Path, train: Samples) -> Finding:
    """Only captions.summary=true needs them: what is missing is a warning."""
    people = np.unique(train.person).tolist()
    try:
        known = {int(person) for person in json.loads(file.read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError) as error:
        return Finding("error", f"{file} cannot be read ({error}): copy the file again.")
    missing = [person for person in people if person not in known]
    said = f"identity summaries: {len(people) - len(missing):,} of {len(people):,} people of train"
    if not missing:
        return Finding("ok", said)
    return Finding("warning", f"{said}, first without one {missing[0]}: captions.summary=true needs them all.")
