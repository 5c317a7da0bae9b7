"""The errors a user can mend: `run.py` prints one as a sentence and exits with its code. Anything else is a bug."""

import difflib
from collections.abc import Iterable


class CCReIDError(Exception):
    """An error with a sentence for the user: what is wrong, in which file or key, and the mend."""

    exit_code = 1


class UsageError(CCReIDError):
    """The command or a configuration value is wrong."""

    exit_code = 2


class DataError(CCReIDError):
    """A dataset, caption, mask or weight file is missing or not what it should be."""

    exit_code = 3


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """« Did you mean x?» for the nearest of `known`, with a leading space; empty when nothing is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.65)
    return f" Did you mean {near[0]}?" if near else ""
