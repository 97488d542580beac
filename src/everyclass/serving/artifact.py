"""What an exporter gives: files that are not written yet, and how they answer.

Comes in: bytes and a function. Goes out: values that the check against PyTorch and the writing
share. Knows no format.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from everyclass.errors import InputError

Images = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """Of one batch.

    Args:
        probabilities, balanced_scores: (B, C) float32, as `models.graph.DecidedClassifier`.
    """

    probabilities: npt.NDArray[np.float32]
    balanced_scores: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Artifact:
    """An exported model in memory.

    Args:
        files: (ending, content) pairs; the first is the file that a user names.
        answer: runs these very bytes by the library that users run them with, on
            (B, 3, H, W) uint8 RGB.
        words: which library, in words.
    """

    files: tuple[tuple[str, bytes], ...]
    answer: Callable[[Images], Answers]
    words: str

    @property
    def n_bytes(self) -> int:
        """Of all files."""
        return sum(len(content) for _, content in self.files)


def need_packages(packages: Sequence[str], *, extra: str, what: str) -> None:
    """Refuse to begin without packages that an extra brings.

    Args:
        packages: names to import.
        extra: of everyclass.
        what: that needs them, as typed.
    Raises:
        InputError: one is missing.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise InputError(
            f"{what} needs {' and '.join(missing)}, which {verb} not installed.",
            remedy=f"pip install 'everyclass[{extra}]'",
        )
