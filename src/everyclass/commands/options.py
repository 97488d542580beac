"""What people type: the options that several commands share, and how texts become values.

Comes in: strings. Goes out: wishes, priors, choices, or one message that names the option. Runs
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from everyclass.errors import InputError

if TYPE_CHECKING:
    from everyclass.workflows.cluster import Cluster

DATA_HELP = (
    "A folder of class folders (optionally under train/ val/ test/), a CSV, TSV or Parquet "
    "manifest with a column for the image (its path, or the image itself) and one for the label, "
    "tar archives of samples (shards/train-{000..009}.tar, or their folder), or a Hugging Face "
    "data set (a folder of save_to_disk, or hf://OWNER/NAME). Also behind s3:// and gs://."
)
Data = Annotated[str, typer.Argument(help=DATA_HELP, metavar="DATA")]
Json = Annotated[Path | None, typer.Option("--json", help="Write the result as JSON to this file.")]
NoCache = Annotated[
    bool, typer.Option("--no-cache", help="Read every image, changed or not, and remember nothing.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress and no tables.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Exit with code 1 when a problem was found.")
]
ImageColumn = Annotated[str | None, typer.Option(help="Column of the image path or id.")]
LabelColumn = Annotated[str | None, typer.Option(help="Column of the class.")]
SplitColumn = Annotated[str | None, typer.Option(help="Column of train, val, test.")]
GroupColumn = Annotated[
    str | None, typer.Option(help="Column of patient, slide, ...: never on two sides.")
]
ImageRoot = Annotated[
    str | None, typer.Option(help="Folder that a manifest's image paths are relative to.")
]
TileSize = Annotated[
    int | None,
    typer.Option(help="Cut whole-slide images into tiles of this side, px, where tissue is."),
]
TileDownsample = Annotated[
    int, typer.Option(help="Pixels of the full slide for one of a tile, along each side.", min=1)
]
MaxUnreadable = Annotated[
    float, typer.Option(help="Share of unreadable images at which the run stops.", min=0, max=1)
]
Seed = Annotated[int | None, typer.Option(help="Same seed, same split, batches and weights.")]
Fraction = Annotated[float | None, typer.Option(help="Share of images for this split.")]
ImageSize = Annotated[int | None, typer.Option(help="Side of the square training images, px.")]

RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Work on a Ray cluster that this machine is part of (HOST:PORT, or auto), or on one "
        "that is started here for this command (local).",
    ),
]
RayWorkers = Annotated[
    int | None,
    typer.Option(
        "--ray-workers",
        help="Processes on the cluster at most; to train, exactly.  [default: what it has room "
        "for; to train, one a GPU, or one a machine]",
        min=1,
        show_default=False,
    ),
]


def wishes_of(
    recipe: str | None, settings: Sequence[str], flags: dict[str, Any]
) -> tuple[str | None, dict[str, Any]]:
    """Preset and wishes: the recipe file, then --set, then flags, later ones winning."""
    from everyclass.recipe import read_wishes
    from everyclass.settings import PRESETS, check_wishes

    preset, wishes = None, dict[str, Any]()
    if recipe in PRESETS:
        preset = recipe
    elif recipe is not None:
        wishes = read_wishes(_text(recipe, "--recipe"), where=recipe)
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise InputError(
                f"--set {setting} has no value.", remedy="Write --set NAME=VALUE, as momentum=0.8."
            )
        wishes.update(read_wishes(f"{name.strip()}: {text}", where=f"--set {setting}"))
    for name, value in flags.items():
        option = f"--{name.replace('_', '-')}"
        wishes.update(check_wishes({name: value}, where=option))
    return preset, wishes


def prior_of(text: str) -> dict[str, float]:
    """Class frequencies from `A=0.7,B=0.3` or from a YAML or JSON file of such pairs."""
    import yaml

    if "=" in text:
        pairs = [part.rpartition("=") for part in text.split(",")]
        entries: Any = {name.strip(): value for name, _, value in pairs}
    else:
        try:
            entries = yaml.safe_load(_text(text, "--prior"))
        except yaml.YAMLError as error:
            raise InputError(
                f"This is not YAML or JSON: {' '.join(str(error).split())}.",
                where=text,
                remedy="Write one line a class: NAME: SHARE.",
            ) from None
    try:
        return {str(name): float(share) for name, share in entries.items()}
    except (AttributeError, TypeError, ValueError):
        raise InputError(
            f"--prior {text} does not give a number for each class.",
            remedy="Write --prior 'A=0.7,B=0.3', or a YAML file of such pairs.",
        ) from None


def _text(path: str, option: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} cannot be read ({error}).", where=option, remedy="Name a text file."
        ) from None


def one_of(value: str, choices: Sequence[str], option: str) -> str:
    """The value, if it is one of the choices."""
    if value not in choices:
        raise InputError(f"{option} cannot be {value!r}.", remedy=f"Use {' or '.join(choices)}.")
    return value


@contextmanager
def cluster_of(address: str | None, workers: int | None) -> Iterator[Cluster | None]:
    """The cluster of --ray and --ray-workers, connected while the block lasts; None without."""
    if address is None:
        if workers is not None:
            raise InputError(
                "--ray-workers is for a Ray cluster, and none was named.",
                remedy="Add --ray ADDRESS, or leave it away.",
            )
        yield None
        return
    from everyclass.workflows.cluster import connected
    from everyclass.workflows.launched import refuse_several

    refuse_several("... --ray")
    with connected(address, workers=workers) as cluster:
        yield cluster
