"""What the training captions say of clothes: clusters of their features, with images and words (DIFFER, figure 3).

Shapes: M training images with captions, D dimensions of a text feature, K clusters.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from benchmarks.data import caption_folder
from benchmarks.reopening import Reopened
from datasets.base import IntArray, Samples, UInt8Array
from datasets.captions import ASPECTS
from datasets.captions.texts import TEXTS, read_captions
from datasets.errors import DataError, UsageError
from methods import METHODS

from ..heads import shown_image
from .embedding import FEWEST_IMAGES, mapped
from .names import drawable, file_name
from .style import COLOURS, DOUBLE, NothingToShowError, Picture, one_thread, paper_style, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float32]

CLUSTERS, EXAMPLES, WORDS = 8, 4, 5
ON_THE_MAP = 600
"""Images whose features t-SNE places."""
MAP = 0.38
"""Share of the width for the map."""
STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a above an and are as at be below by clothes dressed for from has have he her his in is it its man of on or "
        "over person she that the their them they this to under was wearing wears who with woman",
    )
)


@dataclass(frozen=True)
class Captioned:
    """The training images of a run, and what is said of their clothes."""

    samples: Samples
    features: FloatArray
    """[M, D] of unit length."""
    sentences: tuple[str, ...] | None
    """[M]; None where only features are there."""


def captioned(reopened: Reopened) -> Captioned:
    """Raises NothingToShowError where the method reads no captions, or where the dataset's files are not here."""
    run_id = reopened.run.run_id
    if "caption" not in METHODS.get(reopened.spec.method.name).inputs(reopened.spec.method):
        raise NothingToShowError(f"{run_id}: no clusters of captions, since the method reads none.")
    try:
        training = reopened.data.training()
    except (DataError, UsageError) as error:
        raise NothingToShowError(f"{run_id}: no clusters of captions. {error}") from None
    if training.captions is None:
        raise NothingToShowError(f"{run_id}: no clusters of captions, since the method reads none.")
    features = training.captions.features[:, ASPECTS.index("clothing")]
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    features = (features / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return Captioned(training.samples, features, _sentences(reopened, training.samples))


def _sentences(reopened: Reopened, samples: Samples) -> tuple[str, ...] | None:
    clothing, dataset = ASPECTS.index("clothing"), reopened.dataset
    own = dataset.caption_texts(samples)
    if own is not None:
        return tuple(sentences[clothing] for sentences in own)
    folder = caption_folder(dataset, reopened.session)
    if folder is None or not (folder / TEXTS).is_file():
        return None
    texts = read_captions(folder / TEXTS)
    keys = [dataset.caption_key(path) for path in samples.paths]
    return tuple(texts[key][clothing] for key in keys) if all(key in texts for key in keys) else None


@dataclass(frozen=True)
class Cluster:
    """Images whose clothes are described alike."""

    rows: IntArray
    """The nearest to the centre first."""
    words: tuple[str, ...]


def clusters_of(found: Captioned, number: int = CLUSTERS) -> list[Cluster]:
    """k-means over the features, the largest cluster first; the same for the same features."""
    number = min(number, _different(found.features))
    labels, apart = _nearest_centres(found.features.tobytes(), found.features.shape[1], number)
    members = [np.flatnonzero(labels == label) for label in range(number)]
    members = [rows[np.argsort(apart[rows], kind="stable")] for rows in members]
    members.sort(key=lambda rows: (-len(rows), rows.min()))
    sentences = found.sentences
    words = (
        [()] * number if sentences is None else telling_words([[sentences[row] for row in rows] for rows in members])
    )
    return [Cluster(rows, of_cluster) for rows, of_cluster in zip(members, words, strict=True)]


def _different(features: FloatArray) -> int:
    return len(np.unique(features, axis=0))


@lru_cache(maxsize=4)
def _nearest_centres(features: bytes, width: int, number: int) -> tuple[IntArray, FloatArray]:
    """[M] labels and distances to the centres. Kept, since all seeds of a configuration read the same captions."""
    from sklearn.cluster import KMeans

    found = np.frombuffer(features, dtype=np.float32).reshape(-1, width)
    with one_thread():
        fitted = KMeans(number, init="k-means++", n_init=4, random_state=0).fit(found)  # pyright: ignore[reportArgumentType]
    labels = np.asarray(fitted.labels_, dtype=np.int64)
    return labels, np.linalg.norm(found - fitted.cluster_centers_[labels], axis=1)


@lru_cache(maxsize=4)
def _places(features: bytes, width: int) -> FloatArray:
    """[M, 2] on the map. Kept, as above."""
    return mapped(np.frombuffer(features, dtype=np.float32).reshape(-1, width))


def telling_words(clusters: Sequence[Sequence[str]], number: int = WORDS) -> list[tuple[str, ...]]:
    """The words that most sentences of a cluster have, against the share of all sentences that have them."""
    counts = [Counter(word for sentence in of for word in _words(sentence)) for of in clusters]
    everywhere, sentences = sum(counts, Counter()), sum(map(len, clusters))

    def tells(word: str, count: Counter[str], of: int) -> float:
        return count[word] / of - everywhere[word] / sentences

    found = []
    for count, members in zip(counts, clusters, strict=True):
        order = sorted(count, key=lambda word: (-round(tells(word, count, len(members)), 9), word))
        found.append(tuple(word for word in order[:number] if tells(word, count, len(members)) > 0))
    return found


def _words(sentence: str) -> set[str]:
    return set(re.findall(r"[^\W\d_]+(?:-[^\W\d_]+)*", sentence.lower())) - STOP_WORDS


def examples(samples: Samples, rows: IntArray, number: int = EXAMPLES) -> IntArray:
    """The first of `rows` that show different people; then the first of the others."""
    first = np.sort(np.unique(samples.person[rows], return_index=True)[1])
    order = np.r_[first, np.setdiff1d(np.arange(len(rows)), first)]
    return rows[order[:number]]


def text_clusters(reopened: Reopened, folder: Path, *, blur_faces: bool = False) -> Picture:
    """A map of the clothing text features, and examples of each cluster.

    Raises NothingToShowError where the run has no captions or the dataset is not here.
    """
    from matplotlib import pyplot

    found = captioned(reopened)
    clusters = clusters_of(found)
    run_id = reopened.run.run_id

    def image(path: str) -> UInt8Array:
        return shown_image(reopened, path, blur_faces=blur_faces)

    with paper_style():
        figure = pyplot.figure(figsize=(DOUBLE, max(2.4, 1.1 * _lines(clusters))))
        figure.set_layout_engine("none")
        _draw_map(figure.add_axes((0.005, 0.05, MAP - 0.02, 0.94)), found, clusters)
        _draw_examples(figure, image, found, clusters)
        words = ", and words that its sentences have more often than others" if found.sentences else ""
        caption = (
            f"Clothing text features ({reopened.spec.captions.text_model}) of the {len(found.samples)} training images "
            f"of {run_id}, in {len(clusters)} clusters (k-means). Left: t-SNE of "
            f"{min(ON_THE_MAP, len(found.samples))} of them. Right: of each cluster the images nearest to its centre, "
            f"of different people where it has them, its size{words}."
        )
        return save(
            figure, folder, file_name(run_id, "clothing-texts"), f"Clusters of clothing texts, {run_id}", caption
        )


def _lines(clusters: Sequence[Cluster]) -> int:
    return -(-len(clusters) // 2)


def _draw_map(axes: "Axes", found: Captioned, clusters: Sequence[Cluster]) -> None:
    from matplotlib import patheffects

    shown = np.linspace(0, len(found.samples) - 1, min(ON_THE_MAP, len(found.samples))).round().astype(int)
    axes.set(xticks=[], yticks=[], xlabel="t-SNE, no unit")
    axes.spines[["top", "right"]].set_visible(True)
    features = np.ascontiguousarray(found.features[shown])
    if _different(features) < FEWEST_IMAGES:
        axes.set_title(f"no map of {_different(features)} different texts", fontsize=7)
        return
    places = _places(features.tobytes(), features.shape[1])
    halo = [patheffects.withStroke(linewidth=2, foreground="white")]
    for number, cluster in enumerate(clusters):
        rows = np.isin(shown, cluster.rows)
        if rows.any():
            own = places[rows]
            axes.scatter(*own.T, s=7, color=COLOURS[number % len(COLOURS)], linewidths=0, alpha=0.7)
            middle = own[np.linalg.norm(own - np.median(own, axis=0), axis=1).argmin()]
            axes.annotate(
                str(number + 1),
                tuple(middle.tolist()),
                fontsize=9,
                fontweight="bold",
                ha="center",
                va="center",
                path_effects=halo,
            )


def _draw_examples(
    figure: "Figure", image: Callable[[str], UInt8Array], found: Captioned, clusters: Sequence[Cluster]
) -> None:
    """Two columns of clusters in the right part of the figure; each has its number, its images, and words below."""
    lines = _lines(clusters)
    wide, high = (1 - MAP) / 2, 1 / lines
    for number, cluster in enumerate(clusters):
        left, bottom = MAP + wide * (number // lines), 1 - high * (number % lines + 1)
        colour = COLOURS[number % len(COLOURS)]
        name = {"fontsize": 11, "fontweight": "bold", "color": colour}
        figure.text(left + 0.1 * wide, bottom + 0.66 * high, str(number + 1), ha="center", va="center", **name)
        for place, row in enumerate(examples(found.samples, cluster.rows).tolist()):
            box = (left + wide * (0.18 + 0.205 * place), bottom + 0.36 * high, 0.19 * wide, 0.6 * high)
            axes = figure.add_axes(box)
            axes.imshow(image(found.samples.paths[row]), interpolation="antialiased")
            axes.axis("off")
        people = len(np.unique(found.samples.person[cluster.rows]))
        said = f"{len(cluster.rows)} images, {people} people"
        text = "\n".join([said, *wrap(drawable(", ".join(cluster.words)), 38)[:2]])
        figure.text(
            left + 0.58 * wide, bottom + 0.33 * high, text, fontsize=6.5, ha="center", va="top", linespacing=1.1
        )
