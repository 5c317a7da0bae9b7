"""Distances between images of one person and of others: whether clothes or the person decide what is near.

Shapes: N pairs, D dimensions.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.records import RunFolder
from benchmarks.selection import marked
from datasets.base import IntArray, Protocol, Samples

from .evidence import CLOTHES, compared, headline_protocol, own_pairs, protocols_of
from .names import file_name
from .style import COLOURS, SINGLE, NothingToShowError, Picture, paper_style, save

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]

MOST_PAIRS = 1_000_000
"""Of one person, and of different people; more are sampled."""
ROWS_AT_ONCE = 16_384

SAME_CLOTHES, OTHER_CLOTHES, SAME_PERSON, OTHER_PERSON = (
    "same person, same clothes",
    "same person, other clothes",
    "same person",
    "other person",
)


def kept(run: RunFolder, protocol: Protocol) -> tuple[Float32Array, Float32Array]:
    """[Q, D] and [G, D] features as `protocol` compares them: tracklets pooled, then scaled where the run scales them.

    Raises NothingToShowError where the run kept none.
    """
    from torch.nn.functional import normalize

    from benchmarks.pooling import pooled
    from benchmarks.run_features import has_features, kept_features
    from datasets.clips import ClipConfig

    if not has_features(run, run.headline, protocol.query, protocol.gallery):
        raise NothingToShowError(f"{run.run_id}: the run kept no features; `report` with the data can compute them.")
    spec, found = run.spec(), []
    for split in (protocol.query, protocol.gallery):
        features = kept_features(run, split)
        if protocol.pool is not None:
            features = pooled(features, protocol.pool, ClipConfig(**spec["clips"]))
        embeddings = features.embeddings
        found.append((normalize(embeddings, dim=1) if spec["evaluate"]["normalise"] else embeddings).numpy())
    return found[0], found[1]


def distances_between(
    query: Float32Array, gallery: Float32Array, pairs: tuple[IntArray, IntArray], metric: str
) -> FloatArray:
    """[N] as the evaluation measures them: cosine is 1 - dot product, euclidean the squared Euclidean distance."""
    asks, answers = pairs
    found = np.empty(len(asks))
    for start in range(0, len(asks), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        one, other = query[asks[rows]], gallery[answers[rows]]
        if metric == "cosine":
            found[rows] = 1 - np.einsum("nd,nd->n", one, other)
        else:
            found[rows] = np.square(one - other).sum(axis=1)
    return found


def groups_of(
    query: Samples, gallery: Samples, protocol: Protocol, most: int = MOST_PAIRS
) -> dict[str, tuple[IntArray, IntArray]]:
    """Pairs (query rows [N], gallery rows [N]) by who and what they show; only clothes hide less than in `protocol`.

    At most `most` pairs of one person and `most` of different people, drawn with a fixed seed.
    """
    from dataclasses import replace

    generator = np.random.default_rng(0)
    asks, answers = own_pairs(query, gallery, replace(protocol, ignore=protocol.ignore & ~CLOTHES))
    if len(asks) > most:
        chosen = np.sort(generator.choice(len(asks), most, replace=False))
        asks, answers = asks[chosen], answers[chosen]
    labelled = (query.clothes[asks] >= 0) & (gallery.clothes[answers] >= 0)
    same = labelled & (query.clothes[asks] == gallery.clothes[answers])
    found = {
        SAME_CLOTHES: same,
        OTHER_CLOTHES: labelled & ~same,
        SAME_PERSON: ~labelled,
    }
    groups = {name: (asks[rows], answers[rows]) for name, rows in found.items() if rows.any()}
    if len(query) * len(gallery) <= most:
        drawn = np.indices((len(query), len(gallery))).reshape(2, -1)
    else:
        drawn = generator.integers(len(query), size=most), generator.integers(len(gallery), size=most)
    apart = query.person[drawn[0]] != gallery.person[drawn[1]]
    return groups | {OTHER_PERSON: (drawn[0][apart], drawn[1][apart])}


@dataclass(frozen=True)
class Separation:
    """How well distances of one person's pairs are told from those of different people."""

    area: float
    """Under the ROC curve: chance that a pair of one person is nearer than one of different people, ties half."""
    sensitivity: float
    """d′: difference of the means over the root mean square of the two standard deviations."""


def separation(near: FloatArray, far: FloatArray) -> Separation:
    ordered = np.sort(far)
    below, upto = (np.searchsorted(ordered, near, side) for side in ("left", "right"))
    area = 1 - float((below + upto).mean()) / (2 * len(far))
    spread = float(np.sqrt((near.var() + far.var()) / 2))
    return Separation(area, float((far.mean() - near.mean()) / spread) if spread else float("nan"))


def distances_of(run: RunFolder) -> dict[str, FloatArray]:
    """Distances by group, over the pairs of splits that the run's reported protocols compare, each once."""
    protocols = [protocol for protocol in protocols_of(run).values() if protocol.reported]
    distinct = {(protocol.query, protocol.gallery, protocol.pool): protocol for protocol in reversed(protocols)}
    metric = run.spec()["evaluate"]["metric"]
    found: dict[str, list[FloatArray]] = {}
    for protocol in distinct.values():
        query, gallery = kept(run, protocol)
        for name, pairs in groups_of(*compared(run, protocol), protocol, MOST_PAIRS // len(distinct)).items():
            found.setdefault(name, []).append(distances_between(query, gallery, pairs, metric))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def distances(run: RunFolder, folder: Path) -> Picture:
    """Densities of the distances in each group. Raises NothingToShowError where the run kept no features."""
    from matplotlib import pyplot

    found = distances_of(run)
    far = found.get(OTHER_PERSON, np.empty(0))
    near = {name: found[name] for name in (SAME_CLOTHES, OTHER_CLOTHES, SAME_PERSON) if name in found}
    if not near or not len(far):
        raise NothingToShowError(f"{run.run_id}: no pairs of one person and of different people to measure.")
    measured = {name: separation(values, far) for name, values in near.items()}
    looks = {
        SAME_CLOTHES: COLOURS[0],
        OTHER_CLOTHES: COLOURS[1],
        SAME_PERSON: COLOURS[0],
        OTHER_PERSON: "#666666",
    }
    with paper_style():
        figure, axes = pyplot.subplots(figsize=(SINGLE, 2.5))
        together = np.concatenate(list(found.values()))
        edges = np.linspace(together.min(), together.max(), 61)
        for name, values in {**near, OTHER_PERSON: far}.items():
            colour = looks[name]
            text = name + (
                f": AUC {100 * measured[name].area:.1f} %, d′ {measured[name].sensitivity:.2f}" if name in near else ""
            )
            density, _ = np.histogram(values, edges, density=True)
            axes.stairs(density, edges, color=colour, linewidth=1.2, label=text)
            axes.stairs(density, edges, color=colour, fill=True, alpha=0.18, linewidth=0)
        metric = run.spec()["evaluate"]["metric"]
        axes.set(
            xlabel="distance (1 − cosine)" if metric == "cosine" else "squared Euclidean distance", ylabel="density"
        )
        axes.set_ylim(bottom=0)
        figure.legend(loc="outside upper left", borderaxespad=0.2)
        return save(
            figure, folder, file_name(run.run_id, "distances"), f"Distances, {run.run_id}", _caption(run, found)
        )


def _caption(run: RunFolder, found: dict[str, FloatArray]) -> str:
    counts = ", ".join(f"{name} {len(values):,}" for name, values in found.items())
    headline = headline_protocol(run)
    flags = headline.ignore & ~CLOTHES
    hidden = ", ".join(str(flag.name).lower().replace("_", " ") for flag in flags)
    left_out = f" Pairs of one person with {hidden} are left out, as under the protocol." if hidden else ""
    what = "tracklets" if headline.pool else "images"
    before = " Before re-ranking." if run.spec()["evaluate"]["rerank"]["method"] != "none" else ""
    return (
        f"Distances between query and gallery {what} of {run.run_id} (selection {marked(run.headline)}), by person and "
        f"clothes; pairs: {counts}. AUC: chance that a pair of one person is nearer than one of different people; d′: "
        f"distance of the means in standard deviations.{left_out}{before}"
    )
