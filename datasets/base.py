"""The contract between a dataset and everything else: columns of labels, images by path, protocols as data."""

import enum
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from .config import Strict
from .errors import DataError, UsageError

if TYPE_CHECKING:
    from PIL import Image

IntArray = npt.NDArray[np.int64]
UInt8Array = npt.NDArray[np.uint8]

MARKER = "synthesized.json"
"""Written last into a synthesized dataset's folder: what it was made of, and how much it holds."""


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


Pool = Literal["frames", "clips", "unit-clips"]
"""frames: mean over a tracklet's images. clips: mean over clips that cover it, each the mean of its images (CAL).
unit-clips: the same with each clip scaled to unit length first (DIFFER's video class)."""


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
    pool: Pool | None = None
    """How the features of a tracklet's images become one; None: images ask and answer alone."""
    area: Literal["steps", "trapezoids"] = "steps"
    """How average precision measures the area under precision over recall. Trapezoids: two older evaluators."""
    reported: bool = True
    """False: not what the field reports today; computed only when asked for by name or with `all`."""
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
    """The disjoint parts that the authors hand out; `split` may know others, made of these, that protocols name."""
    statistics: ClassVar[dict[str, Counts]] = {}
    """Split → what the authors publish about it."""
    statistics_verified: ClassVar[bool] = True
    """False: they are quoted from memory, so that a difference may be ours."""
    one_numbering: ClassVar[bool] = True
    """False: train and test number their people separately, so that equal numbers are different people."""
    Config: ClassVar[type[DatasetConfig]] = DatasetConfig

    def __init__(self, root: Path, config: DatasetConfig | None = None, mask_folder: Path | None = None):
        """`root`: the folder itself, or one that holds it under its official name, itself or one level down.

        `mask_folder`: where masks lie, when not beside the dataset.
        """
        found = _find(root, self.folder) if self.folder else None
        self.root = found or root
        self.beside = root if found else root.parent
        """Folder that holds masks/ and captions/."""
        self.config = config if config is not None else self.Config()
        self.mask_folder = mask_folder or self.beside / "masks" / self.folder

    @abstractmethod
    def split(self, name: str) -> Samples:
        """The images of one of `splits`, in canonical order."""

    @abstractmethod
    def protocols(self) -> Sequence[Protocol]:
        """The conventions this dataset is reported under, the headline one first."""

    def validation(self) -> Protocol:
        """What an epoch is chosen by.

        A protocol between validation splits of the dataset's own, or, with `train` as query and gallery, between
        training identities that are held out: by default these, under the rule of the headline protocol.
        """
        return replace(self.protocols()[0], name="validation", query="train", gallery="train", draws=0)

    def expected(self) -> dict[str, Counts]:
        """Split → how much it should hold: as published, or as written by `run.py synthesize`."""
        written = self.root / MARKER
        if not self.folder or not written.is_file():
            return self.statistics
        try:
            counts = json.loads(written.read_text(encoding="utf-8"))["counts"]
            return {split: Counts(**count) for split, count in counts.items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            raise DataError(f"{written} is damaged: synthesize the dataset again.") from None

    def read_image(self, path: str) -> UInt8Array:
        """[H, W, 3] RGB. Raises DataError, naming the file, where it cannot be decoded."""
        return np.asarray(_open(self.root / path, "RGB"))

    def mask_path(self, path: str) -> Path:
        """Where the mask of an image lies: `mask_folder`, under the image's path, as PNG."""
        return (self.mask_folder / path).with_suffix(".png")

    def read_mask(self, path: str) -> UInt8Array:
        """[H, W] label of every pixel, in the numbering of its label set (`datasets/masks.py`).

        Raises DataError where there is no mask, or none with one label a pixel.
        """
        if not self.mask_path(path).exists():
            raise DataError(
                f"{path} has no mask: {self.mask_path(path)} does not exist; put it there, name another folder with "
                f"mask_folder=DIR, or set masks.missing=background."
            )
        labels = np.asarray(_open(self.mask_path(path), None))  # a palette would turn labels into colours
        if labels.ndim != 2 or labels.dtype != np.uint8:
            raise DataError(
                f"{self.mask_path(path)} is not a mask with one label per pixel ({labels.dtype}, {labels.ndim} axes): "
                f"save it as an 8-bit grey or palette PNG."
            )
        return labels

    def caption_key(self, path: str) -> str:
        """The name under which DIFFER's caption files list this image."""
        return Path(path).stem

    def caption_texts(self, samples: Samples) -> list[tuple[str, ...]] | None:
        """Six sentences per image, one per aspect of `datasets.captions.ASPECTS`, where the dataset itself has them."""
        return None

    def has_mask(self, path: str) -> bool:
        """Whether `read_mask` has a file to read."""
        return self.mask_path(path).exists()

    def fingerprint(self, samples: Samples, kind: Literal["image", "mask"] = "image") -> str:
        """Changes when a file of `samples` is added, removed, renamed or rewritten (sizes and times, not bytes).

        A missing image raises DataError; a missing mask has a fingerprint like any other.
        """
        digest = hashlib.sha256(self.name.encode())
        for path in samples.paths:
            file = self.root / path if kind == "image" else self.mask_path(path)
            try:
                status = file.stat()
                digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
            except FileNotFoundError as error:
                if kind == "image":
                    raise DataError(f"{file} cannot be read: {error.strerror}.") from None
                digest.update(f"{path}\0missing\n".encode())
            except OSError as error:
                raise DataError(f"{file} cannot be read: {error.strerror}.") from None
        return digest.hexdigest()


def _find(root: Path, folder: str) -> Path | None:
    """`folder` in `root`, or in the only folder of `root` that has one. Raises UsageError where several have."""
    if (root / folder).is_dir():
        return root / folder
    if root.name == folder or not root.is_dir():
        return None
    below = [path for path in sorted(root.glob(f"*/{folder}")) if path.is_dir()]
    if len(below) > 1:
        raise UsageError(
            f"data={root} holds {folder} more than once ({below[0]}, {below[1]}): name the one that is meant."
        )
    return below[0] if below else None


def _open(path: Path, mode: str | None) -> "Image.Image":
    from PIL import Image, UnidentifiedImageError  # `list` needs no images

    try:
        with Image.open(path) as image:
            return image.convert(mode) if mode else image.copy()
    except FileNotFoundError:
        raise DataError(f"{path} is missing: was the dataset moved or changed while it was read?") from None
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise DataError(
            f"{path} is not a readable image ({error}): copy the file again from the dataset's archive."
        ) from None
