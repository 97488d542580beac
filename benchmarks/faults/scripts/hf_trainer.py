"""Train with the Hugging Face Trainer."""

import argparse

import numpy as np
import torch
import torch.nn as nn
from parts.digits import load_images
from parts.vgg import Net
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments


class ImageDataset(Dataset):
    def __init__(self, images, labels):
        self.images = images
        self.labels = labels

    def __len__(self):
        return len(self.images)

    def __getitem__(self, idx):
        pixel_values = torch.from_numpy(self.images[idx]).permute(2, 0, 1).float() / 255
        return {"pixel_values": (pixel_values - 0.5) / 0.5, "labels": int(self.labels[idx])}


class ImageClassifier(nn.Module):
    def __init__(self, in_channels, num_labels, side):
        super().__init__()
        self.backbone = Net(in_channels, num_labels, side)

    def forward(self, pixel_values, labels=None):
        logits = self.backbone(pixel_values)
        loss = None
        if labels is not None:
            loss = nn.functional.cross_entropy(logits, labels)
        return {"loss": loss, "logits": logits}


def confusion_matrix(labels, predictions, n):
    confusion = np.zeros((n, n), dtype=int)
    np.add.at(confusion, (labels, predictions), 1)
    return confusion


def compute_metrics(eval_pred):
    logits, labels = eval_pred
    return {"accuracy": float((logits.argmax(-1) == labels).mean())}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", default="data")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=42)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    np.random.seed(args.seed)

    images, labels, classes = load_images(args.root)
    order = np.random.permutation(len(images))
    split = int(0.8 * len(order))
    train_dataset = ImageDataset(images[order[:split]], labels[order[:split]])
    eval_dataset = ImageDataset(images[order[split:]], labels[order[split:]])

    model = ImageClassifier(images.shape[3], len(classes), images.shape[1])
    training_args = TrainingArguments(
        output_dir="hf_output",
        num_train_epochs=args.epochs,
        per_device_train_batch_size=args.batch_size,
        per_device_eval_batch_size=128,
        learning_rate=args.lr,
        eval_strategy="epoch",
        save_strategy="no",
        logging_steps=20,
        report_to=[],
        seed=args.seed,
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Trainer(
        model=model,
        args=training_args,
        train_dataset=train_dataset,
        eval_dataset=eval_dataset,
        compute_metrics=compute_metrics,
    )
    trainer.train()

    for name, dataset in (("train", train_dataset), ("val", eval_dataset)):
        output = trainer.predict(dataset)
        confusion = confusion_matrix(output.label_ids, output.predictions.argmax(-1), len(classes))
        print(f"{name} confusion:", confusion.tolist())


if __name__ == "__main__":
    main()
