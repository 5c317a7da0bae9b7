"""Scoring a finished run again under other options of the evaluation; the run's own scores stay as they are."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datasets.errors import UsageError, did_you_mean
from datasets.files import write_json
from methods import METHODS
from methods.base import Facts, Method

from .data import ExperimentData, Listener, open_dataset
from .distribution import joined
from .experiment import make_repeatable, rank_splits, read_weights
from .records import RunFolder, RunStore
from .resolve import resolve_evaluation
from .spec import to_plain


@dataclass(frozen=True)
class Evaluation:
    folder: Path
    """Holds the options, the scores and one ranking per protocol."""
    selection: str
    rows: list[dict[str, Any]]
    """One row per protocol, as in a run's own scores."""


def evaluate_run(run_id: str, selection: str | None, values: Mapping[str, Any], listen: Listener) -> Evaluation:
    """Score the weights of `selection` (by default the run's headline) under `values`, keys of the evaluation."""
    run = RunStore(Path(values.get("runs", "runs"))).get(run_id)
    selection = selection or run.headline
    weights = _weights(run, selection)
    resolved = resolve_evaluation(run.spec(), values)
    spec, session, made_of = resolved.spec, resolved.session, run.data()
    with joined(session.device) as world:
        make_repeatable(world)
        data = ExperimentData(open_dataset(spec.dataset, session), spec, session, listen)
        method: Method = METHODS.get(spec.method.name)(spec.method.for_checkpoint(), Facts(**made_of["facts"]))
        method.load_state_dict(read_weights(weights))
        cameras = np.array(made_of["cameras"], dtype=np.int64)
        rankings = rank_splits(method.to(world.device), data, data.protocols, cameras, world)
        leads = world.leads
    options = to_plain(spec.evaluate)
    digest = hashlib.sha256(json.dumps([options, selection], sort_keys=True).encode()).hexdigest()[:8]
    folder = run.path / "evaluations" / digest
    epoch = next((row["epoch"] for row in run.scores() if row["selection"] == selection), None)
    rows = []
    for protocol, ranking in zip(data.protocols, rankings, strict=True):
        if leads:
            ranking.save(folder / f"{protocol.name}@{selection}.npz")
        rows.append({"selection": selection, "epoch": epoch, "protocol": protocol.name, **ranking.scores()})
    if leads:
        write_json(folder / "scores.json", {"evaluate": options, "protocols": _described(data), "scores": rows})
    return Evaluation(folder, selection, rows)


def _weights(run: RunFolder, selection: str) -> Path:
    there = sorted(file.stem for file in (run.path / "checkpoints").glob("*.safetensors"))
    if not there:
        raise UsageError(f"{run.run_id} has no weights yet: its training is {run.status()['state']}.")
    if selection not in there:
        hint = did_you_mean(selection, there)
        raise UsageError(f"{run.run_id} has no weights of selection={selection}.{hint} Available: {', '.join(there)}.")
    return run.weights(selection)


def _described(data: ExperimentData) -> list[dict[str, Any]]:
    return [asdict(protocol) | {"ignore": str(protocol.ignore)} for protocol in data.protocols]
