"""Words in and around figures: labels that any name survives, file names, and what a caption says of the runs."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from functools import cache

from benchmarks.comparison import Row
from benchmarks.selection import marked

from ..wording import counted

LONGEST_FILE_NAME = 80
FALLBACKS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "PingFang SC",
    "Hiragino Sans",
    "Microsoft YaHei",
    "SimHei",
    "Arial Unicode MS",
    "Noto Serif CJK SC",
    "Noto Serif CJK JP",
    "Droid Sans Fallback",
    "Noto Sans",
)
"""Fonts for what DejaVu Sans, which comes with matplotlib, has no shapes for; those that are installed are used."""


@cache
def font_families() -> tuple[str, ...]:
    """DejaVu Sans and the fallbacks that this machine has, in order."""
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    return ("DejaVu Sans", *(name for name in FALLBACKS if name in installed))


@cache
def _drawn_characters() -> frozenset[int]:
    from matplotlib import font_manager

    fonts = [font_manager.get_font(font_manager.findfont(name)) for name in font_families()]
    return frozenset().union(*(font.get_charmap() for font in fonts))


def drawable(text: str) -> str:
    """One line that the fonts have shapes for; another character stands as its number, such as U+884C."""
    text = " ".join(unicodedata.normalize("NFC", text).split())
    known = _drawn_characters()
    text = "".join(char for char in text if unicodedata.category(char) not in ("Cc", "Cf", "Cs"))
    return "".join(char if ord(char) in known else f" U+{ord(char):04X} " for char in text).replace("  ", " ").strip()


def shortened(text: str, length: int = 28) -> str:
    """`text` as a label: drawable, at most `length` characters; «…» is in the middle, since names differ at ends."""
    text = drawable(text)
    if len(text) <= length:
        return text
    tail = length // 3
    return f"{text[: length - 1 - tail].rstrip()}…{text[len(text) - tail :].lstrip()}"


def label(row: Row, length: int = 28) -> str:
    """A configuration's name in a figure, in two lines of `length` characters where one is too short for it.

    Its second line is what stands in brackets. A dagger where its epochs were chosen on the test set.
    """
    dagger = " †" if any("†" in marked(selection) for selection in row.selections) else ""
    name, bracket, apart = drawable(row.name).partition(" (")
    if bracket and len(row.name) > length:
        return f"{shortened(name, length)}{dagger}\n{shortened(bracket.strip() + apart, length)}"
    return shortened(row.name, length) + dagger


def lines_of(labels: Sequence[str]) -> int:
    """How many lines the longest of the `labels` takes."""
    return max(text.count("\n") for text in labels) + 1


def file_name(*parts: str) -> str:
    """A name of letters, digits, dots and hyphens, at most 80 long; a hash tells apart what that would make equal."""
    raw = "-".join(parts)
    plain = re.sub(r"[^a-z0-9.]+", "-", raw.lower()).strip("-.")
    if re.fullmatch(r"[a-z0-9. -]+", raw) and len(plain) <= LONGEST_FILE_NAME:
        return plain
    digest = hashlib.sha256(raw.encode()).hexdigest()[:8]
    kind = re.sub(r"[^a-z0-9]+", "-", parts[-1].lower()).strip("-")[:24]  # the last part says what the figure is
    start = plain[: LONGEST_FILE_NAME - len(kind) - len(digest) - 2].strip("-.")
    return "-".join(part for part in (start, digest, kind) if part)


def in_words(rows: Sequence[Row]) -> str:
    """Configurations with their seeds and selections: «baseline: 3 seeds, selection validation; …»."""
    return "; ".join(_in_words(row) for row in rows) + "."


def _in_words(row: Row) -> str:
    if not row.runs:
        return f"{row.name}: no finished run"
    seeds = counted(len(row.runs), "seed")
    selections = ", ".join(marked(selection) for selection in row.selections)
    unfinished = f", {len(row.unfinished)} unfinished" if row.unfinished else ""
    return f"{row.name}: {seeds}{unfinished}, selection {selections}"
