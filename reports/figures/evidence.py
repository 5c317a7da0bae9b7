"""What figures read of a run besides its scores: protocols, and the labels of what a ranking's rows stand for.

Shapes: Q queries, G gallery entries, images or tracklets as the protocol compares them; N pairs.
"""

import numpy as np

from benchmarks.pooling import runs as tracklets
from benchmarks.protocols import ignored
from benchmarks.records import RunFolder
from benchmarks.splits import load_samples
from datasets.base import Ignore, IntArray, Protocol, Samples
from datasets.errors import DataError

from .style import NothingToShowError

CLOTHES = Ignore.SAME_CLOTHES | Ignore.OTHER_CLOTHES


def protocols_of(run: RunFolder) -> dict[str, Protocol]:
    """Those that the run was scored under, the headline first."""
    return {described["name"]: _protocol(described) for described in run.data().get("protocols", [])}


def headline_protocol(run: RunFolder) -> Protocol:
    """Raises NothingToShowError where the run does not say what its protocols compare."""
    found = protocols_of(run)
    if not found:
        raise NothingToShowError(f"{run.run_id} does not say what its protocols compare: evaluate it again.")
    return next(iter(found.values()))


def _protocol(described: dict) -> Protocol:
    """Raises DataError for a description of an older version."""
    if "ignore" not in described:
        raise DataError(f"The run says too little of {described['name']}: it is of an older version; run it again.")
    flags = Ignore.NOTHING
    for name in described["ignore"].removeprefix("Ignore.").split("|"):
        flags |= Ignore[name]
    return Protocol(**{**described, "ignore": flags})


def partner(run: RunFolder, protocol: Protocol, ignore: Ignore) -> str | None:
    """The run's protocol that compares the same images but ignores `ignore`; None where it has none."""
    compares = (protocol.query, protocol.gallery, protocol.pool, protocol.draws)
    return next(
        (
            name
            for name, other in protocols_of(run).items()
            if other.ignore == ignore and (other.query, other.gallery, other.pool, other.draws) == compares
        ),
        None,
    )


def compared(run: RunFolder, protocol: Protocol) -> tuple[Samples, Samples]:
    """Labels of the queries and of the gallery entries, as the rows of a ranking under `protocol` stand for them."""
    query, gallery = (load_samples(run.split(name)) for name in (protocol.query, protocol.gallery))
    return (query, gallery) if protocol.pool is None else (_first_images(query), _first_images(gallery))


def _first_images(samples: Samples) -> Samples:
    return samples if samples.tracklet is None else samples.take(tracklets(samples.tracklet)[0])


def own_pairs(query: Samples, gallery: Samples, protocol: Protocol) -> tuple[IntArray, IntArray]:
    """[N] query rows and [N] gallery rows of one person that `protocol` shows the query; an image never sees itself."""
    order = np.argsort(gallery.person, kind="stable")
    low, high = (np.searchsorted(gallery.person[order], query.person, side) for side in ("left", "right"))
    asks = np.repeat(np.arange(len(query)), high - low)
    within = np.arange(len(asks)) - np.repeat(np.cumsum(high - low) - (high - low), high - low)
    answers = order[low[asks] + within]
    hidden = ignored(protocol, query, gallery, asks, answers)
    own_row = {path: row for row, path in enumerate(gallery.paths)}
    itself = np.array([own_row.get(path, -1) for path in query.paths], dtype=np.int64)[asks] == answers
    return asks[~hidden & ~itself], answers[~hidden & ~itself]
