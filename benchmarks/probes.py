"""Linear probes: what can be read off the features with a linear classifier — who it is, in what, seen by which camera.

Linear classifiers on frozen features: Alain and Bengio, "Understanding intermediate layers using linear classifier
probes", arXiv 1610.01644. That an accuracy means something only beside what a probe reaches where there is nothing to
be known: Hewitt and Liang, "Designing and Interpreting Probes with Control Tasks", EMNLP 2019, arXiv 1909.03368. Here
training and test share no camera (where an outfit has one: no walk), and no people where the camera is asked for, so
that labels learnt by heart, as in their control task, are worth no more than chance: selectivity is accuracy - chance.

The classifier is ridge regression onto the classes, which are weighted equally where accuracy is a mean over them: a
closed form, so that there is no number of steps on which the answer could depend.
Shapes: N images, D dimensions.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from datasets.base import IntArray

from .protocols import LabelRows

Matrix = npt.NDArray[np.float32]

MOST_IMAGES = 4000
"""Images that one probe is made of; more are thinned out evenly within each (person, outfit, camera)."""
MOST_PERSONS = 200
"""People that the identity probe tells apart, and that the clothes probe asks about; evenly spaced among more."""
FEWEST_PERSONS = 5
"""With fewer of them a probe says little but luck."""
SHRINKAGE = 0.3
"""Ridge penalty as a share of D, the mean squared length of standardised features."""
CAMERA_FOLDS = 3


@dataclass(frozen=True)
class Probe:
    """What a probe reached on images that it was not fitted to."""

    accuracy: float
    chance: float
    """Accuracy of whoever knows nothing of the image."""
    images: int
    """Test images, each counted once however often it was asked about."""
    persons: int
    held_out: str
    """What training and test do not share: cameras, walks, images or people."""

    def to_plain(self) -> dict[str, Any]:
        """For JSON, with the selectivity; fractions have six digits, so that no machine's rounding shows."""
        numbers = {"accuracy": self.accuracy, "chance": self.chance, "selectivity": self.accuracy - self.chance}
        return asdict(self) | {name: round(number, 6) for name, number in numbers.items()}


def standardised(embeddings: Matrix) -> Matrix:
    """[N, D] with mean 0 and deviation 1 in each dimension; a constant one becomes 0."""
    deviation = embeddings.std(axis=0)
    return (embeddings - embeddings.mean(axis=0)) / np.where(deviation > 1e-7, deviation, np.inf).astype(np.float32)


def thinned(labels: LabelRows, most: int = MOST_IMAGES) -> IntArray:
    """Ascending rows, `most` of them or fewer: of each (person, outfit, camera) equally many, evenly spaced.

    Where even one of each is too many, evenly spaced people are left out.
    """
    rows = np.arange(len(labels.person))
    cells, of_row = np.unique(np.stack([labels.person, labels.clothes, labels.camera]), axis=1, return_inverse=True)
    if cells.shape[1] > most:
        persons, cells_of_each = np.unique(cells[0], return_counts=True)
        kept = np.arange(len(persons))
        while cells_of_each[kept].sum() > most and len(kept) > 1:
            kept = spread(np.arange(len(persons)), len(kept) - 1)
        rows = rows[np.isin(labels.person, persons[kept])]
        of_row = np.unique(of_row[rows], return_inverse=True)[1]
    counts = np.bincount(of_row)
    of_each = max((k for k in range(1, counts.max() + 1) if np.minimum(counts, k).sum() <= most), default=1)
    order = np.argsort(of_row, kind="stable")
    ends = np.cumsum(counts)
    parts = [spread(rows[order[end - count : end]], of_each) for count, end in zip(counts, ends, strict=True)]
    return np.sort(np.concatenate(parts))


def spread(values: IntArray, most: int) -> IntArray:
    """`most` of `values`, evenly spaced; all of them where they are fewer."""
    if len(values) <= most:
        return values
    return values[np.arange(most) * len(values) // most]


# --- identity ---


def identity_probe(features: Matrix, labels: LabelRows) -> dict[str, Probe] | str:
    """Who is it? Learnt from one outfit of each person, asked about the same outfit and about that person's others.

    `features` [N, D] standardised. The outfit is the one with the most cameras; half of its cameras are for learning,
    and all questions are about images of other cameras than those, so that the two answers differ by the clothes alone.
    Then the halves change roles. Accuracy is the mean over people of the share of their images that is recognised;
    chance is one over the number of people. A sentence where the labels do not allow it.
    """
    for held_out, groups in _groups(labels):
        folds = [_identity_fold(labels, groups, half, held_out == "cameras") for half in (0, 1)]
        persons = {person for fold in folds for person in fold}
        if len(persons) < FEWEST_PERSONS or min(map(len, folds)) < 2:
            continue
        answers: dict[str, list[tuple[float, float]]] = {"same_outfit": [], "other_outfit": []}
        asked: dict[str, set[int]] = {name: set() for name in answers}
        for fold in folds:
            train = np.concatenate([rows[0] for rows in fold.values()])
            probe = _fitted(features[train], labels.person[train])
            for name, place in (("same_outfit", 1), ("other_outfit", 2)):
                for person, rows in fold.items():
                    right = probe.predict(features[rows[place]]) == person
                    answers[name].append((float(right.mean()), 1 / len(fold)))
                    asked[name] |= set(rows[place].tolist())
        means = {name: np.mean(found, axis=0) for name, found in answers.items()}
        return {
            name: Probe(float(accuracy), float(chance), len(asked[name]), len(persons), held_out)
            for name, (accuracy, chance) in means.items()
        }
    return f"Fewer than {FEWEST_PERSONS} people have labelled images in two outfits."


def _identity_fold(
    labels: LabelRows, groups: IntArray, half: int, by_camera: bool
) -> dict[int, tuple[IntArray, IntArray, IntArray]]:
    """Person → rows to learn from, rows in the same outfit and rows in others to ask about."""
    fold = {}
    for person in _changing(labels):
        rows = np.flatnonzero((labels.person == person) & (labels.clothes >= 0))
        outfits = np.unique(labels.clothes[rows])
        variety = [len(np.unique(groups[rows[labels.clothes[rows] == outfit]])) for outfit in outfits]
        own = labels.clothes[rows] == outfits[int(np.argmax(variety))]
        learnt = own & (_position(groups[rows], groups[rows[own]]) % 2 == half)
        seen = np.isin(groups[rows], groups[rows[learnt]]) if by_camera else learnt
        parts = rows[learnt], rows[own & ~learnt], rows[~own & ~seen]
        if all(len(part) for part in parts):
            fold[person] = parts
    return {int(person): fold[person] for person in spread(np.array(sorted(fold)), MOST_PERSONS)}


# --- clothes ---


def clothes_probe(features: Matrix, labels: LabelRows) -> Probe | str:
    """In which of their outfits is this person? One probe per person, since an outfit's label is that of one person.

    `features` [N, D] standardised; the mean of each camera is subtracted first, because a camera that has seen only one
    of the outfits would give it away. Learnt from half of each outfit's cameras, asked about the others, and the other
    way round. Accuracy is the mean over a person's outfits, then over people; chance is the mean of one over the number
    of outfits. A sentence where the labels do not allow it. Where `held_out` is not «cameras», outfit and camera are
    not told apart.
    """
    features = _centred(features, labels.camera)
    for held_out, groups in _groups(labels):
        tasks = [task for person in _changing(labels) if (task := _wardrobe(labels, groups, person))]
        chosen = [tasks[number] for number in spread(np.arange(len(tasks)), MOST_PERSONS)]
        if len(chosen) < FEWEST_PERSONS:
            continue
        accuracy, chance = [], []
        for rows, half in chosen:
            outfit = labels.clothes[rows]
            right = np.zeros(len(rows), dtype=bool)
            for fold in (0, 1):
                probe = _fitted(features[rows[half == fold]], outfit[half == fold])
                right[half != fold] = probe.predict(features[rows[half != fold]]) == outfit[half != fold]
            accuracy.append(np.mean([right[outfit == one].mean() for one in np.unique(outfit)]))
            chance.append(1 / len(np.unique(outfit)))
        asked = sum(len(rows) for rows, _ in chosen)
        return Probe(float(np.mean(accuracy)), float(np.mean(chance)), asked, len(chosen), held_out)
    return f"Fewer than {FEWEST_PERSONS} people have labelled images in two outfits."


def _wardrobe(labels: LabelRows, groups: IntArray, person: int) -> tuple[IntArray, IntArray] | None:
    """Rows of a person's images in outfits that can be divided, and the half, 0 or 1, of each; None: no two outfits."""
    rows, halves = [], []
    for outfit in np.unique(labels.clothes[(labels.person == person) & (labels.clothes >= 0)]):
        own = np.flatnonzero((labels.person == person) & (labels.clothes == outfit))
        if len(np.unique(groups[own])) > 1:
            rows.append(own)
            halves.append(_position(groups[own], groups[own]) % 2)
    return (np.concatenate(rows), np.concatenate(halves)) if len(rows) > 1 else None


# --- camera ---


def camera_probe(features: Matrix, labels: LabelRows) -> Probe | str:
    """Which camera took it? Learnt from some people, asked about others.

    `features` [N, D] standardised. Accuracy over all images; chance is what the most frequent camera of the learnt
    people gets right. A sentence where there are no two cameras.
    """
    from sklearn.model_selection import GroupKFold  # 1 s that training does not need

    rows = np.flatnonzero(labels.camera >= 0)
    features, camera, person = features[rows], labels.camera[rows], labels.person[rows]
    persons = len(np.unique(person))
    if len(np.unique(camera)) < 2:
        return "The images have no labels of two cameras or more."
    if persons < FEWEST_PERSONS:
        return f"The images show fewer than {FEWEST_PERSONS} people."
    right, guessed = np.zeros(len(rows), dtype=bool), np.zeros(len(rows), dtype=bool)
    for train, test in GroupKFold(CAMERA_FOLDS).split(features, camera, person):
        seen, counts = np.unique(camera[train], return_counts=True)
        guessed[test] = camera[test] == seen[np.argmax(counts)]
        if len(seen) > 1:
            right[test] = _fitted(features[train], camera[train], None).predict(features[test]) == camera[test]
        else:
            right[test] = guessed[test]
    return Probe(float(right.mean()), float(guessed.mean()), len(rows), persons, "people")


# --- what they share ---


def _fitted(features: Matrix, classes: IntArray, weight: str | None = "balanced") -> Any:
    from sklearn.linear_model import RidgeClassifier

    return RidgeClassifier(alpha=SHRINKAGE * features.shape[1], class_weight=weight, solver="cholesky").fit(
        features, classes
    )


def _groups(labels: LabelRows) -> Iterator[tuple[str, IntArray]]:
    """What training and test should not share, the strictest first: name and group of each image [N]."""
    if (labels.camera >= 0).any():
        yield "cameras", labels.camera
    if labels.tracklet is not None:
        yield "walks", labels.tracklet
    yield "images", np.arange(len(labels.person))


def _changing(labels: LabelRows) -> IntArray:
    """People with labelled images in two outfits or more."""
    pairs = np.unique(np.stack([labels.person, labels.clothes])[:, labels.clothes >= 0], axis=1)
    persons, outfits = np.unique(pairs[0], return_counts=True)
    return persons[outfits > 1]


def _position(groups: IntArray, among: IntArray) -> IntArray:
    """Of each group its place among the sorted groups of `among`."""
    return np.searchsorted(np.unique(among), groups)


def _centred(features: Matrix, camera: IntArray) -> Matrix:
    """`features` without the mean of each camera."""
    centred = features.copy()
    for one in np.unique(camera):
        centred[camera == one] -= features[camera == one].mean(axis=0)
    return centred
