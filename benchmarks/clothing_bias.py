"""How much of the clothes is in the features, and in the mistakes: linear probes, and what wrong matches wear.

Of each run, from the features of its headline's weights on the test images:

    identity_same_outfit, identity_other_outfit     who is it, asked in the outfit that was learnt, and in another
    clothes                                         which of a person's outfits
    camera                                          which camera
    similar_clothes                                 wrong rank-1 matches that are dressed like the query

The features of a method that has left clothes behind recognise a person equally well in either outfit, tell outfits and
cameras no better than chance, and its mistakes are dressed like anybody. See probes.py and clothing_colours.py.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from datasets.base import IntArray, Samples
from datasets.errors import CCReIDError, DataError
from datasets.files import write_json

from .clothing_colours import NEAREST, Wardrobe, asked_about, colours_of, similarly_dressed
from .distribution import joined
from .evidence import Ranking
from .experiment import make_repeatable
from .pooling import runs
from .probes import MOST_IMAGES, Probe, camera_probe, clothes_probe, identity_probe, standardised, thinned
from .protocols import LabelRows
from .records import RunFolder
from .reopening import Reopened
from .run_features import has_features, kept_features
from .splits import load_samples

VERSION = 1
"""Raised whenever the same features would give other numbers."""
MEASURES = ("identity_same_outfit", "identity_other_outfit", "clothes", "camera", "similar_clothes")
"""Keys of the measurements: each has accuracy (a share), chance and selectivity, or a `reason` why there is none."""
NO_IMAGES = "The dataset's images are not there, or not all of them: say data=DIR."


def ensure_bias(reopened: Reopened) -> dict[str, Any]:
    """The run's bias.json, measured now where there is none, or where the dataset's images were not there then.

    Features are computed where the run kept none. Raises DataError or UsageError where they cannot be.
    """
    run = reopened.run
    known = read_bias(run)
    if known is not None and (known["version"], known["selection"]) == (VERSION, run.headline):
        if known["similar_clothes"].get("reason") != NO_IMAGES:
            return known
        known |= {"similar_clothes": _similar_clothes(reopened, _headline(run))}
        write_json(_file(run), known)
        return known
    protocol = _headline(run)
    if not has_features(run, run.headline, protocol["query"], protocol["gallery"]):
        with joined(reopened.session.device) as world:
            make_repeatable(world)
            reopened.ensure_features(world)
    return measure_bias(reopened)


def measure_bias(reopened: Reopened) -> dict[str, Any]:
    """Measure and write bias.json. Raises DataError where the run kept no features."""
    run, protocol = reopened.run, _headline(reopened.run)
    embeddings, labels = _test_images(run, protocol)
    rows = thinned(labels)
    features, labels = standardised(embeddings[rows]), LabelRows.of(labels, rows)
    from threadpoolctl import threadpool_limits  # scikit-learn brings it

    with threadpool_limits(1):  # the same digits on every number of cores
        identity = identity_probe(features, labels)
        others = clothes_probe(features, labels), camera_probe(features, labels)
    both = (identity, identity) if isinstance(identity, str) else (identity["same_outfit"], identity["other_outfit"])
    found = {name: _plain(probe) for name, probe in zip(MEASURES, (*both, *others), strict=False)}
    about = {
        "version": VERSION,
        "selection": run.headline,
        "protocol": protocol["name"],
        "images": len(embeddings),
        "images_used": len(rows),
        "most_images": MOST_IMAGES,
        "dimensions": embeddings.shape[1],
    }
    bias = about | found | {"similar_clothes": _similar_clothes(reopened, protocol)}
    write_json(_file(run), bias)
    return bias


def read_bias(run: RunFolder) -> dict[str, Any] | None:
    """What was measured of a run; None where nothing was. Raises DataError where the file is damaged."""
    try:
        bias = json.loads(_file(run).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        bias = None
    if not isinstance(bias, dict) or not {"version", "selection", *MEASURES} <= bias.keys():
        raise DataError(f"{_file(run)} is damaged: delete it; `report` measures again.")
    return bias


def _file(run: RunFolder) -> Path:
    return run.path / "bias.json"


def _plain(probe: Probe | str) -> dict[str, Any]:
    return {"reason": probe} if isinstance(probe, str) else probe.to_plain()


def _headline(run: RunFolder) -> dict[str, Any]:
    """What the run's first protocol compares."""
    protocols = run.data().get("protocols")
    if not protocols:
        raise DataError(f"{run.path / 'data.json'} does not say what was compared: it is of an older version.")
    return protocols[0]


def _test_images(run: RunFolder, protocol: dict[str, Any]) -> tuple[np.ndarray, LabelRows]:
    """Embeddings [N, D] and labels of the images of query and gallery, each image once."""
    names = dict.fromkeys((protocol["query"], protocol["gallery"]))
    parts = [kept_features(run, name) for name in names]
    paths = np.concatenate([np.array(load_samples(run.split(name)).paths) for name in names])
    once = np.sort(np.unique(paths, return_index=True)[1])

    def column(name: str) -> IntArray:
        return np.concatenate([getattr(part, name) for part in parts])[once]

    tracklet = None if any(part.tracklet is None for part in parts) else column("tracklet")
    embeddings = np.concatenate([part.embeddings.numpy() for part in parts])[once]
    return embeddings, LabelRows(column("person"), column("camera"), column("clothes"), tracklet)


def _similar_clothes(reopened: Reopened, protocol: dict[str, Any]) -> dict[str, Any]:
    """Whether wrong rank-1 matches are dressed like the query; a reason where that cannot be said."""
    run = reopened.run
    ranking = Ranking.load(run.ranking(protocol["name"], run.headline))
    query, gallery = (load_samples(run.split(protocol[side])) for side in ("query", "gallery"))
    units, of_image = np.unique(np.r_[_outfits(query, 0), _outfits(gallery, len(query))], return_inverse=True)
    query_rows, gallery_rows = _compared(query, protocol), _compared(gallery, protocol)
    query_unit, gallery_unit = of_image[: len(query)][query_rows], of_image[len(query) :][gallery_rows]
    asked, sample = asked_about(ranking, query_unit, gallery_unit)
    if not len(asked):
        return {"reason": "No query has a wrong match at rank 1."}

    wanted = np.unique(np.r_[sample, query_unit[asked], gallery_unit[ranking.top_index[asked, 0]]])
    place = np.full(len(units), -1)
    place[wanted] = np.arange(len(wanted))
    paths = np.array([*query.paths, *gallery.paths])
    by_unit = np.argsort(of_image, kind="stable")
    starts = np.searchsorted(of_image[by_unit], np.r_[wanted, wanted + 1]).reshape(2, -1).T
    try:
        wardrobe = _wardrobe(reopened, tuple(tuple(paths[by_unit[start:end]].tolist()) for start, end in starts))
        colours, by = colours_of(wardrobe)
    except CCReIDError:
        return {"reason": NO_IMAGES}
    similar = similarly_dressed(
        ranking,
        asked,
        (query.person[query_rows], place[query_unit]),
        (gallery.person[gallery_rows], place[gallery_unit]),
        colours,
        np.isin(wanted, sample),
    )
    return similar | {"nearest": NEAREST, "by": by, "outfits": len(wanted)}


def _wardrobe(reopened: Reopened, paths: tuple[tuple[str, ...], ...]) -> Wardrobe:
    dataset, label_set = reopened.dataset, reopened.spec.masks.label_set
    where = [dataset.name, dataset.config.model_dump_json(), str(dataset.root), str(dataset.mask_folder), label_set]
    key = hashlib.sha256(json.dumps([where, paths]).encode()).hexdigest()
    return Wardrobe(key, dataset, label_set, paths)


def _outfits(samples: Samples, start: int) -> IntArray:
    """[N] outfit of each image; one of its own, below 0, where it is not labelled."""
    return np.where(samples.clothes >= 0, samples.clothes, -1 - start - np.arange(len(samples)))


def _compared(samples: Samples, protocol: dict[str, Any]) -> IntArray:
    """Row of each entry of the ranking: every image, or the first one of every tracklet."""
    if protocol["pool"] is None or samples.tracklet is None:
        return np.arange(len(samples))
    return runs(samples.tracklet)[0]
