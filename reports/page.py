"""Self-contained HTML: one file that opens from a disk, with its style, its script and its pictures inside.

A page asks for nothing: its Content-Security-Policy forbids every request and every script but the one whose hash it
names. Everything that comes from a run, a file name or a caption is escaped by jinja2. The same context gives the same
bytes.
"""

import base64
import hashlib
import io
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.selection import marked
from datasets.files import write_text

from .console import percent
from .run_facts import without_machine_paths

if TYPE_CHECKING:
    import jinja2
    from PIL import Image

TEMPLATES = Path(__file__).parent / "templates"
WIDEST = 2000
"""Pixels of the widest picture inside a page; the files beside it are larger."""
BROAD = 1400
"""A picture of more pixels in width takes the whole width of the page: two columns of a paper, and retrieved images."""
PIXELS_PER_POINT, BROAD_PIXELS = 2.2, 1.6
"""Pixels of the picture to one of the page: a figure of 300 pixels an inch is shown a little larger than in print."""


@dataclass(frozen=True)
class Shown:
    """A picture inside a page. One copy serves as thumbnail and at full size: the browser scales it."""

    title: str
    caption: str
    uri: str
    width: int
    height: int

    @property
    def broad(self) -> bool:
        return self.width > BROAD

    @property
    def shown_width(self) -> int:
        return round(self.width / (BROAD_PIXELS if self.broad else PIXELS_PER_POINT))


@dataclass(frozen=True)
class Gallery:
    """Pictures under one heading."""

    title: str
    pictures: tuple[Shown, ...]
    note: str = ""

    @property
    def ordered(self) -> list[Shown]:
        """Those that stand beside each other first, so that broad ones leave no holes."""
        return sorted(self.pictures, key=lambda picture: picture.broad)

    @property
    def one_narrow(self) -> bool:
        """Whether one picture alone is narrow: its caption stands beside it."""
        return sum(not picture.broad for picture in self.pictures) == 1

    @property
    def wide(self) -> bool:
        return all(picture.broad for picture in self.pictures)


def shown(title: str, caption: str, image: "Image.Image | Path", *, photographs: bool = False) -> Shown:
    """The picture as WebP in a data: URI; lossless unless it shows `photographs`."""
    from PIL import Image

    if isinstance(image, Path):
        with Image.open(image) as file:
            image = file.convert("RGB")
    image = image.convert("RGB")
    if image.width > WIDEST:
        image = image.resize((WIDEST, round(image.height * WIDEST / image.width)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    if photographs:
        image.save(buffer, "WEBP", quality=82, method=4)
    else:
        image.save(buffer, "WEBP", lossless=True, quality=50, method=2)
    uri = "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return Shown(title, caption, uri, image.width, image.height)


def anchor(text: str) -> str:
    """A heading as the name of a place in the page: letters, digits and hyphens, never empty."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii").lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:60]
    return (
        words
        if words and words == text.lower()
        else f"{words or 'part'}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
    )


def write_page(file: Path, template: str, context: Mapping[str, Any]) -> Path:
    """Fill one of the templates and write it."""
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    style = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    own = {"script": _markup(script), "script_hash": f"'sha256-{digest}'", "style": _markup(style)}
    write_text(file, _environment().get_template(template).render(**own, **context))
    return file


def _markup(text: str) -> Any:
    """Our own files, not to be escaped. Nothing that comes from a run may go through here."""
    from markupsafe import Markup

    return Markup(text)  # noqa: S704


def _code(text: str) -> Any:
    """Plain text whose `parts` between backticks are code."""
    from markupsafe import Markup, escape

    parts = [escape(part) for part in text.split("`")]
    if len(parts) % 2 == 0:  # a backtick that is not closed
        return escape(text)
    return Markup("").join(Markup("<code>{}</code>").format(part) if n % 2 else part for n, part in enumerate(parts))


@cache
def _environment() -> "jinja2.Environment":
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "percent": percent,
        "marked": marked,
        "anchor": anchor,
        "code": _code,
        "pathless": lambda text: without_machine_paths(str(text)),
        "duration": duration,
        "thousands": lambda number: f"{number:,}" if isinstance(number, int) else number,
    }
    return environment


def duration(seconds: float) -> str:
    """«1 h 05 min», «3 min 20 s», «48 s»."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
