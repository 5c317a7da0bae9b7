"""LaTeX: a table environment in booktabs style, to be put into a paper with `\\input`.

The characters that tables need (±, −, …, †, ✓) are written as commands, so that every engine compiles them. Names in
other scripts stay what they are: they need LuaLaTeX or XeLaTeX, and the first line of a file says so.
"""

import re
import unicodedata
from itertools import groupby

from .table import Cell, Column, Table, clean

PACKAGES = "booktabs, graphicx, xcolor, amssymb"
COMMANDS = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    "\u00a0": "~",
    "±": r"$\pm$",
    "−": "$-$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "…": r"$\ldots$",
    "–": "--",
    "—": "---",
    "†": r"\dag{}",
    "‡": r"\ddag{}",
    "✓": r"$\checkmark$",
}
ALIGN = {"left": "l", "right": "r", "center": "c"}
LIGATURE = re.compile(r"(?<=([-,'?!]))(?=\1|`)")
"""Between two characters that LaTeX would join to another one."""
LONG_NAME, SYLLABLE = 32, 12
"""A name of more characters gets a paragraph column, and may be broken after so many without a space."""
SPANNING = 6
"""A table of more columns takes both columns of a paper."""
LAST_LATIN = 0x17F
"""The last code point of Latin Extended-A, which pdfLaTeX's T1 fonts nearly cover."""
PREAMBLE = r"""% LuaLaTeX takes what the text font lacks from the first of these fonts that has it.
\documentclass{article}
\usepackage[margin=2cm]{geometry}
\usepackage{iftex}
\ifPDFTeX
  \usepackage[T1]{fontenc}
  \usepackage[utf8]{inputenc}
  \usepackage{lmodern}
\else
  \usepackage{fontspec}
  \ifLuaTeX
    \def\others{}
    \def\other#1{\IfFontExistsTF{#1}{\edef\others{\others"#1:",}}{}}
    \other{Noto Serif CJK SC}\other{Droid Sans Fallback}\other{DejaVu Serif}\other{DejaVu Sans}
    \ifx\others\empty\else
      \directlua{luaotfload.add_fallback("others", {\others})}
      \setmainfont{Latin Modern Roman}[RawFeature={fallback=others}]
    \fi
  \fi
\fi
\usepackage{booktabs, graphicx, xcolor, amssymb}
"""


def escaped(text: str) -> str:
    """Any text as LaTeX that prints it."""
    return "".join(COMMANDS.get(one, one) for one in LIGATURE.sub("\0", clean(text))).replace("\0", r"\kern0pt{}")


def breakable(text: str) -> str:
    """The same, with places where a word of more than SYLLABLE characters may be broken."""
    words = clean(text).split(" ")
    return " ".join(
        r"\allowbreak{}".join(escaped(word[start : start + SYLLABLE]) for start in range(0, len(word), SYLLABLE) or [0])
        for word in words
    )


def beyond_latin(text: str) -> bool:
    """Whether pdfLaTeX has no letters for the text."""
    rest = (one for one in unicodedata.normalize("NFC", clean(text)) if one not in COMMANDS)
    return any(ord(one) > LAST_LATIN and one not in "‘’“”„‚" for one in rest)


def to_latex(table: Table) -> str:
    """A fragment: comment, table environment with caption and label."""
    environment = "table*" if len(table.columns) > SPANNING else "table"
    names = [row[0].text for row in table.rows]
    first = r"p{0.3\linewidth}" if max(map(len, names), default=0) > LONG_NAME else "l"
    layout = first + "".join(ALIGN[column.align] for column in table.columns[1:])
    body = "".join(f"{' & '.join(map(_cell, row))} \\\\\n" for row in table.rows)
    legend = table.legend("Grey")
    caption = f"{breakable(table.caption)}{' ' * bool(legend)}{escaped(legend)}"
    notes = "".join(
        f"\\par\\raggedright\\footnotesize\\textsuperscript{{{mark}}}~{escaped(text)}\n"
        for mark, text in table.footnotes
    )
    space = "\\par\\smallskip\n" if notes else ""
    return (
        f"{_first_line(table)}\n"
        f"\\begin{{{environment}}}[t]\n\\centering\\setlength{{\\belowcaptionskip}}{{6pt}}"
        "\\renewcommand{\\arraystretch}{1.1}\n"
        f"\\caption[{{{breakable(table.title)}}}]{{{caption}}}\n"
        f"\\label{{tab:{table.name}}}\n"
        "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%\n"
        f"\\begin{{tabular}}{{@{{}}{layout}@{{}}}}\n\\toprule\n{_heading(table.columns)}\\midrule\n{body}"
        f"\\bottomrule\n\\end{{tabular}}}}\n{space}{notes}\\end{{{environment}}}\n"
    )


def to_document(names: list[str]) -> str:
    """A file that compiles by itself and shows the fragments `names`."""
    lines = "".join(f"\\input{{{name}}}\n\\clearpage\n" for name in names)
    return (
        "% All tables of this folder. Compile with LuaLaTeX; pdfLaTeX does where every name is in Latin letters.\n"
        f"{PREAMBLE}\\begin{{document}}\n{lines}\\end{{document}}\n"
    )


def _first_line(table: Table) -> str:
    cells = [cell.text for row in table.rows for cell in row]
    texts = [table.title, table.caption, *cells, *[text for _, text in table.footnotes]]
    if any(map(beyond_latin, texts)):
        return f"% Needs {PACKAGES}. Holds letters beyond Latin: LuaLaTeX or XeLaTeX, and a font that has them."
    return f"% Needs {PACKAGES}. Compiles with pdfLaTeX (T1 fonts), XeLaTeX and LuaLaTeX."


def _heading(columns: tuple[Column, ...]) -> str:
    titles = " & ".join(escaped(column.title) for column in columns) + " \\\\\n"
    if not any(column.group for column in columns):
        return titles
    cells, rules, place = [], [], 1
    for group, members in groupby(columns, key=lambda column: column.group):
        width = len(list(members))
        if group:
            cells.append(f"\\multicolumn{{{width}}}{{c}}{{{escaped(group)}}}")
            rules.append(f"\\cmidrule(lr){{{place}-{place + width - 1}}}")
        else:
            cells += [""] * width
        place += width
    return f"{' & '.join(cells)} \\\\\n{''.join(rules)}\n{titles}"


def _cell(cell: Cell) -> str:
    text = breakable(cell.text) if len(cell.text) > LONG_NAME else escaped(cell.text)
    if not text:
        return ""
    if cell.close:
        text = f"\\underline{{{text}}}"
    if cell.best:
        text = f"\\textbf{{{text}}}"
    if cell.notes:
        text += f"\\textsuperscript{{{','.join(cell.notes)}}}"
    return f"\\textcolor{{gray}}{{{text}}}" if cell.published else text
