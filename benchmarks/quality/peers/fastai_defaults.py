"""fastai as its documentation begins: runs in an environment of its own.

    peer/bin/python fastai_defaults.py MANIFEST SIDE EPOCHS SEED OUT.npz

`ImageDataLoaders.from_df` with `Resize(SIDE)`, `aug_transforms()` and batch 64, `vision_learner` on
a ResNet-18 from scratch, `fit_one_cycle(EPOCHS)` at its default rate; the last epoch's weights.
OUT.npz as torchvision_style.py writes it, and when the last epoch ended (Unix time).
"""

import sys
import time

import numpy as np
import pandas
from fastai.vision.all import (
    ImageDataLoaders,
    Resize,
    aug_transforms,
    resnet18,
    set_seed,
    vision_learner,
)


def main() -> None:
    started = time.perf_counter()
    manifest, side, epochs, seed, out = sys.argv[1], *map(int, sys.argv[2:5]), sys.argv[5]
    set_seed(seed)
    table = pandas.read_csv(manifest, dtype={"label": str})
    classes = sorted(table["label"].unique())
    seen = table[table["split"] != "test"].reset_index(drop=True)
    seen["valid"] = seen["split"] == "val"
    loaders = ImageDataLoaders.from_df(
        seen,
        path="/",
        fn_col="image",
        label_col="label",
        valid_col="valid",
        bs=64,
        item_tfms=Resize(side),
        batch_tfms=aug_transforms(),
        num_workers=2,
        device="cpu",
    )
    assert list(loaders.vocab) == classes
    learner = vision_learner(loaders, resnet18, pretrained=False)
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(epochs)
        found = {"trained_at": time.time()}
        for split in ("val", "test"):
            part = table[table["split"] == split]
            if part.empty:
                continue
            images = loaders.test_dl(list(part["image"]))
            # The loss's activation would make probabilities of them.
            logits, _ = learner.get_preds(dl=images, act=lambda z: z)
            found[f"{split}_logits"] = logits.numpy()
            found[f"{split}_targets"] = np.array([classes.index(one) for one in part["label"]])
    counts = [int(((seen["label"] == one) & ~seen["valid"]).sum()) for one in classes]
    np.savez(out, seconds=time.perf_counter() - started, counts=np.array(counts), **found)


if __name__ == "__main__":
    main()
