"""The training loop: phases, precision, accumulation, distribution, and a state from which it goes on exactly.

Every random number of a step is a function of (seed, epoch, step, rank), so the state is the weights, the optimisers
and two counters: a run that was killed and resumed ends with the same bits as one that was not (CPU, fp32).
"""

import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from datasets.errors import CCReIDError, UsageError
from methods.base import Batch, Method, TrainingSet

from .contract import checked_terms
from .distribution import World
from .feed import TrainingFeed, derived_seed
from .optimisation import build_optimiser, set_learning_rates
from .spec import Spec
from .telemetry import Meter, Stopwatch, gradient_norms

PRECISION = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class DivergedError(CCReIDError):
    """A loss is no longer a number."""

    exit_code = 4

    def __init__(self, message: str, files: list[str]):
        super().__init__(message)
        self.files = files
        """Of the batch in which it happened."""


class Trainer:
    """Moves a method's weights, one epoch at a time."""

    def __init__(
        self, method: Method, feed: TrainingFeed, spec: Spec, world: World, embed: Callable[[], Tensor] | None = None
    ):
        """`embed`: features of all training images, for methods that ask for them before an epoch.

        Raises UsageError where a method that has nothing to train is asked to.
        """
        if not method.phases and spec.train.epochs:
            raise UsageError(f"method={spec.method.name} is not trained: set train.epochs=0.")
        self.method, self.feed, self.spec, self.world = method, feed, spec, world
        self.embed = embed or _no_features
        self._start_optimisers()
        self.scaler = torch.amp.GradScaler(world.device.type, enabled=spec.train.precision == "fp16")
        self.epoch = 1
        """The epoch that is being trained, from 1; epochs + 1 when training is over."""
        self.step = 0
        """Steps done in it."""
        self.meter = Meter()

    def _start_optimisers(self) -> None:
        method = self.method
        self.model: nn.Module = method
        if method.phases:
            self.model = self.world.wrap(method, some_unused=method.idle_parameters or len(method.phases) > 1)
        self.optimisers = {
            phase: build_optimiser(method.phase_parameters(phase), self.spec.optimiser) for phase in method.phases
        }

    @property
    def finished(self) -> bool:
        return self.epoch > self.spec.train.epochs

    def state(self) -> dict[str, Any]:
        """Tensors and plain values only."""
        return {
            "method": self.method.state_dict(),
            "memory": self.method.memory,
            "optimisers": {phase: optimiser.state_dict() for phase, optimiser in self.optimisers.items()},
            "scaler": self.scaler.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "meter": asdict(self.meter),
            "processes": self.world.size,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`. With another number of processes a broken-off epoch starts again: its batches differ."""
        if state["memory"]:
            self.method.restore(state["memory"])
            self._start_optimisers()
        self.method.load_state_dict(state["method"])
        for phase, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][phase])
        self.scaler.load_state_dict(state["scaler"])
        self.epoch = state["epoch"]
        if state["processes"] == self.world.size:
            self.step, self.meter = state["step"], Meter(**state["meter"])

    def train_epoch(self, after_step: Callable[["Trainer"], None]) -> dict[str, Any]:
        """Finish the current epoch and return what it says about itself. `after_step` may raise to stop."""
        self.method.epoch = self.epoch
        if self.step == 0:
            torch.manual_seed(derived_seed(self.spec.seed, self.epoch, 2))
            labels = self.feed.labels
            if self.method.on_epoch(self.epoch, TrainingSet(labels["person"], labels["clothes"], self.embed)):
                self._start_optimisers()
        self.method.train()
        phases = self.method.phases_in(self.epoch)
        for phase in set(phases) - self.method.constant_phases:
            set_learning_rates(
                self.optimisers[phase], self.spec.optimiser, self.spec.schedule, self.epoch, self.spec.train.epochs
            )
        watch = Stopwatch()
        for batches in self.feed.epoch(self.epoch, self.step):
            waiting = watch.lap()
            torch.manual_seed(derived_seed(self.spec.seed, self.epoch, self.step, self.world.rank, 1))
            terms = {}
            for phase in phases:
                terms |= self._move(phase, self.optimisers[phase], batches)
            images = sum(len(batch.images) for batch in batches)
            self.step += 1
            self.meter.add(terms, images, waiting + watch.lap(), waiting)
            after_step(self)
            watch.lap()  # a checkpoint is not training
        summary = self._summary()
        self.epoch, self.step, self.meter = self.epoch + 1, 0, Meter()
        self.method.epoch = 0
        return summary

    def _move(self, phase: str, optimiser: torch.optim.Optimizer, batches: list[Batch]) -> dict[str, float]:
        """One step of one phase's optimiser; the weighted loss terms, averaged over `batches`."""
        optimiser.zero_grad(set_to_none=True)
        terms: dict[str, float] = {}
        for number, batch in enumerate(batches, start=1):
            with self._gradients_stay_here(number < len(batches)):
                with self._autocast():
                    losses = self.model(batch, phase)
                weighted = self._weighted(checked_terms(self.method, losses, phase))
                if number == 1 and self._telemetry_is_due():
                    self.meter.add_pulls(gradient_norms(weighted, self.method.observed))
                values = dict(zip(weighted, torch.stack(list(weighted.values())).tolist(), strict=True))
                self._refuse_nan(values, batch)
                self.scaler.scale(torch.stack(list(weighted.values())).sum() / len(batches)).backward()
            for name, value in values.items():
                terms[name] = terms.get(name, 0.0) + value / len(batches)
        if self.spec.train.clip_gradient:
            self.scaler.unscale_(optimiser)
            parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
            nn.utils.clip_grad_norm_(parameters, self.spec.train.clip_gradient)
        self.scaler.step(optimiser)
        self.scaler.update()
        return terms

    def _weighted(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: getattr(self.method.config.weights, name) * loss.float() for name, loss in losses.items()}

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.spec.train.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.world.device.type, PRECISION[self.spec.train.precision])

    def _gradients_stay_here(self, stay: bool) -> contextlib.AbstractContextManager[Any]:
        """Average gradients over the processes only at the last batch of a step."""
        if stay and isinstance(self.model, nn.parallel.DistributedDataParallel):
            return self.model.no_sync()
        return contextlib.nullcontext()

    def _telemetry_is_due(self) -> bool:
        every = self.spec.train.telemetry_every
        return bool(every) and self.step % every == 0

    def _refuse_nan(self, values: Mapping[str, float], batch: Batch) -> None:
        if all(math.isfinite(value) for value in values.values()):
            return
        losses = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        paths = self.feed.data.samples.paths
        files = [paths[row] for row in batch.index.tolist()]
        raise DivergedError(
            f"Training diverged in epoch {self.epoch}, step {self.step + 1}: {losses}. Try a smaller optimiser.lr, "
            f"train.clip_gradient=1, or train.precision=fp32. The batch: {', '.join(files[:3])}, … ({len(files)} "
            f"files; metrics.jsonl lists them).",
            files,
        )

    def _summary(self) -> dict[str, Any]:
        meter = self.meter
        means = meter.means()
        shared = self.world.mean(torch.tensor(list(means.values()), device=self.world.device, dtype=torch.float64))
        cuda = self.world.device.type == "cuda"
        return {
            "epoch": self.epoch,
            "steps": meter.steps,
            "loss": float(shared.sum()),
            "terms": dict(zip(means, shared.tolist(), strict=True)),
            "gradient_share": meter.gradient_shares(),
            "lr": max(group["lr"] for group in self.optimisers[self.method.phases[-1]].param_groups),
            "seconds": meter.seconds,
            "waiting": meter.waiting / meter.seconds if meter.seconds else 0.0,
            "images_per_second": meter.images * self.world.size / meter.seconds if meter.seconds else 0.0,
            "peak_memory": torch.cuda.max_memory_allocated(self.world.device) if cuda else None,
        }


def _no_features() -> Tensor:
    raise RuntimeError("this trainer was not told how to embed the training images")
