"""The contract by which the golden values' networks and inputs were filled: numbers that any name and shape determine.

The official networks of tests/golden were run with such weights, so the files need not hold them. Per name (of a
parameter or buffer in the OFFICIAL state dict, or of an input) numpy's PCG64, seeded with crc32(name) + 1000003 · seed,
draws standard-normal z in float64, C order; then

    *.num_batches_tracked         0
    *.running_mean, *.bias        0.1 z
    *.running_var                 0.5 + |z|
    *.weight of rank 1 (norms)    1 + 0.1 z, a quarter of that for the last norm of a bottleneck (bn3)
    others of rank 1 (GeM's p)    left as they are
    rank 2 and more               z · sqrt(2 / fan_in), fan_in the product of all sizes but the first
"""

import zlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn


def drawn(name: str, shape: Sequence[int], seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """z of `name`, which is how the golden inputs were made."""
    stream = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()) + 1000003 * seed))
    return torch.as_tensor(np.asarray(stream.standard_normal(tuple(shape)))).to(dtype)


def filled(name: str, shape: Sequence[int], seed: int) -> Tensor | None:
    """The tensor, float64, that the official parameter or buffer `name` was filled with; None: left as it was."""
    z = drawn(name, shape, seed)
    kind = name.rpartition(".")[2]
    if kind == "num_batches_tracked":
        return torch.zeros_like(z)
    if kind in ("running_mean", "bias"):
        return 0.1 * z
    if kind == "running_var":
        return 0.5 + z.abs()
    if z.ndim == 1:
        scale = 0.25 if "bn3" in name.split(".")[:-1] else 1.0
        return scale * (1 + 0.1 * z) if kind == "weight" else None
    return z * np.sqrt(2.0 / np.prod(shape[1:]))


def filled_state(
    shapes: Mapping[str, Sequence[int]], seed: int, dtype: torch.dtype = torch.float64
) -> dict[str, Tensor]:
    """An official state dict from its names and shapes alone; counters are int64. What is left as it was is absent."""
    state = {}
    for name, shape in shapes.items():
        value = filled(name, shape, seed)
        if value is not None:
            state[name] = value.to(torch.int64 if name.endswith("num_batches_tracked") else dtype)
    return state


def fill(module: nn.Module, seed: int, official_name: Callable[[str], str] = str) -> None:
    """Fill `module` in its own dtype; `official_name` turns its names into those that the contract draws by."""
    state = module.state_dict()
    for name, value in state.items():
        drawn_value = filled(official_name(name), value.shape, seed)
        if drawn_value is not None:
            value.copy_(drawn_value)


def checksum(value: Tensor) -> np.ndarray:
    """[6] float64: sum, 2-norm and the first four values, zeros where there are fewer, as in the golden files."""
    flat = value.detach().double().flatten()
    first = torch.zeros(4, dtype=torch.float64)
    first[: flat.numel()] = flat[:4]
    return np.concatenate([[flat.sum().item(), flat.norm().item()], first.numpy()])
