"""What our audit and CleanVision find in the same images, issue by issue, and where they differ.

CleanVision lives in an environment of its own:

    python3 -m venv peer && peer/bin/pip install cleanvision==0.3.7
    python benchmarks/speed/agreement.py FOLDER --peer-python peer/bin/python [--list 10]

FOLDER holds a folder a class. Both look at every image with their defaults; ours at 64 px. For each
issue: how many images each found, how many both, and of those that only one found the first
`--list`, with CleanVision's score (0 worst, 1 best) and our numbers: 99 % and 5 % grey level, bits,
sharpest edge (limits: below 94, above 242, below 3, below 0.2), size. Blank images count as our low
information: nothing else is said of them. Of duplicates every image of a group counts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from everyclass.images.audit import examine_images
from everyclass.images.audit_values import Audit
from everyclass.images.readers import read_table
from everyclass.images.records import Records
from everyclass.workflows.cores import usable_cores

SIDE = 64
PEER = """
import contextlib, io, json, os, sys
from cleanvision import Imagelab
folder, out, cores = sys.argv[1], sys.argv[2], int(sys.argv[3])
if __name__ == "__main__":
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        lab = Imagelab(data_path=folder)
        lab.find_issues(n_jobs=cores, verbose=False)
    found, scores = {}, {}
    for column in lab.issues.columns:
        if column.startswith("is_"):
            name = column[3:-6]
            found[name] = [os.path.realpath(p) for p in lab.issues.index[lab.issues[column]]]
            values = lab.issues[name + "_score"]
            scores[name] = {os.path.realpath(p): float(v) for p, v in values.items()}
    with open(out, "w") as file:
        json.dump({"found": found, "scores": scores}, file)
"""

ISSUES = {  # CleanVision's name -> our oddity; duplicates are handled apart
    "blurry": "blurred",
    "dark": "dark",
    "light": "light",
    "low_information": "low-information",
    "odd_size": "odd-size",
    "odd_aspect_ratio": "stretched",
    "grayscale": "grey-among-coloured",
}


def real(path: str) -> str:
    return os.path.realpath(path)


def of_ours(audit: Audit) -> dict[str, set[str]]:
    odd = {one.oddity: {real(found.image) for found in one.images} for one in audit.odd_images}
    found = {name: odd.get(oddity, set()) for name, oddity in ISSUES.items()}  # type: ignore[call-overload]
    found["low_information"] |= {real(one.found.image) for one in audit.blank}
    for name, groups in (
        ("exact_duplicates", audit.duplicates),
        ("near_duplicates", audit.near_duplicates),
    ):
        found[name] = {real(image.image) for group in groups for image in group.images}
    return found


def of_peer(folder: str, python: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "peer.json"
        subprocess.run([python, "-c", PEER, folder, str(out), str(usable_cores())], check=True)
        found: dict[str, Any] = json.loads(out.read_text())
        return found


def numbers(records: Records) -> list[str]:
    looks = records["look"]
    return [
        f"99% {look['bright_end']}, 5% {look['dark_end']}, bits {look['bits']:.2f}, sharpest "
        f"{look['sharpest']:.2f}, {look['width']} x {look['height']}"
        for look in looks
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--peer-python", required=True)
    parser.add_argument("--list", type=int, default=5, dest="most")
    arguments = parser.parse_args()
    table = read_table(arguments.folder)
    state = examine_images(table, side=SIDE, threads=usable_cores())
    audit = state.finish(table, side=SIDE)
    records = state.records()
    measured = {
        real(table.image(int(row))): text for row, text in zip(records["row"], numbers(records))
    }
    ours, peer = of_ours(audit), of_peer(arguments.folder, arguments.peer_python)
    print(f"{arguments.folder}: {audit.n:,} images")
    print(f"{'issue':20}{'ours':>7}{'CleanVision':>13}{'both':>7}")
    for name in ours:
        theirs = set(peer["found"].get(name, ()))
        both = ours[name] & theirs
        print(f"{name:20}{len(ours[name]):7,}{len(theirs):13,}{len(both):7,}")
    for name in ours:
        theirs = set(peer["found"].get(name, ()))
        for who, only in (("only ours", ours[name] - theirs), ("only theirs", theirs - ours[name])):
            for image in sorted(only)[: arguments.most]:
                score = peer["scores"].get(name, {}).get(image)
                told = "no score" if score is None else f"score {score:.3f}"
                short = "/".join(Path(image).parts[-2:])
                print(f"{name}, {who}: {short}: {told}; {measured.get(image, 'not read')}")


if __name__ == "__main__":
    main()
