"""Is a dataset's folder what its authors distribute, and does every protocol find something to ask?"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from datasets.base import Protocol, ReIDDataset
from datasets.checks import check, count
from datasets.errors import DataError

from .data import open_dataset
from .protocols import ignored
from .resolve import resolve_dataset

FEWEST_ASKABLE = 0.5
"""Share of queries with a valid match under which a protocol is worth a warning."""


def check_dataset(name: str, values: Mapping[str, Any], *, deep: bool) -> Iterator[tuple[str, str]]:
    """(level, sentence) for each thing worth saying; levels are ok, warning, error.

    `values`: keys of the dataset and of the session.
    """
    dataset_config, session = resolve_dataset(name, values)
    dataset = open_dataset(dataset_config, session)
    for split in dataset.splits:
        yield from _describe(dataset, split)
    findings = check(dataset, deep=deep)
    yield from ((finding.level, finding.message) for finding in findings)
    if not any(finding.level == "error" for finding in findings):
        for protocol in dataset.protocols():
            yield from _askable(dataset, protocol)
        every = [dataset.split(split) for split in dataset.splits]
        yield "ok", f"fingerprint {' '.join(dataset.fingerprint(samples)[:12] for samples in every)}"


def _describe(dataset: ReIDDataset, split: str) -> Iterator[tuple[str, str]]:
    try:
        found = count(dataset.split(split))
    except DataError:
        return  # `check` reports it
    said = ", ".join(f"{number:,} {what}" for what, number in vars(found).items() if number is not None)
    yield "ok", f"{split}: {said}"


def _askable(dataset: ReIDDataset, protocol: Protocol) -> Iterator[tuple[str, str]]:
    """How many queries have a valid match: a person's images in the gallery that the protocol does not ignore."""
    query, gallery = dataset.split(protocol.query), dataset.split(protocol.gallery)
    askable = 0
    for person in np.unique(query.person):
        asked = query.take(np.flatnonzero(query.person == person))
        own = gallery.take(np.flatnonzero(gallery.person == person))
        askable += int((~ignored(protocol, asked, own)).any(axis=1).sum())
    level = "ok" if askable >= FEWEST_ASKABLE * len(query) else "warning" if askable else "error"
    yield level, f"{protocol.name}: {askable:,} of {len(query):,} queries have a valid match"
