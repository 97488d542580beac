"""What a loader's own fields say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    SequentialSampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
)
from torchvision.transforms import v2

from everyclass.capture.loaders import (
    class_counts,
    class_names,
    describe_loader,
    passes_an_epoch,
    transforms_of,
)


class Folder(Dataset[int]):
    def __init__(self, targets: object) -> None:
        self.targets = targets
        self.transform: object = None
        self.classes = ["cat", "dog", "emu"]

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        raise AssertionError("nobody may ask for an image")


class Stream(IterableDataset[int]):
    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(())

    def __len__(self) -> int:
        raise AssertionError("a length that torch checks once somebody asked")


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor])
def test_counts_come_from_the_targets_of_the_data_set(kind: type) -> None:
    folder = Folder(kind([0, 2, 2, 2]))
    assert class_counts(DataLoader(folder), n_classes=3) == (1, 0, 3)
    assert class_counts(DataLoader(Subset(folder, [1, 2])), n_classes=3) == (0, 0, 2)
    assert class_counts(DataLoader(folder), n_classes=2) is None


def test_transforms_are_found_within_compositions_and_subsets() -> None:
    scale = v2.ToDtype(torch.float32, scale=True)
    normalize = v2.Normalize([0.5], [0.2])
    folder = Folder([0, 1, 2, 0])
    folder.transform = v2.Compose([v2.Compose([scale]), normalize])
    assert [*transforms_of(DataLoader(Subset(folder, [1, 2])))] == [scale, normalize]
    folder.transform = normalize
    assert [*transforms_of(DataLoader(folder))] == [normalize]
    folder.transform = None
    assert [*transforms_of(DataLoader(folder))] == []
    assert [*transforms_of(None)] == []


def test_counts_come_from_a_tensor_data_set() -> None:
    pairs = TensorDataset(torch.zeros(3, 1), torch.tensor([1, 1, 0]))
    assert class_counts(DataLoader(pairs), n_classes=2) == (1, 2)
    numbers = TensorDataset(torch.zeros(3, 1), torch.zeros(3))
    assert class_counts(DataLoader(numbers), n_classes=2) is None
    assert class_counts(None, n_classes=2) is None


def test_names_are_those_of_the_folder() -> None:
    assert class_names(DataLoader(Subset(Folder([0]), [0]))) == ("cat", "dog", "emu")
    assert class_names(DataLoader(TensorDataset(torch.zeros(1)))) is None


def test_a_loader_in_words() -> None:
    folder = Folder([0, 1, 2, 2])
    assert describe_loader(DataLoader(folder, batch_size=2, shuffle=True)) == (
        "batches of 2 shuffled, 2 an epoch"
    )
    own = DataLoader(folder, batch_sampler=BatchSampler(SequentialSampler(folder), 3, True))
    assert describe_loader(own) == "batches of 3 in the order of the data set, 1 an epoch"
    weighted = DataLoader(folder, sampler=WeightedRandomSampler([1.0] * 4, 8))
    assert "by WeightedRandomSampler, 8 an epoch" in describe_loader(weighted)
    stream = DataLoader(Stream(), batch_size=2)
    assert passes_an_epoch(stream) is None
    assert describe_loader(stream) == "batches of 2 as a stream"
    assert describe_loader(None) == ""
