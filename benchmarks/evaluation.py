"""Scoring a finished run, or another code base's features, under chosen options of the evaluation.

What is made here never touches the scores that a run was finished with.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datasets.base import Protocol
from datasets.clips import ClipConfig
from datasets.errors import UsageError, did_you_mean
from datasets.files import write_json
from methods import METHODS
from methods.base import Loaded, Method
from methods.weights import read_state_dict

from .data import ExperimentData, Listener, open_dataset
from .distribution import joined
from .experiment import embedder, make_repeatable
from .feature_files import FeatureFile
from .plugins import plugin_facts
from .protocols import choose
from .ranking import Features, Ranking
from .records import RunFolder, RunStore
from .reopening import reopen
from .reranking import RerankConfig
from .resolve import resolve, resolve_features
from .scoring import Embed, compare, embed_splits
from .spec import EvaluateConfig, Session, to_plain
from .splits import Splits, save_samples

EVERYTHING = "all"
"""Under `evaluate.protocols=all` the headline protocol is also scored under other options, to see what they do."""
FEATURES, CHECKPOINT = "features", "checkpoint"
"""Stand for the selection of what comes from elsewhere: how its epoch was chosen is not known here."""


@dataclass(frozen=True)
class Evaluation:
    folder: Path
    """Holds the options, the scores and one ranking per row."""
    selection: str
    rows: list[dict[str, Any]]
    """One row per protocol, as in a run's own scores, and `options` where it differs from the evaluation's."""
    options: str
    """Of the evaluation, in words."""


def evaluate_run(run_id: str, selection: str | None, values: Mapping[str, Any], listen: Listener) -> Evaluation:
    """Score the weights of `selection` (by default the run's headline) under `values`, keys of the evaluation."""
    run = RunStore.of(values).get(run_id)
    selection = selection or run.headline
    _require_weights(run, selection)
    reopened = reopen(run, values, listen)
    spec, data = reopened.spec, reopened.data
    epoch = next((row["epoch"] for row in run.scores() if row["selection"] == selection), None)
    with joined(reopened.session.device) as world:
        make_repeatable(world)
        method = reopened.method(selection).to(world.device)

        def embed(flip: bool) -> Embed:
            return reopened.embedder(method, world, flip)

        audit = Audit(data.splits, data.protocols, spec.evaluate, spec.clips, embed)
        scored = audit.scored()
        changed = _changed(audit.fingerprints(), run.data())
        if changed:
            files = f"The files of {', '.join(changed)} are not those that {run.run_id} was scored on"
            listen({"event": "warning", "message": f"{files}: these scores cannot be set beside the run's own."})
        leads = world.leads
    folder = (
        run.path
        / "evaluations"
        / _digest(to_plain(spec.evaluate), to_plain(spec.clips), selection, audit.fingerprints())
    )
    rows = [{"selection": selection, "epoch": epoch, **row} for row in audit.rows(scored)]
    if leads:
        audit.write(folder, selection, scored, rows, {"run": run.run_id})
    return Evaluation(folder, selection, rows, _in_words(spec.evaluate))


def evaluate_checkpoint(file: Path, values: Mapping[str, Any], listen: Listener) -> Evaluation:
    """Score a checkpoint that a method's authors wrote, in the setting of the method's recipe for the dataset.

    `values`: keys of the whole configuration. Needs no training data, and only the masks that the test itself uses.
    """
    resolved = resolve(values)
    spec, session = resolved.spec, resolved.session
    image = spec.image
    kind: type[Method] = METHODS.get(spec.method.name)
    state = read_state_dict(file, "checkpoint")
    loaded = kind.from_official(state, spec.method.for_checkpoint(), image.height, image.width)
    for remark in _remarks(file, loaded):
        listen({"event": "note", "message": remark})
    with joined(session.device) as world:
        make_repeatable(world)
        data = ExperimentData(open_dataset(spec.dataset, session), spec, session, listen)
        method = loaded.method.to(world.device)
        cameras = np.arange(loaded.method.facts.cameras)

        def embed(flip: bool) -> Embed:
            return embedder(method, data, cameras, world, flip)

        audit = Audit(data.splits, data.protocols, spec.evaluate, spec.clips, embed)
        scored = audit.scored()
        leads = world.leads
    source: dict[str, Any] = {"checkpoint": str(file), "content": _file_digest(file), "spec": to_plain(spec)}
    source |= plugin_facts(spec.method.name, spec.dataset.name)
    digest = _digest(source["content"], source["spec"], audit.fingerprints())
    folder = session.runs / "checkpoints" / f"{spec.dataset.name}-{spec.method.name}-{file.stem}-{digest}"
    rows = [{"selection": CHECKPOINT, "epoch": None, **row} for row in audit.rows(scored)]
    if leads:
        audit.write(folder, CHECKPOINT, scored, rows, source)
    return Evaluation(folder, CHECKPOINT, rows, _in_words(spec.evaluate))


def _remarks(file: Path, loaded: Loaded) -> list[str]:
    """What was used of a checkpoint, and what not."""
    facts = loaded.method.facts
    used = sum(1 for _ in loaded.method.state_dict()) - len(loaded.absent)
    remarks = [f"{file}: {used} tensors used; {facts.persons} identities and {facts.cameras} cameras in training"]
    for what, names in (("not used", loaded.ignored), ("not in the file, and not needed", loaded.absent)):
        if names:
            more = f" and {len(names) - 6} more" if len(names) > 6 else ""
            remarks.append(f"{what}: {', '.join(names[:6])}{more}")
    return [*remarks, *loaded.remarks]


def evaluate_features(file: Path, dataset_name: str, values: Mapping[str, Any]) -> Evaluation:
    """Score features from anywhere, under the dataset's protocols; nothing is decoded, no method is needed."""
    dataset_config, evaluate, clips, session = resolve_features(dataset_name, values)
    if evaluate.flip:
        raise UsageError("evaluate.flip=true needs the images: mirror them where the features are made.")
    dataset = open_dataset(dataset_config, session)
    stored = FeatureFile.read(file)
    splits = Splits(dataset)
    protocols = choose(dataset.protocols(), evaluate.protocols)
    audit = Audit(splits, protocols, evaluate, clips, lambda flip: None if flip else stored.embed(splits))
    scored = audit.scored()
    source = {"file": str(file), "content": stored.digest, "dataset": to_plain(dataset_config)}
    folder = _features_folder(session, dataset_name, source, evaluate, clips)
    rows = [{"selection": FEATURES, "epoch": None, **row} for row in audit.rows(scored)]
    audit.write(folder, FEATURES, scored, rows, source)
    return Evaluation(folder, FEATURES, rows, _in_words(evaluate))


@dataclass(frozen=True)
class Scored:
    """A protocol under some options, and what came out."""

    protocol: Protocol
    options: str
    """What differs from the evaluation's options, in words; empty where nothing does."""
    ranking: Ranking


@dataclass(frozen=True)
class Audit:
    """One set of features under every chosen convention."""

    splits: Splits
    protocols: Sequence[Protocol]
    config: EvaluateConfig
    clips: ClipConfig
    embed: Callable[[bool], Embed | None]
    """Features with or without the mirrored image's; None where they cannot be had."""

    def scored(self) -> list[Scored]:
        """Every protocol; then, where all are asked for, the first one under each option changed alone."""
        features = self._features(self.config.flip, self.protocols)
        assert features is not None  # noqa: S101 - the configured features can be had
        rankings = compare(features, self.protocols, self.config, self.clips)
        found = [Scored(protocol, "", ranking) for protocol, ranking in zip(self.protocols, rankings, strict=True)]
        if EVERYTHING not in self.config.protocols:
            return found
        for options, change in _other_options(self.config):
            config = self.config.model_copy(update=change)
            if config.flip != self.config.flip:
                features_then = self._features(config.flip, self.protocols[:1])
            else:
                features_then = features
            if features_then is not None:
                ranking = compare(features_then, self.protocols[:1], config, self.clips)[0]
                found.append(Scored(self.protocols[0], options, ranking))
        return found

    def _features(self, flip: bool, protocols: Sequence[Protocol]) -> dict[str, Features] | None:
        embed = self.embed(flip)
        return None if embed is None else embed_splits(self.splits, protocols, embed)

    def fingerprints(self) -> dict[str, str]:
        """Of the files of each split."""
        names = dict.fromkeys(name for protocol in self.protocols for name in (protocol.query, protocol.gallery))
        return {name: self.splits.dataset.fingerprint(self.splits.samples(name)) for name in names}

    def rows(self, scored: Sequence[Scored]) -> list[dict[str, Any]]:
        return [{"protocol": one.protocol.name, "options": one.options, **one.ranking.scores()} for one in scored]

    def write(
        self, folder: Path, selection: str, scored: Sequence[Scored], rows: list[dict[str, Any]], source: dict[str, Any]
    ) -> None:
        """The rankings, and last scores.json, which names them."""
        for one in scored:
            options = re.sub(r"[^a-z]+", "-", one.options)
            name = f"{one.protocol.name}+{options}" if options else one.protocol.name
            one.ranking.save(folder / f"{name}@{selection}.npz")
        for split in dict.fromkeys(name for one in self.protocols for name in (one.query, one.gallery)):
            save_samples(folder / "splits" / f"{split}.npz", self.splits.samples(split))
        about = {"fingerprints": self.fingerprints()}
        described = [asdict(protocol) | {"ignore": str(protocol.ignore)} for protocol in self.protocols]
        options = {"evaluate": to_plain(self.config), "clips": to_plain(self.clips)}
        write_json(folder / "scores.json", {**source, **about, **options, "protocols": described, "scores": rows})


def _in_words(config: EvaluateConfig) -> str:
    parts = [
        f"{config.metric} distance",
        "normalised" if config.normalise else "not normalised",
        "with flip" if config.flip else "without flip",
    ]
    rerank = config.rerank
    if rerank.method != "none":
        parts.append(f"re-ranked ({rerank.method}, k1={rerank.k1}, k2={rerank.k2}, weight={rerank.weight:g})")
    return ", ".join(parts)


def _other_options(config: EvaluateConfig) -> list[tuple[str, dict[str, Any]]]:
    """What the field's codes do differently from each other, one at a time."""
    rerank = RerankConfig(method="k-reciprocal") if config.rerank.method == "none" else RerankConfig()
    changes: list[tuple[str, dict[str, Any]]] = [
        ("without flip" if config.flip else "with flip", {"flip": not config.flip}),
        ("not normalised, euclidean", {"normalise": False, "metric": "euclidean"}),
        ("not normalised, dot product", {"normalise": False, "metric": "cosine"}),
        ("normalised, cosine", {"normalise": True, "metric": "cosine"}),
        ("without re-ranking" if config.rerank.method != "none" else "re-ranked", {"rerank": rerank}),
    ]
    if config.metric == "cosine" and not config.normalise:
        del changes[-1]  # the dot product is no distance that re-ranking could start from
    elif config.rerank.method != "none":
        del changes[2]
    # Squared Euclidean distance between unit vectors is 2 - 2 cosine: the same ranking.
    same = config.model_copy(update={"metric": "cosine"}) if config.normalise else config
    return [(words, change) for words, change in changes if same.model_copy(update=change) != same]


def _features_folder(
    session: Session, dataset: str, source: dict[str, Any], evaluate: EvaluateConfig, clips: ClipConfig
) -> Path:
    digest = _digest(source["content"], source["dataset"], to_plain(evaluate), to_plain(clips))
    return session.runs / "features" / f"{dataset}-{Path(source['file']).stem}-{digest}"


def _changed(fingerprints: Mapping[str, str], made_of: Mapping[str, Any]) -> list[str]:
    """The splits whose files a run knew as others."""
    known = {name: split["fingerprint"] for name, split in made_of["splits"].items()}
    return [name for name, fingerprint in fingerprints.items() if known.get(name, fingerprint) != fingerprint]


def _digest(*content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def _file_digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _require_weights(run: RunFolder, selection: str) -> None:
    there = sorted(file.stem for file in (run.path / "checkpoints").glob("*.safetensors"))
    if not there:
        raise UsageError(f"{run.run_id} has no weights yet: its training is {run.status()['state']}.")
    if selection not in there:
        hint = did_you_mean(selection, there)
        raise UsageError(f"{run.run_id} has no weights of selection={selection}.{hint} Available: {', '.join(there)}.")
