"""Every figure that a study can have; what cannot be shown is said in words."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.studies import Study

from ..figures.style import NothingToShowError, Picture
from .confirmation import confirmation
from .contours import contours
from .course import course
from .history import history
from .importance import importance
from .parallel import parallel_coordinates
from .pareto import pareto_front
from .slices import slices

FIGURES = (confirmation, history, importance, slices, contours, parallel_coordinates, pareto_front, course)


def figures_of_study(study: Study, folder: Path) -> Iterator[Picture | str]:
    """Pictures in the order in which a reader asks, or why there is none; a single objective has no Pareto front."""
    for make in FIGURES:
        if make is pareto_front and len(study.objectives) == 1:
            continue
        try:
            yield make(study, folder)
        except NothingToShowError as reason:
            yield str(reason)
