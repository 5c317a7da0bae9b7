"""A map of the features of a few people: do images lie together by person, or by what is worn?"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from benchmarks.records import RunFolder
from benchmarks.selection import marked
from benchmarks.splits import load_samples
from datasets.base import IntArray, Samples

from .evidence import headline_protocol
from .names import file_name
from .style import COLOURS, DOUBLE, MARKERS, NothingToShowError, Picture, one_thread, paper_style, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Float32Array = npt.NDArray[np.float32]

PEOPLE, MOST_IMAGES, FEWEST_IMAGES = 12, 400, 10
"""More images would lie on each other."""
PERPLEXITY = 30.0


@dataclass(frozen=True)
class Chosen:
    """Images of the people with most outfits, M of them."""

    samples: Samples
    embeddings: Float32Array
    """[M, D]"""


def people_with_most_outfits(samples: Samples, number: int = PEOPLE) -> IntArray:
    """Sorted numbers of the `number` people with most outfits; then with most images; then the lowest numbers."""
    people = np.unique(samples.person)
    outfits = [len(np.unique(samples.clothes[samples.person == person])) for person in people]
    images = [int((samples.person == person).sum()) for person in people]
    order = np.lexsort((people, -np.array(images), -np.array(outfits)))
    return np.sort(people[order[:number]])


def chosen_images(samples: Samples, people: IntArray, most: int = MOST_IMAGES) -> IntArray:
    """Rows of the images of `people`; where these are more than `most`, equally spaced ones of each person."""
    rows = [np.flatnonzero(samples.person == person) for person in people]
    each = most // max(1, len(rows))
    if sum(map(len, rows)) > most:
        rows = [own[np.linspace(0, len(own) - 1, min(each, len(own))).round().astype(int)] for own in rows]
    return np.sort(np.concatenate(rows))


def outfits_within_person(samples: Samples) -> IntArray:
    """[M] 0, 1, 2, … for the outfits of each person, in the order of their labels."""
    found = np.zeros(len(samples), dtype=np.int64)
    for person in np.unique(samples.person):
        own = samples.person == person
        found[own] = np.unique(samples.clothes[own], return_inverse=True)[1]
    return found


def chosen_of(run: RunFolder) -> Chosen:
    """From the headline's query and gallery, each image once. Raises NothingToShowError where no features were kept."""
    from benchmarks.run_features import has_features, kept_features

    headline = headline_protocol(run)
    splits = list(dict.fromkeys((headline.query, headline.gallery)))
    if not has_features(run, run.headline, *splits):
        raise NothingToShowError(f"{run.run_id}: the run kept no features; `report` with the data can compute them.")
    parts = [load_samples(run.split(split)) for split in splits]
    embeddings = np.concatenate([kept_features(run, split).embeddings.numpy() for split in splits])
    together = Samples(
        tuple(path for part in parts for path in part.paths),
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("person", "camera", "clothes")),
    )
    once = np.sort(np.unique(np.array(together.paths), return_index=True)[1])
    together, embeddings = together.take(once), embeddings[once]
    rows = chosen_images(together, people_with_most_outfits(together))
    return Chosen(together.take(rows), embeddings[rows])


def mapped(embeddings: Float32Array) -> Float32Array:
    """[M, 2] t-SNE (van der Maaten and Hinton 2008) that starts from two principal components; wider than high."""
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(embeddings) - 1) / 3)
    with one_thread():
        places = TSNE(init="pca", perplexity=perplexity, random_state=0).fit_transform(embeddings)
    return places if np.ptp(places[:, 0]) >= np.ptp(places[:, 1]) else places[:, ::-1]


def tsne(run: RunFolder, folder: Path) -> Picture:
    """The same map twice: coloured by person, and by outfit, or camera where outfits are not labelled.

    Raises NothingToShowError where no features were kept, or of too few images.
    """
    from matplotlib import pyplot

    chosen = chosen_of(run)
    samples = chosen.samples
    if len(samples) < FEWEST_IMAGES:
        raise NothingToShowError(f"{run.run_id}: {len(samples)} images are too few for a map.")
    places = mapped(chosen.embeddings)
    by_person = np.unique(samples.person, return_inverse=True)[1]
    dressed = bool((samples.clothes >= 0).all())
    if dressed:
        second, what = outfits_within_person(samples), "outfit"
    else:
        second, what = np.unique(samples.camera, return_inverse=True)[1], "camera"
    with paper_style():
        height, width = np.ptp(places[:, 1]), np.ptp(places[:, 0])
        figure, (left, right) = pyplot.subplots(1, 2, figsize=(DOUBLE, 0.5 + 3.25 * max(0.4, height / width)))
        _scatter(left, places, by_person)
        left.set_title("by person", loc="left")
        _scatter(right, places, second)
        right.set_title("by outfit of the person" if dressed else "by camera", loc="left")
        names = [str(number + 1) for number in np.unique(second)] if dressed else np.unique(samples.camera).astype(str)
        for number, name in zip(np.unique(second).tolist(), names, strict=True):
            right.scatter([], [], s=14, color=_colour(number), marker=_marker(number), label=name)
        right.legend(title=what, loc="upper left", bbox_to_anchor=(1.0, 1.0), borderaxespad=0, handletextpad=0.2)
        for axes in (left, right):
            axes.set(xticks=[], yticks=[], xlabel="t-SNE, no unit")
            axes.set_aspect("equal")
            axes.grid(visible=False)
            axes.spines[["top", "right"]].set_visible(True)
            _name_people(axes, places, samples.person)
        measured = silhouettes(chosen)
        caption = (
            f"t-SNE of the features of {len(samples)} query and gallery images of {run.run_id} (selection "
            f"{marked(run.headline)}): the {len(np.unique(samples.person))} people with most outfits, whose numbers "
            f"stand where their images are densest. Left by person; right by "
            + ("outfit, numbered within each person. " if dressed else "camera. ")
            + measured
            + f"Perplexity {min(PERPLEXITY, (len(samples) - 1) / 3):.0f}; distances between far groups mean nothing."
        )
        return save(figure, folder, file_name(run.run_id, "tsne"), f"Map of features, {run.run_id}", caption)


def silhouettes(chosen: Chosen) -> str:
    """How far the features themselves fall into groups by person and by outfit; empty where that has no meaning."""
    from sklearn.metrics import silhouette_score

    words = []
    for what, labels in (("person", chosen.samples.person), ("outfit", chosen.samples.clothes)):
        if 1 < len(np.unique(labels)) < len(labels) and (labels >= 0).all():
            words.append(f"{what} {silhouette_score(chosen.embeddings, labels):.2f}")
    return f"Silhouette of the features, not of the map: {', '.join(words)}. " if words else ""


def _scatter(axes: "Axes", places: Float32Array, group: IntArray) -> None:
    for number in np.unique(group).tolist():
        rows = group == number
        axes.scatter(*places[rows].T, s=9, color=_colour(number), marker=_marker(number), linewidths=0, alpha=0.8)


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _marker(number: int) -> str:
    return MARKERS[(number + number // len(COLOURS)) % len(MARKERS)]


def _name_people(axes: "Axes", places: Float32Array, person: IntArray) -> None:
    from matplotlib import patheffects

    halo = [patheffects.withStroke(linewidth=1.8, foreground="white")]
    room = np.ptp(places[:, 0]) * np.array([0.07, 0.05])
    taken: list[Float32Array] = []
    for number in np.unique(person).tolist():
        own = places[person == number]
        apart = np.linalg.norm(own[:, None] - own[None], axis=2)
        near = np.sort(apart, axis=1)[:, : max(1, len(own) // 3) + 1].mean(axis=1)
        densest = own[np.argsort(near, kind="stable")]
        free = [place for place in densest if not any((abs(place - other) < room).all() for other in taken)]
        taken.append(free[0] if free else densest[0])
        axes.annotate(
            str(number),
            tuple(taken[-1].tolist()),
            fontsize=7,
            fontweight="bold",
            ha="center",
            va="center",
            path_effects=halo,
        )
