"""From a Spec to arrays: the dataset's adapter, decoded pixels, captions, and what is held out."""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from datasets import DATASETS
from datasets.base import DatasetConfig, IntArray, Protocol, ReIDDataset, Samples, UInt8Array
from datasets.captions import caption_features
from datasets.checks import compare_counts, count
from datasets.checks.splits import is_synthesized
from datasets.clips import pieces
from datasets.errors import DataError, UsageError
from datasets.masks import require_labels_of
from datasets.pixels import pixel_cache
from methods import METHODS

from .closed_test import without_test
from .feed import TrainingData
from .plugins import plugin_facts
from .protocols import choose
from .selection import HELD_GALLERY, HELD_QUERY, LAST, VALIDATION, Holdout, hold_out
from .spec import Session, Spec
from .splits import Splits

Listener = Callable[[dict[str, Any]], None]


def open_dataset(config: DatasetConfig, session: Session) -> ReIDDataset:
    """The dataset's adapter over its folder, without a test split where the session leaves it closed.

    Raises UsageError or DataError where there is no such folder.
    """
    kind: type[ReIDDataset] = DATASETS.get(config.name)
    if kind.folder and session.data is None:
        raise UsageError(f"dataset={kind.name} needs its files: say data=DIR or set the variable CCREID_DATA.")
    if kind.folder and session.data is not None and not session.data.is_dir():
        raise DataError(f"data={session.data} is not a folder: it should hold {kind.folder}.")
    if not session.test:
        kind = without_test(kind)
    return kind(session.data or Path(), config, session.mask_folder)


def caption_folder(dataset: ReIDDataset, session: Session) -> Path | None:
    """Where DIFFER's caption files of this dataset lie; None where it needs no files."""
    if session.caption_folder is not None or not dataset.folder:
        return session.caption_folder
    return dataset.beside / "captions" / dataset.folder


@dataclass
class ExperimentData:
    """Everything that an experiment reads, each part when it is first asked for."""

    dataset: ReIDDataset
    spec: Spec
    session: Session
    listen: Listener
    splits: Splits = field(init=False)
    _pixels: dict[tuple[str, str], UInt8Array] = field(init=False, default_factory=dict)
    _masks_found: dict[str, int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.splits = Splits(self.dataset)

    @cached_property
    def protocols(self) -> list[Protocol]:
        """The chosen ones, in the dataset's order; none while the test is closed."""
        if not self.session.test:
            return []
        return choose(self.dataset.protocols(), self.spec.evaluate.protocols)

    @property
    def headline(self) -> Protocol:
        """The dataset's first protocol."""
        return self.dataset.protocols()[0]

    # --- selection ---

    @cached_property
    def validation(self) -> Protocol:
        """What an epoch is chosen by: between the dataset's own validation splits, or between the held-out people."""
        protocol = self.dataset.validation()
        return protocol if self._has_own_validation else replace(protocol, query=HELD_QUERY, gallery=HELD_GALLERY)

    @cached_property
    def other_validations(self) -> list[Protocol]:
        """The dataset's other reported conventions between the same images as `validation`."""
        chosen, first = self.validation, self.headline
        alike = (
            replace(one, query=chosen.query, gallery=chosen.gallery)
            for one in self.dataset.protocols()
            if one.reported and not one.draws and one.pool == chosen.pool
            if (one.query, one.gallery) == (first.query, first.gallery)
        )
        return [one for one in alike if one.ignore != chosen.ignore]

    @cached_property
    def holdout(self) -> Holdout | None:
        """Training identities set aside for the validation rule.

        None under another rule, with too few of them, and where the dataset has validation splits of its own.
        """
        if self.spec.select.rule not in ("auto", VALIDATION) or self._has_own_validation:
            return None
        holdout = hold_out(self.samples("train"), self.dataset.validation(), self.spec.select)
        if self.spec.select.rule == VALIDATION and holdout is None:
            raise UsageError(
                f"select.rule=validation: the training split of {self.dataset.name} has too few identities to hold out "
                f"{self.spec.select.holdout:.0%} of them. Choose select.rule=last or a larger select.holdout."
            )
        if holdout is not None:
            self.splits.select(HELD_QUERY, "train", holdout.query)
            self.splits.select(HELD_GALLERY, "train", holdout.gallery)
        return holdout

    @property
    def rule(self) -> str:
        """How the reported epoch is selected: last, validation or oracle."""
        if self.spec.select.rule != "auto":
            return self.spec.select.rule
        return VALIDATION if self._has_own_validation or self.holdout is not None else LAST

    @property
    def _has_own_validation(self) -> bool:
        return self.dataset.validation().query != "train"

    # --- images ---

    def samples(self, split: str) -> Samples:
        return self.splits.samples(split)

    def pixels(self, split: str, kind: Literal["image", "mask"] = "image") -> UInt8Array:
        """[N, H, W, 3] of one of the dataset's splits, memory-mapped; decoded now if no cache of it exists."""
        if (split, kind) not in self._pixels:
            self._pixels[split, kind] = self._decoded(split, kind)
        return self._pixels[split, kind]

    def _decoded(self, split: str, kind: Literal["image", "mask"]) -> UInt8Array:
        image = self.spec.image
        pixels = pixel_cache(
            self.dataset,
            self.samples(split),
            image.height,
            image.width,
            interpolation=image.interpolation,
            kind=kind,
            missing_masks=self.spec.masks.missing,
            folder=self.session.cache,
            workers=self.session.workers or os.cpu_count() or 1,
            progress=lambda done, total: self.listen(
                {"event": "progress", "what": f"decoding {split}", "done": done, "total": total}
            ),
        )
        if kind == "mask":
            paths = self.samples(split).paths
            require_labels_of(self.spec.masks.label_set, pixels, lambda row: self._mask_of(paths[row]))
            if split not in self._masks_found and (message := self.missing_masks(split)):
                self.listen({"event": "warning", "message": message})
        return pixels

    def _mask_of(self, path: str) -> str:
        return str(self.dataset.mask_path(path)) if self.dataset.folder else f"The mask of {path}"

    def masks_found(self, split: str) -> int:
        """Images of the split that have a mask; looked up once."""
        if split not in self._masks_found:
            self._masks_found[split] = sum(map(self.dataset.has_mask, self.samples(split).paths))
        return self._masks_found[split]

    def missing_masks(self, split: str) -> str:
        """What to say of a split where images without a mask count as background; empty where none is missing."""
        found, images = self.masks_found(split), len(self.samples(split))
        if found == images or self.spec.masks.missing == "error":
            return ""
        return (
            f"{split}: {found:,} of {images:,} masks found below {self.dataset.mask_folder}; an image without one "
            "counts as all background (masks.missing=background)."
        )

    def masked_splits(self) -> list[str]:
        """The dataset's own splits of which the method reads masks, in training or at test."""
        names = ["train"] if "mask" in self.inputs else []
        if "mask" in METHODS.get(self.spec.method.name).test_inputs(self.spec.method):
            names += [own for name in self._tested_splits() for own in self.splits.parts(name)]
        return list(dict.fromkeys(names))

    def _tested_splits(self) -> list[str]:
        """What is scored, and what an epoch is chosen by."""
        protocols = [*self.protocols, *([self.validation] if self.rule == VALIDATION else [])]
        return list(dict.fromkeys(name for p in protocols for name in (p.query, p.gallery)))

    def require_masks(self) -> None:
        """Raise DataError, before anything is trained, where an image that is scored lacks a mask."""
        for split in self._tested_splits():
            for path in self.samples(split).paths:
                if self.spec.masks.missing == "error" and not self.dataset.has_mask(path):
                    self.dataset.read_mask(path)  # raises

    def training(self) -> TrainingData:
        """The training split without held-out identities, with captions where the method asks for them.

        Where tracklets are what a dataset compares, it is also trained from pieces of tracklets.
        """
        split = self.samples("train")
        rows: IntArray = np.arange(len(split)) if self.holdout is None else self.holdout.training
        captions = None
        if "caption" in self.inputs:
            captions = caption_features(
                self.dataset, split.take(rows), self.spec.captions, caption_folder(self.dataset, self.session)
            )
            rows = rows[captions.rows]
        samples = split.take(rows)
        cut = None
        if self.headline.pool is not None and samples.tracklet is not None:
            cut = pieces(samples.tracklet, self.spec.clips.piece)
        return TrainingData(samples, rows, captions, cut)

    @property
    def inputs(self) -> frozenset[str]:
        """What the method needs besides images and labels."""
        return METHODS.get(self.spec.method.name).inputs(self.spec.method)

    def facts(self) -> dict[str, Any]:
        """What data.json says: counts and fingerprint of each split that is used, masks found of those whose masks are
        read, who is held out, and plugins.
        """
        protocols = [*self.protocols, self.dataset.validation()]
        splits = dict.fromkeys(["train", *(name for p in protocols for name in (p.query, p.gallery))])
        expected = self.dataset.expected()
        differences = {
            name: compare_counts(self.dataset, name, count(self.samples(name)), expected[name])
            for name in splits
            if name in expected
        }
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
            "protocols": [asdict(protocol) | {"ignore": str(protocol.ignore)} for protocol in self.protocols],
            "differences": [finding.message for findings in differences.values() for finding in findings],
            "synthesized": is_synthesized(self.dataset),
            "masks": {name: self.masks_found(name) for name in self.masked_splits()},
            "held_out": [] if self.holdout is None else self.holdout.persons.tolist(),
            "selection": self.rule,
        } | plugin_facts(self.spec.method.name, self.dataset.name)
