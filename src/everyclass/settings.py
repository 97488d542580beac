"""What can be set: the names, types and ranges of every decision of a recipe.

Comes in: values that people wrote (flags, a YAML file). Goes out: a checked `Settings`, or one
message naming the value and what would be valid. Knows no data and decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from everyclass.errors import InputError

Normalisation = Literal["dataset", "imagenet", "backbone", "none", "raw"]
Augmentation = Literal[
    "crop",
    "flip",
    "vertical-flip",
    "quarter-turns",
    "rotation",
    "mixup",
    "cutmix",
]
Optimizer = Literal["sgd", "adam", "adamw"]
Schedule = Literal["constant", "cosine", "step", "exponential"]
Imbalance = Literal[
    "balanced-sampling",
    "sqrt-sampling",
    "late-balanced-sampling",
    "progressive-sampling",
    "repeat-factor-sampling",
    "logit-adjustment",
    "weights-inverse",
    "weights-balanced",
    "weights-sqrt",
    "weights-effective",
    "weights-deferred",
    "focal",
    "class-balanced-focal",
    "ldam-drw",
    "label-aware-smoothing",
    "class-temperature",
    "remix",
    "crt",
    "lws",
    "tau-norm",
    "offsets",
]
Selection = Literal["balanced_accuracy", "macro_f1", "accuracy", "last"]
Precision = Literal["fp32", "bf16", "fp16"]
MemoryFormat = Literal["contiguous", "channels_last"]
Device = Literal["cpu", "cuda", "mps"]
FineTuning = Literal["head", "light", "full"]

TORCHVISION = "torchvision:"
"""How the name of one of torchvision's models begins."""


def is_reference(model: str) -> bool:
    """Whether a model's name refers to somebody else's code; timm's names have no colon."""
    return ":" in model


def is_function(model: str) -> bool:
    """Whether it refers to a function of the user's, which is run to make the network."""
    return is_reference(model) and not model.startswith(TORCHVISION)


def _as_tuple(value: object) -> object:
    """`none`, `crop` and `[crop, flip]` are all ways people write a list in YAML."""
    if value in ("none", ["none"], ("none",), None):
        return ()
    return (value,) if isinstance(value, str) else value


class Settings(BaseModel):
    """Every value a training needs, checked. One field a decision; see `recipe.py` for the why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_size: int = Field(ge=8, le=4096, description="side of the square images, pixels")
    model: str = Field(
        min_length=1,
        description="'tutorial', a timm model name, torchvision:NAME, or your MODULE:FUNCTION",
    )
    pretrained: bool = Field(description="start from weights trained on ImageNet")
    weights_file: str | None = Field(description="local file with pretrained weights")
    fine_tuning: FineTuning = Field(
        description="what is trained: the last layer, the last stages as well, or everything"
    )
    normalisation: Normalisation = Field(description="what mean and std the inputs get")
    mean: tuple[float, float, float] = Field(description="channel means, of values in [0, 1]")
    std: tuple[float, float, float] = Field(description="channel standard deviations, > 0")
    augmentation: Annotated[tuple[Augmentation, ...], BeforeValidator(_as_tuple)] = Field(
        description="random changes to training images; 'none' for none"
    )
    optimizer: Optimizer
    learning_rate: float = Field(gt=0, le=100)
    momentum: float = Field(ge=0, lt=1, description="of SGD; ignored by Adam and AdamW")
    weight_decay: float = Field(ge=0, le=10)
    schedule: Schedule = Field(description="how the rate changes over the training")
    warmup_fraction: float = Field(ge=0, lt=1, description="share of steps with a rising rate")
    batch_size: int = Field(ge=1, le=65536, description="images an optimizer step")
    accumulation: int = Field(ge=1, le=4096, description="forward passes an optimizer step")
    epochs: int = Field(ge=1, le=100_000)
    imbalance: Annotated[tuple[Imbalance, ...], BeforeValidator(_as_tuple)] = Field(
        description="the one place where class imbalance is corrected; 'none' for nowhere"
    )
    tau_sweep: bool = Field(description="try a post-hoc logit adjustment on validation images")
    label_smoothing: float = Field(ge=0, lt=1)
    clip_norm: float = Field(ge=0, description="largest gradient norm; 0 = no clipping")
    ema_decay: float = Field(ge=0, lt=1, description="moving average of the weights; 0 = off")
    selection: Selection = Field(description="which epoch's weights are kept")
    early_stop_epochs: int = Field(ge=0, description="epochs without improvement; 0 = never stop")
    precision: Precision
    memory_format: MemoryFormat = Field(description="order of a tensor's values in memory")
    device: Device
    threads: int = Field(ge=1, le=4096, description="threads of the processor")
    val_fraction: float = Field(gt=0, lt=1)
    test_fraction: float = Field(ge=0, lt=1)
    seed: int = Field(ge=0, lt=2**63)


NAMES: tuple[str, ...] = tuple(Settings.model_fields)

TUTORIAL: Mapping[str, Any] = MappingProxyType(
    {
        "image_size": 256,
        "model": "tutorial",
        "pretrained": False,
        "normalisation": "imagenet",
        "augmentation": (),
        "optimizer": "sgd",
        "learning_rate": 0.001,
        "momentum": 0.9,
        "weight_decay": 0.0,
        "schedule": "constant",
        "warmup_fraction": 0.0,
        "batch_size": 10,
        "accumulation": 1,
        "epochs": 5,
        "imbalance": ("weights-inverse",),
        "tau_sweep": False,
        "label_smoothing": 0.0,
        "clip_norm": 0.0,
        "ema_decay": 0.0,
        "selection": "last",
        "early_stop_epochs": 0,
        "precision": "fp32",
    }
)
"""The recipe of the classic beginner's tutorial: a three-layer CNN, SGD, a weighted loss."""

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType({"tutorial": TUTORIAL})


def check_settings(values: Mapping[str, Any], *, where: str) -> Settings:
    """Settings from plain values.

    Raises:
        InputError: an unknown name, a missing one, or a value outside its range (the first one
            is named, with what would be valid).
    """
    try:
        return Settings.model_validate(dict(values))
    except ValidationError as error:
        name = ".".join(str(part) for part in error.errors()[0]["loc"]) or "the recipe"
        raise InputError(_sentence(error, name), where=where, remedy=_remedy(name)) from None


def check_wishes(wishes: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """The given settings alone, checked and converted field by field ("10" is no batch size,
    but 10.0 from YAML is).

    Raises:
        InputError: as `check_settings`.
    """
    unknown = [name for name in wishes if name not in Settings.model_fields]
    if unknown:
        raise InputError(
            f"There is no setting called {unknown[0]!r}.",
            where=where,
            remedy=f"Settings are: {', '.join(NAMES)}.",
        )
    checked: dict[str, Any] = {}
    for name, value in wishes.items():
        field = Settings.model_fields[name]
        adapter: TypeAdapter[Any] = TypeAdapter(Annotated[field.annotation, field])  # type: ignore[arg-type]
        try:
            checked[name] = adapter.validate_python(value)
        except ValidationError as error:
            raise InputError(_sentence(error, name), where=where, remedy=_remedy(name)) from None
    return checked


def _sentence(error: ValidationError, name: str) -> str:
    first = error.errors(include_url=False)[0]
    if first["type"] == "missing":
        return f"{name} is missing."
    message = first["msg"][0].lower() + first["msg"][1:]
    return f"{name} cannot be {first['input']!r}: {message}."


def _remedy(name: str) -> str:
    field = Settings.model_fields.get(name.split(".")[0])
    if field is None:
        return f"Settings are: {', '.join(NAMES)}."
    return f"{name}: {field.description}." if field.description else "Correct it."
