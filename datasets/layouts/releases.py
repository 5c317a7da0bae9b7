"""What lies in the folder of each official release when the people in it are those of the synthetic world.

In every layout `people` are the training identities and `test_people` those of query and gallery; each camera takes
`tracklets` walks of `frames` images of whoever it sees in an outfit, and the middle image of a test person's first walk
is a query. Where a layout differs, its docstring says so. People are numbered anew, without gaps.
"""

import datetime
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count, islice

from ..errors import UsageError
from ..synthetic import Row, Synthetic
from ..world.people import make_outfit


@dataclass(frozen=True)
class Release:
    """The contents of a release's folder. Paths are relative to it, with forward slashes."""

    images: list[tuple[Row, str]] = field(default_factory=list)
    """What is drawn, and where it goes, in the format of the suffix."""
    texts: dict[str, str] = field(default_factory=dict)
    """Path → contents."""

    def add(self, row: Row, path: str) -> None:
        self.images.append((row, path))


def ltcc(world: Synthetic) -> Release:
    """LTCC (Qian et al., ACCV 2020): the world's own names and numbers, and four lists of who changes clothes."""
    folders = {"train": "train", "query": "query", "gallery": "test"}
    images = [(row, f"{folders[split]}/{row.stem}.png") for split, rows in world.rows.items() for row in rows]
    texts = {}
    for half, splits in (("train", ("train",)), ("test", ("query", "gallery"))):
        people = sorted({row.person for split in splits for row in world.rows[split]})
        for kind, changes in (("cloth-change", True), ("cloth-unchange", False)):
            listed = [person for person in people if (len(world.wardrobe_of(person)) > 1) == changes]
            texts[f"info/{kind}_id_{half}.txt"] = "".join(f"{person}\n" for person in listed)
    return Release(images, texts)


def prcc(world: Synthetic) -> Release:
    """PRCC (Yang et al., TPAMI 2021): everyone in one outfit under cameras A and B, in another under C.

    Always these three cameras, whatever `cameras` says, and nobody who owns a single outfit. `val` holds the middle
    images of the training people's first walks; the test images of A are the gallery. There are no sketches.
    """
    release = Release()
    for half, number, person in _people(world, outfits=2, first=0):
        for camera, (letter, outfit) in enumerate((("A", 1), ("B", 1), ("C", 2)), start=1):
            for row in world.walks(person, outfit, camera):
                name = f"cropped_rgb{_place(world, row):03d}.jpg"
                if half == "train":
                    release.add(row, f"rgb/{'val' if world.asks(row) else 'train'}/{number:03d}/{letter}_{name}")
                else:
                    release.add(row, f"rgb/test/{letter}/{number:03d}/{name}")
    return release


def celeb_reid(world: Synthetic) -> Release:
    """Celeb-reID (Huang et al., TCSVT 2019): the test people are numbered from 1 again. Everybody changes clothes."""
    return _photographs(world, lambda person: list(world.rows_of(person)), world.asks)


def celeb_reid_light(world: Synthetic) -> Release:
    """Celeb-reID-light (Huang et al., IJCNN 2019): no outfit of a person is seen twice.

    So a person has `tracklets` × `frames` images, three at least, in as many outfits, also such as they do not own;
    fewer where not so many of the world's `wardrobe` would suit them. Every other image of a test person is a query.
    """
    config = world.config
    most = max(3, config.tracklets * config.frames)  # with two, no query would find anything by running index

    def once_each(person: int) -> list[Row]:
        outfits = len(world.outfits_for(person)[:most])
        return [Row(person, k + 1, camera=k % config.cameras + 1, walk=0, step=0) for k in range(outfits)]

    return _photographs(world, once_each, lambda row: row.outfit % 2 == 1)


def _photographs(world: Synthetic, rows_of: Callable[[int], list[Row]], asks: Callable[[Row], bool]) -> Release:
    release = Release()
    for half, number, person in _people(world, outfits=2):
        for index, row in enumerate(rows_of(person), start=1):
            if half == "train":
                release.add(row, f"train/{number}_{index}_0.jpg")
            else:
                release.add(row, f"{_half(row, asks)}/{number - world.config.people}_{index}_0.jpg")
    return release


def ccvid(world: Synthetic) -> Release:
    """CCVID (Gu et al., CVPR 2022): walks as folders of frames, and a list of them for each split.

    Session 1 is in a person's first outfit, session 2 in the second, session 3 in the third of those who own three;
    nobody is there who owns one. Each camera sees each of them `tracklets` times a session. A walk has from about half
    to one and a half times `frames` images. Half of a test person's walks are queries, with all their images.

    Raises UsageError for more walks a session than the names have numbers for.
    """
    config, release = world.config, Release()
    walks, half_length, lists = config.cameras * config.tracklets, config.frames // 2, dict[str, list[str]]()
    if walks > 12:
        raise UsageError(
            f"CCVID has 12 walks of a person in a session at most, but cameras={config.cameras} times "
            f"tracklets={config.tracklets} are {walks}: choose fewer."
        )
    for half, number, person in _people(world, outfits=2, first=0):
        for session, tag in enumerate(_clothes_tags(world, person)[:3], start=1):
            for walk in range(walks):
                folder = f"session{session}/{number:03d}_{walk + 1:02d}"
                again, camera = divmod(walk, config.cameras)
                split = half if half == "train" else "gallery" if (camera + again) % 2 else "query"
                lists.setdefault(split, []).append(f"{folder}\t{number:03d}\t{tag}\n")
                frames = config.frames - half_length + (number + session + walk) % (2 * half_length + 1)
                for step in range(frames):
                    release.add(Row(person, session, camera + 1, again, step), f"{folder}/{step + 1:05d}.jpg")
    release.texts.update({f"{split}.txt": "".join(lines) for split, lines in lists.items()})
    return release


def _clothes_tags(world: Synthetic, person: int) -> list[str]:
    """Of each outfit that a person owns: upper, lower, shoes, carried and accessory, each counted within the person."""
    outfits = [make_outfit(world.config.seed, number) for number in world.wardrobe_of(person)]
    worn = [(outfit.upper, outfit.lower, outfit.shoes, outfit.bag, outfit.hat) for outfit in outfits]
    known = [list(dict.fromkeys(kind)) for kind in zip(*worn, strict=True)]
    numbers = [[kind.index(part) for kind, part in zip(known, parts, strict=True)] for parts in worn]
    return ["u{}_l{}_s{}_c{}_a{}".format(*five) for five in numbers]


def vc_clothes(world: Synthetic) -> Release:
    """VC-Clothes (Wan et al., CVPR Workshops 2020): the same outfit under cameras 2 and 3, others under 1 and 4.

    Always these four cameras, whatever `cameras` says, and nobody who owns a single outfit: who owns two wears the
    first under 1 and 4, the second under 2 and 3.
    """
    release = Release()
    for half, number, person in _people(world, outfits=2):
        last = 3 if len(world.wardrobe_of(person)) > 2 else 1
        for camera, outfit in enumerate((1, 2, 2, last), start=1):
            for row in world.walks(person, outfit, camera):
                split = half if half == "train" else _half(row, world.asks)
                release.add(row, f"{split}/{number:04d}-{camera:02d}-{outfit:02d}-{_place(world, row):02d}.jpg")
    return release


def deepchange(world: Synthetic) -> Release:
    """DeepChange (Xu and Zhu, ICCV 2023): a day for each outfit of a person, and lists of images with their tracklets.

    The people of the validation splits, a third as many as `people` but two at least, come on top. Who owns a single
    outfit is there on a single day. A query's tracklet is in the gallery too.
    """
    release, lists, tracklets = Release(), dict[str, list[str]](), dict[tuple[int, ...], int]()
    for half, number, person in _people(world, val=max(2, world.config.people // 3)):
        for row in world.rows_of(person):
            split = "train-set" if half == "train" else f"{half}-set-{_half(row, world.asks)}"
            day = datetime.date(2019, 1, 1) + datetime.timedelta((37 * number + 91 * row.outfit) % 365)
            tracklet = tracklets.setdefault(row.numbers, len(tracklets) + 1)
            hour = 7 + row.camera % 10
            name = f"P{number}_C{row.camera:02d}_{day:%Y%m%d}_{hour:02d}_{tracklet}_{row.step + 1}.jpg"
            lists.setdefault(split, []).append(f"{name},{tracklet}\n")
            release.add(row, f"{split}/{name}")
    release.texts.update({f"{split}-bbox.txt": "".join(lines) for split, lines in lists.items()})
    return release


def last(world: Synthetic) -> Release:
    """LaST (Shu et al., TCSVT 2021): outfits are labelled in training only; strangers, person 000000, in galleries.

    The people of the validation splits, a third as many as `people` but two at least, and the strangers, a fifth as
    many as a gallery's people but one at least, come on top. One name has two underscores, as some have there.
    """
    config, release, images = world.config, Release(), dict[str, Iterator[int]]()
    val = max(2, config.people // 3)
    strangers = {"test-strangers": max(1, config.test_people // 5), "val-strangers": max(1, val // 5)}
    for part, number, person in _people(world, val=val, **strangers):
        half, _, stranger = part.partition("-")
        name = "000000" if stranger else f"{number:06d}"
        for row in world.rows_of(person):
            image = next(images.setdefault(f"{half}-{name}", count(1)))
            clothes = row.outfit if half == "train" else 0
            video = (person * 4 + row.outfit - 1) * 12 + row.camera  # one for each outfit before each camera
            rest = f"{image:03d}_{video:05d}_{_place(world, row):04d}_01_{clothes:03d}.jpg"
            if half != "train" and not stranger and world.asks(row):
                release.add(row, f"{half}/query/{name}_{rest}")
            else:
                folder = "train" if half == "train" else f"{half}/gallery"
                doubled = "_" * (half == "test" and number == config.people + 1 and image == 1)
                release.add(row, f"{folder}/{name}/{name}_{doubled}{rest}")
    return release


def market1501(world: Synthetic) -> Release:
    """Market-1501 (Zheng et al., ICCV 2015): everybody stays in their first outfit.

    The gallery also holds strangers, person 0000, a fifth as many as `test_people` but one at least, and one more image
    of each test person as a bad detection, person -1. Raises UsageError for more cameras than the dataset has.
    """
    config, release, frames = world.config, Release(), count(1)
    if config.cameras > 6:
        raise UsageError(f"Market-1501 has 6 cameras, but cameras={config.cameras}: choose 6 or fewer.")

    def add(folder: str, name: str, row: Row, box: int = 1) -> None:
        sequence = row.walk % 6 + 1
        release.add(row, f"{folder}/{name}_c{row.camera}s{sequence}_{next(frames):06d}_{box:02d}.jpg")

    for part, number, person in _people(world, strangers=max(1, config.test_people // 5)):
        name = "0000" if part == "strangers" else f"{number:04d}"
        cameras = world.cameras_of(person, 1)
        for row in [row for camera in cameras for row in world.walks(person, 1, camera)]:
            if part == "test" and world.asks(row):
                add("query", name, row, box=0)
            else:
                add("bounding_box_train" if part == "train" else "bounding_box_test", name, row)
        if part == "test":
            add("bounding_box_test", "-1", Row(person, 1, cameras[0], walk=config.tracklets, step=0))
    return release


def _people(world: Synthetic, *, outfits: int = 1, first: int = 1, **more: int) -> Iterator[tuple[str, int, int]]:
    """(part, number in the release, number in the world) of everybody: train, test, then `more`: part → people.

    The numbers in the release begin with `first`. Only people who own at least so many `outfits`.
    """
    who = (person for person in count() if len(world.wardrobe_of(person)) >= outfits)
    numbers = count(first)
    for part, people in {"train": world.config.people, "test": world.config.test_people, **more}.items():
        for person in islice(who, people):
            yield part, next(numbers), person


def _half(row: Row, asks: Callable[[Row], bool]) -> str:
    return "query" if asks(row) else "gallery"


def _place(world: Synthetic, row: Row) -> int:
    """Place of an image among those that its camera takes of its person and outfit, from 1."""
    return row.walk * world.config.frames + row.step + 1


LAYOUTS: dict[str, Callable[[Synthetic], Release]] = {
    "ltcc": ltcc,
    "prcc": prcc,
    "celeb_reid": celeb_reid,
    "celeb_reid_light": celeb_reid_light,
    "ccvid": ccvid,
    "vc_clothes": vc_clothes,
    "deepchange": deepchange,
    "last": last,
    "market1501": market1501,
}
"""Name of the dataset whose adapter reads the release → its contents."""
