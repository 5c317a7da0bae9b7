"""CAL: the backbone unlearns what tells apart the outfits of one person (Gu et al., CVPR 2022).

Paper: Xinqian Gu, Hong Chang, Bingpeng Ma, Shutao Bai, Shiguang Shan, Xilin Chen, "Clothes-Changing Person
Re-identification with RGB Modality Only", CVPR 2022, arXiv 2204.06890. Official code: guxinqian/Simple-CCReID, commit
f773d01. Written from a description of paper and code and tested against numbers that the code produced
(tests/golden/cal).

f = BN([max ; mean] of a ResNet-50's map) serves all terms and the test; of a clip f = BN(mean over the frames of the
maximum over positions). With y the person of an image, c its outfit, S the outfits of y, and z_k = s cos(f, φ_k) the
scaled cosine with the direction φ_k of outfit k (numbering ours):

    (1) identity     cross entropy of W f + b on y, with label smoothing
    (2) clothes      cross entropy of z on c; trains φ alone, f is constant
    (3) adversarial  -Σ_k q_k log p_k,  p_k = e^{z_k} / (e^{z_k} + Σ_{j ∉ S} e^{z_j});  trains the backbone alone
                     q_k = (1 - ε) [k = c] + ε / |S| for k in S, else 0
    (4) pair         triplet on 1 - cos of two images' f; for LaST only

A step first moves φ by (2), with an optimiser of its own whose rate is constant, then everything else by (1), (3) and
(4), where (3) sees φ as just moved. (2) and (3) begin after 25 epochs. In (3) the outfits of one person do not compete
with each other: f has to tell them from those of other people, but not from each other.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, cast

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, NonNegativeInt, model_validator
from torch import Tensor, nn

from datasets.config import tune
from datasets.errors import UsageError

from . import METHODS
from .backbones import BackboneConfig
from .base import Batch, Facts, Loaded, Method, MethodConfig, Weights
from .cal_checkpoints import loaded, told_by
from .clothes_memory import ClothesMemory
from .cosine_losses import arcface, circle, contrastive, cosface, cosine_triplet, pairwise_circle, pairwise_cosface
from .layers import CosineClassifier, GeM, classifier, pool_max_avg
from .recipes import RESNET, TINY_RESNET
from .video import VIDEO, VideoBackbone, pool_frames

CLOTHES = "clothes"
"""The phase that moves φ."""
IDENTITY_LOSSES = {"cosface": cosface, "arcface": arcface, "circle": circle}
PAIR_LOSSES = {
    "triplet": cosine_triplet,
    "contrastive": contrastive,
    "cosface": pairwise_cosface,
    "circle": pairwise_circle,
}


class CalWeights(Weights):
    identity: float = tune(1.0, 0.05, 5.0, log=True)
    """Cross entropy on the person."""
    clothes: float = tune(1.0, 0.05, 5.0, log=True)
    """Cross entropy on the outfit; moves the clothes classifier alone."""
    adversarial: float = tune(1.0, 0.05, 5.0, log=True)
    """Clothes-based adversarial loss."""
    pair: float = tune(0.0, 0.0, 2.0)
    """Loss between pairs of images; in the paper for LaST alone."""


class CalConfig(BackboneConfig):
    backbone: str = "resnet50"
    """Images: resnet50, resnet18, resnet_tiny or any convolutional timm model; clips: c2dres50, i3dres50, ap3dres50,
    nlres50, ap3dnlres50, c2d_tiny."""
    names: ClassVar[tuple[str, ...]] = ("resnet50", "resnet18", "resnet_tiny", *VIDEO)
    weights: CalWeights = CalWeights()  # pyright: ignore[reportIncompatibleVariableOverride] (frozen)
    pooling: Literal["maxavg", "avg", "max", "gem"] = "maxavg"
    """Of an image's map; of clips it is always the maximum of each frame, and the mean over the frames."""
    identity_loss: Literal["cross_entropy", "cosface", "arcface", "circle"] = "cross_entropy"
    """cross_entropy: a linear classifier with bias; the others: on cosines, with identity_scale and identity_margin."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the identity target spread over all persons, for cross_entropy."""
    identity_scale: Annotated[float, Field(gt=0)] = 16.0
    """Factor of the cosines in the identity loss."""
    identity_margin: NonNegativeFloat = 0.0
    """Margin of the identity loss."""
    scale: Annotated[float, Field(gt=0)] = tune(16.0, 4.0, 64.0, log=True)
    """s: factor of the cosines with outfits."""
    epsilon: Annotated[float, Field(ge=0, le=1)] = tune(0.1, 0.0, 1.0)
    """ε: share of the adversarial target spread over all outfits of the person."""
    clothes_start: NonNegativeInt = 25
    """Epochs before the clothes classifier is trained."""
    adversarial_start: NonNegativeInt = 25
    """Epochs before the adversarial loss."""
    clothes_memory: Literal["off", "last", "mean"] = "off"
    """What stands for an outfit in the adversarial loss. off: φ, learned; last: a stored feature, that of the last
    image of the batch that wears it; mean: the mean of all that do."""
    memory_momentum: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of a stored feature that stays when it is renewed, once all outfits are stored."""
    pair_loss: Literal["triplet", "contrastive", "cosface", "circle"] = "triplet"
    """The loss between pairs of images; all are on cosines, and over the batches of all processes."""
    pair_scale: Annotated[float, Field(gt=0)] = 16.0
    """Factor of the cosines in the pair loss; the triplet has none."""
    pair_margin: NonNegativeFloat = 0.3
    """Margin of the pair loss; contrastive has none."""

    @model_validator(mode="after")
    def _something_to_train(self) -> Self:
        weights = self.weights
        if not weights.identity and not weights.pair and (not weights.adversarial or self.adversarial_start):
            raise ValueError(
                "nothing trains the backbone from the first epoch on: set method.weights.identity or "
                "method.weights.pair above 0, or method.weights.adversarial with method.adversarial_start=0"
            )
        if weights.adversarial and not weights.clothes and self.clothes_memory == "off":
            raise ValueError(
                "method.weights.clothes=0 leaves the clothes classifier as it was drawn, and "
                "method.weights.adversarial unlearns it: set both to 0, or method.clothes_memory=mean"
            )
        return self


# The settings of the released scripts. `train.accumulate` 2: it trains on two GPUs.
IMAGES: dict[str, Any] = RESNET | {
    "method.backbone": "resnet50",
    "augment.zoom_crop": 0.5,
    "augment.pad_crop": 0,
    "augment.erase_fill": (0.4914, 0.4822, 0.4465),
    "sampler.kind": "groups",
    "sampler.batch_size": 32,
    "sampler.instances": 8,
    "train.epochs": 60,
    "train.accumulate": 2,
    "train.precision": "fp32",
    "schedule.milestones": (20, 40),
    "evaluate.flip": True,
    "evaluate.every": 5,
}
LARGE = IMAGES | {"sampler.instances": 4, "train.precision": "fp16"}
LAST = LARGE | {"method.weights.pair": 1.0, "method.pair_loss": "triplet", "method.pair_margin": 0.3}
VIDEO_RECIPE = IMAGES | {
    "method.backbone": "c2dres50",
    "method.label_smoothing": 0.0,
    "method.clothes_start": 50,
    "method.adversarial_start": 50,
    "image.height": 256,
    "image.width": 128,
    "image.interpolation": "bicubic",
    "clips.length": 8,
    "clips.stride": 4,
    "augment.zoom_crop": 0.0,
    "augment.erase": 0.0,
    "sampler.batch_size": 16,
    "sampler.instances": 4,
    "train.epochs": 150,
    "schedule.milestones": (40, 80, 120),
    "evaluate.flip": False,
    "evaluate.every": 10,
}
# Small enough for two CPU cores, from random weights.
SYNTHETIC = (
    IMAGES
    | TINY_RESNET
    | {
        "augment.pad_crop": 0,
        "method.clothes_start": 6,
        "method.adversarial_start": 6,
        "augment.erase": 0.0,
        "sampler.instances": 4,
        "train.epochs": 16,
        "train.accumulate": 1,
        "optimiser.lr": 1e-3,
        "schedule.milestones": (10, 14),
        "evaluate.every": 1,
    }
)
RELEASED_MEMORY = {"method.clothes_memory": "last", "method.memory_momentum": 0.0}


@METHODS.register("cal")
class Cal(Method):
    """One backbone and two classifiers; the backbone learns persons and unlearns each person's outfits."""

    Config: ClassVar[type[MethodConfig]] = CalConfig
    title = "CAL (Gu et al., CVPR 2022)"
    phases = (CLOTHES, "model")
    constant_phases = frozenset({CLOTHES})
    recipes = {
        "ltcc": IMAGES,
        "prcc": IMAGES,
        "vc_clothes": IMAGES,
        "deepchange": LARGE,
        "last": LAST,
        "ccvid": VIDEO_RECIPE,
        "synthetic": SYNTHETIC,
        "*": IMAGES,
    }
    ablations = {
        "full": {},
        "baseline": {"method.weights.clothes": 0.0, "method.weights.adversarial": 0.0},
        "own_outfit_only": {"method.epsilon": 0.0},
        "all_outfits_alike": {"method.epsilon": 1.0},
        "from_the_start": {"method.clothes_start": 0, "method.adversarial_start": 0},
        "with_triplet": {"method.weights.pair": 1.0},
        "clothes_memory": {"method.clothes_memory": "mean"},
        "released_code": {"select.rule": "oracle"},
        "released_memory": RELEASED_MEMORY | {"select.rule": "oracle"},
    }
    quirks = (
        (
            "the adversarial gradient does not reach the clothes classifier",
            "it does, and is cleared before anything is moved: the same",
            "(none)",
        ),
        (
            "(3) by log-sum-exp in float32",
            "by e^z without subtracting the maximum, which overflows in half precision",
            "(none)",
        ),
        (
            "(2) and (3) begin together after 25 epochs (50 for CCVID), and before that φ stays as drawn",
            "the same; both are computed for the log in every epoch",
            "method.clothes_start, method.adversarial_start",
        ),
        (
            "a stored outfit feature is the mean over the batch (clothes_memory=mean)",
            "meant the same, but images are grouped by tensor objects, all of them different: the last one stays",
            "method.clothes_memory",
        ),
        (
            "outfits that are not stored yet are left out on a copy",
            "the caller's table of outfits is overwritten in place, without consequence",
            "(none)",
        ),
        (
            "erasing fills with (0.4914, 0.4822, 0.4465) after normalisation, which is not the mean colour",
            "the same; the numbers are meant for pixels before normalisation",
            "augment.erase_fill",
        ),
        ("clips are not erased", "an inverted condition erases nothing, whatever the probability", "augment.erase"),
        (
            "batch norm sees 32 images, gradients are averaged over two such batches",
            "the same since the release; the paper's numbers came from DataParallel, and users get 1-2 % less",
            "sampler.batch_size, train.accumulate",
        ),
        ("a person may be twice in a batch", "the same", "sampler.kind"),
        (
            "a run that is resumed goes on as it was",
            "neither optimisers nor schedule are restored, and the saved epoch is trained again",
            "(none)",
        ),
        ("the epoch is chosen by select.rule", "the best epoch on the test set is reported", "select.rule"),
    )

    config: CalConfig

    def __init__(self, config: CalConfig, facts: Facts):
        super().__init__(config, facts)
        self.backbone: Any = _backbone(config, facts)
        width = self.backbone.width * (2 if config.pooling == "maxavg" and not self.takes_clips(config) else 1)
        self.generalised_mean = GeM() if config.pooling == "gem" and not self.takes_clips(config) else None
        self.neck = nn.BatchNorm1d(width)
        nn.init.normal_(self.neck.weight, 1.0, 0.02)
        on_cosines = config.identity_loss != "cross_entropy"
        self.classifier = (
            CosineClassifier(width, facts.persons) if on_cosines else classifier(width, facts.persons, std=0.001)
        )
        self.clothes_classifier = CosineClassifier(width, facts.clothes)  # φ
        self.wardrobe: Tensor  # [persons, clothes] 1 for the outfits of a person: S
        self.register_buffer("wardrobe", _wardrobe(config, facts), persistent=False)
        self.clothes_memory = None if config.clothes_memory == "off" else ClothesMemory(facts.clothes, width)
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}
        """Images and their features from the clothes phase, for the next phase of the step; by the images' id."""

    @classmethod
    def takes_clips(cls, config: MethodConfig) -> bool:
        return cast(CalConfig, config).backbone in VIDEO

    @classmethod
    def complete_from(cls, config: MethodConfig) -> int:
        config = cast(CalConfig, config)
        weights = config.weights
        starts = (
            config.clothes_start if weights.clothes > 0 else 0,
            config.adversarial_start if weights.adversarial > 0 else 0,
        )
        return 1 + max(starts)

    def phases_in(self, epoch: int) -> tuple[str, ...]:
        config = self.config
        learns_clothes = config.weights.clothes > 0 and config.clothes_memory == "off"
        return self.phases if learns_clothes and epoch > config.clothes_start else ("model",)

    def phase_parameters(self, phase: str) -> Iterable[tuple[str, nn.Parameter]]:
        for name, parameter in self.named_parameters():
            if name.startswith("clothes_classifier.") == (phase == CLOTHES):
                yield name, parameter

    def embed(self, images: Tensor, cameras: Tensor | None = None, **extras: Tensor) -> Tensor:
        """[B, 3, H, W] or clips [B, T, 3, H, W] → f [B, W]."""
        if isinstance(self.backbone, VideoBackbone):
            return self.neck(pool_frames(self.backbone(images)))
        maps = self.backbone.feature_maps(images)
        if self.generalised_mean is not None:
            return self.neck(self.generalised_mean(maps))
        pools = {"maxavg": pool_max_avg, "avg": lambda maps: maps.mean((2, 3)), "max": lambda maps: maps.amax((2, 3))}
        return self.neck(pools[self.config.pooling](maps))

    def losses(self, batch: Batch, phase: str = "model") -> dict[str, Tensor]:
        features = self._features(batch, keep=phase == CLOTHES)
        with torch.autocast(features.device.type, enabled=False):
            features = features.to(torch.promote_types(features.dtype, torch.float32))  # float64 stays as it is
            if phase == CLOTHES:  # (2)
                cosine = self.clothes_classifier(features.detach())
                return {CLOTHES: cosface(cosine, batch.clothes, self.config.scale)}
            return self._terms(features, batch)

    def _features(self, batch: Batch, keep: bool) -> Tensor:
        """f [B, W] with its graph; computed once for both phases of a step."""
        _, kept = self._kept.pop(id(batch.images), (None, None))
        features = self.observe(self.embed(batch.images) if kept is None else kept)
        if keep:
            self._kept[id(batch.images)] = batch.images, features
        return features

    def _terms(self, features: Tensor, batch: Batch) -> dict[str, Tensor]:
        config, weights, terms = self.config, self.config.weights, {}
        if weights.identity > 0:  # (1)
            logits = self.classifier(features)
            if config.identity_loss == "cross_entropy":
                terms["identity"] = F.cross_entropy(logits, batch.person, label_smoothing=config.label_smoothing)
            else:
                loss = IDENTITY_LOSSES[config.identity_loss]
                terms["identity"] = loss(logits, batch.person, config.identity_scale, config.identity_margin)
        if self.clothes_memory is not None:
            how = cast(Literal["last", "mean"], config.clothes_memory)
            self.clothes_memory.store(features.detach(), batch.clothes, config.memory_momentum, how)
        if weights.adversarial > 0 and self.epoch > config.adversarial_start:  # (3)
            terms["adversarial"] = self._adversarial(features, batch)
        if weights.pair > 0:  # (4)
            loss = PAIR_LOSSES[config.pair_loss]
            terms["pair"] = loss(features, batch.person, margin=config.pair_margin, scale=config.pair_scale)
        return terms

    def _adversarial(self, features: Tensor, batch: Batch) -> Tensor:
        memory = self.clothes_memory
        directions = self.clothes_classifier.weight.detach() if memory is None else memory.features  # φ [C, W]
        cosine = F.normalize(features, dim=1) @ F.normalize(directions, dim=1).T
        stored = None if memory is None else memory.stored > 0
        wardrobe = self.wardrobe[batch.person] > 0
        return clothes_adversarial(cosine, batch.clothes, wardrobe, self.config.scale, self.config.epsilon, stored)

    @classmethod
    def from_official(cls, state: Mapping[str, Tensor], config: MethodConfig, height: int, width: int) -> Loaded:
        """From the state dict of backbone and batch norm; the classifiers are not needed at test."""
        state = {key.removeprefix("module."): value for key, value in state.items()}
        config = cast(CalConfig, config)
        config = config.model_copy(update=told_by(state, config.backbone, config.pooling))
        facts = Facts(persons=1, cameras=0, clothes=1, height=height, width=width, wardrobes=((0,),))
        return loaded(cls(config, facts), state, config.backbone)


def clothes_adversarial(
    cosine: Tensor,
    clothes: Tensor,
    wardrobe: Tensor,
    scale: float = 16.0,
    epsilon: float = 0.1,
    stored: Tensor | None = None,
) -> Tensor:
    """(3) from `cosine` [B, C], the images' outfits `clothes` [B] and their persons' outfits `wardrobe` [B, C] bool.

    log p_k = -log(1 + e^{n - z_k}) with n = log Σ_{j ∉ S} e^{z_j}. `stored` [C] bool: outfits that take part.
    """
    logits = scale * cosine
    stored = torch.ones_like(wardrobe[0]) if stored is None else stored
    own, others = wardrobe & stored, ~wardrobe & stored
    negative = logits.masked_fill(~others, torch.finfo(logits.dtype).min / 4).logsumexp(dim=1, keepdim=True)
    log_p = F.logsigmoid(logits - negative)
    target = F.one_hot(clothes, cosine.shape[1]).to(logits.dtype)
    spread = own.to(logits.dtype) / own.sum(dim=1, keepdim=True).clamp(min=1)
    q = (1 - epsilon) * target + epsilon * spread
    return -(q * log_p).sum(dim=1).mean()


def _backbone(config: CalConfig, facts: Facts) -> nn.Module:
    if config.backbone not in VIDEO:
        return config.build(facts.height, facts.width)
    inflation = VIDEO[config.backbone]
    images = config.model_copy(update={"backbone": inflation.images}).build(facts.height, facts.width)
    return VideoBackbone(images, inflation)


def _wardrobe(config: CalConfig, facts: Facts) -> Tensor:
    """S as a table [persons, clothes] of 0 and 1. Raises UsageError where clothes are to be learnt and not labelled."""
    table = torch.zeros(facts.persons, facts.clothes)
    if not facts.wardrobes and (config.weights.clothes > 0 or config.weights.adversarial > 0):
        raise UsageError(
            "CAL learns from clothes labels, and the training images of this dataset have none: choose a dataset that "
            "labels clothes, or set method.weights.clothes=0 and method.weights.adversarial=0."
        )
    for person, outfits in enumerate(facts.wardrobes):
        table[person, list(outfits)] = 1.0
    return table
