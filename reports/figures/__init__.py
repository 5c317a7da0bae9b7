"""Figures of runs, in one style. `everything.figures_of_rows` and `everything.figures_of_run` make all that apply."""
