"""Writing the synthetic world to disk in the layout of an official release, with masks and caption files beside it.

What is written is then read by the adapter of that release like any download, so that a machine without datasets can
run the path from files to a score.
"""

from .releases import LAYOUTS
from .writing import TEXT_MODEL, finished, write_layout

__all__ = ["LAYOUTS", "TEXT_MODEL", "finished", "write_layout"]
