"""From a Spec to arrays: the dataset's adapter, decoded pixels, captions, and what is held out."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from datasets import DATASETS
from datasets.base import DatasetConfig, IntArray, Protocol, ReIDDataset, Samples, UInt8Array
from datasets.captions import caption_features
from datasets.errors import DataError, UsageError
from datasets.pixels import pixel_cache
from methods import METHODS

from .feed import TrainingData
from .protocols import choose
from .selection import LAST, VALIDATION, Holdout, hold_out
from .spec import Session, Spec

Listener = Callable[[dict[str, Any]], None]


def open_dataset(config: DatasetConfig, session: Session) -> ReIDDataset:
    """The dataset's adapter over its folder. Raises UsageError or DataError where there is no such folder."""
    kind: type[ReIDDataset] = DATASETS.get(config.name)
    if kind.folder and session.data is None:
        raise UsageError(f"dataset={kind.name} needs its files: say data=DIR or set the variable CCREID_DATA.")
    if kind.folder and session.data is not None and not session.data.is_dir():
        raise DataError(f"data={session.data} is not a folder: it should hold {kind.folder}.")
    return kind(session.data or Path(), config, session.mask_folder)


@dataclass
class ExperimentData:
    """Everything that an experiment reads, each part when it is first asked for."""

    dataset: ReIDDataset
    spec: Spec
    session: Session
    listen: Listener
    _samples: dict[str, Samples] = field(init=False, default_factory=dict)
    _pixels: dict[tuple[str, str], UInt8Array] = field(init=False, default_factory=dict)

    @cached_property
    def protocols(self) -> list[Protocol]:
        """The chosen ones, in the dataset's order."""
        return choose(self.dataset.protocols(), self.spec.evaluate.protocols)

    @cached_property
    def holdout(self) -> Holdout | None:
        """Training identities set aside for the validation rule; None under another rule or with too few of them."""
        if self.spec.select.rule not in ("auto", VALIDATION):
            return None
        holdout = hold_out(self.samples("train"), self.headline, self.spec.select)
        if self.spec.select.rule == VALIDATION and holdout is None:
            raise UsageError(
                f"select.rule=validation: the training split of {self.dataset.name} has too few identities to hold out "
                f"{self.spec.select.holdout:.0%} of them. Choose select.rule=last or a larger select.holdout."
            )
        return holdout

    @property
    def rule(self) -> str:
        """How the reported epoch is selected: last, validation or oracle."""
        if self.spec.select.rule != "auto":
            return self.spec.select.rule
        return LAST if self.holdout is None else VALIDATION

    @property
    def headline(self) -> Protocol:
        """The dataset's first protocol: what selection is judged by."""
        return self.dataset.protocols()[0]

    def samples(self, split: str) -> Samples:
        if split not in self._samples:
            self._samples[split] = self.dataset.split(split)
        return self._samples[split]

    def pixels(self, split: str, kind: Literal["image", "mask"] = "image") -> UInt8Array:
        """[N, H, W, 3] of a whole split, memory-mapped; decoded now if no cache of it exists."""
        if (split, kind) not in self._pixels:
            self._pixels[split, kind] = self._decoded(split, kind)
        return self._pixels[split, kind]

    def _decoded(self, split: str, kind: Literal["image", "mask"]) -> UInt8Array:
        image = self.spec.image
        return pixel_cache(
            self.dataset,
            self.samples(split),
            image.height,
            image.width,
            interpolation=image.interpolation,
            kind=kind,
            folder=self.session.cache,
            workers=self.session.workers or os.cpu_count() or 1,
            progress=lambda done, total: self.listen(
                {"event": "progress", "what": f"decoding {split}", "done": done, "total": total}
            ),
        )

    def training(self) -> TrainingData:
        """The training split without held-out identities, with captions where the method asks for them."""
        split = self.samples("train")
        rows: IntArray = np.arange(len(split)) if self.holdout is None else self.holdout.training
        captions = None
        if "caption" in self.inputs:
            captions = caption_features(self.dataset, split.take(rows), self.spec.captions, self.caption_folder())
            rows = rows[captions.rows]
        return TrainingData(split.take(rows), rows, captions)

    @property
    def inputs(self) -> frozenset[str]:
        """What the method needs besides images and labels."""
        return METHODS.get(self.spec.method.name).inputs(self.spec.method)

    def caption_folder(self) -> Path | None:
        """Where DIFFER's caption files of this dataset lie."""
        if self.session.caption_folder is not None or not self.dataset.folder:
            return self.session.caption_folder
        return self.dataset.beside / "captions" / self.dataset.folder

    def facts(self) -> dict[str, Any]:
        """What data.json says: counts and fingerprint of each split that is used, and who is held out."""
        splits = dict.fromkeys(["train", *(name for p in self.protocols for name in (p.query, p.gallery))])
        return {
            "dataset": self.dataset.name,
            "splits": {
                name: {
                    "images": len(self.samples(name)),
                    "persons": len(np.unique(self.samples(name).person)),
                    "fingerprint": self.dataset.fingerprint(self.samples(name)),
                }
                for name in splits
            },
            "held_out": [] if self.holdout is None else self.holdout.persons.tolist(),
            "selection": self.rule,
        }
