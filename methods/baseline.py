"""Baseline: one backbone, cross entropy and triplet on either side of a batch-norm neck (Luo et al., CVPRW 2019).

Paper: Hao Luo, Youzhi Gu, Xingyu Liao, Shenqi Lai, Wei Jiang, "Bag of Tricks and a Strong Baseline for Deep Person
Re-Identification", CVPR Workshops 2019, arXiv 1903.07071. Official code: michuanhaohao/reid-strong-baseline; written
from the paper, not compared with the code.

With f the pooled feature of the backbone and n = BN(f) without shift:

    identity  cross entropy of W n on the person, with label smoothing
    triplet   batch-hard with margin on f
    test      n, compared by cosine

Of the paper's tricks the center loss is left out; warm-up, random erasing and last stride 1 are in the recipes and the
backbone. In the recipes for clothes-changing datasets image size and augmentation are those of CAL (CVPR 2022).
"""

from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from datasets.config import tune

from . import METHODS
from .backbones import BackboneConfig
from .base import Batch, Facts, Method, MethodConfig, Weights
from .layers import BNNeck, classifier
from .losses import batch_hard_triplet


class BaselineWeights(Weights):
    identity: float = tune(1.0, 0.05, 5.0, log=True)
    """Cross entropy on the person."""
    triplet: float = tune(1.0, 0.05, 5.0, log=True)
    """Batch-hard triplet."""


class BaselineConfig(BackboneConfig):
    weights: BaselineWeights = BaselineWeights()  # pyright: ignore[reportIncompatibleVariableOverride] (frozen)
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the identity target spread over all persons."""
    triplet_margin: float | None = 0.3
    """Margin of the triplet; unset (null): soft margin."""
    test_feature: Literal["after_neck", "before_neck"] = "after_neck"
    """Which side of the batch-norm neck is compared at test."""


STRONG_BASELINE: dict[str, Any] = {
    "method.pretrained": True,
    "image.height": 256,
    "image.width": 128,
    "image.interpolation": "bilinear",
    "augment.flip": 0.5,
    "augment.zoom_crop": 0.0,
    "augment.pad_crop": 10,
    "augment.erase": 0.5,
    "sampler.batch_size": 64,
    "sampler.instances": 4,
    "train.epochs": 120,
    "optimiser.name": "adam",
    "optimiser.lr": 3.5e-4,
    "optimiser.weight_decay": 5e-4,
    "schedule.name": "multistep",
    "schedule.warmup_epochs": 10,
    "schedule.warmup_factor": 0.1,
    "schedule.milestones": (40, 70),
    "schedule.decay": 0.1,
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
SYNTHETIC = STRONG_BASELINE | {
    "method.backbone": "resnet18",
    "method.pretrained": False,
    "image.height": 64,
    "image.width": 32,
    "augment.pad_crop": 4,
    "train.epochs": 15,
    "train.precision": "fp32",
    "optimiser.lr": 1e-3,
    "schedule.name": "cosine",
    "schedule.warmup_epochs": 2,
    "evaluate.initial": True,
}


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
    }
    quirks = (("no center loss", "the paper's full model adds one with weight 0.0005", "(none)"),)

    config: BaselineConfig

    def __init__(self, config: BaselineConfig, facts: Facts):
        super().__init__(config, facts)
        self.backbone = config.build(facts.height, facts.width)
        self.neck = BNNeck(self.backbone.width)
        self.classifier = classifier(self.backbone.width, facts.persons, std=0.001, bias=False)  # W

    def embed(self, images: Tensor, cameras: Tensor | None = None, **extras: Tensor) -> Tensor:
        """[B, 3, H, W] → n (or f) [B, W]."""
        features = self.backbone(images)
        return self.neck(features) if self.config.test_feature == "after_neck" else features

    def losses(self, batch: Batch, phase: str = "model") -> dict[str, Tensor]:
        config, terms = self.config, {}
        features = self.observe(self.backbone(batch.images))  # f [B, W]
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            if config.weights.identity > 0:
                logits = self.classifier(self.neck(features))
                terms["identity"] = F.cross_entropy(logits, batch.person, label_smoothing=config.label_smoothing)
            if config.weights.triplet > 0:
                terms["triplet"] = batch_hard_triplet(features, batch.person, config.triplet_margin)
        return terms
