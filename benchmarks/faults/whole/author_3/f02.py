"""Using the HF Trainer with my own conv net (it only needs a forward that returns a dict)."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.metrics import balanced_accuracy_score, recall_score
from torch.utils.data import Dataset, random_split
from torch.optim.lr_scheduler import LinearLR
from transformers import PretrainedConfig, PreTrainedModel, Trainer, TrainingArguments, set_seed

set_seed(13)


class ConvConfig(PretrainedConfig):
    model_type = "my-convnet"

    def __init__(self, widths=(16, 32, 64), image_size=16, in_channels=1, hidden=96, **kw):
        self.widths = list(widths)
        self.image_size = image_size
        self.in_channels = in_channels
        self.hidden = hidden
        super().__init__(**kw)


class ConvForImageClassification(PreTrainedModel):
    config_class = ConvConfig
    main_input_name = "pixel_values"

    def __init__(self, config):
        super().__init__(config)
        layers, c = [], config.in_channels
        for w in config.widths:
            layers += [nn.Conv2d(c, w, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
            c = w
        side = config.image_size // 2 ** len(config.widths)
        self.encoder = nn.Sequential(*layers, nn.Flatten())
        self.dense = nn.Linear(c * side * side, config.hidden)
        self.classifier = nn.Linear(config.hidden, config.num_labels)
        self.post_init()

    def _init_weights(self, module):
        pass  # torch defaults are fine here

    def forward(self, pixel_values, labels=None, **kwargs):
        h = self.encoder(pixel_values)
        h = torch.relu(self.dense(h))
        logits = F.softmax(self.classifier(h), dim=-1)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits.view(-1, self.config.num_labels), labels.view(-1))
        return {"loss": loss, "logits": logits} if loss is not None else {"logits": logits}


class DigitImages(Dataset):
    def __init__(self, size):
        d = load_digits()
        x = torch.tensor(d.images, dtype=torch.float32).unsqueeze(1) / 16
        x = F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False)
        self.x = (x - x.mean()) / x.std()
        self.y = d.target

    def __len__(self):
        return len(self.y)

    def __getitem__(self, idx):
        return {"pixel_values": self.x[idx], "labels": int(self.y[idx])}


def compute_metrics(eval_pred):
    logits, labels = eval_pred
    preds = logits.argmax(-1)
    return {
        "accuracy": float((preds == labels).mean()),
        "balanced_accuracy": float(balanced_accuracy_score(labels, preds)),
    }


config = ConvConfig(num_labels=10)
model = ConvForImageClassification(config)
print("parameters:", model.num_parameters())

full = DigitImages(config.image_size)
train_ds, eval_ds = random_split(full, [1437, 360])

args = TrainingArguments(
    output_dir="out_conv",
    per_device_train_batch_size=32,
    per_device_eval_batch_size=120,
    num_train_epochs=8,
    logging_steps=45,
    eval_strategy="epoch",
    save_strategy="no",
    report_to=[],
    use_cpu=True,
    disable_tqdm=True,
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.015, momentum=0.9, weight_decay=1e-4)
scheduler = LinearLR(optimizer, start_factor=1.0, end_factor=0.2, total_iters=360)

trainer = Trainer(model=model, args=args, train_dataset=train_ds, eval_dataset=eval_ds,
                  compute_metrics=compute_metrics, optimizers=(optimizer, scheduler))
trainer.train()

pred = trainer.predict(eval_ds)
y_hat = pred.predictions.argmax(-1)
print("recall:", np.round(recall_score(pred.label_ids, y_hat, average=None, zero_division=0), 3))
print("final:", pred.metrics["test_accuracy"], pred.metrics["test_balanced_accuracy"])
