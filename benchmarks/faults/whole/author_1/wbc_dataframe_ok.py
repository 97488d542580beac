# %% [markdown]
# White blood cells - pandas + custom Dataset baseline (notebook export)
# %%
import os, glob
import numpy as np
import pandas as pd
from PIL import Image
import torch
from torch import nn
from torch.utils.data import Dataset, DataLoader
from sklearn.preprocessing import LabelEncoder
from sklearn.metrics import classification_report, balanced_accuracy_score
import torchvision.transforms as T

torch.manual_seed(42)
DATA = os.environ.get("DATA", "data")

# %%
rows = []
for folder in ["basophil", "erythroblast", "lymphocyte", "platelet", "neutrophil"]:
    for path in sorted(glob.glob(f"{DATA}/pbc_128/{folder}/*.jpg"))[:350]:
        rows.append({"path": path, "cell_type": folder})
df = pd.DataFrame(rows)

le = LabelEncoder()
codes = pd.Series(le.fit_transform(df["cell_type"]))
df = df.sample(frac=1, random_state=42)
df["target"] = codes
print(df["target"].value_counts())

train_df = df.sample(frac=0.8, random_state=1)
valid_df = df.drop(train_df.index)

# %%
class CellDataset(Dataset):
    def __init__(self, frame, tfm):
        self.frame = frame
        self.tfm = tfm
        # the files are small, so keep the decoded pictures
        self.cache = [Image.open(p).convert("RGB").resize((36, 36)) for p in frame["path"]]
        self.targets = frame["target"].to_numpy()

    def __len__(self):
        return len(self.frame)

    def __getitem__(self, i):
        return self.tfm(self.cache[i]), int(self.targets[i])


norm = T.Normalize([0.5, 0.5, 0.5], [0.25, 0.25, 0.25])
train_tfm = T.Compose([T.RandomHorizontalFlip(), T.RandomVerticalFlip(), T.CenterCrop(32), T.ToTensor(), norm])
valid_tfm = T.Compose([T.CenterCrop(32), T.ToTensor(), norm])

train_dl = DataLoader(CellDataset(train_df, train_tfm), batch_size=32, shuffle=True)
valid_dl = DataLoader(CellDataset(valid_df, valid_tfm), batch_size=64)

# %%
def conv_bn(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2))


model = nn.Sequential(
    conv_bn(3, 16), conv_bn(16, 32), conv_bn(32, 64),
    nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    nn.Dropout(0.2), nn.Linear(64, len(le.classes_)),
)
opt = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4)
loss_fn = nn.CrossEntropyLoss()

# %%
def validate():
    model.eval()
    ps, ts = [], []
    with torch.no_grad():
        for x, y in valid_dl:
            ps.append(model(x).argmax(1).numpy())
            ts.append(y.numpy())
    return np.concatenate(ts), np.concatenate(ps)


for ep in range(8):
    model.train()
    losses = []
    for x, y in train_dl:
        loss = loss_fn(model(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        losses.append(loss.item())
    t, p = validate()
    print(f"epoch {ep}  train_loss={np.mean(losses):.4f}  val_acc={(t == p).mean():.4f}")

# %%
t, p = validate()
print(classification_report(t, p, target_names=le.classes_, zero_division=0))
print("balanced accuracy:", round(balanced_accuracy_score(t, p), 4))
