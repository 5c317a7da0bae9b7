"""From features to rankings: every image is embedded once, every pair of splits is compared once."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from datasets.base import IntArray, Pool, Protocol
from datasets.clips import ClipConfig

from .pooling import pooled
from .ranking import Features, Ranking, rank
from .spec import EvaluateConfig
from .splits import Splits

Embed = Callable[[str, IntArray], Tensor]
"""(one of the dataset's own splits, ascending rows of it [n]) → their features [n, D]."""


def score(
    splits: Splits, protocols: Sequence[Protocol], embed: Embed, config: EvaluateConfig, clips: ClipConfig
) -> list[Ranking]:
    """One ranking per protocol."""
    return compare(embed_splits(splits, protocols, embed), protocols, config, clips)


def embed_splits(splits: Splits, protocols: Sequence[Protocol], embed: Embed) -> dict[str, Features]:
    """Features of each split that `protocols` name, with its labels.

    Splits that overlap, or that are made of others, share the features of their images.
    """
    names = dict.fromkeys(name for protocol in protocols for name in (protocol.query, protocol.gallery))
    parts = {name: splits.parts(name) for name in names}
    wanted: dict[str, list[IntArray]] = {}
    for of_split in parts.values():
        for own, (_, rows) in of_split.items():
            wanted.setdefault(own, []).append(rows)
    rows_of = {own: np.unique(np.concatenate(rows)) for own, rows in wanted.items()}
    embedded = {own: embed(own, rows) for own, rows in rows_of.items()}
    found = {}
    for name, of_split in parts.items():
        samples = splits.samples(name)
        first = next(iter(embedded.values()))
        embeddings = torch.empty(len(samples), first.shape[1], device=first.device)
        for own, (places, rows) in of_split.items():
            chosen = torch.from_numpy(np.searchsorted(rows_of[own], rows))
            embeddings[torch.from_numpy(places)] = embedded[own][chosen.to(first.device)]
        found[name] = Features(embeddings, samples.person, samples.camera, samples.clothes, samples.tracklet)
    return found


def compare(
    features: dict[str, Features], protocols: Sequence[Protocol], config: EvaluateConfig, clips: ClipConfig
) -> list[Ranking]:
    """One ranking per protocol, from the features of the splits that they name."""
    pools: dict[tuple[str, Pool | None], Features] = {}

    def pool(name: str, kind: Pool | None) -> Features:
        if (name, kind) not in pools:
            pools[name, kind] = pooled(features[name], kind, clips) if kind else features[name]
        return pools[name, kind]

    alike: dict[tuple[str, str, str | None], list[Protocol]] = {}
    for protocol in protocols:
        alike.setdefault((protocol.query, protocol.gallery, protocol.pool), []).append(protocol)
    rankings: dict[str, Ranking] = {}
    for together in alike.values():
        rankings |= rank(
            pool(together[0].query, together[0].pool),
            pool(together[0].gallery, together[0].pool),
            together,
            metric=config.metric,
            normalise=config.normalise,
            rerank=config.rerank,
        )
    return [rankings[protocol.name] for protocol in protocols]
