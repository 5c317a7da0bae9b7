"""The errors a user can mend: `run.py` prints one as a sentence and exits with its code. Anything else is a bug."""


class CCReIDError(Exception):
    """An error with a sentence for the user: what is wrong, in which file or key, and the mend."""

    exit_code = 1


class UsageError(CCReIDError):
    """The command or a configuration value is wrong."""

    exit_code = 2


class DataError(CCReIDError):
    """A dataset, caption, mask or weight file is missing or not what it should be."""

    exit_code = 3
