"""CSSC: content and salient semantics, mined and refined in turn by two branches (Wang et al., ICASSP 2025).

Paper: Qizao Wang, Xuelin Qian, Bin Li, Lifeng Chen, Yanwei Fu, Xiangyang Xue, "Content and Salient Semantics
Collaboration for Cloth-Changing Person Re-Identification", ICASSP 2025, arXiv 2405.16597v2. Official code:
QizaoWang/CSSC-CCReID, commit bd018b8.

X are the maps of a ResNet ahead of its last stage, whose three bottlenecks are B0, B1, B2. The two branches own B0 and
B1 each (equal at the start), B2 serves both. A module C pools by the mean (content), S by the maximum (salience):

    (1) g  = pool(A)                                                  [W]   A: the maps [W, h, w] a module is given
    (2) y  = classifier [BN(g) ; l_1 ; … ; l_P],  l_i = BN_i(W_i pool(strip i of A))
    (3) A~ = sigmoid(W_b ReLU(W_a g)) · A                                   a gate per channel
    (4) branch 1, content → salience:  A1 = B0(X),  A2 = B1(C1(A1)~),  S1(A2)~
    (5) branch 2, salience → content:  A1 = B0'(X), A2 = B1'(S2(A1)~), C2(A2)~
    (6) f  = maximum of B2(S1~ + C2~),  y_f = classifier BN(f)
    (7) L  = Σ identity(y) + Σ triplet(g), over C1, S1, S2, C2 and f; the triplets from a later epoch on

At test f is compared, ahead of its batch norm; the heads (2) serve the training. What differs from the released code
is in `quirks`. Written from a description of paper and code (the numbering is ours) and tested against numbers that the
official code produced (tests/golden/cssc).
"""

import copy
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, cast

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, field_validator, model_validator
from timm.models.resnet import Bottleneck, ResNet
from torch import Tensor, nn

from datasets.config import tune
from datasets.errors import UsageError

from . import METHODS
from .backbones import BackboneConfig
from .base import Batch, Facts, Loaded, Method, MethodConfig, Weights
from .layers import BNNeck, classifier, full_precision
from .losses import batch_hard_triplet
from .recipes import RESNET, TINY_RESNET
from .weights import load_official, sizes_of

ModuleName = Literal["c1", "s1", "s2", "c2"]
BRANCHES: tuple[tuple[ModuleName, ModuleName], ...] = (("c1", "s1"), ("s2", "c2"))
"""The modules behind B0 and B1 of either branch: (4) and (5). The letter says how a module pools."""


class CSSCWeights(Weights):
    identity: float = tune(1.0, 0.05, 5.0, log=True)
    """Cross entropy on the person, summed over the modules and f."""
    triplet: float = tune(1.0, 0.05, 5.0, log=True)
    """Batch-hard triplet, summed over the modules and f."""


class CSSCConfig(BackboneConfig):
    backbone: str = "resnet50"
    """resnet50, resnet_tiny, or another ResNet of timm whose last stage has three bottlenecks."""
    weights: CSSCWeights = CSSCWeights()  # pyright: ignore[reportIncompatibleVariableOverride] (frozen)
    smr: tuple[ModuleName, ...] = ("c1", "s1", "s2", "c2")
    """Modules in use. A branch without any is left out; without any module a plain ResNet remains."""
    refinement: bool = True
    """(3); false: A~ = A."""
    parts: NonNegativeInt = 8
    """P: horizontal strips in (2), all of the same height; rows left over below belong to none. 0: no strips."""
    part_width: PositiveInt = 256
    """Width of each l_i."""
    reduction: PositiveInt = 16
    """Width of the maps / width between W_a and W_b."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the identity target spread over all persons."""
    triplet_margin: NonNegativeFloat | None = 0.3
    """Margin of the triplet; unset (null): soft margin."""
    triplet_start: PositiveInt = 36
    """First epoch with triplets, counted from 1. The paper's is the one after the first decay of the learning rate:
    schedule.milestones[0] + 1, which is 31."""
    test_feature: Literal["before_neck", "after_neck"] = "before_neck"
    """Side of f's batch norm that is compared at test."""

    @field_validator("smr")
    @classmethod
    def _each_module_once(cls, names: tuple[ModuleName, ...]) -> tuple[ModuleName, ...]:
        if len(set(names)) < len(names):
            raise ValueError("a module is named twice: name each of c1, s1, s2, c2 once at most")
        return names

    @model_validator(mode="after")
    def _always_a_loss(self) -> Self:
        if self.weights.identity == 0 and (self.weights.triplet == 0 or self.triplet_start > 1):
            raise ValueError(
                "epochs without a loss: set method.weights.identity above 0, or method.weights.triplet with "
                "method.triplet_start=1"
            )
        if self.weights.identity == 0 and self.test_feature == "after_neck":
            raise ValueError("method.weights.identity=0 leaves no neck: set method.test_feature=before_neck")
        return self


LTCC: dict[str, Any] = RESNET | {
    "augment.erase_fill": (0.0, 0.0, 0.0),
    "sampler.kind": "distinct",
    "sampler.batch_size": 32,
    "sampler.instances": 8,
    "train.epochs": 120,
    "train.precision": "fp32",
    "optimiser.lr": 3e-4,
    "schedule.warmup_epochs": 10,
    "schedule.warmup_factor": 0.1,
    "schedule.milestones": (30, 60),
    "evaluate.flip": True,
    "evaluate.every": 5,
}
CELEB_REID = LTCC | {"sampler.instances": 4}
# Not the paper's: from random weights, small enough for two CPU cores. Maps are 4 × 2, hence the strips.
SYNTHETIC = (
    LTCC
    | TINY_RESNET
    | {
        "method.parts": 4,
        "method.part_width": 64,
        "method.triplet_start": 5,
        "sampler.batch_size": 64,
        "sampler.instances": 4,
        "train.epochs": 14,
        "optimiser.lr": 1e-3,
        "schedule.name": "cosine",
        "schedule.warmup_epochs": 2,
        "evaluate.every": 2,
    }
)


@METHODS.register("cssc")
class CSSC(Method):
    """A ResNet with a doubled last stage; either half refines content and salient semantics, one behind the other."""

    Config: ClassVar[type[MethodConfig]] = CSSCConfig
    title = "CSSC (Wang et al., ICASSP 2025)"
    recipes = {"ltcc": LTCC, "prcc": LTCC, "celeb_reid": CELEB_REID, "synthetic": SYNTHETIC, "*": LTCC}
    ablations = {
        "full": {},
        "baseline": {"method.smr": ()},
        "content": {"method.smr": ("c1",)},
        "salient": {"method.smr": ("s2",)},
        "content_to_salient": {"method.smr": ("c1", "s1")},
        "salient_to_content": {"method.smr": ("s2", "c2")},
        "no_refinement": {"method.refinement": False},
        "no_strips": {"method.parts": 0},
        "triplet_from_31": {"method.triplet_start": 31},
        "triplet_from_1": {"method.triplet_start": 1},
    }
    quirks = (
        (
            "triplets from epoch 36 on, as released",
            "the paper starts them after the first decay of the learning rate, which is epoch 31",
            "method.triplet_start",
        ),
        (
            "hardest positives and negatives by masking",
            "by reshaping: fails or mixes rows silently unless every person has equally many images in the batch",
            "(none)",
        ),
        (
            "maps with fewer rows than strips are refused in training",
            "mean pooling gives NaN logits there, maximum pooling fails",
            "image.height, method.parts",
        ),
        (
            "rows below the last whole strip are in no strip, as released",
            "the same; there are none at the paper's size",
            "method.parts",
        ),
        ("the epoch is chosen by select.rule", "best epoch on the test set, by the standard protocol", "select.rule"),
        ("identity and triplet are logged as sums over all five", "only those of f are logged", "(none)"),
        ("warm-up and weight decay are as configured", "their command-line flags are ignored", "schedule, optimiser"),
        (
            "batches follow from the seed",
            "on PRCC the loader seeds Python's random numbers with 3, whatever the seed",
            "seed",
        ),
        ("re-ranking for any dataset", "its flag is ignored on LTCC and PRCC", "evaluate.rerank"),
        (
            "a checkpoint of theirs is read without unpickling, and tells its number of identities",
            "since torch 2.6 its own loader refuses it; testing one needs the training set",
            "(none)",
        ),
    )

    config: CSSCConfig

    def __init__(self, config: CSSCConfig, facts: Facts):
        super().__init__(config, facts)
        self.backbone = config.build(facts.height, facts.width)
        trunk, width = self.backbone.trunk, self.backbone.width
        last_stage = list(cast(nn.Sequential, trunk.layer4)) if isinstance(trunk, ResNet) else []
        if [type(block) for block in last_stage] != [Bottleneck] * 3:
            raise UsageError(
                f"method.backbone={config.backbone} has no last stage of three bottlenecks, which CSSC divides: choose "
                "resnet50 or resnet_tiny."
            )
        self.names = [pair for pair in BRANCHES if set(pair) & set(config.smr)] or [BRANCHES[0]]
        self.second_branch = nn.ModuleList(copy.deepcopy(last_stage[:2]) if len(self.names) == 2 else [])  # B0', B1'
        persons = facts.persons if config.weights.identity > 0 else 0
        self.smr = nn.ModuleDict({name: SMR(name[0], width, persons, config) for name in config.smr})
        if persons:
            self.neck = BNNeck(width)
            self.classifier = classifier(width, persons, std=0.001, bias=False)

    def phase_parameters(self, phase: str) -> Iterable[tuple[str, nn.Parameter]]:
        """Both branches are backbone: `optimiser.head_lr_factor` is for what the pretrained weights do not hold."""
        for name, parameter in self.named_parameters():
            yield (f"backbone.{name}" if name.startswith("second_branch.") else name), parameter

    def embed(self, images: Tensor, cameras: Tensor | None = None, **extras: Tensor) -> Tensor:
        """[B, 3, H, W] → f [B, W]."""
        features, _ = self._collaborate(images)
        return self.neck(features) if self.config.test_feature == "after_neck" else features

    def losses(self, batch: Batch, phase: str = "model") -> dict[str, Tensor]:
        config, terms = self.config, {}
        features, mined = self._collaborate(batch.images)
        with torch.autocast(features.device.type, enabled=False):
            pooled = [full_precision(g) for _, g in mined.values()] + [full_precision(features)]
            if config.weights.identity > 0:
                logits = self._logits(mined, pooled)
                every = [F.cross_entropy(y, batch.person, label_smoothing=config.label_smoothing) for y in logits]
                terms["identity"] = torch.stack(every).sum()
            if config.weights.triplet > 0 and self.epoch >= config.triplet_start:
                every = [batch_hard_triplet(g, batch.person, config.triplet_margin) for g in pooled]
                terms["triplet"] = torch.stack(every).sum()
        return terms

    def _collaborate(self, images: Tensor) -> tuple[Tensor, dict[str, tuple[Tensor, Tensor]]]:
        """[B, 3, H, W] → f [B, W] and, by module in the order of the branches, A [B, W, h, w] and g [B, W]."""
        trunk = self.backbone.trunk
        maps = trunk.maxpool(trunk.act1(trunk.bn1(trunk.conv1(images))))
        maps = trunk.layer3(trunk.layer2(trunk.layer1(maps)))  # X
        if self.training:  # every term reaches X, but not f
            maps = self.observe(maps.flatten(1)).view_as(maps)
        mined: dict[str, tuple[Tensor, Tensor]] = {}
        ends = []
        for names, blocks in zip(self.names, (trunk.layer4[:2], self.second_branch), strict=False):
            refined = maps
            for name, block in zip(names, blocks, strict=True):  # (4), (5)
                refined = given = block(refined)
                if name in self.smr:
                    refined, g = self.smr[name](given)
                    mined[name] = given, g
            ends.append(refined)
        fused = trunk.layer4[2](sum(ends[1:], ends[0]))
        return _pool("s", fused).squeeze(2), mined  # (6)

    def _logits(self, mined: dict[str, tuple[Tensor, Tensor]], pooled: list[Tensor]) -> list[Tensor]:
        """y [B, persons] of each module, then of f; `pooled`: their features [B, W]."""
        modules = [(cast(SMR, self.smr[name]), maps) for name, (maps, _) in mined.items()]
        every = [smr.logits(full_precision(maps), g) for (smr, maps), g in zip(modules, pooled[:-1], strict=True)]
        return [*every, self.classifier(self.neck(pooled[-1]))]

    @classmethod
    def complete_from(cls, config: MethodConfig) -> int:
        config = cast(CSSCConfig, config)
        return config.triplet_start if config.weights.triplet > 0 else 1

    @classmethod
    def from_official(cls, state: Mapping[str, Tensor], config: MethodConfig, height: int, width: int) -> Loaded:
        """The number of identities and the sizes of strips and gates come from the file. Heads may be absent."""
        state = {key.removeprefix("module."): tensor for key, tensor in state.items()}  # nn.DataParallel
        hidden, pooled = sizes_of(state, "smr_c_branch1.refinement.0.weight", 2, "CSSC")  # [W / reduction, W]
        strips = [key for key in state if re.match(r"smr_c_branch1\.l_conv_list\.\d+\.0\.weight$", key)]
        sizes: dict[str, Any] = {
            "smr": CSSCConfig().smr,
            "refinement": True,
            "last_stride": 1,
            "reduction": max(1, pooled // hidden),
            "parts": len(strips),
            "part_width": sizes_of(state, strips[0], 2, "CSSC")[0] if strips else 1,
        }
        persons = sizes_of(state, "classifier.weight", 2, "CSSC")[0] if "classifier.weight" in state else 1
        facts = Facts(persons, cameras=1, clothes=1, height=height, width=width)
        method = cls(cast(CSSCConfig, config).model_copy(update=sizes), facts)
        heads = r"smr\.\w+\.(neck|strips|classifier)\.|classifier\.|.*num_batches_tracked$"
        if method.config.test_feature == "before_neck":
            heads += r"|neck\."
        ignored, absent = load_official(method, state, our_name, lambda name: re.match(heads, name) is not None)
        return Loaded(method, ignored, absent)


class SMR(nn.Module):
    """Semantics mining and refinement: (1) to (3) for one module."""

    def __init__(self, kind: str, width: int, persons: int, config: CSSCConfig):
        """`kind`: "c" pools by the mean, "s" by the maximum. `persons` 0: no heads."""
        super().__init__()
        self.kind = kind
        if config.refinement:
            hidden = max(1, width // config.reduction)
            self.gate = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width), nn.Sigmoid())
        self.has_gate = config.refinement
        self.strips = nn.ModuleList()
        if persons:
            self.neck = BNNeck(width)
            for _ in range(config.parts):
                part = nn.Linear(width, config.part_width, bias=False)  # W_i, from PyTorch's default
                self.strips.append(nn.Sequential(part, nn.BatchNorm1d(config.part_width)))
            self.classifier = classifier(width + config.parts * config.part_width, persons, std=0.001, bias=False)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """A [B, W, h, w] → A~ and g [B, W]."""
        g = _pool(self.kind, maps).squeeze(2)  # (1)
        return (self.gate(g)[:, :, None, None] * maps if self.has_gate else maps), g  # (3)

    def logits(self, maps: Tensor, g: Tensor) -> Tensor:
        """(2): A [B, W, h, w], g [B, W] → y [B, persons]. Raises UsageError for maps with fewer rows than strips."""
        mined, parts = [self.neck(g)], len(self.strips)
        if parts > maps.shape[2]:
            raise UsageError(
                f"Feature maps of {maps.shape[2]} rows cannot be cut into method.parts={parts} strips: raise "
                f"image.height, or set method.parts={maps.shape[2]} or fewer."
            )
        if parts:
            strips = _pool(self.kind, maps, parts).unbind(2)
            mined += [local(strip) for local, strip in zip(self.strips, strips, strict=True)]
        return self.classifier(torch.cat(mined, dim=1))


def _pool(kind: str, maps: Tensor, strips: int = 1) -> Tensor:
    """[B, W, h, w] → [B, W, strips], over h // strips rows each. Not torch's adaptive pooling, which on a GPU sums
    gradients in an order of its own; the maximum shares its gradient among equals, and behind a ReLU those are zeros.
    """
    rows = maps.shape[2] // strips * strips
    cells = maps[:, :, :rows].unflatten(2, (strips, -1)).flatten(3)  # [B, W, strips, cells]
    return cells.mean(3) if kind == "c" else cells.amax(3)


OFFICIAL_NAMES = (
    ("backbone_before_layer4.0.", "backbone.trunk.conv1."),
    ("backbone_before_layer4.1.", "backbone.trunk.bn1."),
    ("backbone_before_layer4.4.", "backbone.trunk.layer1."),
    ("backbone_before_layer4.5.", "backbone.trunk.layer2."),
    ("backbone_before_layer4.6.", "backbone.trunk.layer3."),
    ("backbone_layer41_branch1.", "backbone.trunk.layer4.0."),
    ("backbone_layer42_branch1.", "backbone.trunk.layer4.1."),
    ("backbone_layer43.", "backbone.trunk.layer4.2."),
    ("backbone_layer41_branch2.", "second_branch.0."),
    ("backbone_layer42_branch2.", "second_branch.1."),
    ("smr_c_branch1.", "smr.c1."),
    ("smr_s_branch1.", "smr.s1."),
    ("smr_s_branch2.", "smr.s2."),
    ("smr_c_branch2.", "smr.c2."),
    ("bottleneck.", "neck."),
    ("l_conv_list.", "strips."),
    ("refinement.", "gate."),
)
"""Parts of the names in the authors' checkpoints → ours."""


def our_name(official: str) -> str:
    """Name of a tensor in the authors' checkpoint → its name here."""
    for theirs, ours in OFFICIAL_NAMES:
        official = official.replace(theirs, ours)
    return official
