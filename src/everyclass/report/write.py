"""A report on disk. Comes in: a folder. Goes out: one file, whole or absent, and what is in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from everyclass.errors import InputError
from everyclass.report.page import Report, make_report
from everyclass.run_folder import write_atomically

REPORT_FILE = "report.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A report that was written to `path`."""

    path: Path
    report: Report

    @property
    def n_bytes(self) -> int:
        """Size of the file."""
        return len(self.report.html.encode())

    @property
    def sentence(self) -> str:
        """What was written, and what could not be shown."""
        report = self.report
        told = f"Report: {self.path} ({self.n_bytes / 1e6:.1f} MB"
        told += f", {report.embedded:,} pictures)." if report.embedded else ")."
        if report.missing:
            path, reason = report.missing[0]
            n = len(report.missing)
            images = "image" if n == 1 else "images"
            told += f" {n:,} {images} could not be shown; first: {path}, {reason}."
            if report.relative_missing:
                told += " Start it in the folder in which the training was started."
        return told

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""
        report = self.report
        return {
            "report": str(self.path),
            "bytes": self.n_bytes,
            "sections": list(report.sections),
            "left_out": [{"section": one.title, "reason": one.reason} for one in report.absent],
            "pictures": {
                "embedded": report.embedded,
                "asked": report.asked,
                "missing": [{"image": path, "reason": reason} for path, reason in report.missing],
            },
        }


def write_report(folder: Path, out: Path | None = None) -> Written:
    """Write the report of a run, or of what `everyclass run --out` left.

    Args:
        folder: that is read.
        out: the file to write; `report.html` inside the folder when left out.
    Raises:
        InputError: there is nothing to report on, or `out` is a folder.
    """
    path = folder / REPORT_FILE if out is None else out
    if path.is_dir():
        raise InputError(f"{path} is a folder.", remedy="Name a file: --out report.html.")
    report = make_report(folder)
    write_atomically(path, report.html.encode())
    return Written(path=path, report=report)
