import os
import tempfile

import torch
from parts import images
from transformers import (
    PrinterCallback,
    Trainer,
    TrainingArguments,
    ViTConfig,
    ViTForImageClassification,
)


class Pairs(torch.utils.data.Dataset):
    def __init__(self, n, seed):
        self.base = images(n, seed)

    def __len__(self):
        return len(self.base)

    def __getitem__(self, index):
        pixels, label = self.base[index]
        return {"pixel_values": pixels, "labels": label}


class Printing(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
        result = super().compute_loss(model, inputs, return_outputs, **kwargs)
        print(repr((result[0] if return_outputs else result).item()))
        return result


torch.manual_seed(0)
config = ViTConfig(
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=32,
    image_size=8,
    patch_size=4,
    num_channels=1,
    num_labels=4,
)
with tempfile.TemporaryDirectory() as folder:
    arguments = TrainingArguments(
        output_dir=os.path.join(folder, "run"),
        num_train_epochs=2,
        per_device_train_batch_size=32,
        learning_rate=1e-2,
        eval_strategy="epoch",
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
        seed=1,
    )
    trainer = Printing(
        model=ViTForImageClassification(config),
        args=arguments,
        train_dataset=Pairs(160, 0),
        eval_dataset=Pairs(64, 1),
    )
    trainer.remove_callback(PrinterCallback)  # it prints seconds
    trainer.train()
