"""The synthetic world on disk: a dataset's official layout, or a contact sheet to look at."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.resolve import resolve_dataset
from datasets.contact_sheet import contact_sheet
from datasets.files import replacing
from datasets.layouts import write_layout
from datasets.synthetic import Synthetic, SyntheticConfig

from .console import Reporter

ROWS, COLUMNS = 8, 16


def write_world(layout: str, out: Path, options: Mapping[str, Any]) -> Path:
    """Write the world in the official layout of a dataset; the folder to give as `data=`."""
    config = _config(options)
    with Reporter() as reporter:
        return write_layout(
            layout,
            out,
            config,
            workers=os.cpu_count() or 1,
            progress=lambda done, total: reporter(
                {"event": "progress", "what": f"drawing {layout}", "done": done, "total": total}
            ),
        )


def save_contact_sheet(file: Path, options: Mapping[str, Any]) -> Path:
    """Write a picture of the world: one row a person, its outfits and cameras from left to right."""
    sheet = contact_sheet(Synthetic(Path(), _config(options)), "train", ROWS, COLUMNS)
    with replacing(file) as temporary:
        Image.fromarray(sheet).save(temporary, format="png")
    return file


def _config(options: Mapping[str, Any]) -> SyntheticConfig:
    config, _ = resolve_dataset(Synthetic.name, {f"dataset.{key}": value for key, value in options.items()})
    return config
