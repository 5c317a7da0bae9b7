"""Losses on cosines: of images with classes, and of images with each other over the batches of all processes.

Shapes: B images here, G images in all processes, C classes, W feature width. s is the scale, m the margin. Every
function returns a scalar, the mean over the B images.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .layers import gathered

# --- images and classes: `cosine` [B, C], `label` [B] ---


def cosface(cosine: Tensor, label: Tensor, scale: float = 16.0, margin: float = 0.0) -> Tensor:
    """Cross entropy of s (cos - m [own class]) (Wang et al., CVPR 2018, arXiv 1801.09414)."""
    return F.cross_entropy(scale * (cosine - margin * _own(cosine, label)), label)


def arcface(cosine: Tensor, label: Tensor, scale: float = 16.0, margin: float = 0.1) -> Tensor:
    """Cross entropy of s cos(θ + m [own class]) (Deng et al., CVPR 2019, arXiv 1801.07698).

    cos(θ + m) = cos θ cos m - sin θ sin m; beyond θ = π - m, where it would rise again, cos θ - m sin m instead.
    """
    sine = (1 - cosine.pow(2)).clamp(min=1e-12).sqrt()
    turned = cosine * math.cos(margin) - sine * math.sin(margin)
    turned = torch.where(cosine > -math.cos(margin), turned, cosine - margin * math.sin(margin))
    return F.cross_entropy(scale * torch.where(_own(cosine, label).bool(), turned, cosine), label)


def circle(cosine: Tensor, label: Tensor, scale: float = 16.0, margin: float = 0.25) -> Tensor:
    """Cross entropy of s α_p (cos - (1 - m)) for the own class and s α_n (cos - m) for others (Sun et al., CVPR 2020,
    arXiv 2002.10857), with α_p = max(0, 1 + m - cos) and α_n = max(0, cos + m), through which no gradient flows.
    """
    positive, negative = _circle(cosine, scale, margin)
    return F.cross_entropy(torch.where(_own(cosine, label).bool(), positive, negative), label)


def _own(cosine: Tensor, label: Tensor) -> Tensor:
    """[B, C] 1 at each image's own class."""
    return F.one_hot(label, cosine.shape[1]).to(cosine.dtype)


def _circle(cosine: Tensor, scale: float, margin: float) -> tuple[Tensor, Tensor]:
    """Scaled logits of the circle loss where a pair is positive, and where it is negative."""
    to_positive, to_negative = F.relu(1 + margin - cosine.detach()), F.relu(cosine.detach() + margin)
    return scale * to_positive * (cosine - (1 - margin)), scale * to_negative * (cosine - margin)


# --- images and images: `features` [B, W], `person` [B] ---


@dataclass(frozen=True)
class Pairs:
    """Each image here against all images of all processes."""

    cosine: Tensor
    """[B, G]"""
    same: Tensor
    """[B, G] bool: of one person, the image itself included."""
    itself: Tensor
    """[B, G] bool."""

    @property
    def positive(self) -> Tensor:
        """[B, G] bool: another image of the person."""
        return self.same & ~self.itself


def pairs(features: Tensor, person: Tensor) -> Pairs:
    features = F.normalize(features, dim=1)
    gallery, start = gathered(features)
    persons, _ = gathered(person)
    own = torch.arange(len(person), device=person.device) + start
    itself = own[:, None] == torch.arange(len(persons), device=person.device)
    return Pairs(features @ gallery.T, person[:, None] == persons, itself)


def cosine_triplet(features: Tensor, person: Tensor, margin: float = 0.3, scale: float = 1.0) -> Tensor:
    """Batch-hard triplet (Hermans et al. 2017, arXiv 1703.07737) on d = 1 - cos: mean of max(0, d_ap - d_an + m).

    The image itself counts as a positive. `scale` is not used: the arguments are those of the other pair losses.
    A batch of one person gives 0.
    """
    found = pairs(features, person)
    distance = 1 - found.cosine
    positive = distance.masked_fill(~found.same, -torch.inf).amax(dim=1)
    negative = distance.masked_fill(found.same, torch.inf).amin(dim=1)
    return F.relu(positive - negative + margin).mean()


def contrastive(features: Tensor, person: Tensor, margin: float = 0.0, scale: float = 16.0) -> Tensor:
    """Mean over the positives p of -log(e^{s cos_p} / (e^{s cos_p} + Σ over negatives e^{s cos_n})).

    Other positives are not in the denominator. `margin` is not used. An image without another of its person gives 0.
    """
    found = pairs(features, person)
    logits = scale * found.cosine
    negative = logits.masked_fill(found.same, torch.finfo(logits.dtype).min).logsumexp(dim=1, keepdim=True)
    log_probability = F.logsigmoid(logits - negative)
    positives = found.positive.sum(dim=1)
    return -(log_probability.masked_fill(~found.positive, 0.0).sum(dim=1) / positives.clamp(min=1)).mean()


def pairwise_cosface(features: Tensor, person: Tensor, margin: float = 0.25, scale: float = 16.0) -> Tensor:
    """Mean of log(1 + Σ_p e^{-s cos_p} Σ_n e^{s (cos_n + m)}) over positives p and negatives n."""
    found = pairs(features, person)
    return _unified(-scale * found.cosine, scale * (found.cosine + margin), found)


def pairwise_circle(features: Tensor, person: Tensor, margin: float = 0.35, scale: float = 48.0) -> Tensor:
    """Mean of log(1 + Σ_p e^{-s α_p (cos_p - (1 - m))} Σ_n e^{s α_n (cos_n - m)}) (Sun et al., CVPR 2020)."""
    found = pairs(features, person)
    positive, negative = _circle(found.cosine, scale, margin)
    return _unified(-positive, negative, found)


def _unified(positive: Tensor, negative: Tensor, found: Pairs) -> Tensor:
    """log(1 + Σ_p e^{positive_p} Σ_n e^{negative_n}): [B, G] logits of either kind → mean over the B images."""
    lowest = torch.finfo(positive.dtype).min / 4  # finite, so that an image without a pair of one kind gives 0
    positive = positive.masked_fill(~found.positive, lowest).logsumexp(dim=1)
    negative = negative.masked_fill(found.same, lowest).logsumexp(dim=1)
    return F.softplus(positive + negative).mean()
