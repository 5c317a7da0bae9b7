"""What a method costs: parameters, floating-point operations per image, images per second forward.

    python -m benchmarks.perf.cost method=differ dataset=ltcc [images=8] [threads=1] [rounds=3]

The network is that of the method's recipe for the dataset, from random weights, with as many training identities as the
dataset's authors publish. Operations as `torch.utils.flop_counter` has them: a multiplication and an addition are two.
"""

import sys
import time
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.resolve import resolve
from benchmarks.words import parse_words
from datasets import DATASETS
from datasets.base import Counts
from datasets.errors import CCReIDError, UsageError
from methods import METHODS
from methods.base import Facts, Method

ALL_OUTFITS = 1000
"""Where the dataset publishes no number of outfits or people."""


def build(values: dict[str, Any]) -> tuple[Method, Any]:
    """The method of the recipe, and the Spec."""
    spec = resolve({"method.pretrained": "false"} | values).spec
    published = DATASETS.get(spec.dataset.name).statistics.get("train", Counts())
    persons, clothes = published.persons or ALL_OUTFITS, published.clothes or ALL_OUTFITS
    wardrobes = tuple((outfit % clothes,) for outfit in range(persons))
    facts = Facts(persons, 12, clothes, spec.image.height, spec.image.width, text_width=512, wardrobes=wardrobes)
    return METHODS.get(spec.method.name)(spec.method, facts).eval(), spec


def inputs(method: Method, spec: Any, number: int) -> dict[str, Tensor]:
    """Images [number, 3, H, W], or clips, and what else the test needs."""
    clips = (spec.clips.test_length,) if method.takes_clips(spec.method) else ()
    size = spec.image.height, spec.image.width
    extras = {"masks": torch.zeros(number, *size, dtype=torch.uint8)} if method.test_inputs(spec.method) else {}
    return {"images": torch.randn(number, *clips, 3, *size)} | extras


def used_at_test(method: Method, given: dict[str, Tensor]) -> int:
    """Parameters that the features depend on, of those that are trained or, where none is, of all."""
    if not method.phases:
        method.requires_grad_(True)
    trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
    features = method.embed(**given)
    gradients = torch.autograd.grad(features.sum(), trained, allow_unused=True)
    return sum(
        parameter.numel() for parameter, gradient in zip(trained, gradients, strict=True) if gradient is not None
    )


def operations(method: Method, given: dict[str, Tensor]) -> int:
    """Of a forward pass. PyTorch's fused attention does the same work, but the counter does not know it."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            method.embed(**given)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return counter.get_total_flops()


def main(words: list[str]) -> None:
    values = parse_words(words)
    images, threads, rounds = (
        _whole(key, values.pop(key, default)) for key, default in (("images", "8"), ("threads", "1"), ("rounds", "3"))
    )
    torch.set_num_threads(threads)
    method, spec = build(values)
    one, several = inputs(method, spec, 1), inputs(method, spec, images)
    trained = sum(parameter.numel() for parameter in method.parameters())
    print(f"{spec.method.name} on {spec.dataset.name}, {spec.image.height} × {spec.image.width}")
    in_training = f"{trained / 1e6:.1f} M parameters in training" if method.phases else "nothing is trained"
    print(f"{in_training}, {used_at_test(method, one) / 1e6:.1f} M parameters at test")
    what = "clip" if method.takes_clips(spec.method) else "image"
    print(f"{operations(method, one) / 1e9:.1f} GFLOPs per {what}")
    seconds = []
    with torch.no_grad():
        for _ in range(rounds):
            start = time.perf_counter()
            method.embed(**several)
            seconds.append(time.perf_counter() - start)
    print(f"{images / min(seconds):.2f} {what}s per second forward, {threads} threads, best of {rounds}")


def _whole(key: str, word: str) -> int:
    if not word.isdecimal() or not int(word):
        raise UsageError(f"{key}={word}: write a whole number above 0, such as {key}=8.")
    return int(word)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except CCReIDError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
