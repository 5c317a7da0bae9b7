"""Where methods look: people and, below, what makes a query similar to a true match, as in IFD's Figure 3."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from benchmarks.comparison import run_names
from benchmarks.heat_maps import HeatMaps, read_heat_maps
from benchmarks.reopening import Reopened
from benchmarks.selection import marked
from datasets.base import UInt8Array
from datasets.errors import DataError

from ..heads import shown_image
from ..retrieval.lettering import fitted
from .names import file_name
from .style import DOUBLE, Picture, left_out_text, paper_style, readable, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = "inferno"
"""Colour-blind safe, and its lightness rises with the value, so that it survives a grey print."""
STRENGTH = 0.65
"""How much of the colour covers the image where a map is 1; nothing of it where it is 0."""
CELL_PIXELS = (160, 320)
"""Width and height at which an image is drawn, whatever its own size: at 300 dpi it is about as wide in print."""
NAMES, RIGHT, BETWEEN_PEOPLE, BETWEEN, ABOVE, BELOW = 0.85, 0.05, 0.1, 0.03, 0.34, 0.42
"""Inches: the names on the left, a margin, gaps between people and between images, headings, legend."""
NAME_SIZE = 7.5
"""Points."""


def heat_map_figure(
    reopened: Sequence[Reopened], folder: Path, names: Sequence[str] | None = None, *, blur_faces: bool = False
) -> Picture | None:
    """Columns: people, each with a query and a true match of it; rows: the images, then one run's maps on top of them.

    `names`: what the runs are called, where more configurations than these are told apart. Runs without maps, or with
    maps of other images than the first one's, or whose file is damaged, are left out and counted in the caption; None
    where no run has maps. `blur_faces` hides heads. Raises DataError or UsageError where images are gone, or every file
    is damaged.
    """
    names = names or run_names([one.run for one in reopened])
    known, left_out = readable(zip(reopened, names, strict=True), lambda named: read_heat_maps(named[0].run))
    mapped = [(one, name, maps) for (one, name), maps in known if maps is not None]
    if left_out and not mapped:
        raise DataError(left_out[0])
    if not mapped:
        return None
    first, _, chosen = mapped[0]
    shown = [(one, name, maps) for one, name, maps in mapped if _of_same_images(one, maps, first, chosen)]
    paths = np.stack([chosen.query_paths, chosen.match_paths], axis=1).ravel()  # [2 n] query, match, query, …
    images = [_image(first, path, blur_faces) for path in paths.tolist()]
    rows = [("", images)]
    for _, name, maps in shown:
        heat = np.stack([maps.query_maps, maps.match_maps], axis=1).reshape(len(paths), *maps.query_maps.shape[1:])
        rows.append((name, [overlaid(image, one) for image, one in zip(images, heat, strict=True)]))
    dataset = first.dataset.name
    run_ids = [one.run.run_id for one, _, _ in shown]
    name = file_name(*(run_ids if len(run_ids) == 1 else [dataset]), "heat-maps")
    with paper_style():
        figure = _drawn(rows, chosen.person.tolist())
        caption = " ".join([_caption(shown, len(reopened) - len(shown) - len(left_out)), *left_out_text(left_out)])
        title = f"Where {'the method looks' if len(shown) == 1 else 'methods look'}"
        return save(figure, folder, name, title, caption, left_out)


def overlaid(image: UInt8Array, heat: np.ndarray) -> UInt8Array:
    """[H, W, 3] image in grey under the colours of `heat` [h, w] in 0 … 1, smoothed to the image's size."""
    from matplotlib import colormaps

    size = image.shape[1], image.shape[0]
    smooth = np.asarray(Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)).clip(0, 1)
    grey = np.asarray(Image.fromarray(image).convert("L"), dtype=np.float32)[..., None] / 255
    cover = STRENGTH * smooth[..., None]
    mixed = (1 - cover) * grey + cover * colormaps[COLOURS](0.15 + 0.85 * smooth)[..., :3]
    return np.rint(255 * mixed).astype(np.uint8)


def _image(reopened: Reopened, path: str, blur_faces: bool) -> UInt8Array:
    """One image in the size of a cell."""
    pixels = shown_image(reopened, path, blur_faces=blur_faces)
    return np.asarray(Image.fromarray(pixels).resize(CELL_PIXELS, Image.Resampling.LANCZOS))


def _of_same_images(one: Reopened, maps: HeatMaps, other: Reopened, others: HeatMaps) -> bool:
    return (
        one.spec.dataset == other.spec.dataset
        and np.array_equal(maps.query_paths, others.query_paths)
        and np.array_equal(maps.match_paths, others.match_paths)
    )


def _drawn(rows: Sequence[tuple[str, Sequence[UInt8Array]]], persons: Sequence[int]) -> "Figure":
    from matplotlib import pyplot

    people = len(persons)
    gaps, gaps_of_six = (n * BETWEEN + (n - 1) * BETWEEN_PEOPLE + RIGHT for n in (people, 6))
    # Fewer people are drawn as large as six, not larger.
    width = min((DOUBLE - NAMES - gaps) / (2 * people), (DOUBLE - NAMES - gaps_of_six) / 12)
    height = width * CELL_PIXELS[1] / CELL_PIXELS[0]
    total = NAMES + 2 * people * width + gaps, ABOVE + len(rows) * (height + BETWEEN) + BELOW
    figure = pyplot.figure(figsize=total)
    figure.set_layout_engine("none")  # everything is placed by hand

    def across(column: int) -> float:
        return NAMES + column * width + (column // 2 + column % 2) * BETWEEN + column // 2 * BETWEEN_PEOPLE

    for line, (name, images) in enumerate(rows):
        top = total[1] - ABOVE - line * (height + BETWEEN)
        figure.text(
            (NAMES - 0.08) / total[0],
            (top - height / 2) / total[1],
            "\n".join(fitted(name, 72 * (NAMES - 0.12), NAME_SIZE, lines=3)),
            ha="right",
            va="center",
            fontsize=NAME_SIZE,
            parse_math=False,
        )
        for column, image in enumerate(images):
            place = across(column) / total[0], (top - height) / total[1], width / total[0], height / total[1]
            axes = figure.add_axes(place)
            axes.imshow(image, interpolation="antialiased", aspect="auto")
            axes.axis("off")
    for column in range(2 * people):
        middle = (across(column) + width / 2) / total[0]
        figure.text(middle, (total[1] - ABOVE + 0.04) / total[1], ("query", "match")[column % 2], ha="center", size=6.5)
    for place, person in enumerate(persons):
        middle = (across(2 * place) + width + BETWEEN / 2) / total[0]
        figure.text(middle, (total[1] - 0.12) / total[1], f"person {person}", ha="center", size=7)
    _legend(figure, total)
    return figure


def _legend(figure: "Figure", total: tuple[float, float]) -> None:
    """What the colours say of a place: how much it adds to the similarity, within an image."""
    width = min(1.2, total[0] - NAMES - RIGHT)
    axes = figure.add_axes((NAMES / total[0], 0.2 / total[1], width / total[0], 0.09 / total[1]))
    heat = np.linspace(0, 1, 256)[None].repeat(8, axis=0)
    axes.imshow(overlaid(np.full((8, 256, 3), 128, dtype=np.uint8), heat), aspect="auto")
    axes.axis("off")
    for text, place, side in (("nothing", NAMES, "left"), ("most", NAMES + width, "right")):
        figure.text(place / total[0], 0.06 / total[1], text, ha=side, size=6.5)


def _caption(shown: Sequence[tuple[Reopened, str, HeatMaps]], missing: int) -> str:
    sizes = {f"{name} {maps.query_maps.shape[1]} × {maps.query_maps.shape[2]}" for _, name, maps in shown}
    runs = ", ".join(f"{one.run.run_id} ({marked(str(maps.selection))})" for one, _, maps in shown)
    sentences = [
        "People evenly spaced among those who can be asked about: a query and its first true match in the gallery's "
        "order, and where in either image their cosine similarity comes from: gradient times activation at the last "
        "place that still knows positions (Grad-CAM where features are a mean over positions). Colours: from nothing "
        "to the most that a place of the same image adds.",
        "Where an image has no colour, no place of it adds to the similarity.",
        f"Cells (rows × columns), smoothed to the images' size: {', '.join(sorted(sizes))}; a cell sees more of the "
        "image than it covers.",
        f"Runs (selection): {runs}.",
    ]
    sentences += [f"Runs without maps of these images: {missing}."] if missing else []
    return " ".join(sentences)
