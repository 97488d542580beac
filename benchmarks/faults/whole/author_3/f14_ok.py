import argparse
from typing import Optional

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.metrics import recall_score
from sklearn.model_selection import train_test_split
from transformers import Trainer, TrainingArguments, set_seed


class ResBlock(nn.Module):
    def __init__(self, ch):
        super().__init__()
        self.c1 = nn.Conv2d(ch, ch, 3, padding=1, bias=False)
        self.n1 = nn.GroupNorm(4, ch)
        self.c2 = nn.Conv2d(ch, ch, 3, padding=1, bias=False)
        self.n2 = nn.GroupNorm(4, ch)

    def forward(self, x):
        h = F.relu(self.n1(self.c1(x)))
        h = self.n2(self.c2(h))
        return F.relu(x + h)


class DigitNet(nn.Module):
    """Keeps to the HF convention: returns a dict with `loss` and `logits`."""

    def __init__(self, width=24, num_labels=10):
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.blocks = nn.Sequential(ResBlock(width), nn.MaxPool2d(2), ResBlock(width))
        self.dropout = nn.Dropout(0.1)
        self.classifier = nn.Linear(width, num_labels)

    def forward(self, pixel_values: torch.Tensor, labels: Optional[torch.Tensor] = None):
        h = F.relu(self.stem(pixel_values))
        h = self.blocks(h).amax(dim=(-2, -1))
        logits = self.classifier(self.dropout(h))
        out = {"logits": logits}
        if labels is not None:
            out["loss"] = F.cross_entropy(logits, labels)
        return out


class ListDataset(torch.utils.data.Dataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return dict(pixel_values=self.x[i], labels=int(self.y[i]))


def metrics(p):
    logits = p.predictions[0] if isinstance(p.predictions, tuple) else p.predictions
    return {"acc": float((logits.argmax(1) == p.label_ids).mean())}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--bs", type=int, default=32)
    opts = parser.parse_args()
    set_seed(0)

    d = load_digits()
    x = torch.tensor(d.images / 8.0 - 1.0, dtype=torch.float32)[:, None]
    xtr, xte, ytr, yte = train_test_split(x, d.target, test_size=0.2, random_state=1, stratify=d.target)
    train_ds, test_ds = ListDataset(xtr, ytr), ListDataset(xte, yte)

    model = DigitNet()
    args = TrainingArguments(
        output_dir="out_digits",
        learning_rate=opts.lr,
        num_train_epochs=opts.epochs,
        per_device_train_batch_size=opts.bs,
        per_device_eval_batch_size=128,
        eval_strategy="epoch",
        logging_strategy="epoch",
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        max_grad_norm=1.0,
    )
    trainer = Trainer(model, args, train_dataset=train_ds, eval_dataset=test_ds, compute_metrics=metrics)
    trainer.train()
    print(trainer.evaluate())
    preds = trainer.predict(test_ds).predictions.argmax(1)
    print("recalls", np.round(recall_score(yte, preds, average=None, zero_division=0), 3))


if __name__ == "__main__":
    main()
