"""DeepChange: a year of 17 street cameras, 1,121 people (Xu and Zhu, ICCV 2023).

    DeepChangeDataset/{train-set,val-set-query,val-set-gallery,test-set-query,test-set-gallery}/
        PPERSON_CCAMERA_DAY_….jpg                 for example P1_C01_20190405_08_1_1.jpg
    DeepChangeDataset/{the same names}-bbox.txt   one line per image: NAME,TRACKLET

The lists hold the same images with the same labels as those of CAL and FIRe (`tests/golden/datasets`), sorted by name;
theirs are in the order of the text files.
"""

import re
from dataclasses import replace

import numpy as np

from . import DATASETS
from .base import Counts, Ignore, Protocol, ReIDDataset, Samples
from .errors import DataError, UsageError
from .reading import image_names, name_pattern, parsed, require_folders

FOLDERS = {
    "train": "train-set",
    "val_query": "val-set-query",
    "val_gallery": "val-set-gallery",
    "query": "test-set-query",
    "gallery": "test-set-gallery",
}
"""Split → folder; its list is the file of that name with -bbox.txt."""

_NAME = name_pattern(r"P(?P<person>\d{1,6})_C(?P<camera>0?[1-9]|[1-9]\d)_(?P<day>\d{1,8})_[^,/]+\.jpg")
_FORM = "like DeepChange's images, PPERSON_CCAMERA_DAY_….jpg such as P1_C01_20190405_08_1_1.jpg"
_LINE = re.compile(r"(?P<name>[^,]+),\s*(?P<tracklet>\d{1,18})\s*(,.*)?", re.ASCII)
_SOURCE = (
    "Xu and Zhu 2023; as evaluated by CAL (guxinqian/Simple-CCReID, commit f773d01): matches from the query's camera "
    "count, those of its tracklet do not"
)


@DATASETS.register("deepchange")
class DeepChange(ReIDDataset):
    """Camera C01 is 0. Tracklets are numbered as in the lists.

    Clothes are person × 10⁸ + day of recording: nobody has labelled outfits, and CAL takes what a person wears on one
    day for one outfit. Enough to train with, but no protocol compares them.
    """

    name = "deepchange"
    title = "DeepChange"
    year = 2023
    homepage = "https://github.com/PengBoXiangShang/deepchange"
    citation = (
        "Xu, Zhu: DeepChange: A Long-Term Person Re-Identification Benchmark with Clothes Change. "
        "ICCV 2023. arXiv 2105.14685"
    )
    terms = (
        "Non-commercial research only, against an agreement signed by an institution; no part may be handed on, and "
        "faces MUST be blocked in every picture that is shown."
    )
    folder = "DeepChangeDataset"
    splits = tuple(FOLDERS)
    statistics_verified = False
    statistics = {
        "train": Counts(persons=450, images=75083),
        "val_query": Counts(persons=150, images=4976),
        "val_gallery": Counts(persons=150, images=17865),
        "query": Counts(persons=521, images=17527),
        "gallery": Counts(persons=521, images=62956),
    }

    def split(self, name: str) -> Samples:
        """Sorted by path.

        Raises DataError where the folder or its list is missing, holds what is not DeepChange's, or where one of them
        holds an image that the other does not.
        """
        if name not in FOLDERS:
            raise UsageError(f"DeepChange has no split {name}: choose one of {', '.join(FOLDERS)}.")
        folder = FOLDERS[name]
        require_folders(self.root, tuple(FOLDERS.values()), folder, "DeepChange")
        names = image_names(self.root / folder, _NAME, _FORM)
        tracklets = self._tracklets(folder)
        self._same_images(folder, names, tracklets)
        matches = [parsed(_NAME, image) for image in names]
        person, camera, day = (np.array([int(m[key]) for m in matches]) for key in ("person", "camera", "day"))
        return Samples(
            paths=tuple(f"{folder}/{image}" for image in names),
            person=person,
            camera=camera - 1,
            clothes=person * 10**8 + day,
            tracklet=np.array([tracklets[image] for image in names]),
        )

    def protocols(self) -> tuple[Protocol, ...]:
        """Every image ranks alone; of the query's own tracklet none counts."""
        return (Protocol("standard", "query", "gallery", Ignore.SAME_TRACKLET, source=_SOURCE),)

    def validation(self) -> Protocol:
        """The headline protocol between DeepChange's own validation splits."""
        return replace(self.protocols()[0], name="validation", query="val_query", gallery="val_gallery")

    def _tracklets(self, folder: str) -> dict[str, int]:
        """Image → tracklet, from the folder's list. Fields after the second are not used."""
        file = self.root / f"{folder}-bbox.txt"
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"{file} is missing or cannot be read ({error}): it has the tracklets of {folder}; "
                f"copy it from the dataset's archive."
            ) from None
        found: dict[str, int] = {}
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            match = _LINE.fullmatch(line.strip())
            if match is None or not _NAME.fullmatch(match["name"]):
                raise DataError(f"{file}, line {number}: {line.strip()!r} is not NAME,TRACKLET; copy the list again.")
            if match["name"] in found:
                raise DataError(f"{file}, line {number}: {match['name']} is listed twice; copy the list again.")
            found[match["name"]] = int(match["tracklet"])
        if not found:
            raise DataError(f"{file} lists no images: copy it again from the dataset's archive.")
        return found

    def _same_images(self, folder: str, names: list[str], tracklets: dict[str, int]) -> None:
        """Raise DataError where the folder and its list differ."""
        file = self.root / f"{folder}-bbox.txt"
        present = set(names)
        if missing := [name for name in tracklets if name not in present]:
            raise DataError(
                f"{self.root / folder / missing[0]} is missing: {file.name} lists it "
                f"({len(missing)} of {len(tracklets)} are missing); unpack the dataset's archive again."
            )
        if unlisted := [name for name in names if name not in tracklets]:
            raise DataError(
                f"{self.root / folder / unlisted[0]} is not in {file.name} ({len(unlisted)} of {len(names)} are not): "
                f"move such files elsewhere or copy the list again."
            )
