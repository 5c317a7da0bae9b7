"""Is a dataset's folder what its authors distribute, and does every protocol find something to ask?"""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from datasets.base import IntArray, Protocol, Samples
from datasets.checks import Finding, every_protocol, examine, read_splits
from datasets.errors import DataError

from .data import caption_folder, open_dataset
from .protocols import LabelRows, ignored
from .resolve import resolve_check

FEWEST_ASKABLE = 0.5
"""Share of queries with a valid match under which a protocol is worth a warning."""
PAIRS_AT_ONCE = 1 << 22
"""Pairs of a query and a gallery entry of its person that are compared at once: bounds the memory."""


def check_dataset(name: str, values: Mapping[str, Any], *, deep: bool) -> Iterator[tuple[str, str]]:
    """(level, sentence) for each thing worth saying, as soon as it is known; levels are ok, warning, error.

    `values`: keys of the dataset, of the masks and of the session.
    """
    dataset_config, masks, session = resolve_check(name, values)
    dataset = open_dataset(dataset_config, session)
    workers = session.workers or os.cpu_count() or 1
    splits, findings = read_splits(dataset)
    yield from ((finding.level, finding.message) for finding in findings)
    for finding in examine(
        dataset, splits, caption_folder=caption_folder(dataset, session), masks=masks, deep=deep, workers=workers
    ):
        yield finding.level, finding.message
    for protocol in every_protocol(dataset):
        if protocol.query in splits and protocol.gallery in splits:
            finding = check_protocol(protocol, splits[protocol.query], splits[protocol.gallery])
            yield finding.level, finding.message


def check_protocol(protocol: Protocol, query: Samples, gallery: Samples) -> Finding:
    """How many queries have a valid match, and how many matches: an error if none has any."""
    asked, given = _asking(protocol, query), _asking(protocol, gallery)
    try:
        matches = valid_matches(protocol, asked, given)
    except DataError as error:
        return Finding("error" if protocol.reported else "warning", str(error))
    askable = matches[matches > 0]
    what = "queries" if protocol.pool is None else "query tracklets"
    said = f"{protocol.name}: {len(askable):,} of {len(matches):,} {what} have a valid match"
    if not len(askable):
        return Finding("error" if protocol.reported else "warning", f"{said}: nothing can be scored.")
    fewest, most = f"{askable.min():,}", f"{askable.max():,}"
    said += f", {fewest} each" if fewest == most else f", {fewest}–{most} each"
    if protocol.draws:
        said += f", of which each of {protocol.draws} draws takes one image a person"
    return Finding("ok" if len(askable) >= FEWEST_ASKABLE * len(matches) else "warning", said)


def _asking(protocol: Protocol, samples: Samples) -> LabelRows:
    """The labels of what asks or answers: images, or tracklets, for which their first image stands."""
    rows = np.arange(len(samples))
    if protocol.pool is not None and samples.tracklet is not None:
        rows = np.unique(samples.tracklet, return_index=True)[1]
    return LabelRows.of(samples, rows)


def valid_matches(protocol: Protocol, query: LabelRows, gallery: LabelRows) -> IntArray:
    """[Q] entries of the query's person in the gallery that the protocol does not ignore.

    Only pairs of one person are looked at, so that it is quick where there are many people. Raises DataError where the
    protocol compares labels that are missing.
    """
    by_person = np.argsort(gallery.person, kind="stable")
    persons = gallery.person[by_person]
    start, end = (np.searchsorted(persons, query.person, side) for side in ("left", "right"))
    own = end - start
    matches = np.zeros(len(own), dtype=np.int64)
    first = 0
    while first < len(own):
        pairs = np.cumsum(own[first:])
        last = first + max(1, int(np.searchsorted(pairs, PAIRS_AT_ONCE, "right")))
        rows = np.arange(first, last)
        asking = np.repeat(rows, own[first:last])
        within = np.arange(len(asking)) - np.repeat(np.cumsum(own[first:last]) - own[first:last], own[first:last])
        answering = by_person[np.repeat(start[first:last], own[first:last]) + within]
        valid = ~ignored(protocol, query, gallery, asking, answering)
        matches[first:last] = np.bincount(asking[valid] - first, minlength=last - first)
        first = last
    return matches
