"""Spec → finished run: train, select, embed, rank, record. The whole story on one page."""

import contextlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from datasets.base import IntArray, Protocol
from datasets.errors import DataError
from datasets.files import replacing
from methods import METHODS
from methods.base import Method

from .data import ExperimentData, Listener, open_dataset
from .distribution import World, joined
from .embedding import embed
from .environment import environment
from .feed import TrainingFeed, derived_seed
from .interruption import Interruption
from .plugins import require_same_plugins
from .ranking import Ranking
from .records import RunFolder, RunStore, recorded
from .run_features import keep_features
from .scoring import Embed, compare, embed_splits, score
from .selection import INITIAL, LAST, ORACLE, VALIDATION, Selector
from .spec import Session, Spec, to_plain
from .splits import save_samples
from .telemetry import Stopwatch
from .training import DivergedError, Trainer


def run(spec: Spec, session: Session, listen: Listener) -> RunFolder:
    """Carry out `spec`, or what is left of it, and return its folder. `listen` hears of everything that happens."""
    folder = RunStore(session.runs).open(spec.run_id)
    require_same_plugins(folder)
    state = folder.status()["state"]
    if (state == "done" and folder.scores() and folder.spec()) or (state == "trained" and not session.test):
        listen({"event": "already-done", "run": folder.run_id})
        return folder
    interruption = Interruption()
    with joined(session.device) as world, interruption.listening():
        if not world.leads:
            listen = _silence
        with recorded(folder, test=session.test) if world.leads else contextlib.nullcontext():
            make_repeatable(world)
            experiment = Experiment(spec, session, world, folder, interruption, listen)
            experiment.train()
            experiment.report()
        world.wait()
    return folder


def _silence(event: dict) -> None:
    """Only the leading process speaks."""


def make_repeatable(world: World) -> None:
    """The same numbers from the same spec: no algorithm chosen by timing, no TF32."""
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    if world.device.type == "cpu":
        torch.set_deterministic_debug_mode("warn")  # use_deterministic_algorithms, without loading the compiler


class Experiment:
    """One run in progress."""

    def __init__(
        self, spec: Spec, session: Session, world: World, folder: RunFolder, stop: Interruption, listen: Listener
    ):
        self.spec, self.session, self.world, self.folder, self.stop = spec, session, world, folder, stop
        self._listen = listen
        self.data = ExperimentData(open_dataset(spec.dataset, session), spec, session, listen)
        if "mask" in METHODS.get(spec.method.name).test_inputs(spec.method):
            self.data.require_masks()
        training = self.data.training()
        facts, self.training_cameras = training.facts(spec), np.unique(training.samples.camera)
        torch.manual_seed(derived_seed(spec.seed))
        goes_on = folder.checkpoint.exists() and not self._initial_is_missing()
        config = spec.method.for_checkpoint() if goes_on else spec.method
        self.method: Method = METHODS.get(spec.method.name)(config, facts).to(world.device)
        if world.leads:
            made_of = self.data.facts() | {"facts": asdict(facts), "cameras": self.training_cameras.tolist()}
            folder.describe(to_plain(spec), made_of, environment(to_plain(session)))
            without_masks = filter(None, map(self.data.missing_masks, self.data.masked_splits()))
            for message in [*made_of["differences"], *without_masks]:
                self._say(event="warning", message=message)
        masks = self.data.pixels("train", "mask") if "mask" in self.data.inputs else None
        self.feed = TrainingFeed(training, self.data.pixels("train"), spec, world, masks=masks)
        self.selector = Selector(self.data.rule) if self.data.rule in (VALIDATION, ORACLE) else None
        self._say(
            event="start",
            run=folder.run_id,
            rule=self.data.rule,
            device=str(world.device),
            processes=world.size,
            images_per_step=self.feed.per_step * world.size * spec.sampler.batch_size,
            parameters=sum(parameter.numel() for parameter in self.method.parameters()),
            **vars(facts),
        )

    def _say(self, **event: object) -> None:
        """Record an event and tell the listener."""
        if self.world.leads:
            self.folder.append(event)
        self._listen(event)

    # --- training ---

    def train(self) -> None:
        """Train what is left to train, validating and checkpointing after each epoch."""
        if self._initial_is_missing():
            self._score(INITIAL, epoch=0)  # the weights are still those of the initialisation
        trainer = Trainer(self.method, self.feed, self.spec, self.world, self._embed_training)
        self._resume(trainer)
        since_checkpoint = Stopwatch()
        unsaved = 0.0

        def after_step(trainer: Trainer) -> None:
            nonlocal unsaved
            if self.world.leads:
                self.folder.beat(epoch=trainer.epoch, step=trainer.step)
            unsaved += since_checkpoint.lap()
            stopping = self.world.any(self.stop.requested is not None)
            if stopping or self.world.any(unsaved >= self.session.checkpoint_seconds):
                self._save(trainer)
                unsaved = 0.0
            if stopping:
                raise self.stop.stopped()
            self._listen({"event": "step", "epoch": trainer.epoch, "step": trainer.step, "meter": trainer.meter})

        while not trainer.finished:
            steps = self.feed.steps(trainer.epoch)
            epochs = self.spec.train.epochs
            self._listen({"event": "epoch-start", "epoch": trainer.epoch, "epochs": epochs, "steps": steps})
            try:
                with self.stop.deferred():
                    summary = trainer.train_epoch(after_step)
            except DivergedError as error:
                self._say(event="diverged", epoch=trainer.epoch, step=trainer.step + 1, files=error.files)
                raise DivergedError(f"{error} Last good checkpoint: {self._last_checkpoint()}.", error.files) from None
            self._say(event="epoch", **summary)
            self._validate(summary["epoch"])
            self._save(trainer)
            unsaved = 0.0
        if self.world.leads:
            self._save_weights(LAST)

    def _validate(self, epoch: int) -> None:
        """Offer the epoch's weights to the selection rule."""
        if self.selector is None or (epoch % self.spec.evaluate.every and epoch != self.spec.train.epochs):
            return
        validates = self.selector.rule == VALIDATION
        others = self.data.other_validations if validates else []
        rankings = self._rank([self.data.validation if validates else self.data.headline, *others])
        scores = rankings[0].scores()
        best = self.selector.offer(epoch, scores[self.spec.select.metric])
        if best and self.world.leads:
            self._save_weights(self.selector.rule)
        also = {one.name: ranking.scores() for one, ranking in zip(others, rankings[1:], strict=True)}
        self._say(event="validation", epoch=epoch, rule=self.selector.rule, best=best, **scores, others=also)

    # --- evaluation ---

    def report(self) -> None:
        """Score every selection under every protocol; the headline selection comes last."""
        epochs = {LAST: self.spec.train.epochs}
        if self.selector is not None and self.selector.epoch:
            epochs[self.selector.rule] = self.selector.epoch
        self.world.wait()  # for the leading process to have written the weights
        for selection, epoch in epochs.items():
            if not self._scored(selection):
                self.method.load_state_dict(read_weights(self.folder.weights(selection)))
                self._score(selection, epoch)

    def _initial_is_missing(self) -> bool:
        """Whether the weights that training starts from are still to be scored."""
        return self.spec.evaluate.initial and not self._scored(INITIAL)

    def _scored(self, selection: str) -> bool:
        done = [row["protocol"] for row in self.folder.scores() if row["selection"] == selection]
        return {protocol.name for protocol in self.data.protocols} <= set(done)

    def _score(self, selection: str, epoch: int) -> None:
        """Rank the test splits with the present weights and record the evidence."""
        protocols, config = self.data.protocols, self.spec.evaluate
        embed = embedder(self.method, self.data, self.training_cameras, self.world)
        features = embed_splits(self.data.splits, protocols, embed)
        if self.world.leads and self.session.keep_features and selection == self.data.rule:
            keep_features(self.folder, selection, features, config)
        for protocol, ranking in zip(protocols, compare(features, protocols, config, self.spec.clips), strict=True):
            if self.world.leads:
                for split in (protocol.query, protocol.gallery):
                    if not self.folder.split(split).exists():
                        save_samples(self.folder.split(split), self.data.samples(split))
                ranking.save(self.folder.ranking(protocol.name, selection))
            self._say(event="scores", selection=selection, epoch=epoch, protocol=protocol.name, **ranking.scores())

    def _embed_training(self) -> torch.Tensor:
        """Features of all training images, never mirrored."""
        embed = embedder(self.method, self.data, self.training_cameras, self.world, flip=False)
        return embed("train", self.feed.data.rows).clone()  # out of inference mode

    def _rank(self, protocols: Sequence[Protocol]) -> list[Ranking]:
        embed = embedder(self.method, self.data, self.training_cameras, self.world)
        return score(self.data.splits, protocols, embed, self.spec.evaluate, self.spec.clips)

    # --- checkpoints ---

    def _save(self, trainer: Trainer) -> None:
        if self.world.leads:
            state = trainer.state() | {"selector": self.selector.state() if self.selector else None}
            with replacing(self.folder.checkpoint) as file:
                torch.save(state, file)
        self.world.wait()

    def _resume(self, trainer: Trainer) -> None:
        """Go on from the last checkpoint; events after it are dropped, since they will happen again."""
        file = self.folder.checkpoint
        if file.exists():
            state = _read_checkpoint(file, self.world)
            trainer.load_state(state)
            if self.selector is not None and state["selector"] is not None:
                self.selector = Selector(**state["selector"])
            self._listen({"event": "resume", "epoch": trainer.epoch, "step": trainer.step})
        self.world.wait()
        if self.world.leads:
            self.folder.rewind(lambda event: event["event"] == "start" or event.get("epoch", 0) < trainer.epoch)

    def _save_weights(self, selection: str) -> None:
        with replacing(self.folder.weights(selection)) as file:
            save_file(
                {name: tensor.detach().cpu().contiguous() for name, tensor in self.method.state_dict().items()}, file
            )

    def _last_checkpoint(self) -> str:
        return str(self.folder.checkpoint) if self.folder.checkpoint.exists() else "none yet"


def read_weights(file: Path) -> dict[str, torch.Tensor]:
    """Weights that a run saved. Raises DataError where the file is missing or damaged."""
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"Weights {file} cannot be read ({error}): delete the run's folder to train it again."
        ) from None


def _read_checkpoint(file: Path, world: World) -> dict[str, Any]:
    try:
        return torch.load(file, map_location=world.device, weights_only=True)
    except (RuntimeError, EOFError, OSError, UnpicklingError):
        raise DataError(f"Checkpoint {file} is damaged: delete it to train this run from the start.") from None


def embedder(
    method: Method, data: ExperimentData, training_cameras: np.ndarray, world: World, flip: bool | None = None
) -> Embed:
    """What gives the features of some images of a split, decoded once and spread over the processes.

    `flip`: instead of the configured one.
    """
    spec = data.spec
    if flip is not None:
        spec = spec.model_copy(update={"evaluate": spec.evaluate.model_copy(update={"flip": flip})})

    def embedded(split: str, rows: IntArray) -> torch.Tensor:
        return embed(
            method,
            data.samples(split).take(rows),
            data.pixels(split),
            spec,
            world,
            rows=rows,
            training_cameras=training_cameras,
            batch_size=data.session.batch_size,
            masks=data.pixels(split, "mask") if "mask" in method.test_inputs(method.config) else None,
        ).embeddings

    return embedded
