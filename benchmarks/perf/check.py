"""How long does `run.py check` take on a dataset of 20,000 images?

    python -m benchmarks.perf.check                   20,000 images of 64 × 128 pixels, each with a mask
    python -m benchmarks.perf.check --images 5000 --workers 1

Writes PNG images of noise in LTCC's layout to a temporary folder, one in a hundred of them a copy of another, with
masks beside them, and times in one process: the check without masks, with masks, and with everything decoded. The files
were just written, so they come from memory: a disk adds its own time. Last, the protocol lines at LaST's size.
"""

import argparse
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2]))  # so that the file can also be run by its path

from benchmarks.check import check_dataset, check_protocol
from datasets.base import Ignore, Protocol, Samples

PEOPLE, CAMERAS, OUTFITS = 152, 12, 3
LAST = (10_176, 125_353, 5_806)
"""Queries, gallery entries and people of LaST's test."""
COPIES_EVERY = 100


def write_tree(root: Path, images: int) -> None:
    """Half of the people in train, the others in test; every sixteenth test image asks."""
    random = np.random.default_rng(0)
    mask = io.BytesIO()
    Image.fromarray(random.integers(0, 20, (16, 8), dtype=np.uint8)).resize((64, 128), 0).save(mask, "PNG")
    noise, content = random.integers(0, 256, (128 + 64, 64, 3), dtype=np.uint8), b""
    for number in range(images):
        person = number % PEOPLE
        folder = "train" if person < PEOPLE // 2 else "query" if number // PEOPLE % 16 == 0 else "test"
        outfit, camera = random.integers(1, OUTFITS + 1), random.integers(1, CAMERAS + 1)
        name = f"{folder}/{person:03d}_{outfit}_c{camera}_{number:06d}.png"
        if number % COPIES_EVERY:
            stream = io.BytesIO()
            pixels = np.roll(noise, number * 7, axis=0)[:128] ^ np.uint8(number // len(noise))
            Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
            content = stream.getvalue()
        for file, written in ((root / "LTCC_ReID" / name, content), (root / "masks/LTCC_ReID" / name, mask.getvalue())):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(written)


def labels(images: int, people: int, seed: int) -> Samples:
    random = np.random.default_rng(seed)
    person, camera = random.integers(0, people, images), random.integers(0, CAMERAS, images)
    return Samples(tuple(map(str, range(images))), person, camera, person * 10 + random.integers(0, OUTFITS, images))


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=0, help="threads; 0 is one per core")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_tree(root, arguments.images)
        values = {"data": folder, "workers": arguments.workers}
        (root / "masks").rename(root / "aside")

        def check(deep: bool) -> None:
            said = [sentence for _, sentence in check_dataset("ltcc", values, deep=deep)]
            assert any("byte for byte" in sentence for sentence in said), "the copies are there to be found"

        figures = {"images": arguments.images, "workers": arguments.workers, "no masks": seconds(lambda: check(False))}
        (root / "aside").rename(root / "masks")
        figures |= {"masks": seconds(lambda: check(False)), "masks, deep": seconds(lambda: check(True))}
    queries, gallery, people = LAST
    protocol = Protocol("cloth-changing", "query", "gallery", Ignore.SAME_CAMERA | Ignore.SAME_CLOTHES)
    query, answers = labels(queries, people, 1), labels(gallery, people, 2)
    figures["protocol of LaST's size"] = seconds(lambda: check_protocol(protocol, query, answers))
    print(json.dumps({name: round(figure, 3) for name, figure in figures.items()}, indent=2))


if __name__ == "__main__":
    main()
