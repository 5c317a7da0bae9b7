"""Losses that two or more methods share: pure functions of features and labels.

Shapes: B images, W feature width, D text width. Every function returns a scalar, the mean over the batch.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from datasets.errors import UsageError


def euclidean_distances(a: Tensor, b: Tensor) -> Tensor:
    """[B, W], [C, W] → [B, C]; the square is kept above 1e-12 so that the root has a gradient at zero."""
    squared = a.pow(2).sum(1, keepdim=True) + b.pow(2).sum(1) - 2 * a @ b.T
    return squared.clamp(min=1e-12).sqrt()


def hardest_distances(distances: Tensor, person: Tensor) -> tuple[Tensor, Tensor]:
    """Per anchor the farthest image of its person and the nearest image of another person.

    `distances` [B, B], `person` [B] → ([B], [B]). The anchor itself counts as a positive, so the first is never empty;
    the second is infinite for a batch of one person.
    """
    same = person[:, None] == person[None, :]  # [B, B]
    positive = distances.masked_fill(~same, -torch.inf).max(dim=1).values
    negative = distances.masked_fill(same, torch.inf).min(dim=1).values
    return positive, negative


def reshaped_hardest_distances(distances: Tensor, person: Tensor) -> tuple[Tensor, Tensor]:
    """What much released re-ID code computes instead of `hardest_distances`: all positives, cut into B equal rows.

    The same while every person has equally many images in the batch. Otherwise rows mix the distances of several
    anchors. Raises UsageError where the positives do not divide into B rows, or the batch holds one person.
    """
    same = person[:, None] == person[None, :]
    anchors = len(person)
    if same.sum() % anchors or same.all():
        raise UsageError(
            "The released triplet loss cannot reshape a batch with such unequal numbers of images per person: "
            "set method.released_code=false, which masks instead of reshaping."
        )
    positive = distances[same].view(anchors, -1).max(dim=1).values
    negative = distances[~same].view(anchors, -1).min(dim=1).values
    return positive, negative


def batch_hard_triplet(
    features: Tensor, person: Tensor, margin: float | None = None, *, reshaped: bool = False
) -> Tensor:
    """Triplet loss with the hardest positive and negative of the batch (Hermans et al. 2017, arXiv 1703.07737).

    `features` [B, W], not normalised here. With a margin the mean of max(0, d_ap - d_an + margin), without one its soft
    form log(1 + exp(d_ap - d_an)). A batch of one person gives 0. `reshaped`: see `reshaped_hardest_distances`.
    """
    mine = reshaped_hardest_distances if reshaped else hardest_distances
    positive, negative = mine(euclidean_distances(features, features), person)
    if margin is None:
        return F.softplus(positive - negative).mean()
    return F.relu(positive - negative + margin).mean()


def image_text_contrastive(
    image: Tensor, text: Tensor, temperature: float = 1.0, person: Tensor | None = None
) -> Tensor:
    """InfoNCE from image to text over the batch: cross entropy of cosine similarities / temperature.

    `image`, `text` [B, D]. The positive of image i is text i alone; with `person` [B] it is the uniform distribution
    over the texts of its person. Not symmetric: no text-to-image term.
    """
    similarity = F.normalize(image, dim=-1) @ F.normalize(text.to(image.dtype), dim=-1).T / temperature  # [B, B]
    if person is None:
        return F.cross_entropy(similarity, torch.arange(len(image), device=image.device))
    same = (person[:, None] == person[None, :]).to(similarity.dtype)
    return F.cross_entropy(similarity, same / same.sum(dim=1, keepdim=True))


def supervised_contrastive(features: Tensor, person: Tensor, temperature: float) -> Tensor:
    """Supervised contrastive loss (Khosla et al., NeurIPS 2020, arXiv 2004.11362, equation 2).

    `features` [B, W], not normalised here. An image's positives are the others of its person; the denominator holds all
    other images of the batch. The mean is over the anchors that have a positive, 0 where none has.
    """
    similarity = features @ features.T / temperature  # [B, B]
    others = without_self(torch.ones_like(similarity, dtype=torch.bool))
    everyone = similarity.masked_fill(~others, -torch.inf).logsumexp(dim=1, keepdim=True)
    return mean_over_positives(everyone - similarity, without_self(person[:, None] == person[None, :]))


def mean_over_positives(terms: Tensor, positive: Tensor) -> Tensor:
    """[B, B] → scalar: the mean over each anchor's positives, then over the anchors that have any, 0 where none has."""
    positives = positive.sum(dim=1)
    of_anchors = terms.masked_fill(~positive, 0.0).sum(dim=1) / positives.clamp(min=1)
    return of_anchors.sum() / (positives > 0).sum().clamp(min=1)


def without_self(pairs: Tensor) -> Tensor:
    """[B, B] bool, with the diagonal switched off."""
    return pairs & ~torch.eye(len(pairs), dtype=torch.bool, device=pairs.device)
