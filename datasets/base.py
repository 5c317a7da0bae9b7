"""The contract between a dataset and everything else: columns of labels, images by path, protocols as data."""

import enum
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from .config import Strict
from .errors import DataError

if TYPE_CHECKING:
    from PIL import Image

IntArray = npt.NDArray[np.int64]
UInt8Array = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Samples:
    """Columns, one row per image."""

    paths: tuple[str, ...]
    """Relative to the dataset's root, with forward slashes; the order is the canonical order of the split."""
    person: IntArray
    """[N] identity as labelled on disk."""
    camera: IntArray
    """[N] camera as labelled on disk, or -1 where the dataset has none."""
    clothes: IntArray
    """[N] outfit, unique over the whole dataset and not only within a person, or -1 where unlabelled."""
    tracklet: IntArray | None = None
    """[N] images of one walk share a number; None: every image stands alone."""

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: Sequence[int] | IntArray) -> "Samples":
        """The given rows, in the given order."""
        rows = np.asarray(rows, dtype=np.int64)
        tracklet = None if self.tracklet is None else self.tracklet[rows]
        return replace(
            self,
            paths=tuple(self.paths[row] for row in rows),
            person=self.person[rows],
            camera=self.camera[rows],
            clothes=self.clothes[rows],
            tracklet=tracklet,
        )


class Ignore(enum.Flag):
    """Which gallery entries *of the query's own person* a protocol makes invisible to the query; a union of conditions.

    Entries of other people are never ignored: that is what lets one pass over the distances serve every protocol.
    """

    NOTHING = 0
    SAME_CAMERA = enum.auto()
    SAME_CLOTHES = enum.auto()
    OTHER_CLOTHES = enum.auto()
    SAME_TRACKLET = enum.auto()


@dataclass(frozen=True)
class Protocol:
    """A convention of the literature: which images ask, which answer, and which answers do not count."""

    name: str
    """standard, cloth-changing, same-clothes, …"""
    query: str
    """Name of the split that asks."""
    gallery: str
    """Name of the split that answers."""
    ignore: Ignore
    draws: int = 0
    """> 0: single-shot gallery, one image per identity, drawn this often, scores averaged."""
    source: str = ""
    """Where the convention is written down."""


@dataclass(frozen=True)
class Counts:
    """What the authors publish about a split; None where they publish nothing."""

    persons: int | None = None
    images: int | None = None
    clothes: int | None = None
    tracklets: int | None = None


class DatasetConfig(Strict):
    """Options of a dataset that change what is measured. Where the files lie is not one of them."""

    name: str = ""
    """Name in the registry; `dataset=NAME` on the command line sets it."""


class ReIDDataset(ABC):
    """An adapter: reads one official layout.

    Constructing one is cheap; `split` reads the folder. Raises DataError where the folder is not what the layout says.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    year: ClassVar[int]
    homepage: ClassVar[str] = ""
    citation: ClassVar[str] = ""
    terms: ClassVar[str] = ""
    """What the licence allows to be shown or uploaded."""
    folder: ClassVar[str] = ""
    """Name of the dataset's folder as distributed; empty when it needs no files."""
    splits: ClassVar[tuple[str, ...]]
    statistics: ClassVar[dict[str, Counts]] = {}
    Config: ClassVar[type[DatasetConfig]] = DatasetConfig

    def __init__(self, root: Path, config: DatasetConfig | None = None):
        """`root`: the folder itself, or the one that holds it under its official name."""
        self.root = root / self.folder if self.folder and (root / self.folder).is_dir() else root
        self.config = config if config is not None else self.Config()

    @abstractmethod
    def split(self, name: str) -> Samples:
        """The images of one of `splits`, in canonical order."""

    @abstractmethod
    def protocols(self) -> Sequence[Protocol]:
        """The conventions this dataset is reported under, the headline one first."""

    def read_image(self, path: str) -> UInt8Array:
        """[H, W, 3] RGB. Raises DataError, naming the file, where it cannot be decoded."""
        return np.asarray(_open(self.root / path, "RGB"))

    def read_mask(self, path: str) -> UInt8Array:
        """[H, W] label of every pixel, LIP numbering (`datasets/masks.py`). Raises DataError where there is none.

        On disk masks lie beside the dataset's folder: masks/FOLDER/, under the image's path, as PNG.
        """
        return np.asarray(_open((self.root.parent / "masks" / self.folder / path).with_suffix(".png"), "L"))

    def caption_key(self, path: str) -> str:
        """The name under which DIFFER's caption files list this image."""
        return Path(path).stem

    def caption_texts(self, samples: Samples) -> list[tuple[str, ...]] | None:
        """Six sentences per image, one per aspect of `datasets/captions.py`, where the dataset itself has them."""
        return None

    def fingerprint(self, samples: Samples) -> str:
        """Changes when a file of `samples` is added, removed, renamed or rewritten (sizes and times, not bytes)."""
        digest = hashlib.sha256(self.name.encode())
        for path in samples.paths:
            try:
                status = (self.root / path).stat()
            except OSError as error:
                raise DataError(f"{self.root / path} cannot be read: {error.strerror}.") from None
            digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
        return digest.hexdigest()


def _open(path: Path, mode: str) -> "Image.Image":
    from PIL import Image, UnidentifiedImageError  # `list` needs no images

    try:
        with Image.open(path) as image:
            return image.convert(mode)
    except FileNotFoundError:
        raise DataError(f"{path} is missing: was the dataset moved or changed while it was read?") from None
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise DataError(
            f"{path} is not a readable image ({error}): copy the file again from the dataset's archive."
        ) from None
