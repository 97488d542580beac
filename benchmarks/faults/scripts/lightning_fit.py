"""Train with Lightning."""

import argparse

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from parts.bn_cnn import Net
from parts.digits import load_images
from torch.utils.data import DataLoader, TensorDataset


class LitClassifier(pl.LightningModule):
    def __init__(self, in_channels, num_classes, side, lr):
        super().__init__()
        self.model = Net(in_channels, num_classes, side)
        self.num_classes = num_classes
        self.lr = lr

    def forward(self, x):
        return self.model(x)

    def on_train_epoch_start(self):
        self.train_confusion = torch.zeros(self.num_classes, self.num_classes, dtype=torch.long)

    def training_step(self, batch, batch_idx):
        x, y = batch
        logits = self(x)
        loss = F.cross_entropy(logits, y)
        for target, prediction in zip(y.tolist(), logits.argmax(1).tolist()):
            self.train_confusion[target, prediction] += 1
        return loss

    def on_validation_epoch_start(self):
        self.val_confusion = torch.zeros(self.num_classes, self.num_classes, dtype=torch.long)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        logits = self(x)
        loss = F.cross_entropy(logits, y)
        for target, prediction in zip(y.tolist(), logits.argmax(1).tolist()):
            self.val_confusion[target, prediction] += 1
        self.log("val_loss", loss)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", default="data")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=0.001)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    pl.seed_everything(args.seed)

    images, labels, classes = load_images(args.root)
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float().div(255).sub(0.5).div(0.5)
    y = torch.from_numpy(labels).long()
    order = torch.randperm(len(x))
    x, y = x[order], y[order]
    split = int(0.8 * len(x))
    train_loader = DataLoader(
        TensorDataset(x[:split], y[:split]), batch_size=args.batch_size, shuffle=True
    )
    val_loader = DataLoader(TensorDataset(x[split:], y[split:]), batch_size=128)

    model = LitClassifier(x.shape[1], len(classes), x.shape[2], args.lr)
    trainer = pl.Trainer(
        max_epochs=args.epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, train_loader, val_loader)
    print(trainer.callback_metrics)
    print("train confusion:", model.train_confusion.tolist())
    print("val confusion:", model.val_confusion.tolist())
