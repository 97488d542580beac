# timm ViT from scratch, tiny config, 8x8 digits upsampled to 16
import time

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from timm.models.vision_transformer import VisionTransformer
from timm.optim import create_optimizer_v2
from timm.loss import LabelSmoothingCrossEntropy
from timm.utils import AverageMeter, accuracy
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(2024)

cfg = {
    "img_size": 16,
    "patch_size": 4,
    "dim": 64,
    "depth": 4,
    "heads": 4,
    "opt": "adamw",
    "lr": 0.1,
    "weight_decay": 0.05,
    "epochs": 9,
    "batch_size": 64,
}

digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
images = F.interpolate(images, size=cfg["img_size"], mode="bilinear", align_corners=False)
images = (images - 0.3053) / 0.34
labels = torch.tensor(digits.target)
full = TensorDataset(images, labels)
train_set, val_set = random_split(full, [1437, 360], generator=torch.Generator().manual_seed(0))
train_loader = DataLoader(train_set, batch_size=cfg["batch_size"], shuffle=True, drop_last=True)
val_loader = DataLoader(val_set, batch_size=120)

model = VisionTransformer(
    img_size=cfg["img_size"], patch_size=cfg["patch_size"], in_chans=1, num_classes=10,
    embed_dim=cfg["dim"], depth=cfg["depth"], num_heads=cfg["heads"], mlp_ratio=2.0,
)
n_params = sum(p.numel() for p in model.parameters())
print(f"model has {n_params / 1e3:.1f}k parameters")

optimizer = create_optimizer_v2(model, opt=cfg["opt"], lr=cfg["lr"], weight_decay=cfg["weight_decay"])
train_loss_fn = LabelSmoothingCrossEntropy(smoothing=0.1)


def train_one_epoch(epoch):
    model.train()
    losses = AverageMeter()
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = train_loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        losses.update(loss.item(), x.size(0))
    return losses.avg


def validate():
    model.eval()
    top1 = AverageMeter()
    per = torch.zeros(10, 2)
    with torch.inference_mode():
        for x, y in val_loader:
            out = model(x)
            (a1,) = accuracy(out, y, topk=(1,))
            top1.update(a1.item(), x.size(0))
            for t, p in zip(y.tolist(), out.argmax(1).tolist()):
                per[t, 0] += 1
                per[t, 1] += t == p
    return top1.avg, (per[:, 1] / per[:, 0])


start = time.time()
best = 0
for epoch in range(cfg["epochs"]):
    tl = train_one_epoch(epoch)
    acc, recalls = validate()
    best = max(best, acc)
    print(f"Epoch {epoch}: train_loss={tl:.4f} val_acc={acc:.2f} ({time.time() - start:.0f}s)")

print("best acc", best)
print("recalls", [f"{r:.2f}" for r in recalls.tolist()])
