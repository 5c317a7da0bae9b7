"""FIRe's clusters: what one person wears and how he is seen, found from features alone, identity by identity."""

from typing import Annotated, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor

from datasets.config import Strict, tune

from .k_reciprocal import encode, jaccard


class ClusterConfig(Strict):
    eps: Annotated[float, Field(gt=0, le=1)] = tune(0.4, 0.2, 0.8)
    """DBSCAN: largest Jaccard distance of two neighbours. The authors suggest more for LTCC and DeepChange."""
    min_samples: PositiveInt = 1
    """DBSCAN: neighbours, itself included, that make an image the core of a cluster; what joins none is one itself."""
    neighbours: PositiveInt = 20
    """k1: length of the lists of neighbours, the image itself included; at most the images of the identity."""
    average: PositiveInt = 6
    """k2: nearest images, itself included, over which a neighbourhood's weights are averaged."""


class Clusters(NamedTuple):
    """N images, C clusters, W feature width; on the CPU."""

    label: Tensor
    """[N] int64, 0 … C-1: the cluster of each image."""
    person: Tensor
    """[C] int64: the identity that each cluster is of."""
    centre: Tensor
    """[C, W] mean of the cluster's features, each of unit length."""


def cluster(features: Tensor, config: ClusterConfig) -> Tensor:
    """[n] labels 0, 1, … for the images of one identity, from their `features` [n, W] of unit length."""
    from sklearn.cluster import DBSCAN

    half = round(config.neighbours / 2) + 1
    vectors = encode(features, neighbours=config.neighbours, half=half, average=config.average, scaled=False).vectors
    search = DBSCAN(eps=config.eps, min_samples=config.min_samples, metric="precomputed")
    label = torch.from_numpy(search.fit_predict(jaccard(vectors, vectors.tocsc()))).long()
    alone = label < 0
    label[alone] = label.max() + 1 + torch.arange(int(alone.sum()))
    return label


def cluster_identities(features: Tensor, person: Tensor, config: ClusterConfig) -> Clusters:
    """`features` [N, W] of all training images, `person` [N] → clusters, numbered identity by identity."""
    features = F.normalize(features.cpu(), dim=1)
    label, persons, centres, number = torch.empty_like(person), [], [], 0
    for rows in person.argsort(stable=True).split(torch.bincount(person).tolist()):
        if not len(rows):
            continue
        own = cluster(features[rows], config)
        count = torch.bincount(own)
        centres.append(torch.zeros(len(count), features.shape[1]).index_add_(0, own, features[rows]) / count[:, None])
        persons.append(person[rows[0]].expand(len(count)))
        label[rows] = own + number
        number += len(count)
    return Clusters(label, torch.cat(persons), torch.cat(centres))
