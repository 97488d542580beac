"""The demo's images, written in the file layout of UBC-OCEAN.

In: a folder, a number and a seed. Out: JPEG files and their `train.csv`. What tells a class is
structure alone: the mean and the standard deviation of each colour channel are drawn apart from
the class and imposed on the finished picture, so a network has to look at shapes. The drawing
itself is in `synthetic_tissue`. Knows nothing of image tables, training or torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from everyclass.errors import InputError
from everyclass.images.synthetic_paint import Pixels
from everyclass.images.synthetic_tissue import DRAWN_SIDE, draw_tissue
from everyclass.run_folder import write_atomically
from everyclass.seeding import stream_seed

DEMO_SHARES = {"CC": 0.10, "EC": 0.15, "HGSC": 0.50, "LGSC": 0.12, "MC": 0.13}
"""Classes of the demo and their shares: the histotypes of UBC-OCEAN, about as it has them."""

SMALLEST_SET = 20  # under this a class would have one image, and no split could serve it
SMALLEST_SIDE = 32  # under this a nucleus is less than a pixel


def write_demo_images(
    folder: str | Path,
    *,
    n: int = 1000,
    side: int = DRAWN_SIDE,
    seed: int = 0,
    threads: int,
) -> Path:
    """Write the demo's images as `train_thumbnails/{id}_thumbnail.jpg`, then `train.csv`.

    The table has the columns of UBC-OCEAN's: image_id, label, image_width, image_height, is_tma;
    the ids are distinct integers in ascending order and tell nothing about the label. It is
    written last, so a folder with `train.csv` has all of its images. A picture depends on `seed`
    and its own id only: neither `threads` nor a second call changes a byte.

    Args:
        n: images in all, at least 20; `demo_counts(n)` of each class.
        side: width and height in pixels, at least 32.
        threads: pictures drawn at the same time.
    Returns:
        The path of `train.csv`.
    Raises:
        InputError: a number too small; `folder` holds another `train.csv` or cannot be written.
    """
    for name, value, least in (
        ("n", n, SMALLEST_SET),
        ("side", side, SMALLEST_SIDE),
        ("threads", threads, 1),
    ):
        if value < least:
            raise InputError(f"{name} is {value}; the demo needs at least {least}.")
    ids, labels = _ids_and_labels(n, seed)
    rows = [f"{i},{label},{side},{side},False" for i, label in zip(ids, labels)]
    text = "\n".join(["image_id,label,image_width,image_height,is_tma", *rows, ""])

    def drawn(image_id: int, label: str) -> tuple[str, bytes]:
        rng = np.random.default_rng(stream_seed(seed, "demo image", image_id))
        pixels = draw_tissue(label, rng, side=side)
        return f"train_thumbnails/{image_id}_thumbnail.jpg", _jpeg(pixels)

    with ThreadPoolExecutor(threads) as pool:
        return write_set(Path(folder) / "train.csv", text, pool.map(drawn, ids, labels))


def demo_counts(n: int) -> dict[str, int]:
    """Images of each class among n: its share, whole, what is left to the largest remainders.

    Example:
        >>> demo_counts(1000)
        {'CC': 100, 'EC': 150, 'HGSC': 500, 'LGSC': 120, 'MC': 130}
    """
    exact = n * np.array(list(DEMO_SHARES.values()))
    counts = np.floor(exact + 1e-9).astype(int)
    most_cut = np.argsort(counts - exact, kind="stable")[: n - counts.sum()]
    counts[most_cut] += 1
    return dict(zip(DEMO_SHARES, counts.tolist()))


def write_set(manifest: Path, text: str, files: Iterable[tuple[str, bytes]]) -> Path:
    """Write image files and then their manifest, so that a manifest has all of its images.

    An earlier manifest with the same text is removed first: if this call is cut short, what is
    left is not taken for a whole set.

    Args:
        manifest: path of the manifest.
        text: what it says.
        files: path beneath the manifest's folder, and content, of each image; may be made lazily.
    Returns:
        `manifest`.
    Raises:
        InputError: there is a manifest with another text, or the folder cannot be written.
    """
    try:
        if manifest.exists() and manifest.read_bytes() != text.encode():
            raise InputError(
                f"There is already another {manifest.name}.",
                where=str(manifest.parent),
                remedy="Choose another folder, or remove that file.",
            )
        manifest.unlink(missing_ok=True)
        for name, content in files:
            path = manifest.parent / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    except OSError as error:
        raise InputError(
            f"The images cannot be written ({error.strerror}).",
            where=str(manifest.parent),
            remedy="Choose a folder with room that you may write to.",
        ) from error
    write_atomically(manifest, text.encode())
    return manifest


def contact_sheet(
    images: Sequence[Pixels], labels: Sequence[str], *, columns: int = 8, tile: int = 128
) -> Image.Image:
    """A picture of pictures: one row a class in sorted order, its name at the left.

    Args:
        images: each (H, W, 3) uint8; the first `columns` of each class are shown.
        tile: side in pixels of one picture on the sheet.
    Raises:
        InputError: no images, or not one label an image.
    """
    if not images or len(images) != len(labels):
        raise InputError(
            f"{len(images)} images and {len(labels)} labels; one for each is expected."
        )
    names = sorted(set(labels))
    gap, margin = 4, 60
    size = (margin + columns * (tile + gap), gap + len(names) * (tile + gap))
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(16)
    for row, name in enumerate(names):
        top = gap + row * (tile + gap)
        draw.text((margin - 8, top + tile // 2), name, fill="black", font=font, anchor="rm")
        shown = [image for image, label in zip(images, labels) if label == name][:columns]
        for column, image in enumerate(shown):
            small = Image.fromarray(image).resize((tile, tile), Image.Resampling.LANCZOS)
            sheet.paste(small, (margin + column * (tile + gap), top))
    return sheet


def _ids_and_labels(n: int, seed: int) -> tuple[list[int], list[str]]:
    """Ascending distinct ids, and a label for each."""
    rng = np.random.default_rng(stream_seed(seed, "demo table"))
    counts = demo_counts(n)
    labels = rng.permutation(np.repeat(list(counts), list(counts.values())))
    ids = np.sort(rng.choice(max(65_536, 8 * n), size=n, replace=False))
    return ids.tolist(), labels.tolist()


def _jpeg(pixels: Pixels) -> bytes:
    content = BytesIO()
    # 4:4:4, because the usual 4:2:0 would damp colour more where the texture is finer: a small
    # leak of structure into the channel statistics.
    Image.fromarray(pixels).save(content, "JPEG", quality=90, subsampling=0)
    return content.getvalue()
