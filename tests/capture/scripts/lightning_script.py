import logging
import warnings

import pytorch_lightning as pl
import torch
from parts import Net, images
from torch import nn
from torch.utils.data import DataLoader

warnings.simplefilter("ignore")
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)


class Module(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = Net()
        self.loss_of = nn.CrossEntropyLoss()

    def training_step(self, batch, index):
        pixels, labels = batch
        loss = self.loss_of(self.net(pixels), labels)
        print(repr(loss.item()))
        return loss

    def validation_step(self, batch, index):
        pixels, labels = batch
        print("validation", repr(self.loss_of(self.net(pixels), labels).item()))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05)


torch.manual_seed(0)
trainer = pl.Trainer(
    max_epochs=2,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
loader = DataLoader(images(160), batch_size=32, shuffle=True)
trainer.fit(Module(), loader, DataLoader(images(64, seed=1), batch_size=32))
