"""What an edit may know of the training besides its script, and what an edit is.

Comes in: numbers and places that the watch and the trials saw. Goes out: values. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from everyclass.fixing.source import Splice

Part = Literal["model", "optimizer", "loss"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFigures:
    """What reached the network before it was changed.

    Attributes:
        mean, sd: of each channel; one number where channels are not apart.
        layer: the first layer, where its inputs are not those of the network; "" where they are.
        integer: the network was given whole numbers.
        samples: some values of each channel, where the network got them as they are.
    """

    mean: tuple[float, ...]
    sd: tuple[float, ...]
    layer: str = ""
    integer: bool = False
    samples: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a watched training. None, "" or empty where it is not.

    Attributes:
        lines: line of the script in which a part was built (the loss: was called).
        elsewhere: "file:line" of parts that another file than the script built.
        model_class, optimizer_class: names of the classes.
        loss: torch's name of the loss function.
        head: name of the network's last layer with weights.
        inputs: see `InputFigures`.
        log_prior: ln of the share of each class in the training stream.
        first_rate, peak_rate: of the optimizer's first group.
        rate_varied: the rate changed while it trained.
    """

    lines: Mapping[Part, int] = field(default_factory=dict)
    elsewhere: Mapping[Part, str] = field(default_factory=dict)
    model_class: str = ""
    optimizer_class: str = ""
    loss: str = ""
    head: str = ""
    inputs: InputFigures | None = None
    log_prior: tuple[float, ...] = ()
    first_rate: float | None = None
    peak_rate: float | None = None
    rate_varied: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One change of a script.

    Attributes:
        sentence: what it does, for a person.
        splices: where it does it.
    """

    sentence: str
    splices: tuple[Splice, ...]
