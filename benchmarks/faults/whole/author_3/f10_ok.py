import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy


class DigitsDataModule(pl.LightningDataModule):
    def __init__(self, batch_size=32):
        super().__init__()
        self.batch_size = batch_size

    def setup(self, stage=None):
        bunch = load_digits()
        x = torch.from_numpy(bunch.images).float()[:, None] / 16.0
        x = (x - x.mean()) / x.std()
        y = torch.from_numpy(bunch.target)
        idx = np.random.RandomState(11).permutation(len(y))
        tr, va = idx[:1400], idx[1400:]
        self.train = TensorDataset(x[tr], y[tr])
        self.val = TensorDataset(x[va], y[va])

    def train_dataloader(self):
        return DataLoader(self.train, batch_size=self.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.val, batch_size=199)


class LitDigits(pl.LightningModule):
    def __init__(self, lr=0.05, hidden=128, num_classes=10):
        super().__init__()
        self.save_hyperparameters()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(),
            nn.Conv2d(12, 24, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(24, 24, 3, stride=2, padding=1), nn.ReLU(),
        )
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(24 * 2 * 2, hidden), nn.ReLU(), nn.Linear(hidden, num_classes))
        self.val_acc = MulticlassAccuracy(num_classes=num_classes, average="macro")
        self.val_recall = MulticlassAccuracy(num_classes=num_classes, average="none")

    def forward(self, x):
        return self.head(self.encoder(x))

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        self.log("train_loss", loss, on_epoch=True, on_step=False)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        logits = self(x)
        self.val_acc.update(logits, y)
        self.val_recall.update(logits, y)
        self.log("val_loss", F.cross_entropy(logits, y))

    def on_validation_epoch_end(self):
        acc = self.val_acc.compute()
        self.log("val_acc", acc)
        self.last_recall = self.val_recall.compute()
        self.val_acc.reset()
        self.val_recall.reset()

    def on_train_epoch_end(self):
        m = self.trainer.callback_metrics
        print(f"epoch {self.current_epoch}: train_loss={m['train_loss']:.4f} "
              f"val_loss={m['val_loss']:.4f} val_acc={m['val_acc']:.4f}")

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=self.hparams.lr, momentum=0.9)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=4, gamma=0.5)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "epoch"},
        }


def main():
    pl.seed_everything(5)
    dm = DigitsDataModule()
    model = LitDigits()
    trainer = pl.Trainer(
        max_epochs=10, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )
    trainer.fit(model, dm)
    print("recall per digit:", [round(v, 2) for v in model.last_recall.tolist()])


if __name__ == "__main__":
    main()
