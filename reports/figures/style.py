"""How every figure looks and is saved: one style file, colours that the colour-blind tell apart (Okabe and Ito)."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from datasets.errors import DataError
from datasets.files import replacing

from .names import font_families

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

Run = TypeVar("Run")
Value = TypeVar("Value")

STYLE = Path(__file__).parent / "paper.mplstyle"
CORRECT, WRONG, GREY = "#0072B2", "#D55E00", "#999999"
"""Frames of right and wrong retrievals, and what is not counted."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
LINES, MARKERS = ("-", "--", "-.", ":"), ("o", "s", "^", "D", "v", "P", "X", "*")
"""Told apart without colours, and after the eight colours are used up."""
SINGLE, DOUBLE = 3.5, 7.16
"""Inches: one and two columns of a paper."""


class NothingToShowError(DataError):
    """The figure does not apply to these runs; the message says why."""


@dataclass(frozen=True)
class Picture:
    """A saved figure, and what a reader should know of it."""

    name: str
    """File name without its ending: letters, digits, hyphens."""
    title: str
    caption: str
    """Plain text: what is shown, of which runs, protocol, selection and seeds."""
    png: Path
    pdf: Path
    left_out: tuple[str, ...] = ()
    """A sentence for each run that should be shown, but whose file is damaged; the caption counts them."""


def readable(runs: Iterable[Run], read: Callable[[Run], Value]) -> tuple[list[tuple[Run, Value]], tuple[str, ...]]:
    """(run, what `read` makes of it) of those that can be read, and a sentence for each of the others."""
    found, left_out = [], []
    for run in runs:
        try:
            found.append((run, read(run)))
        except DataError as error:
            left_out.append(str(error))
    return found, tuple(left_out)


def left_out_text(left_out: Sequence[str]) -> list[str]:
    """For the caption; nothing where all could be read."""
    return [f"Left out, since a file is damaged: {len(left_out)}."] if left_out else []


@contextmanager
def paper_style() -> Iterator[None]:
    """Draw in the project's style, without a screen, whatever the user's own settings are."""
    import matplotlib as mpl
    from matplotlib import style

    with mpl.rc_context():
        mpl.use("agg", force=False)
        mpl.rcdefaults()
        style.use(STYLE)
        mpl.rcParams["font.family"] = list(font_families())
        yield


def in_percent(axis: "Axis") -> None:
    """Label an axis of fractions with percents; the unit stands in the axis' label."""
    axis.set_major_formatter(lambda value, _: f"{round(100 * value, 6):g}".replace("-", "−"))


@contextmanager
def one_thread() -> Iterator[None]:
    """For scikit-learn: the same bytes on every number of cores, and no waiting for cores that others use."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


def save(
    figure: "Figure", folder: Path, name: str, title: str, caption: str, left_out: tuple[str, ...] = ()
) -> Picture:
    """Write NAME.png at print quality and NAME.pdf, without dates in them, and close the figure."""
    from matplotlib import pyplot

    _arrange(figure)
    files = {kind: folder / f"{name}.{kind}" for kind in ("png", "pdf")}
    nothing = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Producer": None, "Creator": None}}
    for kind, file in files.items():
        with replacing(file) as temporary:
            figure.savefig(temporary, format=kind, metadata=nothing[kind])
    pyplot.close(figure)
    return Picture(name, title, caption, files["png"], files["pdf"], left_out)


def _arrange(figure: "Figure") -> None:
    """Lay the figure out once, not per file, and round: the solver's last digits are not the same on every call."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")
        for axes in figure.axes:
            left, bottom, width, height = (round(edge, 5) for edge in axes.get_position(original=True).bounds)
            axes.set_position((left, bottom, width, height))
