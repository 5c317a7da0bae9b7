"""Is a dataset's folder what its authors released? Counts, readable files, identities apart."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from .base import Counts, IntArray, ReIDDataset, Samples
from .errors import DataError


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be, as a sentence."""

    level: Literal["error", "warning"]
    """error: results would be wrong or the run would stop; warning: results may not be comparable."""
    message: str


def check(dataset: ReIDDataset, *, deep: bool = False) -> list[Finding]:
    """Everything found wrong with the files; empty when all is well.

    Opens every image's header; `deep` decodes every image, which takes minutes. A split that cannot be read at all is
    a finding too, and the others are still checked.
    """
    findings: list[Finding] = []
    found: dict[str, Samples] = {}
    for name in dataset.splits:
        try:
            found[name] = dataset.split(name)
        except DataError as error:
            findings.append(Finding("error", str(error)))
    for name, samples in found.items():
        findings += compare_counts(name, count(samples), dataset.statistics.get(name, Counts()))
        findings += unreadable_images(dataset, samples, deep=deep)
    return findings + shared_persons(dataset, found)


def count(samples: Samples) -> Counts:
    """What is in `samples`; clothes and tracklets are None where they are not labelled."""
    return Counts(
        persons=len(np.unique(samples.person)),
        images=len(samples),
        clothes=_labelled(samples.clothes),
        tracklets=_labelled(samples.tracklet),
    )


def compare_counts(split: str, found: Counts, published: Counts) -> list[Finding]:
    """A finding for each published number that differs from the one found."""
    return [
        Finding("warning", f"{split} has {actual} {field.name}, but its authors publish {expected}.")
        for field in fields(Counts)
        if (expected := getattr(published, field.name)) is not None
        and (actual := getattr(found, field.name)) != expected
    ]


def unreadable_images(dataset: ReIDDataset, samples: Samples, *, deep: bool = False) -> list[Finding]:
    """A finding for each image whose header (`deep`: whose pixels) cannot be read. Rendered images have no header."""
    findings = []
    for path in samples.paths:
        try:
            if deep:
                dataset.read_image(path)
            elif dataset.folder:
                _read_header(dataset.root / path)
        except DataError as error:
            findings.append(Finding("error", str(error)))
    return findings


def shared_persons(dataset: ReIDDataset, splits: dict[str, Samples]) -> list[Finding]:
    """A finding for each test split whose people are also trained on; test splits are those that protocols name."""
    tested = dict.fromkeys(split for protocol in dataset.protocols() for split in (protocol.query, protocol.gallery))
    findings = []
    for name in tested:
        if name in splits and name != "train" and "train" in splits:
            shared = np.intersect1d(splits["train"].person, splits[name].person)
            if len(shared):
                findings.append(
                    Finding("error", f"{len(shared)} people are in both train and {name}, first {_first(shared)}.")
                )
    return findings


def _labelled(column: IntArray | None) -> int | None:
    return None if column is None or (column < 0).all() else len(np.unique(column[column >= 0]))


def _first(values: Iterable[int]) -> str:
    return ", ".join(str(value) for value in list(values)[:3])


def _read_header(path: Path) -> None:
    try:
        with Image.open(path):
            pass
    except OSError as error:  # PIL's own errors are among them
        raise DataError(f"{path} is not a readable image ({error}): copy the file again from the archive.") from None
