"""Whether what a run reads is there, at a glance: folders and files are looked for, not opened."""

from datasets.base import ReIDDataset
from datasets.captions import require_caption_files
from datasets.errors import CCReIDError, DataError
from methods import METHODS

from .data import caption_folder, open_dataset
from .resolve import Resolved


def what_is_missing(plan: Resolved) -> str:
    """A sentence about the first thing that is not there; empty where a run can be tried."""
    spec, session = plan.spec, plan.session
    method = METHODS.get(spec.method.name)
    inputs = method.inputs(spec.method) | method.test_inputs(spec.method)
    try:
        dataset = open_dataset(spec.dataset, session)
        if not dataset.folder:  # made, not read
            return ""
        _require_folder(dataset)
        if "caption" in inputs and (captions := caption_folder(dataset, session)) is not None:
            require_caption_files(captions, spec.captions)
        if "mask" in inputs and not dataset.mask_folder.is_dir():
            raise DataError(
                f"{dataset.mask_folder} does not exist: put the parsing masks there, or say mask_folder=DIR."
            )
    except CCReIDError as error:
        return str(error)
    return ""


def _require_folder(dataset: ReIDDataset) -> None:
    """Where the folder does not have its official name, whether it looks like the dataset's."""
    if dataset.root.name == dataset.folder:
        return
    try:
        dataset.split(dataset.splits[0])
    except CCReIDError:
        raise DataError(f"{dataset.root} has no folder {dataset.folder}: unpack the dataset there.") from None
