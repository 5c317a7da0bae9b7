"""Do the parsing masks belong to the images: one for each, of its size, with labels of a known set?"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..base import ReIDDataset, Samples
from ..errors import DataError
from ..masks import LABEL_SETS, MaskConfig, sets_with
from .findings import Finding, first_few, in_threads
from .images import ImageFile, read_header

DECODED = 256
"""Masks whose labels are looked at in a check that is not deep: a wrong label set shows in any of them."""


@dataclass(frozen=True)
class MaskFile:
    missing: bool = False
    problem: str = ""
    """Why the mask cannot be used, as a sentence."""
    labels: frozenset[int] = frozenset()
    """Found in it, where it was decoded."""


def check_masks(
    dataset: ReIDDataset,
    splits: Mapping[str, Samples],
    files: Mapping[str, ImageFile],
    config: MaskConfig,
    *,
    deep: bool,
    workers: int,
) -> Iterator[Finding]:
    """Coverage, sizes and labels of the masks in the dataset's mask folder. No folder is fine unless it was named."""
    folder = dataset.mask_folder
    if not dataset.folder or not files:
        return
    if not folder.is_dir():
        usual = folder == dataset.beside / "masks" / dataset.folder
        mend = "" if usual else ": name the right folder with mask_folder=DIR"
        yield Finding("ok" if usual else "error", f"masks: none, {folder} is not there{mend}")
        return
    paths = list(files)
    step = 1 if deep else -(-len(paths) // DECODED)
    work = [(path, number % step == 0) for number, path in enumerate(paths)]
    masks = dict(zip(paths, in_threads(partial(_read_mask, dataset, files), work, workers), strict=True))

    there = [
        f"{name} {sum(not masks[path].missing for path in splits[name].paths):,} of {len(splits[name]):,}"
        for name in dataset.splits
        if name in splits
    ]
    yield Finding("ok", f"masks: {', '.join(there)}")
    if missing := [path for path, mask in masks.items() if mask.missing]:
        first = dataset.mask_path(missing[0])
        mend = f"parse {'it' if len(missing) == 1 else 'them'}, or move the folder away if no method needs masks"
        level = "error" if config.missing == "error" else "warning"
        yield Finding(level, f"Images without a mask: {len(missing):,}, first {first} is missing: {mend}.")
    yield from first_few([mask.problem for mask in masks.values() if mask.problem], "masks")
    if labels := frozenset[int]().union(*(mask.labels for mask in masks.values())):
        yield _label_set(labels, masks, config)


def _read_mask(dataset: ReIDDataset, files: Mapping[str, ImageFile], work: tuple[str, bool]) -> MaskFile:
    """`work`: the image's path, and whether to decode its mask."""
    path, decode = work
    file, image = dataset.mask_path(path), files[path].header
    try:
        if not file.is_file():
            return MaskFile(missing=True)
        header = read_header(file)
        if image is not None and header.size != image.size:
            sizes = f"{'×'.join(map(str, header.size))} pixels, its image {'×'.join(map(str, image.size))}"
            return MaskFile(problem=f"{file} has {sizes}: parse the image as it is now, or copy the mask again.")
        if decode or not header.whole or header.mode not in ("L", "P"):
            counts = np.bincount(dataset.read_mask(path).ravel())
            return MaskFile(labels=frozenset(np.flatnonzero(counts).tolist()))
    except DataError as error:
        return MaskFile(problem=str(error))
    except OSError as error:  # a folder above it that must not be looked into
        return MaskFile(problem=f"{file} cannot be read: {error.strerror}.")
    return MaskFile()


def _label_set(labels: frozenset[int], masks: Mapping[str, MaskFile], config: MaskConfig) -> Finding:
    """Which label sets have all the labels that were found; an error where none has, or not the one to be read."""
    fitting = sets_with(max(labels))
    decoded = sum(bool(mask.labels) for mask in masks.values())
    if fitting:
        said = f"mask labels: at most {max(labels)} in {decoded:,} masks, as in {' or '.join(fitting)}"
        if config.label_set not in fitting:
            beyond = next(path for path, mask in masks.items() if max(labels) in mask.labels)
            last = len(LABEL_SETS[config.label_set].labels) - 1
            return Finding("error", f"{said}, and masks.label_set={config.label_set} ends at {last}: see {beyond}.")
        return Finding("ok", said)
    most = max(len(known.labels) for known in LABEL_SETS.values())
    strange = sorted(label for label in labels if label >= most)
    first = next(path for path, mask in masks.items() if strange[0] in mask.labels)
    sets = ", ".join(f"{name} 0–{len(known.labels) - 1}" for name, known in LABEL_SETS.items())
    return Finding(
        "error",
        f"Masks hold labels that no label set has: {', '.join(map(str, strange[:5]))}, first in that of {first} "
        f"({sets}): save the parser's label numbers, not colours or grey values.",
    )
