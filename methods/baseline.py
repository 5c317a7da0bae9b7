"""Baseline: one backbone, cross entropy and triplet on either side of a batch-norm neck (Luo et al., CVPRW 2019).

Paper: Hao Luo, Youzhi Gu, Xingyu Liao, Shenqi Lai, Wei Jiang, "Bag of Tricks and a Strong Baseline for Deep Person
Re-Identification", CVPR Workshops 2019, arXiv 1903.07071. Official code: michuanhaohao/reid-strong-baseline; written
from the paper, not compared with the code.

With f the pooled feature of the backbone and n = BN(f) without shift:

    identity  cross entropy of W n on the person, with label smoothing; or another head on n
    triplet   batch-hard with margin on f
    centre    mean of |f - c_y|² over the batch, c_y the centre of the image's person
    test      n, compared by cosine

Warm-up, random erasing and last stride 1 are in the recipes and the backbone; the centre loss, which the paper's full
model has with weight 0.0005, is off unless asked for. In the recipes for clothes-changing datasets image size and
augmentation are those of CAL (CVPR 2022). Three things that later baselines changed are options: GeM pooling, and
ArcFace or Circle loss instead of the softmax (both from pytorch-metric-learning).
"""

import math
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from datasets.config import tune

from . import METHODS
from .backbones import BackboneConfig
from .base import Batch, Facts, Method, MethodConfig, Weights
from .layers import BNNeck, GeM, classifier
from .losses import batch_hard_triplet
from .recipes import RESNET, TINY_RESNET


class BaselineWeights(Weights):
    identity: float = tune(1.0, 0.05, 5.0, log=True)
    """Cross entropy on the person."""
    triplet: float = tune(1.0, 0.05, 5.0, log=True)
    """Batch-hard triplet."""
    centre: float = tune(0.0, 5e-5, 5e-3, log=True)
    """Squared distance to the centre of the person; 0.0005 in the paper's full model."""


class BaselineConfig(BackboneConfig):
    weights: BaselineWeights = BaselineWeights()  # pyright: ignore[reportIncompatibleVariableOverride] (frozen)
    pooling: Literal["backbone", "gem"] = "backbone"
    """backbone: its own (ResNets: average); gem: generalised mean, its exponent learned from 3 on (ResNets)."""
    head: Literal["softmax", "arcface", "circle"] = "softmax"
    """What the identity term is: cross entropy of a linear classifier; ArcFace, with an additive angle; Circle loss
    between the images of a batch, which has no classifier."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """softmax: share of the identity target spread over all persons."""
    arcface_margin: Annotated[float, Field(ge=0, lt=math.pi / 2)] = 0.5
    """arcface: angle in radians that is added to the one between the feature and its person's weights."""
    arcface_scale: PositiveFloat = 64.0
    """arcface: factor of the cosines ahead of the softmax."""
    circle_margin: Annotated[float, Field(gt=0, lt=1)] = 0.25
    """circle: m, the relaxation of the boundary."""
    circle_scale: PositiveFloat = 128.0
    """circle: γ, factor of the similarities; 128 is its paper's value for person re-ID."""
    triplet_margin: NonNegativeFloat | None = 0.3
    """Margin of the triplet; unset (null): soft margin."""
    centre_rate: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Learning rate of the centres, which their own SGD moves whatever the weight of the term."""
    test_feature: Literal["after_neck", "before_neck"] = "after_neck"
    """Which side of the batch-norm neck is compared at test."""


STRONG_BASELINE: dict[str, Any] = RESNET | {
    "image.height": 256,
    "image.width": 128,
    "sampler.batch_size": 64,
    "sampler.instances": 4,
    "train.epochs": 120,
    "schedule.warmup_epochs": 10,
    "schedule.warmup_factor": 0.1,
    "schedule.milestones": (40, 70),
}
CLOTHES_CHANGING = STRONG_BASELINE | {
    "image.height": 384,
    "image.width": 192,
    "augment.zoom_crop": 0.5,
    "augment.pad_crop": 0,
    "augment.erase_fill": (0.4914, 0.4822, 0.4465),
    "sampler.instances": 8,
    "train.epochs": 60,
    "schedule.milestones": (20, 40),
}
# Small enough for two CPU cores, from random weights.
SYNTHETIC = (
    STRONG_BASELINE
    | TINY_RESNET
    | {
        "train.epochs": 15,
        "optimiser.lr": 1e-3,
        "schedule.name": "cosine",
        "schedule.warmup_epochs": 2,
    }
)


@METHODS.register("baseline")
class Baseline(Method):
    """Backbone, batch-norm neck, cross entropy and batch-hard triplet."""

    Config: ClassVar[type[MethodConfig]] = BaselineConfig
    title = "Bag of Tricks (Luo et al., CVPRW 2019)"
    recipes = {"market1501": STRONG_BASELINE, "synthetic": SYNTHETIC, "*": CLOTHES_CHANGING}
    ablations = {
        "full": {},
        "identity": {"method.weights.triplet": 0.0},
        "no_smoothing": {"method.label_smoothing": 0.0},
        "last_stride_2": {"method.last_stride": 2},
        "no_erasing": {"augment.erase": 0.0},
        "before_neck": {"method.test_feature": "before_neck"},
        "centre": {"method.weights.centre": 0.0005},
        "gem": {"method.pooling": "gem"},
        "arcface": {"method.head": "arcface"},
        "circle": {"method.head": "circle"},
    }
    compared_with = "the paper"
    quirks = (
        ("centre loss off", "the paper's full model has it with weight 0.0005", "ablation=centre"),
        (
            "centre loss: mean of the squared distances over the batch",
            "the paper's equation: half of their sum, which is 32 times as much in a batch of 64",
            "method.weights.centre",
        ),
    )

    config: BaselineConfig

    def __init__(self, config: BaselineConfig, facts: Facts):
        super().__init__(config, facts)
        self.backbone = config.build(facts.height, facts.width)
        width = self.backbone.width
        self.neck = BNNeck(width)
        if config.head == "softmax":
            self.classifier = classifier(width, facts.persons, std=0.001, bias=False)  # W
        else:
            self.metric_head = metric_head(config, width, facts.persons)
        if config.pooling == "gem":
            self.pool = GeM()
        if config.weights.centre > 0:
            self.centres = Centres(facts.persons, width, config.centre_rate)

    def features(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] → f [B, W]."""
        if self.config.pooling == "gem":
            return self.pool(self.backbone.feature_maps(images).float())
        return self.backbone(images)

    def embed(self, images: Tensor, cameras: Tensor | None = None, **extras: Tensor) -> Tensor:
        """[B, 3, H, W] → n (or f) [B, W]."""
        features = self.features(images)
        return self.neck(features) if self.config.test_feature == "after_neck" else features

    def losses(self, batch: Batch, phase: str = "model") -> dict[str, Tensor]:
        config, terms = self.config, {}
        features = self.observe(self.features(batch.images))  # f [B, W]
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            if config.weights.identity > 0:
                terms["identity"] = self._identity(self.neck(features), batch.person)
            if config.weights.triplet > 0:
                terms["triplet"] = batch_hard_triplet(features, batch.person, config.triplet_margin)
            if config.weights.centre > 0:
                terms["centre"] = self.centres(features, batch.person)
        return terms

    def _identity(self, normed: Tensor, person: Tensor) -> Tensor:
        if self.config.head != "softmax":
            return self.metric_head(normed, person)
        return F.cross_entropy(self.classifier(normed), person, label_smoothing=self.config.label_smoothing)


class Centres(nn.Module):
    """One centre per person and the mean squared distance to them (Wen et al., ECCV 2016).

    In training each batch moves the centres by a step of SGD on the unweighted term, as the released code does. They
    are none of the optimiser's parameters, since its rate is far too small for them. With several processes the first
    one's batches move them.
    """

    centres: Tensor
    """[persons, W], drawn from N(0, 1)."""

    def __init__(self, persons: int, width: int, rate: float):
        super().__init__()
        self.register_buffer("centres", torch.randn(persons, width))
        self.rate = rate

    def forward(self, features: Tensor, person: Tensor) -> Tensor:
        """f [B, W], person [B] → mean |f - c_y|²."""
        away = features - self.centres[person]  # [B, W]
        if self.training:
            with torch.no_grad():  # c ← c - rate · dL/dc, and dL/dc_y = -2/B · (the sum of f - c_y)
                owner = F.one_hot(person, len(self.centres)).to(features.dtype)  # [B, persons]
                self.centres += self.rate * 2 / len(person) * owner.T @ away
        return away.pow(2).sum(dim=1).mean()


def metric_head(config: BaselineConfig, width: int, persons: int) -> nn.Module:
    """ArcFace over the persons, or Circle loss between images: n [B, W], person [B] → scalar, the mean over the batch.

    ArcFace: Deng et al., CVPR 2019, arXiv 1801.07698. Circle: Sun et al., CVPR 2020, arXiv 2002.10857, equation 6.
    """
    from pytorch_metric_learning.losses import ArcFaceLoss, CircleLoss  # 2 s that the softmax does not need

    if config.head == "arcface":
        options: dict[str, Any] = {"margin": math.degrees(config.arcface_margin), "scale": config.arcface_scale}
        return ArcFaceLoss(persons, width, **options)
    options = {"m": config.circle_margin, "gamma": config.circle_scale}
    return CircleLoss(**options)
