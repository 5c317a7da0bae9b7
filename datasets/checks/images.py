"""What the image files tell: which cannot be read, and which are there twice."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import combinations_with_replacement
from pathlib import Path
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError

from ..base import ReIDDataset, Samples
from ..errors import DataError
from .findings import Finding, first_few, in_threads
from .splits import tested_splits

_END = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9"}  # last bytes of a file that is all there
_TAIL = 64


@dataclass(frozen=True)
class Header:
    """What is known of an image file without decoding it."""

    size: tuple[int, int]
    """Width, height."""
    mode: str
    """PIL's: RGB, L (grey), P (palette), …"""
    length: int
    """Bytes of the file."""
    tail: bytes
    """The last of them."""
    whole: bool
    """Ends as its format should. Where it does not, only decoding tells."""


class ImageFile(NamedTuple):
    """One image of a split: its header, or what is wrong with it."""

    header: Header | None
    problem: str


def read_header(file: Path) -> Header:
    """Raises DataError, naming the file, where there is no image."""
    try:
        with file.open("rb") as stream, Image.open(stream) as image:
            length = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, length - _TAIL))
            tail = stream.read()
            end = _END.get(image.format or "")
            return Header(image.size, image.mode, length, tail, end is not None and tail.endswith(end))
    except UnidentifiedImageError:
        reason = f"{length:,} bytes of no known format" if (length := file.stat().st_size) else "it is empty"
    except Image.DecompressionBombError as error:
        reason = str(error)
    except OSError as error:
        if error.strerror:  # the system's, not PIL's
            raise DataError(
                f"{file} cannot be read ({error.strerror}): give the account that runs this the right to, "
                f"or copy the file again."
            ) from None
        reason = str(error)
    raise DataError(f"{file} is not a readable image ({reason}): copy the file again from the dataset's archive.")


def read_images(
    dataset: ReIDDataset, splits: Mapping[str, Samples], *, deep: bool, workers: int
) -> dict[str, ImageFile]:
    """Path → file, of `dataset.splits`. `deep` decodes all; else those that do not end as their format should.

    The images of a dataset that needs no files are drawn if `deep`, and not looked at otherwise.
    """
    paths = list(dict.fromkeys(path for name in dataset.splits if name in splits for path in splits[name].paths))
    if not dataset.folder and not deep:
        return {}
    files = in_threads(partial(_read_image, dataset, deep), paths, workers)
    return dict(zip(paths, files, strict=True))


def _read_image(dataset: ReIDDataset, deep: bool, path: str) -> ImageFile:
    header = None
    try:
        if dataset.folder:
            header = read_header(dataset.root / path)
        if deep or header is None or not header.whole:
            dataset.read_image(path)
    except DataError as error:
        return ImageFile(None, str(error))
    return ImageFile(header, "")


def check_images(
    dataset: ReIDDataset, splits: Mapping[str, Samples], files: Mapping[str, ImageFile], *, deep: bool, workers: int
) -> Iterator[Finding]:
    """Files that cannot be read, and files that are there twice."""
    if not files:
        if not dataset.folder:
            yield Finding("ok", f"images: {dataset.name} needs no files, they are drawn when they are read")
        return
    problems = [file.problem for file in files.values() if file.problem]
    yield from first_few(problems, "images")
    how = "can be decoded" if deep else "can be opened and are whole"
    yield Finding("ok", f"images: {len(files) - len(problems):,} of {len(files):,} {how}")
    yield from duplicates(dataset, splits, files, workers)


def duplicates(
    dataset: ReIDDataset, splits: Mapping[str, Samples], files: Mapping[str, ImageFile], workers: int
) -> Iterator[Finding]:
    """A finding for each pair of splits, or single split, with copies. Copies of training images in a test are errors.

    Files can only be equal where their lengths and last bytes are: only those are read whole and hashed.
    """
    alike = defaultdict(list)
    for path, (header, _) in files.items():
        if header is not None:
            alike[header.length, header.tail].append(path)
    suspects = [path for group in alike.values() if len(group) > 1 for path in group]
    copies = defaultdict(list)
    for path, digest in zip(suspects, in_threads(partial(_digest, dataset.root), suspects, workers), strict=True):
        copies[digest].append(path)

    owner = {path: name for name in dataset.splits if name in splits for path in splits[name].paths}
    pairs = defaultdict(list)
    for group in copies.values():
        by_split = defaultdict(list)
        for path in group:
            by_split[owner[path]].append(path)
        for one, other in combinations_with_replacement(by_split, 2):
            again = by_split[other][1:] if one == other else by_split[other]
            if again:
                pairs[one, other] += [(by_split[one][0], path) for path in again]

    tested = tested_splits(dataset, splits)
    for (one, other), found in pairs.items():
        where = f"in {one} twice" if one == other else f"in both {one} and {other}"
        said = f"Images that are {where}, byte for byte: {len(found):,}, first {found[0][0]} and {found[0][1]}"
        if "train" in (one, other) and (one in tested or other in tested):
            yield Finding("error", f"{said}: what is tested must not be trained on, unpack the archive again.")
        else:
            yield Finding("warning", f"{said}.")


def _digest(root: Path, path: str) -> bytes:
    with (root / path).open("rb") as stream:
        return hashlib.file_digest(stream, "blake2b").digest()
