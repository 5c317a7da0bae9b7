"""How much longer than its matrix product does an evaluation take, and how much memory?

    python -m benchmarks.perf.ranking                 LTCC and Market size, 1024 dimensions
    python -m benchmarks.perf.ranking --large         also 10,000 queries × 125,000 gallery entries
    python -m benchmarks.perf.ranking --device cuda

Compared, in turn in every round, so that other work on the machine slows all of them down:

    product       torch.mm of all queries and all gallery entries, normalised beforehand, into memory that is there
    scores        `rank` under three protocols, without lists of nearest entries
    scores+lists  `rank` under three protocols with the 50 nearest entries, as the harness runs it
    argsort loop  the plain way: one product, then for each query and protocol argsort, mask, cumulative sums

A ratio is the median over the rounds of «seconds / seconds of the product in the same round»; seconds are medians too.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[2]))  # so that the file can also be run by its path

from benchmarks.protocols import ignored
from benchmarks.ranking import Features, rank
from datasets.base import Ignore, Protocol

CAMERA = Ignore.SAME_CAMERA
PROTOCOLS = [
    Protocol("cloth-changing", "query", "gallery", CAMERA | Ignore.SAME_CLOTHES),
    Protocol("standard", "query", "gallery", CAMERA),
    Protocol("same-clothes", "query", "gallery", CAMERA | Ignore.OTHER_CLOTHES),
]
SIZES = {"LTCC": (493, 7050, 75, 12), "Market": (3368, 15913, 750, 6), "large": (10_000, 125_000, 5000, 20)}
"""Queries, gallery entries, identities, cameras."""
PLAIN = ("LTCC", "Market")
"""Sizes at which all distances fit into memory comfortably: only there the product and the loop are run whole."""


def make(images: int, persons: int, cameras: int, dimensions: int, seed: int, device: str) -> Features:
    """Features that are a person's centre and noise; three outfits per person; labels at random."""
    random = np.random.default_rng(seed)
    person, camera = random.integers(0, persons, images), random.integers(0, cameras, images)
    centres = torch.randn(persons, dimensions, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(images, dimensions, generator=torch.Generator().manual_seed(seed))
    noise += centres[torch.from_numpy(person)].mul_(0.25)
    return Features(noise.to(device), person, camera, person * 3 + random.integers(0, 3, images))


def argsort_loop(query: Features, gallery: Features) -> dict[str, float]:
    """mAP of each protocol, the straightforward way."""
    distances = (1 - F.normalize(query.embeddings) @ F.normalize(gallery.embeddings).T).cpu().numpy()
    scores = {}
    for protocol in PROTOCOLS:
        found = []
        for q in range(len(distances)):
            order = np.argsort(distances[q])
            order = order[~ignored(protocol, query, gallery, np.array([q]), order)]
            correct = gallery.person[order] == query.person[q]
            if correct.any():
                precision = correct.cumsum() / np.arange(1, len(order) + 1)
                found.append(precision[correct].mean())
        scores[protocol.name] = float(np.mean(found))
    return scores


def seconds(work: Callable[[], object], device: str) -> float:
    start = time.perf_counter()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def extra_memory(work: Callable[[], object], device: str) -> float | None:
    """Peak memory in MB on top of what was there before; None where the system does not tell."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak starts again at the present size
    except OSError:
        return None
    before = _status("VmRSS")
    work()
    return (_status("VmHWM") - before) / 1e3


def _status(key: str) -> int:
    """A line of the process's status, in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{key}:")).split()[1])


def measure(size: str, dimensions: int, rounds: int, device: str) -> dict[str, object]:
    queries, entries, persons, cameras = SIZES[size]
    query = make(queries, persons, cameras, dimensions, 1, device)
    gallery = make(entries, persons, cameras, dimensions, 2, device)
    row: dict[str, object] = {"size": size, "queries": queries, "gallery": entries, "dimensions": dimensions}
    row["extra_memory_mb"] = extra_memory(lambda: rank(query, gallery, PROTOCOLS), device)
    if not rounds:
        return row
    left, right = F.normalize(query.embeddings), F.normalize(gallery.embeddings)
    if size in PLAIN:
        out = torch.empty(queries, entries, device=device)
        contenders: dict[str, Callable[[], object]] = {"product": lambda: torch.mm(left, right.T, out=out)}
    else:
        out = torch.empty(512, entries, device=device)
        blocks = left.split(512)
        contenders = {"product": lambda: [torch.mm(block, right.T, out=out[: len(block)]) for block in blocks]}
    contenders["scores"] = lambda: rank(query, gallery, PROTOCOLS, keep=0)
    contenders["scores+lists"] = lambda: rank(query, gallery, PROTOCOLS)
    if size in PLAIN:
        expected = argsort_loop(query, gallery)
        for name, ranking in rank(query, gallery, PROTOCOLS).items():
            assert abs(ranking.scores()["mAP"] - expected[name]) < 1e-6, "what is faster must also be right"
        contenders["argsort loop"] = lambda: argsort_loop(query, gallery)
    taken = [{name: seconds(work, device) for name, work in contenders.items()} for _ in range(rounds)]
    for name in contenders:
        row[f"{name} s"] = median(times[name] for times in taken)
        row[f"{name} ratio"] = median(times[name] / times["product"] for times in taken)
    return row


def show(row: dict[str, object]) -> None:
    memory = row["extra_memory_mb"]
    print(f"\n{row['size']}: {row['queries']:,} × {row['gallery']:,}, {row['dimensions']} dimensions")
    for name in ("product", "scores", "scores+lists", "argsort loop"):
        if f"{name} s" in row:
            print(f"  {name:13} {row[f'{name} s']:9.3f} s  {row[f'{name} ratio']:7.2f} ×")
    if isinstance(memory, float):
        print(f"  extra memory of scores+lists {memory:9.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help="also 10,000 × 125,000")
    parser.add_argument("--sizes", nargs="*", choices=SIZES, default=list(PLAIN), metavar="SIZE", help=", ".join(SIZES))
    parser.add_argument("--dimensions", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=7, help="0: only memory")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sizes = [*options.sizes, *(["large"] if options.large else [])]
    rows = []
    for size in dict.fromkeys(sizes):
        rows.append(measure(size, options.dimensions, options.rounds, options.device))
        if not options.json:
            show(rows[-1])
    if options.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
