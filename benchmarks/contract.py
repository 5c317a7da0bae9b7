"""What a method hands over, looked at where it is taken: a plugin's mistake, or a loss without terms, is a sentence."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from datasets.errors import UsageError
from methods.base import Method


def checked_terms(method: Method, losses: Any, phase: str) -> Mapping[str, Tensor]:
    """`losses`, if it is what `Method.losses` has to return, for the epoch that is being trained.

    Raises UsageError where it is not a dictionary of scalar tensors, names a term that has no weight, is empty, or
    depends on nothing that could be trained.
    """
    weights, who = method.config.weights, _called(method)
    if not isinstance(losses, Mapping):
        raise UsageError(f"losses of {who} returns {_described(losses)}: return a dictionary, term → scalar.")
    keys = [f"method.weights.{name}" for name in type(weights).model_fields]
    if not losses:
        which = f" for its phase {phase}" if len(method.phases) > 1 else ""
        mend = f"set {' or '.join(keys)} above 0, or let a term begin earlier" if keys else "return at least one term"
        raise UsageError(f"Epoch {method.epoch} of {who} has no loss term{which}: {mend}.")
    for name, loss in losses.items():
        if name not in type(weights).model_fields:
            known = ", ".join(type(weights).model_fields) or "none"
            raise UsageError(
                f"losses of {who} returns the term {name}, which has no weight: declare it in {type(weights).__name__} "
                f"(there: {known})."
            )
        if not isinstance(loss, Tensor) or loss.ndim:
            raise UsageError(
                f"losses of {who} returns {_described(loss)} as the term {name}: return a scalar tensor, such as the "
                "mean over the batch."
            )
    if not any(loss.requires_grad for loss in losses.values()):
        raise UsageError(
            f"Epoch {method.epoch} of {who} trains nothing: none of its terms ({', '.join(losses)}) depends on a "
            "parameter that is not frozen."
        )
    return losses


def checked_features(method: Method, features: Any, images: int) -> Tensor:
    """`features`, if it is what `Method.embed` has to return for that many images or clips, or raises UsageError."""
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != images:
        raise UsageError(
            f"embed of {_called(method)} returns {_described(features)} for {images} images: return [{images}, D] "
            "features, one row each."
        )
    return features


def _called(method: Method) -> str:
    return f"method={method.config.name}" if method.config.name else type(method).__name__


def _described(value: Any) -> str:
    return f"a tensor of shape {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
