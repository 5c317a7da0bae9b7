"""CCVID: clothes-changing person re-identification in videos, 226 people in 2,856 walks (Gu et al., CVPR 2022).

    CCVID/{train,query,gallery}.txt               FOLDER PERSON CLOTHES, for example session1/001_01 001 u0_l0_s0_c0_a0
    CCVID/session{1,2,3}/PERSON_WALK/FRAME.jpg    for example session1/001_01/00001.jpg

The clothes tag numbers a person's upper and lower clothes, shoes, things carried and accessories. The lists agree, row
for row, with those of CAL and GEFF (`tests/golden/datasets`).
"""

import re

import numpy as np
from pydantic import Field

from . import DATASETS
from .base import Counts, DatasetConfig, Ignore, Pool, Protocol, ReIDDataset, Samples
from .errors import DataError, UsageError
from .reading import image_names, name_pattern, require_folders

_LINE = re.compile(
    r"(?P<folder>session(?P<session>[123])/(?P<person>\d{3})_(?P<walk>0[1-9]|1[0-2]))\s+(?P=person)\s+"
    r"u(?P<upper>\d\d?)_l(?P<lower>\d\d?)_s(?P<shoes>\d\d?)_c(?P<carried>\d\d?)_a(?P<accessories>\d\d?)",
    re.ASCII,
)
_LINE_FORM = "FOLDER PERSON CLOTHES of session 1, 2 or 3, such as session1/001_01 001 u0_l0_s0_c0_a0"
_FRAME = name_pattern(r"\d{5}\.jpg")
_FRAME_FORM = "like CCVID's frames, FRAME.jpg such as 00001.jpg"
_CLOTHES = ("upper", "lower", "shoes", "carried", "accessories")
_CAL = "as evaluated by CAL (guxinqian/Simple-CCReID, commit f773d01): clips of 8 frames, stride 4"
_DIFFER = "the video dataset class of DIFFER (commit 67acb5d)"


class CCVIDConfig(DatasetConfig):
    """Which frames are read."""

    train_every: int = Field(default=1, ge=1)
    """Keep training frames whose number is a multiple of this; DIFFER's first release: 10."""
    test_every: int = Field(default=1, ge=1)
    """Keep frames of query and gallery whose number is a multiple of this."""


@DATASETS.register("ccvid")
class CCVID(ReIDDataset):
    """One row per frame; a tracklet is one walk, in the order of the list.

    Cameras are the numbers of walks, 12 higher in session 3, as in CAL: the videos have no camera of their own. Clothes
    are the decimal digits of the person and of the tag's five numbers, two each; tracklets those of person, session and
    walk. So both are unique over the dataset and do not depend on which split is read.
    """

    name = "ccvid"
    title = "CCVID"
    year = 2022
    homepage = "https://github.com/guxinqian/Simple-CCReID"
    citation = (
        "Gu, Chang, Ma, Bai, Shan, Chen: "
        "Clothes-Changing Person Re-identification with RGB Modality Only. CVPR 2022. arXiv 2204.06890"
    )
    terms = (
        "CC BY-NC-SA 4.0; the archive's readme asks that the face area is mosaicked in every picture that is shown, "
        "since the videos are FVG's."
    )
    folder = "CCVID"
    splits = ("train", "query", "gallery")
    statistics = {  # query and gallery together: 321 outfits; all three lists: 347,833 frames
        "train": Counts(persons=75, clothes=159, tracklets=948),
        "query": Counts(persons=151, tracklets=834),
        "gallery": Counts(persons=151, tracklets=1074),
    }
    Config = CCVIDConfig
    config: CCVIDConfig

    def split(self, name: str) -> Samples:
        """Frames sorted by name within a tracklet.

        Raises DataError where the list or a folder in it is missing or empty, or holds what is not CCVID's, and
        UsageError where a tracklet has no frame left to keep.
        """
        if name not in self.splits:
            raise UsageError(f"CCVID has no split {name}: choose one of {', '.join(self.splits)}.")
        key = "train_every" if name == "train" else "test_every"
        paths: list[str] = []
        lengths, labels = [], []
        for line in self._lines(name):
            folder = line["folder"]
            frames = self._frames(folder, key)
            paths += [f"{folder}/{frame}" for frame in frames]
            lengths.append(len(frames))
            labels.append(_labels(line))
        person, camera, clothes, tracklet = np.repeat(np.array(labels, dtype=np.int64), lengths, axis=0).T
        return Samples(tuple(paths), person, camera, clothes, tracklet)

    def protocols(self) -> tuple[Protocol, ...]:
        """All rank tracklets: those of CAL, then with the mean over frames, then as DIFFER's video class pools.

        DIFFER's own code also leaves the pooled feature as it is and compares by squared Euclidean distance; choose
        evaluate.normalise=false evaluate.metric=euclidean with `-unit-clips` for its numbers.
        """
        return (
            *_protocols("", "clips", f"Gu et al. 2022; {_CAL}"),
            *_protocols("-frames", "frames", "the mean over all frames of a tracklet, without clips", reported=False),
            *_protocols("-unit-clips", "unit-clips", _DIFFER, reported=False),
        )

    def caption_key(self, path: str) -> str:
        """The path without its extension: numbers of frames start again in every tracklet."""
        return path.rpartition(".")[0]

    def _lines(self, split: str) -> list[re.Match[str]]:
        """The tracklets in the list of a split. Raises DataError where the list is not one."""
        lists = tuple(f"{name}.txt" for name in self.splits)
        file = self.root / f"{split}.txt"
        require_folders(self.root, lists, file.name, "CCVID")
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{file} cannot be read ({error}): copy it again from the dataset's archive.") from None
        found: dict[str, re.Match[str]] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            if not line.strip():
                continue
            match = _LINE.fullmatch(line.strip())
            if match is None:
                raise DataError(f"{file}, line {number}: {line.strip()!r} is not {_LINE_FORM}; copy the list again.")
            if match["folder"] in found:
                raise DataError(f"{file}, line {number}: {match['folder']} is listed twice; copy the list again.")
            found[match["folder"]] = match
        if not found:
            raise DataError(f"{file} lists no tracklets: copy it again from the dataset's archive.")
        return list(found.values())

    def _frames(self, folder: str, key: str) -> list[str]:
        """Names of the frames of a tracklet that the configuration keeps."""
        names = image_names(self.root / folder, _FRAME, _FRAME_FORM)
        every = getattr(self.config, key)
        kept = names if every == 1 else [name for name in names if int(name[:5]) % every == 0]
        if not kept:
            raise UsageError(
                f"{self.root / folder} has no frame whose number is a multiple of {every}: "
                f"choose a smaller dataset.{key}."
            )
        return kept


def _labels(line: re.Match[str]) -> tuple[int, int, int, int]:
    """person, camera, clothes, tracklet"""
    person, session, walk = int(line["person"]), int(line["session"]), int(line["walk"])
    clothes = person
    for part in _CLOTHES:
        clothes = clothes * 100 + int(line[part])
    return person, walk + 12 * (session == 3), clothes, person * 1000 + session * 100 + walk


def _protocols(suffix: str, pool: Pool, source: str, *, reported: bool = True) -> list[Protocol]:
    """CAL's three conventions for one way of pooling."""
    ignored = {
        "cloth-changing": Ignore.SAME_CAMERA | Ignore.SAME_CLOTHES,
        "standard": Ignore.SAME_CAMERA,
        "same-clothes": Ignore.SAME_CAMERA | Ignore.OTHER_CLOTHES,
    }
    return [
        Protocol(f"{name}{suffix}", "query", "gallery", ignore, pool=pool, reported=reported, source=source)
        for name, ignore in ignored.items()
    ]
