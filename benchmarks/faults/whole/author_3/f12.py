import os
import sys
import time

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.models.resnet import BasicBlock, ResNet

DATA = os.environ.get('DATA', 'data')


class Config:
    train_dir = os.path.join(DATA, 'trashnet')
    img_size = 40
    batch_size = 25
    epochs = 7
    lr = 0.02
    momentum = 0.9
    weight_decay = 1e-4
    val_every = 5          # every 5th image of a class goes to validation
    seed = 123


def is_val(path):
    number = ''.join(ch for ch in os.path.basename(path) if ch.isdigit())
    return int(number) % Config.val_every == 0


class CachedFolder(ImageFolder):
    """ImageFolder that keeps the transformed tensors (the dataset is tiny)"""

    def __init__(self, *a, **kw):
        super().__init__(*a, **kw)
        self._cache = {}

    def __getitem__(self, index):
        if index not in self._cache:
            self._cache[index] = super().__getitem__(index)
        return self._cache[index]


def get_loaders():
    tf = transforms.Compose([
        transforms.Resize((Config.img_size, Config.img_size)),
        transforms.ToTensor(),
        transforms.Normalize((0.66, 0.63, 0.60), (0.21, 0.21, 0.23)),
    ])
    train_ds = CachedFolder(Config.train_dir, transform=tf, is_valid_file=lambda p: not is_val(p))
    val_ds = CachedFolder(Config.train_dir, transform=tf, is_valid_file=is_val)
    train_dl = DataLoader(train_ds, batch_size=Config.batch_size, num_workers=0)
    val_dl = DataLoader(val_ds, batch_size=100, num_workers=0)
    return train_dl, val_dl, train_ds.classes


def run_epoch(model, dl, loss_fn, optimizer=None):
    train = optimizer is not None
    model.train(train)
    n_cls = model.fc.out_features
    loss_sum, n = 0.0, 0
    hits, counts = torch.zeros(n_cls), torch.zeros(n_cls)
    for xb, yb in dl:
        with torch.set_grad_enabled(train):
            out = model(xb)
            loss = loss_fn(out, yb)
        if train:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        loss_sum += loss.item() * len(yb)
        n += len(yb)
        counts += torch.bincount(yb, minlength=n_cls)
        hits += torch.bincount(yb[out.argmax(1) == yb], minlength=n_cls)
    return loss_sum / n, hits.sum().item() / n, hits / counts


def main():
    torch.manual_seed(Config.seed)
    train_dl, val_dl, classes = get_loaders()
    print('classes:', classes, 'train', len(train_dl.dataset), 'val', len(val_dl.dataset))
    model = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=len(classes))
    loss_fn = nn.CrossEntropyLoss()
    opt = torch.optim.SGD(model.parameters(), lr=Config.lr, momentum=Config.momentum,
                          weight_decay=Config.weight_decay)
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=Config.epochs)
    for epoch in range(Config.epochs):
        t0 = time.time()
        tr_loss, tr_acc, _ = run_epoch(model, train_dl, loss_fn, opt)
        va_loss, va_acc, va_rec = run_epoch(model, val_dl, loss_fn)
        sched.step()
        print(f'epoch {epoch + 1}: train {tr_loss:.3f}/{tr_acc:.3f} val {va_loss:.3f}/{va_acc:.3f} '
              f'({time.time() - t0:.1f}s)')
        sys.stdout.flush()
    for c, r in zip(classes, va_rec.tolist()):
        print(f'{c:10s} recall {r:.3f}')
    print(f'balanced accuracy {va_rec.mean().item():.3f}')


if __name__ == '__main__':
    main()
