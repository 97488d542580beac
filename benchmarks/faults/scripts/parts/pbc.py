from pathlib import Path

import numpy as np
from PIL import Image


def load_images(root):
    """Blood cells, eight classes with a long tail (500 down to 25), 24 x 24."""
    folders = sorted(folder for folder in (Path(root) / "pbc_128").iterdir() if folder.is_dir())
    images, labels = [], []
    for label, folder in enumerate(folders):
        wanted = int(500 * 20 ** (-label / 7))
        for path in sorted(folder.glob("*.jpg"))[:wanted]:
            images.append(np.asarray(Image.open(path).convert("RGB").resize((24, 24))))
            labels.append(label)
    return np.stack(images), np.array(labels), [folder.name for folder in folders]
