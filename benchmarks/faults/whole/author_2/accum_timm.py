import os
import random
import timm
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import ImageFolder
from torchvision import transforms as T

class CFG:
    root = os.path.join(os.environ.get('DATA', 'data'), 'pbc_128')
    model_name = 'resnet10t'
    img = 32
    bs = 16
    accum = 64        # effective batch size 1024, as in the paper
    epochs = 5
    lr = 1.5e-3
    n_train = 640
    n_val = 320
    seed = 1234

def seed_everything(s):
    random.seed(s)
    torch.manual_seed(s)

def get_loaders():
    mean, std = [0.79, 0.70, 0.75], [0.2, 0.25, 0.2]
    ds_tr = ImageFolder(CFG.root, T.Compose([T.Resize((CFG.img, CFG.img)), T.RandomHorizontalFlip(), T.RandomVerticalFlip(),
                                             T.ToTensor(), T.Normalize(mean, std)]))
    ds_va = ImageFolder(CFG.root, T.Compose([T.Resize((CFG.img, CFG.img)), T.ToTensor(), T.Normalize(mean, std)]))
    per = {}
    for i, t in enumerate(ds_tr.targets):
        per.setdefault(t, []).append(i)
    tr, va = [], []
    for t, ids in per.items():
        random.shuffle(ids)
        a, b = CFG.n_train // len(per), CFG.n_val // len(per)
        tr += ids[:a]
        va += ids[a:a + b]
    return (DataLoader(Subset(ds_tr, tr), batch_size=CFG.bs, shuffle=True, drop_last=True),
            DataLoader(Subset(ds_va, va), batch_size=64), ds_tr.classes)

class Learner:
    def __init__(self):
        self.train_dl, self.valid_dl, self.classes = get_loaders()
        self.model = timm.create_model(CFG.model_name, pretrained=False, num_classes=len(self.classes))
        self.loss_fn = nn.CrossEntropyLoss()
        self.opt = torch.optim.AdamW(self.model.parameters(), lr=CFG.lr, weight_decay=0.01)

    def train_epoch(self):
        self.model.train()
        self.opt.zero_grad()
        losses = []
        for step, (x, y) in enumerate(self.train_dl):
            with torch.autocast('cpu', dtype=torch.bfloat16, enabled=False):
                out = self.model(x)
                loss = self.loss_fn(out, y) / CFG.accum
            loss.backward()
            if (step + 1) % CFG.accum == 0:
                self.opt.step()
                self.opt.zero_grad()
            losses.append(loss.item() * CFG.accum)
        return sum(losses) / len(losses)

    @torch.no_grad()
    def valid(self):
        self.model.eval()
        n = len(self.classes)
        hit, cnt = [0] * n, [0] * n
        for x, y in self.valid_dl:
            for p, t in zip(self.model(x).argmax(1).tolist(), y.tolist()):
                cnt[t] += 1
                hit[t] += p == t
        return [h / c for h, c in zip(hit, cnt)]

if __name__ == '__main__':
    seed_everything(CFG.seed)
    learn = Learner()
    for ep in range(CFG.epochs):
        loss = learn.train_epoch()
        rec = learn.valid()
        print(f'ep {ep}  loss {loss:.4f}  val balanced acc {sum(rec) / len(rec):.4f}')
    for c, r in zip(learn.classes, rec):
        print(f'{c:>14}: {r:.2f}')
