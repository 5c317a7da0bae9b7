"""One experiment's configuration. Everything in a `Spec` changes the result and is hashed; nothing in a `Session` does.

A key on the command line is a path through these classes: `train.epochs=60`, `method.weights.triplet=0.5`, `data=DIR`.
The string under a field is its documentation; `python run.py show method=NAME` prints it.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveFloat, SerializeAsAny, field_validator

from datasets.augment import AugmentConfig
from datasets.base import DatasetConfig
from datasets.captions import CaptionConfig
from datasets.clips import ClipConfig
from datasets.config import Strict
from datasets.errors import UsageError
from datasets.masks import MaskConfig
from datasets.samplers import SamplerConfig, check_batch_size, check_several_people
from methods.base import MethodConfig

from .optimisation import OptimiserConfig, ScheduleConfig
from .reranking import RerankConfig

Triple = tuple[float, float, float]
Scale = tuple[PositiveFloat, PositiveFloat, PositiveFloat]


class ImageConfig(Strict):
    height: int = Field(default=256, ge=16, le=2048)
    """Pixels; every image is resized to height × width once, the aspect ratio is not kept."""
    width: int = Field(default=128, ge=16, le=2048)
    """Pixels."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """Antialiased resize, as the papers' preprocessing does it."""
    mean: Triple = (0.485, 0.456, 0.406)
    """Subtracted from RGB in 0 … 1; the default is ImageNet's."""
    std: Scale = (0.229, 0.224, 0.225)
    """Divides RGB after the mean; the default is ImageNet's."""


class TrainConfig(Strict):
    epochs: int = Field(default=60, ge=0)
    """Passes over the training groups; 0 evaluates the initial weights."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of the forward pass (autocast); weights, losses and evaluation stay in fp32."""
    accumulate: int = Field(default=1, ge=1)
    """Batches whose gradients are averaged in one step, over all processes: 2 is two GPUs, or two batches on one."""
    clip_gradient: float = Field(default=0.0, ge=0)
    """Largest norm of the gradient; 0 leaves it alone."""
    telemetry_every: int = Field(default=50, ge=0)
    """Steps between measurements of each loss term's gradient on the features; 0 switches them off."""


class EvaluateConfig(Strict):
    protocols: tuple[str, ...] = ("reported",)
    """Names from `python run.py list protocols dataset=…`; headline: the first; reported: those that the field reports
    today; all: older conventions too."""
    metric: Literal["cosine", "euclidean"] = "cosine"
    """Distance between features."""
    normalise: bool = True
    """Scale features to unit length before measuring distances."""
    flip: bool = False
    """Add the features of the mirrored image."""
    rerank: RerankConfig = RerankConfig()
    every: int = Field(default=1, ge=1)
    """Epochs between validations (or tests, under the oracle rule)."""
    initial: bool = False
    """Also score the weights that training starts from."""


class SelectConfig(Strict):
    rule: Literal["auto", "last", "validation", "oracle"] = "auto"
    """Which epoch's weights give the headline. validation: best on held-out training identities; last: the last epoch;
    oracle: best on the test set, as most released codes do, marked † wherever it is printed; auto: validation where
    enough identities can be held out, else last."""
    metric: Literal["mAP", "R1"] = "mAP"
    """What «best» means, under the dataset's headline protocol."""
    holdout: float = Field(default=0.1, gt=0, lt=1)
    """Share of the training identities that the validation rule holds out."""
    seed: int = Field(default=0, ge=0)
    """Chooses the held-out identities; apart from the run's seed, so that all seeds and methods hold out the same."""


class Spec(Strict):
    """What is measured. Two runs with equal specs differ in nothing but chance (and with equal seeds in nothing)."""

    method: SerializeAsAny[MethodConfig]
    dataset: SerializeAsAny[DatasetConfig]
    image: ImageConfig = ImageConfig()
    augment: AugmentConfig = AugmentConfig()
    sampler: SamplerConfig = SamplerConfig()
    captions: CaptionConfig = CaptionConfig()
    masks: MaskConfig = MaskConfig()
    clips: ClipConfig = ClipConfig()
    train: TrainConfig = TrainConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    select: SelectConfig = SelectConfig()
    seed: int = Field(default=0, ge=0)
    """Of the weights' initialisation, the batches and the augmentation."""

    @property
    def hash(self) -> str:
        """Eight hexadecimal digits that name everything but the seed."""
        content = self.model_dump(mode="json", exclude={"seed"})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]

    @property
    def run_id(self) -> str:
        return f"{self.dataset.name}-{self.method.name}-{self.hash}-s{self.seed}"

    def check(self) -> None:
        """Raise UsageError where fields are fine one by one but not together."""
        check_batch_size(self.sampler)
        check_several_people(self.sampler)
        weights = dict(self.method.weights)
        if self.train.epochs and weights and not any(weights.values()):
            every = " or ".join(f"method.weights.{name}" for name in weights)
            raise UsageError(f"Every loss term is switched off: set {every} above 0, or train.epochs=0.")


class Session(Strict):
    """Where and how a run is carried out on this machine; not part of the run's identity."""

    data: Path | None = None
    """Folder that holds the datasets' folders, or one dataset's own; the variable CCREID_DATA when not given."""
    caption_folder: Path | None = None
    """Folder with DIFFER's caption files of this dataset; DATA/captions/FOLDER when not given."""
    mask_folder: Path | None = None
    """Folder with the parsing masks of this dataset; DATA/masks/FOLDER when not given."""
    runs: Path = Path("runs")
    """Folder of the run records."""
    cache: Path = Path("cache")
    """Folder of the decoded images; the variable CCREID_CACHE when not given."""
    device: str = "auto"
    """cpu, cuda, cuda:1, … auto takes a GPU where there is one."""
    workers: int = Field(default=0, ge=0)
    """Processes or threads that decode images; 0 takes one per core."""
    batch_size: int = Field(default=128, ge=1)
    """Images per forward pass when features are computed."""
    checkpoint_seconds: float = Field(default=600, ge=0)
    """Longest time of training that a crash can cost; every epoch ends with a checkpoint anyway."""
    keep_features: bool = True
    """Keep the test images' features of the headline's weights, from which figures are made: 2 bytes a number."""
    test: bool = True
    """false: train and validate, and leave the test split closed, as the trials of a sweep do. The same command without
    it goes on to the scores."""
    quiet: bool = False
    """Print nothing but warnings, errors and the score table."""
    wandb: Literal["off", "offline", "online"] = "off"
    """Mirror the run to W&B while it trains; online only where it is typed. `python run.py wandb` does so later."""
    wandb_project: str = "ccreid-bench"
    """Of W&B."""
    wandb_faces: Literal["shown", "blur"] = "shown"
    """blur: heads are hidden in the pictures that the live mirror shows."""
    wandb_entity: str | None = None
    """Of W&B: the user or team that owns the project; the account's default when not given."""
    tensorboard: bool = False
    """Write the curves as event files, too: `tensorboard --logdir runs`. Needs the package tensorboard."""

    @field_validator("data", "caption_folder", "mask_folder", "runs", "cache")
    @classmethod
    def _at_home(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser()


def to_plain(model: Strict) -> dict[str, Any]:
    """A model as values that YAML and JSON can hold."""
    return model.model_dump(mode="json")
