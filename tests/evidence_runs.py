"""Run folders with scores that a test made up: what tables and figures are made of, without a training."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.evidence import Ranking
from benchmarks.records import RunFolder
from benchmarks.splits import save_samples
from datasets.base import Samples

QUERIES_OF_EACH = 3
NASTY = "a|b <script>alert(\"x\")</script> & 5 % of $1 #2 _x_ {y} ~z ^w \\n *s* `c` [l](m) --, 'q' Жук 方法 😀"
"""What a name may hold: markup of every language that tables are written in, and letters of other scripts."""


def write_run(
    root: Path,
    method: str = "baseline",
    *,
    dataset: str = "ltcc",
    configuration: str = "00000000",
    seed: int = 0,
    mean: float = 0.5,
    people: int = 30,
    selection: str = "last",
    state: str = "done",
    protocols: tuple[str, ...] = ("cloth-changing", "standard"),
    spec: dict[str, Any] | None = None,
    fingerprint: str = "aaaaaaaa",
) -> RunFolder:
    """A run whose queries score around `mean`: hard people are hard in every run, each seed is a little off."""
    run = RunFolder(root / f"run-{method.encode().hex()[:20]}-{configuration}-s{seed}")
    run.path.mkdir(parents=True)
    said = spec or {"method": {"name": method, "weights": {"identity": 1.0}}, "dataset": {"name": dataset}}
    (run.path / "spec.yaml").write_text(
        yaml.safe_dump({**said, "seed": seed}, allow_unicode=True, sort_keys=False), encoding="utf-8"
    )
    run.set_status(state)
    if state != "done":
        return run
    described = [
        {"name": name, "query": "query", "gallery": "gallery", "pool": None, "reported": True} for name in protocols
    ]
    splits = {name: {"fingerprint": f"{fingerprint}{name}"} for name in ("query", "gallery")}
    data = {"selection": selection, "protocols": described, "splits": splits, "dataset": dataset}
    (run.path / "data.json").write_text(json.dumps(data), encoding="utf-8")
    person = np.repeat(np.arange(people), QUERIES_OF_EACH)
    zeros = np.zeros(len(person), dtype=np.int64)
    for split in ("query", "gallery"):
        paths = tuple(f"{split}/{number}.jpg" for number in range(len(person)))
        save_samples(run.split(split), Samples(paths, person=person, camera=zeros, clothes=zeros))
    hardness = np.random.default_rng(0).normal(0, 0.1, people)[person]
    generator = np.random.default_rng([seed, *f"{method}{configuration}".encode()])
    training = 0.01 * (seed % 3 - 1)
    for name in protocols:
        scores = np.clip(mean + hardness + training + generator.normal(0, 0.05, len(person)), 0.01, 1)
        ranking = _ranking(scores)
        ranking.save(run.ranking(name, selection))
        run.append({"event": "scores", "selection": selection, "protocol": name, "epoch": 1, **ranking.scores()})
    return run


def _ranking(scores: np.ndarray) -> Ranking:
    """[Q] average precisions → a ranking in which about as many first matches are right."""
    queries = len(scores)
    first = np.where(np.linspace(0, 1, queries) < scores, 1, 3)
    nothing = np.full((queries, 1), -1)
    return Ranking(
        average_precision=scores,
        lowest_average_precision=scores,
        highest_average_precision=scores,
        inverse_negative_penalty=scores / 2,
        first_match=first,
        matches=np.ones(queries, dtype=np.int64),
        ignored=np.zeros(queries, dtype=np.int64),
        tied=np.zeros(queries, dtype=bool),
        top_index=nothing,
        top_distance=np.full((queries, 1), np.nan),
        top_correct=nothing > 0,
    )
