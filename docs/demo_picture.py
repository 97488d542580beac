"""The README's picture: a few of the demo's images, and the recall of each class three times.

everyclass demo --out everyclass-demo --json demo.json
python docs/demo_picture.py everyclass-demo demo.json docs/demo.png
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from everyclass.images.synthetic import contact_sheet

SHOWN = 6


def main(folder: Path, result: Path, out: Path) -> None:
    """Draw `out` from the demo in `folder` and its JSON `result`."""
    images, labels = [], []
    with open(folder / "images" / "train.csv", newline="") as file:
        for row in csv.DictReader(file):
            if labels.count(row["label"]) < SHOWN:
                name = f"{row['image_id']}_thumbnail.jpg"
                path = folder / "images" / "train_thumbnails" / name
                images.append(np.asarray(Image.open(path)))
                labels.append(row["label"])
    sheet = contact_sheet(images, labels, columns=SHOWN, tile=96)
    values = json.loads(result.read_text())
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(12, 4.6), dpi=80, width_ratios=(1.45, 1), layout="constrained"
    )
    left.imshow(sheet)
    left.axis("off")
    left.set_title("1,000 images of five tissue types, half of them HGSC")
    names = [one["name"] for one in values["ours"]["evaluation"]["classes"]]
    places = np.arange(len(names))
    fix = values["script"]["fix"]
    ours = {one["name"]: one["recall"] for one in values["ours"]["evaluation"]["classes"]}
    for shift, recalls, colour, label in (
        (-0.27, fix["before"]["recalls"], "#c0392b", "a script"),
        (0.0, fix["after"]["recalls"], "#e59866", "its fixed copy"),
        (0.27, ours, "#2471a3", "everyclass train"),
    ):
        shown = [recalls[name] for name in names]
        right.barh(places + shift, shown, height=0.25, color=colour, label=label)
    right.set_yticks(places, names)
    right.invert_yaxis()
    right.set_xlim(0, 1)
    right.set_xlabel("recall on test images")
    right.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
    right.spines[["top", "right"]].set_visible(False)
    figure.savefig(out)


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:4]))
