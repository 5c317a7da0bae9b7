"""Decode and resize every image once: a memory-mapped uint8 file that training and embedding read from.

Every recipe of the field resizes first and augments after, with PIL's antialiased filters; so this is exactly their
first step, and the rest is done on batches (`datasets/augment.py`).
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO, Literal

import numpy as np
from PIL import Image

from .base import ReIDDataset, Samples, UInt8Array
from .errors import DataError
from .files import replacing, write_json

Interpolation = Literal["bilinear", "bicubic"]
Kind = Literal["image", "mask"]

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_CHUNK = 64  # images a worker hands over at once
_LAYOUT = "1"  # part of the key: raise it when the same input should give other bytes
_ABANDONED = 24 * 3600  # seconds after which a temporary file that nobody wrote to is a killed process's


def pixel_cache(
    dataset: ReIDDataset,
    samples: Samples,
    height: int,
    width: int,
    *,
    interpolation: Interpolation = "bilinear",
    kind: Kind = "image",
    missing_masks: Literal["error", "background"] = "error",
    folder: Path,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> UInt8Array:
    """Read-only memory map of `samples`, [N, height, width, 3] RGB, or [N, height, width] labels for kind "mask".

    Masks are resized to the nearest pixel; an image without one is an error, or all background (`missing_masks`).
    Built in `folder` when it is not there yet, by `workers` threads; the bytes do not depend on their number. The file
    appears complete or not at all, and of two processes that want it at once one builds and the other waits.
    `progress` is told (images done, images in all).
    Raises DataError naming an image that cannot be decoded, or when the disk is full.
    """
    shape = (len(samples), height, width) + ((3,) if kind == "image" else ())
    if not len(samples):
        return np.zeros(shape, dtype=np.uint8)
    method = interpolation if kind == "image" else "nearest"
    fingerprint = dataset.fingerprint(samples, kind)
    parts = [_LAYOUT, fingerprint, kind, method, *map(str, shape)] + [missing_masks] * (kind == "mask")
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    path = folder / f"{dataset.name}-{kind}-{height}x{width}-{method}-{key}.npy"
    if (pixels := _open(path, shape)) is not None:
        return pixels
    read = dataset.read_image if kind == "image" else partial(_read_mask, dataset, missing_masks)
    decode = partial(_decode, read, height=height, width=width, method=method)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            if (pixels := _open(path, shape)) is not None:  # built while this process waited
                return pixels
            _remove_abandoned(path)
            with (
                _executor(workers) as executor,
                replacing(path) as temporary,
                temporary.open("wb") as file,
            ):
                _write(file, shape, _in_order(executor, decode, samples.paths, workers), progress)
            about = {"dataset": dataset.name, "kind": kind, "shape": shape, "interpolation": method}
            write_json(path.with_suffix(".json"), about | {"fingerprint": fingerprint, "first": samples.paths[0]})
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DataError(
            f"The pixel cache {path} needs {np.prod(shape) / 1e9:.1f} GB and the disk is full: "
            f"free some space or name another folder with cache=DIR."
        ) from None
    pixels = _open(path, shape)
    assert pixels is not None  # noqa: S101 - it was just renamed into place
    return pixels


def _read_mask(dataset: ReIDDataset, missing: str, path: str) -> UInt8Array:
    if missing == "background" and not dataset.has_mask(path):
        return np.zeros((1, 1), dtype=np.uint8)
    return dataset.read_mask(path)


def _decode(
    read: Callable[[str], UInt8Array], paths: Sequence[str], *, height: int, width: int, method: str
) -> UInt8Array:
    """The images of one chunk, [n, height, width(, 3)]."""
    resample = _FILTERS.get(method, Image.Resampling.NEAREST)
    return np.stack([np.asarray(Image.fromarray(read(path)).resize((width, height), resample)) for path in paths])


def _in_order(
    executor: Executor | None, decode: Callable[[Sequence[str]], UInt8Array], paths: Sequence[str], workers: int
) -> Iterator[UInt8Array]:
    """`decode` of each chunk of `paths`, in order; at most two chunks per worker are ahead of the reader."""
    chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
    if executor is None:
        yield from map(decode, chunks)
        return
    ahead = deque(executor.submit(decode, chunk) for chunk in chunks[: 2 * workers])
    for chunk in chunks[2 * workers :]:
        yield ahead.popleft().result()
        ahead.append(executor.submit(decode, chunk))
    for future in ahead:
        yield future.result()


def _write(
    file: IO[bytes], shape: Sequence[int], chunks: Iterator[UInt8Array], progress: Callable[[int, int], None] | None
) -> None:
    """A .npy file, chunk by chunk. Not through a memory map: on a full disk that ends the process without an error."""
    header = {"descr": "|u1", "fortran_order": False, "shape": tuple(shape)}
    np.lib.format.write_array_header_1_0(file, header)
    done = 0
    for chunk in chunks:
        file.write(chunk.tobytes())
        done += len(chunk)
        if progress is not None:
            progress(done, shape[0])


def _open(path: Path, shape: Sequence[int]) -> UInt8Array | None:
    """The finished cache, or None where there is none or another program cut it short."""
    try:
        pixels = np.load(path, mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError):
        return None
    return pixels if pixels.shape == tuple(shape) and pixels.dtype == np.uint8 else None


@contextlib.contextmanager
def _executor(workers: int) -> Iterator[Executor | None]:
    """`workers` threads, or None for this one. PIL (decoding) and OpenCV (rendering) release the interpreter's lock."""
    if workers <= 1:
        yield None
        return
    executor = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold `folder`'s lock. The kernel frees it when its process ends, however it ends, so it never goes stale."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # A file system without locks (some network ones): both build, and the rename keeps either result whole.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_abandoned(path: Path) -> None:
    """Delete what killed processes left of this file. Young ones stay: locks may not reach another machine's writer."""
    for temporary in path.parent.glob(f".{path.name}.*.tmp"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - temporary.stat().st_mtime > _ABANDONED:
                temporary.unlink()
