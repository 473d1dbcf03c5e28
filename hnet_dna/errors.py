"""The errors that a user can cause, and nothing else.

Each message says what is wrong, where (file, record, line), what was wanted and what to do. It names parameters of
functions in backticks, which the command line replaces by its options. The command line prints one of these errors on
one line and exits with `exit_code`; any other exception is a bug of ours and keeps its traceback. Every class also
derives from the builtin that a caller of the library would expect to catch.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


class HNetError(Exception):
    """Base of all errors caused by input, options or files rather than by a defect of this package."""

    exit_code = 1


class UsageError(HNetError, ValueError):
    """Options that contradict each other, or that ask for something this command does not do."""

    exit_code = 2


class ConfigError(HNetError, ValueError):
    """A model or training configuration that names an unknown field or an impossible value."""


class SequenceError(HNetError, ValueError):
    """A FASTA file, a sequence or a region that cannot be used as it is."""


class CheckpointError(HNetError, OSError):
    """A model folder or run folder that is missing, damaged, or does not fit its configuration."""


class BusyError(HNetError, OSError):
    """A folder or file that another process is working on."""


class DownloadError(HNetError, OSError):
    """A genome that cannot be downloaded, or that is not what its manifest promises."""


class TrainingError(HNetError, RuntimeError):
    """Training that cannot continue: no data left for it, or a loss that is NaN or infinite."""


class StoppedEarly(HNetError, RuntimeError):
    """A run that was asked to stop, and has saved its state."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a sentence such as `Did you mean d_model?`, or the list of known words if none is near.

    Near is what is spelt alike; else what the word is short for: `lr` is learning_rate, or lr_multipliers.
    """
    choices = list(known)
    near = get_close_matches(word, choices, n=1) or [choice for choice in choices if _is_short_for(word, choice)][:3]
    if near:
        return f"Did you mean {' or '.join(near)}?"
    return f"Known: {', '.join(choices)}."


def shown(value: Any) -> str:
    """Return a value as a message shows it, cut where it is long."""
    try:
        whole = repr(value)
    except (ValueError, RecursionError):  # integers of thousands of digits have no text
        return f"a value of type {type(value).__name__} too long to show"
    return whole if len(whole) <= 80 else f"{whole[:77]}..."


def _is_short_for(word: str, choice: str) -> bool:
    initials = "".join(part[:1] for part in choice.split("_"))
    return len(word) > 1 and (word == initials or choice.startswith(word))
