"""A number that the device still computes, to be read without holding the device up."""

from __future__ import annotations

import torch
from torch import Tensor


class Later:
    """Begins to copy a number to the processor at once, and waits for that copy alone when asked.

    `float(tensor)` on a graphics card waits for everything that was begun meanwhile, the next step
    included: the card would stand idle until the one after is begun.

    Args:
        number: () on any device.
    """

    def __init__(self, number: Tensor) -> None:
        self._copied: torch.cuda.Event | None = None
        self._number = number
        if number.is_cuda:
            self._number = number.to("cpu", non_blocking=True)
            self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._copied.record()

    def value(self) -> float:
        """The number."""
        if self._copied is not None:
            self._copied.synchronize()
        return float(self._number)
