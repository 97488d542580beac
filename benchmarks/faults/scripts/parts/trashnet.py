from pathlib import Path

import numpy as np
from PIL import Image


def load_images(root):
    """Photos of waste, six classes, 200 of each at most, 24 x 24."""
    folders = sorted(folder for folder in (Path(root) / "trashnet").iterdir() if folder.is_dir())
    images, labels = [], []
    for label, folder in enumerate(folders):
        for path in sorted(folder.glob("*.jpg"))[:200]:
            images.append(np.asarray(Image.open(path).convert("RGB").resize((24, 24))))
            labels.append(label)
    return np.stack(images), np.array(labels), [folder.name for folder in folders]
