"""Is a dataset's folder what its authors released, and do the masks and captions beside it belong to it?"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from ..base import ReIDDataset, Samples
from ..errors import DataError
from ..masks import MaskConfig
from .captions import check_captions
from .findings import Finding
from .images import check_images, read_images
from .masks import check_masks
from .splits import check_labels, compare_counts, count, every_protocol, read_splits

__all__ = ["Finding", "check", "compare_counts", "count", "every_protocol", "examine", "read_splits"]


def check(dataset: ReIDDataset, *, deep: bool = False) -> list[Finding]:
    """Everything found wrong, errors and warnings; empty when all is well."""
    splits, findings = read_splits(dataset)
    findings += examine(dataset, splits, deep=deep)
    return [finding for finding in findings if finding.level != "ok"]


def examine(
    dataset: ReIDDataset,
    splits: Mapping[str, Samples],
    *,
    caption_folder: Path | None = None,
    masks: MaskConfig | None = None,
    deep: bool = False,
    workers: int = 1,
) -> Iterator[Finding]:
    """What there is to say about the splits that `read_splits` could read; without errors when all is well.

    Opens every file once, for its header and its end; `deep` decodes every image and mask, which takes minutes.
    `caption_folder`: where caption files lie, as for `caption_features`. `masks`: how masks are to be read. `workers`:
    threads that read.
    """
    yield from check_labels(dataset, splits)
    files = read_images(dataset, splits, deep=deep, workers=workers)
    yield from check_images(dataset, splits, files, workers=workers, deep=deep)
    yield from check_masks(dataset, splits, files, masks or MaskConfig(), workers=workers, deep=deep)
    if len(splits.get("train", ())):
        yield from check_captions(dataset, splits["train"], caption_folder)
    try:
        fingerprints = [f"{name} {dataset.fingerprint(splits[name])[:12]}" for name in dataset.splits if name in splits]
    except DataError as error:
        yield Finding("error", str(error))
    else:
        if fingerprints:
            yield Finding("ok", f"fingerprints: {', '.join(fingerprints)}")
