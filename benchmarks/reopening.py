"""A finished run's dataset, images and model, for whoever wants more of it than its scores."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from datasets.base import ReIDDataset, UInt8Array
from datasets.errors import DataError
from methods import METHODS
from methods.base import Facts, Method

from .data import ExperimentData, Listener, open_dataset
from .distribution import World
from .experiment import embedder, read_weights
from .plugins import require_same_plugins
from .records import RunFolder
from .resolve import from_plain, resolve_evaluation
from .run_features import has_features, keep_features
from .scoring import Embed, embed_splits
from .spec import Session, Spec
from .splits import load_samples
from .words import ENVIRONMENT

PLACES = ("data", "mask_folder", "caption_folder", "cache")
"""What a run remembers of where its files were; a value that is given now goes first."""


@dataclass(frozen=True)
class Reopened:
    """Everything is read when it is first asked for; without the dataset's files only `run` and `spec` are there."""

    run: RunFolder
    spec: Spec
    session: Session
    listen: Listener

    @cached_property
    def dataset(self) -> ReIDDataset:
        """Raises UsageError or DataError where its folder is not there."""
        return open_dataset(self.spec.dataset, self.session)

    @cached_property
    def data(self) -> ExperimentData:
        return ExperimentData(self.dataset, self.spec, self.session, self.listen)

    def image(self, path: str) -> UInt8Array:
        """[H, W, 3] of one image, as it is in the dataset."""
        return self.dataset.read_image(path)

    def method(self, selection: str | None = None) -> Method:
        """The model with the weights of `selection`, by default of the headline, on the CPU, in evaluation mode.

        Raises DataError where the weights are gone.
        """
        facts = Facts(**self.run.data()["facts"])
        method: Method = METHODS.get(self.spec.method.name)(self.spec.method.for_checkpoint(), facts)
        method.load_state_dict(read_weights(self.run.weights(selection or self.run.headline)))
        return method.eval()

    @cached_property
    def cameras(self) -> np.ndarray:
        """Sorted cameras of the training."""
        return np.array(self.run.data()["cameras"], dtype=np.int64)

    def embedder(self, method: Method, world: World, flip: bool | None = None) -> Embed:
        return embedder(method, self.data, self.cameras, world, flip)

    def ensure_features(self, world: World) -> None:
        """Compute and keep the headline's features where the run has none, as the run itself was scored.

        Raises DataError where weights or files are gone, or where the dataset holds other images now.
        """
        own = replace(self, spec=from_plain(self.run.spec()))  # whatever is asked of the evaluation today
        own._keep_features(world)

    def _keep_features(self, world: World) -> None:
        selection, protocols = self.run.headline, self.data.protocols
        names = dict.fromkeys(name for protocol in protocols for name in (protocol.query, protocol.gallery))
        if has_features(self.run, selection, *names):
            return
        for name in names:
            if load_samples(self.run.split(name)).paths != self.data.samples(name).paths:
                raise DataError(
                    f"The {name} images in {self.dataset.root} are not those that {self.run.run_id} was scored on: "
                    "restore them, or say data=DIR of the folder that holds them."
                )
        embed = self.embedder(self.method(selection).to(world.device), world)
        features = embed_splits(self.data.splits, protocols, embed)
        if world.leads:
            keep_features(self.run, selection, features, self.spec.evaluate)


def reopen(run: RunFolder, values: Mapping[str, Any], listen: Listener) -> Reopened:
    """`values`: keys of the session and of the evaluation; places not named are those of the run's last start."""
    require_same_plugins(run)
    starts = run.starts()
    remembered = starts[-1].get("session", {}) if starts else {}
    overruled = {key for variable, key in ENVIRONMENT.items() if os.environ.get(variable)}
    places = {
        key: remembered[key]
        for key in PLACES
        if key not in overruled and remembered.get(key) is not None and Path(remembered[key]).exists()
    }
    resolved = resolve_evaluation(run.spec(), {**places, **values})
    return Reopened(run, resolved.spec, resolved.session, listen)
