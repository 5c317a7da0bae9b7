"""How long does re-ranking take, and how much memory, next to what the dense formula needs?

    python -m benchmarks.perf.reranking                    Market size, 256 dimensions, one thread
    python -m benchmarks.perf.reranking --size LTCC
    python -m benchmarks.perf.reranking --device cuda

Random features with a centre per person, so that neighbourhoods overlap as they do in a trained model. Memory is the
peak beyond the features; the dense formula holds three fp32 matrices over all N images, distances, V and V averaged,
and sorting the distances takes it 8 bytes more for each.
"""

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))  # so that the file can also be run by its path

from benchmarks.perf.ranking import PROTOCOLS, SIZES, extra_memory, make, seconds
from benchmarks.ranking import rank
from benchmarks.reranking import RerankConfig
from methods.k_reciprocal import encode, nearest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="Market")
    parser.add_argument("--dimensions", type=int, default=256)
    parser.add_argument("--k1", type=int, default=20)
    parser.add_argument("--k2", type=int, default=6)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device, config = options.device, RerankConfig(method="k-reciprocal", k1=options.k1, k2=options.k2)
    queries, entries, persons, cameras = SIZES[options.size]
    query = make(queries, persons, cameras, options.dimensions, 1, device)
    gallery = make(entries, persons, cameras, options.dimensions, 2, device)
    number, count, half = queries + entries, config.k1 + 1, round(config.k1 / 2) + 1
    everything = torch.nn.functional.normalize(torch.cat([query.embeddings, gallery.embeddings]))

    print(f"{queries:,} × {entries:,}, {options.dimensions} dimensions, k1 {config.k1}, k2 {config.k2}, {device}")
    encoding = encode(everything, neighbours=count, half=half, average=config.k2, scaled=True)
    stored = encoding.vectors.nnz / number
    print(f"  non-zero weights per image {stored:10.0f}  of {number:,}")
    steps = {
        "neighbours": lambda: nearest(everything, count),
        "encoding": lambda: encode(everything, neighbours=count, half=half, average=config.k2, scaled=True),
        "rank": lambda: rank(query, gallery, PROTOCOLS),
        "rank, re-ranked": lambda: rank(query, gallery, PROTOCOLS, rerank=config),
    }
    for name, work in steps.items():
        print(f"  {name:26} {seconds(work, device):10.2f} s")
    memory = extra_memory(steps["rank, re-ranked"], device)
    if memory is not None:
        print(f"  memory, re-ranked          {memory:10.0f} MB")
    print(f"  memory, dense formula      {12 * number**2 / 1e6:10.0f} MB, and {8 * number**2 / 1e6:.0f} MB to sort")
    for name, config_ in {"without": RerankConfig(), "with": config}.items():
        scores = rank(query, gallery, PROTOCOLS[1], rerank=config_).scores()
        print(f"  mAP {name:7} {scores['mAP']:.4f}   R1 {scores['R1']:.4f}")


if __name__ == "__main__":
    main()
