"""The splits that protocols name, and which images of the dataset's own splits they are made of."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from datasets.base import IntArray, ReIDDataset, Samples

from .arrays import RUN_AGAIN, read_arrays, write_arrays

LABELS = ("person", "camera", "clothes", "tracklet")


@dataclass
class Splits:
    """Labels of a dataset's splits, each read when it is first asked for."""

    dataset: ReIDDataset
    _samples: dict[str, Samples] = field(init=False, default_factory=dict)
    _selected: dict[str, tuple[str, IntArray]] = field(init=False, default_factory=dict)
    _places: dict[str, dict[str, int]] = field(init=False, default_factory=dict)

    def samples(self, name: str) -> Samples:
        """Of the dataset's own splits, of those that its protocols make of them, and of selected ones."""
        if name not in self._samples:
            if name in self._selected:
                own, rows = self._selected[name]
                self._samples[name] = self.samples(own).take(rows)
            else:
                self._samples[name] = self.dataset.split(name)
        return self._samples[name]

    def select(self, name: str, own: str, rows: IntArray) -> None:
        """Add a split `name`: these rows of one of the dataset's own."""
        self._selected[name] = (own, rows)

    def parts(self, name: str) -> dict[str, tuple[IntArray, IntArray]]:
        """One of the dataset's own splits → (places in the split `name`, rows of that own split)."""
        everything = np.arange(len(self.samples(name)))
        if name in self._selected:
            own, rows = self._selected[name]
            return {own: (everything, rows)}
        if name in self.dataset.splits:
            return {name: (everything, everything)}
        found: dict[str, tuple[IntArray, IntArray]] = {}
        paths = self.samples(name).paths
        unknown = everything
        # Training images come last: what is tested is seldom made of them, and they may not be there.
        for own in sorted(self.dataset.splits, key=lambda own: own == "train"):
            if not len(unknown):
                break
            rows = self._rows(own)
            place = np.array([index for index in unknown if paths[index] in rows], dtype=np.int64)
            if len(place):
                found[own] = place, np.array([rows[paths[index]] for index in place], dtype=np.int64)
                unknown = np.setdiff1d(unknown, place)
        if len(unknown):
            raise KeyError(paths[unknown[0]])  # a dataset's mistake: it compares images of none of its splits
        return found

    def _rows(self, own: str) -> dict[str, int]:
        """Path → row in one of the dataset's own splits."""
        if own not in self._places:
            self._places[own] = {path: row for row, path in enumerate(self.samples(own).paths)}
        return self._places[own]


def save_samples(path: Path, samples: Samples) -> None:
    """Write paths and labels of a split, so that what is made from rankings needs no dataset."""
    labels = {name: getattr(samples, name) for name in LABELS}
    write_arrays(path, {"paths": np.array(samples.paths, dtype=np.str_), **labels})


def load_samples(path: Path) -> Samples:
    """Raises DataError where `path` is not such a file."""

    def made(columns: dict[str, np.ndarray]) -> Samples:
        labels = {name: columns[name] for name in LABELS if name in columns}
        return Samples(tuple(columns["paths"].tolist()), **labels)

    return read_arrays(path, made, "the list of a split", RUN_AGAIN)
