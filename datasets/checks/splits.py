"""What the labels of the splits tell: counts, people on both sides, missing labels, cameras and outfits."""

from collections.abc import Iterator, Mapping
from dataclasses import fields

import numpy as np

from ..base import MARKER, Counts, IntArray, Protocol, ReIDDataset, Samples
from ..errors import DataError
from .findings import Finding, Level

CAMERAS_SHOWN = 12


def every_protocol(dataset: ReIDDataset) -> list[Protocol]:
    """Its protocols, and the one that an epoch is chosen by where that has splits of its own."""
    validation = dataset.validation()
    return [*dataset.protocols(), *([validation] if "train" not in (validation.query, validation.gallery) else [])]


def read_splits(dataset: ReIDDataset) -> tuple[dict[str, Samples], list[Finding]]:
    """Each split once, those that only protocols name too, and a finding for each that is empty or cannot be read.

    That is an error unless only conventions that are not reported today need the split.
    """
    necessary = dict.fromkeys(dataset.splits, True)
    for protocol in every_protocol(dataset):
        for name in (protocol.query, protocol.gallery):
            necessary[name] = necessary.get(name, False) or protocol.reported
    splits: dict[str, Samples] = {}
    problems: dict[str, Level] = {}
    for name, needed in necessary.items():
        level: Level = "error" if needed else "warning"
        try:
            splits[name] = dataset.split(name)
        except DataError as error:
            problems.setdefault(str(error), level)  # a derived split stumbles over the same file as what it is made of
        except OSError as error:  # a folder above it that must not be looked into
            problems.setdefault(f"{error.filename} cannot be read: {error.strerror}.", level)
        else:
            if not len(splits[name]):
                problems[f"{name} is empty: unpack the dataset's archive again."] = level
    if not splits and len(problems) > 1:  # one cause: the wrong folder
        (message, level), *_ = problems.items()
        return splits, [Finding(level, message)]
    return splits, [Finding(level, message) for message, level in problems.items()]


def check_labels(dataset: ReIDDataset, splits: Mapping[str, Samples]) -> Iterator[Finding]:
    """Counts, cameras and outfits of each split; then people who are trained on and tested."""
    try:
        expected = dataset.expected()
    except DataError as error:
        yield Finding("error", str(error))
        expected = {}
    source = "as written" if is_synthesized(dataset) else "as published"
    for name in dataset.splits:
        if name in splits:
            found, wanted = count(splits[name]), expected.get(name, Counts())
            wrong = compare_counts(dataset, name, found, wanted)
            said = [f"{number:,} {what}" for what, number in vars(found).items() if number is not None]
            known = any(number is not None for number in vars(wanted).values())
            yield Finding("ok", f"{name}: {', '.join([*said, *[source] * (known and not wrong)])}")
            yield from wrong
            yield Finding("ok", f"{name}: {camera_table(splits[name])}")
            yield from _unlabelled_clothes(name, splits[name])
    yield from shared_persons(dataset, splits)


def is_synthesized(dataset: ReIDDataset) -> bool:
    """Whether `run.py synthesize` wrote the folder: then the expected counts are what it wrote."""
    return bool(dataset.folder) and (dataset.root / MARKER).is_file()


def count(samples: Samples) -> Counts:
    """What is in `samples`; clothes and tracklets are None where they are not labelled."""
    return Counts(
        persons=len(np.unique(samples.person)),
        images=len(samples),
        clothes=_labelled(samples.clothes),
        tracklets=_labelled(samples.tracklet),
    )


def compare_counts(dataset: ReIDDataset, split: str, found: Counts, expected: Counts) -> list[Finding]:
    """A finding for each number of `dataset.expected()` that differs.

    Papers count outfits in different ways, so a published number of clothes that differs is only a warning, and so is
    any number that is quoted from memory.
    """
    findings = []
    written = is_synthesized(dataset)
    for field in fields(Counts):
        wanted, actual = getattr(expected, field.name), getattr(found, field.name)
        if wanted is not None and actual != wanted:
            source = f"{wanted:,} were written" if written else f"its authors publish {wanted:,}"
            has = f"{actual:,} {field.name}" if actual is not None else f"no labels of {field.name}"
            sure = written or (dataset.statistics_verified and field.name != "clothes")
            level: Level = "error" if sure else "warning"
            findings.append(Finding(level, f"{split} has {has}, but {source}."))
    return findings


def tested_splits(dataset: ReIDDataset, splits: Mapping[str, Samples]) -> dict[str, IntArray]:
    """Which of `dataset.splits` its protocols test on, directly or as part of a derived split: name → rows."""
    names = {name for protocol in dataset.protocols() for name in (protocol.query, protocol.gallery)}
    tested = {path for name in names if name in splits for path in splits[name].paths}
    rows = {
        name: np.flatnonzero(np.fromiter((path in tested for path in splits[name].paths), bool, len(splits[name])))
        for name in dataset.splits
        if name in splits
    }
    return {name: chosen for name, chosen in rows.items() if len(chosen)}


def shared_persons(dataset: ReIDDataset, splits: Mapping[str, Samples]) -> list[Finding]:
    """An error for each split that tests people who are also trained on."""
    if not dataset.one_numbering or "train" not in splits:
        return []
    findings = []
    for name, rows in tested_splits(dataset, splits).items():
        shared = np.intersect1d(splits["train"].person, splits[name].person[rows])
        if len(shared):
            first = ", ".join(str(person) for person in shared[:3])
            findings.append(
                Finding(
                    "error",
                    f"{len(shared):,} people are in both train and {name}, first {first}: "
                    f"unpack the dataset's archive again.",
                )
            )
    return findings


def camera_table(samples: Samples) -> str:
    """Images and outfits of each camera, as numbered in the column `camera`."""
    cameras = np.unique(samples.camera[samples.camera >= 0])
    if not len(cameras):
        return "no camera labels"
    parts = []
    for camera in cameras[:CAMERAS_SHOWN]:
        seen = samples.camera == camera
        outfits = _labelled(samples.clothes[seen])
        parts.append(f"{camera}: {int(seen.sum()):,} images" + ("" if outfits is None else f", {outfits:,} outfits"))
    if len(cameras) > CAMERAS_SHOWN:
        parts.append(f"and {len(cameras) - CAMERAS_SHOWN} more")
    if without := int((samples.camera < 0).sum()):
        parts.append(f"none: {without:,} images")
    return f"cameras {' · '.join(parts)}"


def _unlabelled_clothes(name: str, samples: Samples) -> Iterator[Finding]:
    without = np.flatnonzero(samples.clothes < 0)
    if 0 < len(without) < len(samples):
        yield Finding(
            "warning",
            f"{len(without):,} of {len(samples):,} images of {name} have no clothes label, though the others have: "
            f"first {samples.paths[without[0]]}.",
        )


def _labelled(column: IntArray | None) -> int | None:
    return None if column is None or (column < 0).all() else len(np.unique(column[column >= 0]))
