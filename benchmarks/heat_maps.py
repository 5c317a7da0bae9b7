"""Heat maps: which places of an image make it similar to an image of the same person.

Grad-CAM (Selvaraju et al., ICCV 2017, arXiv 1610.02391) weighs the last maps A [C, h, w] by the gradient of a score.
Retrieval has no classes, so the score is the cosine similarity of the query's feature f to the feature g of its first
true match. The length of f is held constant: otherwise what the places add would sum to zero, since a longer feature is
no more similar. The score is then f · g up to a factor, and with mean pooling a place's value is what it adds to it, as
in Stylianou et al., "Visualizing Deep Similarity Networks", WACV 2019, arXiv 1901.00536:

    map[y, x] = max(0, Σ_c A[c, y, x] · ∂(f · g / |g|) / ∂A[c, y, x]),  divided by its largest value

The gradient is taken at each place, and not averaged over them first (HiResCAM: Draelos and Carin, arXiv 2011.08891).
With mean pooling that is Grad-CAM; elsewhere it keeps what the mean would blur: which place won a maximum, an attention
map in between, and, among a transformer's tokens, what the class token attends to.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from datasets.augment import normalise
from datasets.base import IntArray, Protocol, Samples, UInt8Array
from methods.base import Method

from .arrays import MADE_ANEW, read_arrays, write_arrays
from .distribution import joined
from .embedding import clips_of
from .experiment import make_repeatable
from .pooling import runs
from .probes import spread
from .protocols import LabelRows, ignored
from .records import RunFolder
from .reopening import Reopened
from .splits import load_samples

VERSION = 1
"""Raised whenever the same weights would give other maps."""


@dataclass(frozen=True)
class HeatMaps:
    """Maps of n queries and of one true match each, in pairs. h × w cells span an image, whatever its size."""

    query_maps: npt.NDArray[np.float16]
    """[n, h, w] 0 … 1, each map by itself."""
    match_maps: npt.NDArray[np.float16]
    """[n, h, w]"""
    query: IntArray
    """[n] rows of the query split."""
    match: IntArray
    """[n] rows of the gallery split."""
    query_paths: npt.NDArray[np.str_]
    match_paths: npt.NDArray[np.str_]
    person: IntArray
    selection: npt.NDArray[np.str_]
    """Whose weights, a scalar."""
    asked: IntArray
    """How many queries were asked for, a scalar; n where fewer people can be asked about."""
    version: IntArray

    def save(self, path: Path) -> None:
        write_arrays(path, {one.name: getattr(self, one.name) for one in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises DataError where `path` is not a file of heat maps."""
        return read_arrays(path, lambda columns: cls(**columns), "a file of heat maps", MADE_ANEW)


def ensure_heat_maps(reopened: Reopened, queries: int = 6) -> HeatMaps | None:
    """Maps of the run's headline weights for `queries` people, made now and kept where the run has none.

    None, and the listener is told why, where the method has no maps. Raises DataError or UsageError where weights or
    images are gone.
    """
    run = reopened.run
    known = read_heat_maps(run)
    if known is not None and (known.version, known.selection, known.asked) == (VERSION, run.headline, queries):
        return known
    protocol = reopened.data.protocols[0]
    query, gallery = load_samples(run.split(protocol.query)), load_samples(run.split(protocol.gallery))
    pairs = chosen_pairs(protocol, query, gallery, queries)
    if not len(pairs):
        return _none(reopened, "no query has a true match in the gallery")
    with joined(reopened.session.device) as world:
        make_repeatable(world)
        method = reopened.method().to(world.device)
        both = [_inputs(reopened, method, query, pairs[:, 0]), _inputs(reopened, method, gallery, pairs[:, 1])]
        inputs = {name: torch.cat([each[name] for each in both]).to(world.device) for name in both[0]}
        partner = torch.arange(2 * len(pairs)).roll(len(pairs))
        maps = similarity_maps(method, partner, **inputs)
    if maps is None:
        return _none(reopened, "its features are not made from maps or tokens that are known to be places")
    query_maps, match_maps = np.split(maps.cpu().numpy().astype(np.float16), 2)
    found = HeatMaps(
        query_maps,
        match_maps,
        pairs[:, 0],
        pairs[:, 1],
        np.array([query.paths[row] for row in pairs[:, 0]]),
        np.array([gallery.paths[row] for row in pairs[:, 1]]),
        query.person[pairs[:, 0]],
        np.array(run.headline),
        np.array(queries),
        np.array(VERSION),
    )
    found.save(_file(run))
    return found


def read_heat_maps(run: RunFolder) -> HeatMaps | None:
    """The maps that were made of a run, or None. Raises DataError where the file is damaged."""
    return HeatMaps.load(_file(run)) if _file(run).exists() else None


def _file(run: RunFolder) -> Path:
    return run.path / "heat_maps.npz"


def _none(reopened: Reopened, reason: str) -> None:
    reopened.listen({"event": "warning", "message": f"{reopened.run.run_id} has no heat maps: {reason}."})


def chosen_pairs(protocol: Protocol, query: Samples, gallery: Samples, count: int) -> IntArray:
    """[n, 2] rows of `query` and `gallery`: for n ≤ `count` people a query and its first true match in split order.

    People evenly spaced among those who can be asked about, so that all methods of a dataset are shown the same images.
    Where tracklets are compared, the first image of each.
    """
    asking, answering = _compared(protocol, query), _compared(protocol, gallery)
    asked, given = LabelRows.of(query, asking), LabelRows.of(gallery, answering)
    pairs = []
    for person in np.unique(asked.person):
        own, others = np.flatnonzero(asked.person == person), np.flatnonzero(given.person == person)
        visible = ~ignored(protocol, asked, given, own[:, None], others[None])
        if visible.any():
            first = int(visible.any(axis=1).argmax())
            pairs.append((asking[own[first]], answering[others[int(visible[first].argmax())]]))
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)[spread(np.arange(len(pairs)), count)]


def _compared(protocol: Protocol, samples: Samples) -> IntArray:
    if protocol.pool is None or samples.tracklet is None:
        return np.arange(len(samples))
    return runs(samples.tracklet)[0]


def similarity_maps(
    method: Method,
    partner: Tensor,
    images: Tensor,
    cameras: Tensor,
    frame: Tensor | None = None,
    **extras: Tensor,
) -> Tensor | None:
    """Maps [B, h, w] in 0 … 1 of `images` [B, 3, H, W] for their similarity to the images at `partner` [B].

    `images` normalised, or clips [B, T, 3, H, W] with the `frame` [B] that is meant; `cameras` and `extras` as `embed`
    takes them. None where no map is found, or features do not depend on it.
    """
    places = method.places()
    if places is None:
        return None
    seen: list[Tensor] = []

    def watch(module: Any, inputs: Any, output: Any) -> Any:
        if not isinstance(output, Tensor):
            return None
        seen.append(output.detach().requires_grad_())  # cut here: nothing below it needs a gradient
        return seen[-1].clone()  # what follows may work in place

    method.eval()
    hook = places.module.register_forward_hook(watch)
    try:
        with torch.enable_grad():
            features = method.embed(images, cameras, **extras).float()
            target = normalize(features.detach(), dim=1)[partner.to(features.device)]
            score = (features * target).sum()  # of all images: none depends on another one's maps
    finally:
        hook.remove()
    if not seen or not score.requires_grad:
        return None
    (gradient,) = torch.autograd.grad(score, seen[-1], allow_unused=True)
    if gradient is None:
        return None
    maps = (places.as_maps(seen[-1].detach()).float() * places.as_maps(gradient).float()).sum(dim=1).relu()
    if frame is not None:
        maps = maps.unflatten(0, (len(images), -1))[torch.arange(len(images)), frame.to(maps.device)]
    if not maps.any():
        return None
    return maps / maps.amax(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)


def _inputs(reopened: Reopened, method: Method, samples: Samples, rows: IntArray) -> dict[str, Tensor]:
    """What `similarity_maps` takes of these rows of `samples`, by the names of its arguments."""
    spec = reopened.spec
    clips, frame = rows[:, None], None
    if method.takes_clips(method.config):
        every = clips_of(samples, spec.clips)
        # The last clip that holds an image gives it its feature, see embedding.py.
        clips = np.stack([every[(every == row).any(axis=1)][-1] for row in rows])
        frame = torch.from_numpy((clips == rows[:, None]).argmax(axis=1))
    paths = [samples.paths[row] for row in clips.flat]
    pixels = torch.from_numpy(np.stack([_resized(reopened, path) for path in paths]))
    found = {"images": normalise(pixels, spec.image.mean, spec.image.std)}
    if "mask" in method.test_inputs(method.config):
        found["masks"] = torch.from_numpy(np.stack([_resized(reopened, path, "mask") for path in paths]))
    if frame is not None:
        found = {name: tensor.unflatten(0, clips.shape) for name, tensor in found.items()} | {"frame": frame}
    index = {camera: place for place, camera in enumerate(reopened.cameras.tolist())}
    cameras = torch.tensor([index.get(camera, -1) for camera in samples.camera[clips[:, 0]].tolist()])
    return found | {"cameras": cameras}


def _resized(reopened: Reopened, path: str, kind: str = "image") -> UInt8Array:
    """One image or mask at the size that the method sees, as the pixel cache holds it."""
    dataset, spec = reopened.dataset, reopened.spec
    size = spec.image.width, spec.image.height
    if kind == "image":
        filtering = Image.Resampling[spec.image.interpolation.upper()]
        return np.asarray(Image.fromarray(dataset.read_image(path)).resize(size, filtering))
    if spec.masks.missing == "background" and not dataset.has_mask(path):
        return np.zeros(size[::-1], dtype=np.uint8)
    return np.asarray(Image.fromarray(dataset.read_mask(path)).resize(size, Image.Resampling.NEAREST))
