"""FIRe²: clusters inside each identity as classes to tell apart, and as styles to exchange (Wang et al., TIFS 2024).

Paper: Qizao Wang, Xuelin Qian, Bin Li, Xiangyang Xue, Yanwei Fu, "Exploring Fine-Grained Representation and
Recomposition for Cloth-Changing Person Re-Identification", IEEE TIFS 2024, arXiv 2308.10692. Official code:
QizaoWang/FIRe-CCReID, commit 00ffdec. No clothes labels, masks or captions: the clusters stand for what a person wears
and how he is seen.

F = g(I) is the last map of a ResNet, f = BN([max F ; mean F]), y the person, E0 the epochs of identity alone. Before
each later epoch the features of all training images are clustered identity by identity: DBSCAN on the Jaccard distance
of k-reciprocal neighbourhoods. z is an image's cluster, Z_y the clusters of its person, c_k a learned centre, at first
the cluster's mean feature; then (numbering ours)

    (1) identity       cross entropy of W f on y
    (2) triplet        batch-hard with margin on f, behind the batch norm
    (3) mining         -Σ_k q_k log softmax(s cos(f, c))_k,  q_k = (1 - ε) [k = z] + ε [k ∈ Z_y] / |Z_y|     (FFM)
    (4) F'             per horizontal half of F: σ_j (F - μ) / σ + μ_j, with the μ and σ of another image j, z_j ≠ z
    (5) recomposition  cross entropy of W' BN'([max F' ; mean F']) on y, times 0.3                           (FAR)

(1) alone until E0, all of them after. f is compared at test. What differs from the released code is in `quirks`.
Written from a description of the code and tested against numbers that it produced (tests/golden/fire).
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, cast

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator
from torch import Tensor, nn

from datasets.config import tune
from datasets.errors import UsageError

from . import METHODS
from .backbones import BackboneConfig
from .base import Batch, Facts, Loaded, Method, MethodConfig, TrainingSet, Weights
from .fire_clusters import ClusterConfig, cluster_identities
from .layers import BNNeck, classifier, full_precision, pool_max_avg
from .losses import batch_hard_triplet
from .recipes import RESNET, TINY_RESNET
from .weights import load_official, sizes_of


class FIReWeights(Weights):
    identity: float = tune(1.0, 0.05, 5.0, log=True)
    """Cross entropy on the person."""
    triplet: float = tune(1.0, 0.05, 5.0, log=True)
    """Batch-hard triplet, after E0."""
    mining: float = tune(1.0, 0.05, 5.0, log=True)
    """FFM: cross entropy on the clusters, after E0."""
    recomposition: float = tune(0.3, 0.05, 5.0, log=True)
    """FAR: cross entropy on the person from maps in another image's style, after E0."""


class FIReConfig(BackboneConfig, ClusterConfig):
    weights: FIReWeights = FIReWeights()  # pyright: ignore[reportIncompatibleVariableOverride] (frozen)
    identity_epochs: NonNegativeInt = 25
    """E0: epochs of the identity term alone, before there are clusters."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the identity targets, (1) and (5), spread over all persons."""
    triplet_margin: NonNegativeFloat | None = 0.3
    """Margin of the triplet; unset (null): soft margin."""
    learned_centres: bool = True
    """false: the centres stay the clusters' means."""
    fresh_optimiser: bool = True
    """Whether the optimiser forgets its momenta before each epoch after E0; learned centres are new and ask for it."""
    scale: Annotated[float, Field(gt=0)] = tune(16.0, 4.0, 64.0, log=True)
    """s."""
    cluster_smoothing: Annotated[float, Field(ge=0, lt=1)] = tune(0.1, 0.0, 0.5)
    """ε: share of the target that goes to all clusters of the person."""
    parts: PositiveInt = 2
    """Horizontal stripes of the map, each with a style of its own; rows beyond whole stripes are left out."""

    @model_validator(mode="after")
    def _optimiser_may_go_on(self) -> "FIReConfig":
        if self.learned_centres and self.weights.mining > 0 and not self.fresh_optimiser:
            raise ValueError(
                "learned centres are new parameters each epoch, which method.fresh_optimiser=false has no place for: "
                "set method.learned_centres=false as well"
            )
        return self

    @model_validator(mode="after")
    def _a_loss_from_the_start(self) -> "FIReConfig":
        if self.weights.identity == 0 and self.identity_epochs:
            raise ValueError(
                "method.weights.identity=0 leaves the first epochs without a loss: set method.identity_epochs=0"
            )
        return self


# --- the two modules ---


def cosines(features: Tensor, centres: Tensor) -> Tensor:
    """[B, W], [C, W] → [B, C]."""
    return F.normalize(features, dim=1) @ F.normalize(centres, dim=1).T


def mining_loss(cosine: Tensor, label: Tensor, siblings: Tensor, scale: float, smoothing: float) -> Tensor:
    """(3): `cosine` [B, C] of features and centres, `label` [B], `siblings` [B, C] bool (k ∈ Z_y) → mean over B.

    The softmax is over all clusters, those of the same person too.
    """
    own, siblings = F.one_hot(label, cosine.shape[1]).to(cosine.dtype), siblings.to(cosine.dtype)
    target = (1 - smoothing) * own + smoothing * siblings / siblings.sum(dim=1, keepdim=True)
    return F.cross_entropy(scale * cosine, target)


def draw_partners(label: Tensor, parts: int) -> Tensor | None:
    """[parts, B]: for each stripe of each image another image of the batch, drawn among those of other clusters.

    None where the batch shows one cluster only. The draws come from torch's global generator, on the CPU.
    """
    other = (label[:, None] != label[None, :]).cpu().float()  # [B, B]
    if not other.any():
        return None
    return torch.stack([torch.multinomial(other, 1).squeeze(1) for _ in range(parts)]).to(label.device)


def recompose(maps: Tensor, partners: Tensor) -> Tensor:
    """(4): `maps` [B, C, h, w] and `partners` [P, B] → F' [B, C, P ⌊h/P⌋, w]. No gradient flows through μ and σ."""
    rows = maps.shape[2] // len(partners)
    parts = []
    for part, partner in zip(maps.split(rows, dim=2), partners, strict=False):
        mean = part.detach().mean(dim=(2, 3), keepdim=True)  # μ [B, C, 1, 1]
        deviation = (part.detach().var(dim=(2, 3), keepdim=True) + 1e-6).sqrt()  # σ
        parts.append((part - mean) / deviation * deviation[partner] + mean[partner])
    return torch.cat(parts, dim=2)


OFFICIAL_NAMES = {
    "backbone.0.": "backbone.trunk.conv1.",
    "backbone.1.": "backbone.trunk.bn1.",
    "backbone.4.": "backbone.trunk.layer1.",
    "backbone.5.": "backbone.trunk.layer2.",
    "backbone.6.": "backbone.trunk.layer3.",
    "backbone.7.": "backbone.trunk.layer4.",
    "bottleneck.": "neck.",
    "FAR_bottleneck.": "recomposed_neck.",
    "FAR_classifier.": "recomposed_classifier.",
}


def our_name(official: str) -> str:
    """Name of a tensor in the authors' checkpoint → its name here."""
    for theirs, ours in OFFICIAL_NAMES.items():
        if official.startswith(theirs):
            return ours + official.removeprefix(theirs)
    return official


# The table of the repository's README, and what its arguments say for all datasets.
COMMON: dict[str, Any] = RESNET | {
    "augment.erase_fill": (0.0, 0.0, 0.0),
    "sampler.kind": "distinct",
    "schedule.warmup_epochs": 10,
    "schedule.warmup_factor": 0.01,
    "schedule.milestones": (20, 40, 60),
    "evaluate.flip": True,
    "evaluate.every": 5,
}


def _recipe(identity_epochs: int, epochs: int, batch_size: int, instances: int) -> dict[str, Any]:
    return COMMON | {
        "method.identity_epochs": identity_epochs,
        "train.epochs": epochs,
        "sampler.batch_size": batch_size,
        "sampler.instances": instances,
    }


LTCC = _recipe(25, 80, 32, 8)
# Small enough for two CPU cores, from random weights.
SYNTHETIC = (
    _recipe(5, 15, 32, 8)
    | TINY_RESNET
    | {
        "method.weights.triplet": 0.1,
        "augment.erase": 0.0,
        "optimiser.lr": 2e-3,
        "schedule.name": "cosine",
        "schedule.warmup_epochs": 2,
        "schedule.warmup_factor": 0.1,
        "evaluate.every": 1,
    }
)


@METHODS.register("fire")
class FIRe(Method):
    """ResNet with maximum and mean pooling; identity, triplet, clusters as classes, maps in other images' styles."""

    Config: ClassVar[type[MethodConfig]] = FIReConfig
    title = "FIRe² (Wang et al., TIFS 2024)"
    recipes = {
        "ltcc": LTCC,
        "celeb_reid": _recipe(25, 80, 32, 4),
        "prcc": _recipe(25, 30, 32, 8),
        "deepchange": _recipe(45, 80, 64, 8),
        "last": _recipe(45, 80, 64, 4),
        "synthetic": SYNTHETIC,
        "*": LTCC,
    }
    ablations = {
        "full": {},
        "baseline": {"method.weights.mining": 0.0, "method.weights.recomposition": 0.0},
        "ffm": {"method.weights.recomposition": 0.0},
        "far": {"method.weights.mining": 0.0},
        "eps_0.5": {"method.eps": 0.5},
        "eps_0.6": {"method.eps": 0.6},
        "kept_optimiser": {"method.learned_centres": False, "method.fresh_optimiser": False},
    }
    quirks = (
        (
            "an identity of fewer than 20 images has lists as long as it has images",
            "faiss pads the lists with -1, which stands for the last image: distances are wrong there, the one to "
            "oneself too (0.49 among three images)",
            "(none)",
        ),
        (
            "lists of 20 neighbours count the image itself, as released",
            "k-reciprocal encoding's own 20 do not",
            "method.neighbours=21",
        ),
        (
            "the optimiser starts afresh before each epoch after E0, as released; checkpoints hold the one in use",
            "checkpoints and the printed rate are those of the optimiser that E0 ended with",
            "method.fresh_optimiser, method.learned_centres",
        ),
        ("a batch that shows one cluster has no recomposition", "raises", "(none)"),
        ("mining in float32", "the same softmax, summed in float64", "(none)"),
        (
            "batch norm and recomposition see the batch of a process",
            "the recipes for PRCC, DeepChange and LaST split the batch over two GPUs, each with its own statistics and "
            "partners",
            "sampler.batch_size under torchrun",
        ),
        (
            "hardest positives and negatives by masking",
            "by reshaping: the same while everybody has K images in the batch, which its sampler sees to",
            "sampler.kind",
        ),
        ("what remains of an odd number of rows is left out of recomposition, as released", "the same", "method.parts"),
        ("batches follow the seed", "on PRCC the dataset's class seeds Python's generator with 3", "seed"),
        (
            "the epoch is chosen by select.rule",
            "best epoch on the test set, in the standard or same-clothes setting; the maxima of rank-1 and mAP printed "
            "beside it may be of different epochs",
            "select.rule",
        ),
    )
    idle_parameters = True  # the second head until E0

    config: FIReConfig
    centres: nn.Parameter | None
    """[C, W] c of (3), from E0 on; of one epoch, so that neither weights nor their files know it."""

    def __init__(self, config: FIReConfig, facts: Facts):
        super().__init__(config, facts)
        self.backbone = config.build(facts.height, facts.width)  # g
        if self.backbone.takes_tokens:
            raise UsageError(
                f"method.backbone={config.backbone} has no feature maps that FIRe could pool: choose a ResNet."
            )
        width = 2 * self.backbone.width
        self.neck = BNNeck(width)
        self.classifier = classifier(width, facts.persons, std=0.001, bias=False)  # W
        if config.weights.recomposition > 0:
            self.recomposed_neck = BNNeck(width)
            self.recomposed_classifier = classifier(width, facts.persons, std=0.001, bias=False)  # W'
        self.register_parameter("centres", None)
        self.register_state_dict_post_hook(_leave_out_centres)
        self.register_load_state_dict_post_hook(_need_no_centres)

    @classmethod
    def complete_from(cls, config: MethodConfig) -> int:
        config = cast(FIReConfig, config)
        clusters = config.weights.mining > 0 or config.weights.recomposition > 0
        return 1 + config.identity_epochs if clusters else 1

    @classmethod
    def from_official(cls, state: Mapping[str, Tensor], config: MethodConfig, height: int, width: int) -> Loaded:
        """W is not in the file; W' tells how many persons it knew. Theirs is a ResNet-50 with last stride 1."""
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}  # nn.DataParallel
        persons = sizes_of(state, "FAR_classifier.weight", 2, "FIRe")[0]
        method = cls(cast(FIReConfig, config), Facts(persons, cameras=0, clothes=1, height=height, width=width))
        heads = ("classifier.", "recomposed_")
        ignored, absent = load_official(
            method, state, our_name, lambda name: name.startswith(heads) or name.endswith("num_batches_tracked")
        )
        return Loaded(method, ignored, absent)

    # --- clusters, once an epoch ---

    def on_epoch(self, epoch: int, training: TrainingSet) -> bool:
        config, weights = self.config, self.config.weights
        if epoch <= config.identity_epochs:
            return False
        if weights.mining > 0 or weights.recomposition > 0:
            found = cluster_identities(training.embed(), training.person, config)
            memory = {"label": found.label, "person": found.person}
            self.restore(memory | ({"centres": found.centre} if weights.mining > 0 else {}))
        return config.fresh_optimiser

    def restore(self, memory: Mapping[str, Tensor]) -> None:
        device = self.classifier.weight.device
        self.memory = {name: tensor.to(device) for name, tensor in memory.items()}
        if "centres" in self.memory:
            self.centres = nn.Parameter(self.memory["centres"].clone(), requires_grad=self.config.learned_centres)
            # The same storage, which optimisers write into: a checkpoint in mid-epoch holds the centres of its step.
            self.memory["centres"] = self.centres.detach()

    # --- the contract ---

    def embed(self, images: Tensor, cameras: Tensor | None = None, **extras: Tensor) -> Tensor:
        """[B, 3, H, W] → f [B, W]."""
        return self.neck(pool_max_avg(self.backbone.feature_maps(images)))

    def losses(self, batch: Batch, phase: str = "model") -> dict[str, Tensor]:
        maps = self.backbone.feature_maps(batch.images)
        if self.config.weights.recomposition > 0:
            self._require_styles(maps)
        maps = self.observe(maps.flatten(1)).view_as(maps)  # what all terms have in common
        with torch.autocast(maps.device.type, enabled=False):
            return self._terms(full_precision(maps), batch)

    def _terms(self, maps: Tensor, batch: Batch) -> dict[str, Tensor]:
        """F [B, C, h, w] → the terms of this epoch."""
        config, weights, terms = self.config, self.config.weights, {}
        features = self.neck(pool_max_avg(maps))  # f [B, W]
        if weights.identity > 0:
            terms["identity"] = self._identity(self.classifier(features), batch.person)  # (1)
        if self.epoch <= config.identity_epochs:
            return terms
        if weights.triplet > 0:
            terms["triplet"] = batch_hard_triplet(features, batch.person, config.triplet_margin)  # (2)
        if weights.mining > 0:
            assert self.centres is not None  # noqa: S101 - made before the epoch
            cosine = cosines(features, self.centres)
            siblings = self.memory["person"] == batch.person[:, None]
            label = self.memory["label"][batch.index]
            terms["mining"] = mining_loss(cosine, label, siblings, config.scale, config.cluster_smoothing)  # (3)
        if weights.recomposition > 0:
            partners = draw_partners(self.memory["label"][batch.index], config.parts)
            terms["recomposition"] = self._recomposition(maps, partners, batch.person)
        return terms

    def _recomposition(self, maps: Tensor, partners: Tensor | None, person: Tensor) -> Tensor:
        """(5); 0 where there are no partners."""
        if partners is None:
            return 0.0 * maps.sum()
        logits = self.recomposed_classifier(self.recomposed_neck(pool_max_avg(recompose(maps, partners))))
        return self._identity(logits, person)

    def _identity(self, logits: Tensor, person: Tensor) -> Tensor:
        return F.cross_entropy(logits, person, label_smoothing=self.config.label_smoothing)

    def _require_styles(self, maps: Tensor) -> None:
        """Raise UsageError, in the first epoch already, where a stripe has no variance."""
        parts, (height, width) = self.config.parts, maps.shape[2:]
        if height // parts * width < 2:
            raise UsageError(
                f"The map of {height} × {width} cells leaves no style to {parts} stripes: raise image.height, lower "
                "method.parts, or set method.weights.recomposition=0."
            )


def _leave_out_centres(module: nn.Module, state: dict[str, Any], prefix: str, metadata: dict[str, Any]) -> None:
    state.pop(f"{prefix}centres", None)


def _need_no_centres(module: nn.Module, incompatible: Any) -> None:
    incompatible.missing_keys[:] = [name for name in incompatible.missing_keys if name != "centres"]
