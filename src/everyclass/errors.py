"""The errors a user can meet. Comes in: facts. Goes out: one message. Knows no other module."""

from __future__ import annotations


class EveryclassError(Exception):
    """Work that began and could not be finished; the command line exits with code 1."""


class InputError(EveryclassError):
    """Bad input or usage: what is wrong, where, and what to do. Exit code 2, no traceback.

    Args:
        what: the fact, as a sentence with its numbers ("train.csv has no image column (...).").
        where: file, row or option, when `what` does not already name it.
        remedy: the act that mends it, as a sentence ("Rename one to 'image' or ...").
    """

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what = what
        self.where = where
        self.remedy = remedy
        place = f"{where}: " if where else ""
        super().__init__(f"{place}{what} {remedy}".strip())
