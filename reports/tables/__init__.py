"""Tables of results and of ablations, as data, and what prints them: Markdown, LaTeX, CSV, HTML, the terminal."""

from .ablation import ablation_tables
from .as_csv import to_csv
from .as_html import to_html
from .as_latex import to_latex
from .as_markdown import to_markdown
from .on_console import to_console
from .results import result_tables
from .suite import suite_table
from .table import DIFFERENCES, Cell, Column, Number, Table
from .writing import FORMATS, read_formats, write, write_tables

__all__ = [
    "DIFFERENCES",
    "FORMATS",
    "Cell",
    "Column",
    "Number",
    "Table",
    "ablation_tables",
    "read_formats",
    "result_tables",
    "suite_table",
    "to_console",
    "to_csv",
    "to_html",
    "to_latex",
    "to_markdown",
    "write",
    "write_tables",
]
