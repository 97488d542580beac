import csv
from pathlib import Path

import numpy as np
from PIL import Image


def load_images(root):
    """The demo's slides, 32 x 32, five classes of which one has half of the images."""
    with open(Path(root) / "demo" / "train.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    classes = sorted({row["label"] for row in rows})
    images = []
    for row in rows:
        path = Path(root) / "demo" / "train_thumbnails" / f"{row['image_id']}_thumbnail.jpg"
        images.append(np.asarray(Image.open(path).convert("RGB").resize((32, 32))))
    labels = np.array([classes.index(row["label"]) for row in rows])
    return np.stack(images), labels, classes
