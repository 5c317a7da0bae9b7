"""The verb `retrieval`: pages for a paper, a strip for each query, and their captions."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets.errors import UsageError, did_you_mean
from datasets.files import replacing, write_text
from reports.choosing import chosen_runs
from reports.figures.style import Picture, paper_style, save

from .captions import page_caption
from .choosing import choose
from .drawing import draw_image, draw_page
from .lists import Lists, common_protocol, read_lists
from .strips import Options, Strip, file_name, strips

PLACES = ("data", "mask_folder", "cache", "device")
HOW = ("queries", "protocol", "selection", "k", "show_ignored", "faces", "labels", "out", "sheet")
KEYS = ("run", "runs", *HOW, *PLACES)
LINES_ON_A_PAGE = 7
SHEET_WIDTH = 900


def write_retrieval(values: Mapping[str, Any]) -> Iterator[str]:
    """Draw the queries that the words ask for, and write them; what is left out, and the paths of the pages.

    Raises UsageError for a word that is not known, DataError where images or evidence are missing.
    """
    for key in values:
        if key not in KEYS:
            raise UsageError(f"Unknown key {key}.{did_you_mean(key, KEYS)} Available: {', '.join(KEYS)}.")
    if "run" not in values:
        raise UsageError("Say of which runs: run=ID, or run=ID,ID for a row each; `python run.py list runs` has them.")
    runs, options = chosen_runs(values), _options(values)
    protocol = str(values.get("protocol") or common_protocol(runs, options.selection))
    lists = read_lists(runs, protocol, options.selection)
    chosen = choose(lists, str(values.get("queries", "worst:12")))
    yield from chosen.remarks
    made = strips(runs, protocol, chosen.rows, options)
    if "sheet" in values:
        yield str(_save_sheet(made, Path(str(values["sheet"])).expanduser()))
        return
    folder = Path(str(values.get("out", "report/retrieval"))).expanduser()
    captions = []
    for strip in made:
        file = folder / f"{strip.name}.png"
        with replacing(file) as temporary:
            strip.image().save(temporary, format="png")
        captions.append(f"{file.name}\n{strip.caption}\n")
    pages = save_pages(made, lists, folder)
    captions = [f"{page.png.name}, {page.pdf.name}\n{page.caption}\n" for page in pages] + captions
    text = folder / f"{_page_name(lists)}.txt"
    write_text(text, "\n".join(captions))
    for page in pages:
        yield f"{page.png}\n{page.pdf}"
    yield f"{folder / file_name(f'strip-{protocol}')}-*.png: {len(made)} strip{'s' * (len(made) != 1)}, one a query"
    yield f"{text}: captions"


def save_pages(made: Sequence[Strip], lists: Sequence[Lists], folder: Path) -> list[Picture]:
    """PNG and PDF of the strips, as many below each other as a page holds."""
    first, parts = lists[0], pages_of(len(made), len(lists))
    title = f"Nearest gallery images, {first.run.spec()['dataset']['name']}, {first.protocol.name}"
    pictures = []
    for number, part in enumerate(parts, start=1):
        with paper_style():
            figure = draw_page(made[part])
            name = f"{_page_name(lists)}-{number}" if len(parts) > 1 else _page_name(lists)
            pictures.append(save(figure, folder, name, title, page_caption(made[part], lists)))
    return pictures


def _save_sheet(made: Sequence[Strip], file: Path) -> Path:
    """All strips in one PNG for a web page: as wide as a column of text, 256 colours, a third of the bytes."""
    from PIL import Image

    image = draw_image(made, SHEET_WIDTH)
    some = image.resize((image.width // 2, image.height // 2), Image.Resampling.NEAREST)
    colours = some.quantize(256, kmeans=4)  # as near as 256 can be; without k-means garments change their colour
    with replacing(file) as temporary:
        image.quantize(palette=colours, dither=Image.Dither.NONE).save(temporary, "png", optimize=True)
    return file


def pages_of(strips: int, lines: int) -> list[slice]:
    """Which strips, of so many lines each, stand on each page: about equally many, seven lines a page or one strip."""
    number = -(-strips // max(1, LINES_ON_A_PAGE // lines))
    return [slice(strips * page // number, strips * (page + 1) // number) for page in range(number)]


def _page_name(lists: Sequence[Lists]) -> str:
    return file_name(f"retrieval-{lists[0].protocol.name}")


def _options(values: Mapping[str, Any]) -> Options:
    faces = values.get("faces")
    if faces not in (None, "blur", "show"):
        raise UsageError(f"faces={faces}: write faces=blur, or faces=show, the default.")
    k = str(values.get("k", 10))
    if not (k.isascii() and k.isdigit()):
        raise UsageError(f"k={k}: write how many gallery images, such as k=10.")
    return Options(
        k=int(k),
        show_ignored=_yes(values, "show_ignored", default=False),
        blur_faces=faces == "blur",
        labels=_yes(values, "labels", default=True),
        selection=None if values.get("selection") is None else str(values["selection"]),
        places={key: values[key] for key in PLACES if key in values},
    )


def _yes(values: Mapping[str, Any], key: str, *, default: bool) -> bool:
    value = values.get(key)
    if value not in (None, "true", "false"):
        raise UsageError(f"{key}={value}: write {key}=true or {key}=false.")
    return default if value is None else value == "true"
