"""Train for a number of iterations, with warm-up and cosine decay."""

import argparse
import math
import random

import numpy as np
import torch
from parts.digits import load_images
from parts.vit import Net
from torch import nn
from torch.optim.lr_scheduler import LambdaLR


def get_args():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", default="data")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--warmup", type=int, default=30)
    parser.add_argument("--eval-every", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def get_data(root):
    images, labels, classes = load_images(root)
    x = images.astype(np.float32) / 255
    x = (x - x.mean(axis=(0, 1, 2))) / x.std(axis=(0, 1, 2))
    x = torch.tensor(x).permute(0, 3, 1, 2).contiguous()
    y = torch.tensor(labels, dtype=torch.long)
    perm = torch.randperm(len(x))
    x, y = x[perm], y[perm]
    n_val = len(x) // 5
    return x[n_val:], y[n_val:], x[:n_val], y[:n_val], classes


def batches(x, y, batch_size):
    while True:
        perm = torch.randperm(len(x))
        for start in range(0, len(x) - batch_size + 1, batch_size):
            idx = perm[start : start + batch_size]
            yield x[idx], y[idx]


@torch.no_grad()
def evaluate(model, x, y, num_classes):
    model.eval()
    logits = torch.cat([model(part) for part in x.split(200)])
    loss = nn.functional.cross_entropy(logits, y)
    confusion = torch.zeros(num_classes, num_classes, dtype=torch.long)
    confusion.index_put_((y, logits.argmax(1)), torch.ones(len(y), dtype=torch.long), True)
    model.train()
    return loss.item(), confusion


def main():
    args = get_args()
    random.seed(args.seed)
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)

    x_train, y_train, x_val, y_val, classes = get_data(args.root)
    model = Net(x_train.shape[1], len(classes), x_train.shape[2])
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=args.weight_decay)

    def schedule(step):
        if step < args.warmup:
            return (step + 1) / args.warmup
        progress = (step - args.warmup) / max(1, args.steps - args.warmup)
        return 0.5 * (1 + math.cos(math.pi * progress))

    scheduler = LambdaLR(optimizer, schedule)
    criterion = nn.CrossEntropyLoss()

    train_confusion = torch.zeros(len(classes), len(classes), dtype=torch.long)
    stream = batches(x_train, y_train, args.batch_size)
    for step in range(1, args.steps + 1):
        x, y = next(stream)
        logits = model(x)
        loss = criterion(logits, y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        scheduler.step()
        for target, prediction in zip(y.tolist(), logits.argmax(1).tolist()):
            train_confusion[target, prediction] += 1
        if step % args.eval_every == 0 or step == args.steps:
            val_loss, val_confusion = evaluate(model, x_val, y_val, len(classes))
            print(
                f"step {step} | lr {scheduler.get_last_lr()[0]:.2e} | loss {loss.item():.4f} | "
                f"val loss {val_loss:.4f} | "
                f"val acc {val_confusion.diagonal().sum().item() / len(y_val):.4f}"
            )
            if step < args.steps:
                train_confusion.zero_()

    print("train confusion:", train_confusion.tolist())
    print("val confusion:", val_confusion.tolist())


if __name__ == "__main__":
    main()
