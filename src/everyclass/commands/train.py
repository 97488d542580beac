"""`everyclass train`: its options, and what it says. Comes in: what was typed.

Goes out: a run in a folder. Trains nothing itself. Workflows are imported inside: help needs no
torch.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from everyclass.commands.options import (
    Data,
    Fraction,
    GroupColumn,
    ImageColumn,
    ImageRoot,
    ImageSize,
    Json,
    LabelColumn,
    MaxUnreadable,
    NoCache,
    Quiet,
    RayAddress,
    RayWorkers,
    Seed,
    SplitColumn,
    TileDownsample,
    TileSize,
    cluster_of,
    wishes_of,
)
from everyclass.commands.report import leave_report, tell_report
from everyclass.errors import EveryclassError, InputError
from everyclass.printing import counter, progress_console, result_console, write_json

if TYPE_CHECKING:
    from everyclass.workflows.cluster import Cluster
    from everyclass.workflows.data_source import DataSource
    from everyclass.workflows.events import Event


def train(
    data: Data,
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the run.")] = None,
    resume_run: Annotated[
        bool, typer.Option("--resume", help="Continue the run in --out exactly.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run that is in --out.")
    ] = False,
    explain_only: Annotated[
        bool, typer.Option("--explain", help="Print the recipe with its reasons and stop.")
    ] = False,
    recipe: Annotated[
        str | None,
        typer.Option(help="A recipe file (YAML) with values to use, or 'tutorial'."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any setting of the recipe."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="'tutorial', any timm model name, torchvision:NAME, or MODULE:FUNCTION (or "
            "PATH.py:FUNCTION): your own function of the number of classes, which is run whenever "
            "the run is loaded."
        ),
    ] = None,
    image_size: ImageSize = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the train split.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images an optimizer step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="sgd, adam or adamw.")] = None,
    schedule: Annotated[
        str | None, typer.Option(help="constant, cosine, step or exponential.")
    ] = None,
    weight_decay: Annotated[float | None, typer.Option(help="0 = none.")] = None,
    imbalance: Annotated[
        list[str] | None,
        typer.Option(
            help="none, balanced-sampling, sqrt-sampling, late-balanced-sampling, "
            "progressive-sampling, repeat-factor-sampling, logit-adjustment (balanced softmax), "
            "weights-inverse, weights-balanced, weights-sqrt, weights-effective, "
            "weights-deferred, focal, class-balanced-focal, ldam-drw, label-aware-smoothing, "
            "class-temperature, remix; after training: crt, lws, tau-norm or offsets.",
        ),
    ] = None,
    augmentation: Annotated[
        list[str] | None,
        typer.Option(
            help="none, crop, flip, vertical-flip, quarter-turns, rotation, mixup, cutmix; "
            "repeatable."
        ),
    ] = None,
    normalisation: Annotated[
        str | None, typer.Option(help="dataset, imagenet, backbone, none or raw.")
    ] = None,
    pretrained: Annotated[
        bool | None,
        typer.Option(
            "--pretrained/--no-pretrained",
            help="Start from ImageNet weights: those on this machine, else downloaded by timm.",
            show_default=False,
        ),
    ] = None,
    fine_tuning: Annotated[
        str | None,
        typer.Option(
            help="What is trained of a pretrained network: head (on features computed once), "
            "light (the last stages too) or full."
        ),
    ] = None,
    weights_file: Annotated[
        str | None, typer.Option(help="Local file with pretrained weights.")
    ] = None,
    selection: Annotated[
        str | None, typer.Option(help="balanced_accuracy, macro_f1, accuracy or last.")
    ] = None,
    early_stop_epochs: Annotated[
        int | None, typer.Option(help="Stop after so many epochs without gain; 0 = never.")
    ] = None,
    clip_norm: Annotated[float | None, typer.Option(help="Gradient clipping; 0 = off.")] = None,
    accumulation: Annotated[
        int | None, typer.Option(help="Forward passes an optimizer step.")
    ] = None,
    ema_decay: Annotated[
        float | None, typer.Option(help="Moving average of the weights; 0 = off.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, bf16 or fp16.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or mps.")] = None,
    threads: Annotated[int | None, typer.Option(help="Processor threads.")] = None,
    val_fraction: Fraction = None,
    test_fraction: Fraction = None,
    seed: Seed = None,
    show_batches: Annotated[
        int, typer.Option(help="Print labels, outputs and loss of every so many batches.", min=0)
    ] = 0,
    checkpoint_seconds: Annotated[
        float, typer.Option(help="Seconds between checkpoints inside an epoch.", min=0)
    ] = 60.0,
    no_repair: Annotated[
        bool, typer.Option("--no-repair", help="Tell of alarms, and leave the training alone.")
    ] = False,
    max_repairs: Annotated[
        int,
        typer.Option(
            help="Repairs after alarms, each proved by experiment; after them an alarm ends the "
            "run.",
            min=0,
        ),
    ] = 2,
    track: Annotated[
        list[str] | None,
        typer.Option(
            help="Also log to tensorboard, mlflow, wandb (offline unless WANDB_MODE says "
            "otherwise) or trackio; repeatable. With --resume the same run there goes on."
        ),
    ] = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    split_column: SplitColumn = None,
    group_column: GroupColumn = None,
    image_root: ImageRoot = None,
    tile_size: TileSize = None,
    tile_downsample: TileDownsample = 1,
    max_unreadable: MaxUnreadable = 0.01,
    no_cache: NoCache = False,
    ray: RayAddress = None,
    ray_workers: RayWorkers = None,
    json_file: Json = None,
    quiet: Quiet = False,
) -> None:
    """Audit, decide a recipe, train, repair what collapses, and report every class."""
    flags = {
        "model": model,
        "image_size": image_size,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "optimizer": optimizer,
        "schedule": schedule,
        "weight_decay": weight_decay,
        "imbalance": imbalance or None,
        "augmentation": augmentation or None,
        "normalisation": normalisation,
        "pretrained": pretrained,
        "weights_file": weights_file,
        "fine_tuning": fine_tuning,
        "selection": selection,
        "early_stop_epochs": early_stop_epochs,
        "clip_norm": clip_norm,
        "accumulation": accumulation,
        "ema_decay": ema_decay,
        "precision": precision,
        "device": device,
        "threads": threads,
        "val_fraction": val_fraction,
        "test_fraction": test_fraction,
        "seed": seed,
    }
    given = {name: value for name, value in flags.items() if value is not None}
    from everyclass.workflows.data_source import DataSource

    preset, wishes = wishes_of(recipe, settings or [], given)
    source = DataSource(
        source=data,
        image_column=image_column,
        label_column=label_column,
        split_column=split_column,
        group_column=group_column,
        image_root=image_root,
        tile_size=tile_size,
        tile_downsample=tile_downsample,
        max_unreadable=max_unreadable,
    )
    if out is None and not explain_only:
        raise InputError("No folder for the run was given.", remedy="Add --out RUN.")
    from everyclass.workflows.repair import RepairOptions
    from everyclass.workflows.train import TrainOptions

    options = TrainOptions(
        wishes=wishes,
        preset=preset,
        overwrite=overwrite,
        show_batches=show_batches,
        checkpoint_seconds=checkpoint_seconds,
        repair=RepairOptions(most=None if no_repair else max_repairs),
        cached=not no_cache,
    )
    if explain_only and ray is not None:
        raise InputError(
            "--explain trains nothing, and needs no cluster.", remedy="Leave --ray away."
        )
    if explain_only:
        _explain(source, options, json_file, quiet)
    else:
        assert out is not None
        with cluster_of(ray, ray_workers) as cluster:
            _train(source, out, options, resume_run, tuple(track or ()), cluster, json_file, quiet)


def _explain(source: DataSource, options: Any, json_file: Path | None, quiet: bool) -> None:
    from everyclass.workflows.launched import refuse_several
    from everyclass.workflows.train import explain

    refuse_several("train --explain")
    decided = explain(source, options, on_event=_audit_counter(quiet))
    write_json(json_file, {d.name: d.value for d in decided.decisions})
    if not quiet:
        typer.echo(decided.to_yaml())


def _train(
    source: DataSource,
    out: Path,
    options: Any,
    resume_run: bool,
    trackers: tuple[str, ...],
    cluster: Cluster | None,
    json_file: Path | None,
    quiet: bool,
) -> None:
    from everyclass.terminal.training import TrainingView
    from everyclass.workflows.follow import Followed
    from everyclass.workflows.job import InterruptedTraining
    from everyclass.workflows.launched import find_launch
    from everyclass.workflows.repair import RepairsUsedUp
    from everyclass.workflows.tracking import Tracking
    from everyclass.workflows.train_together import NothingToShow, train_together

    train_it = train_together
    if cluster is not None:
        from everyclass.workflows.cluster_train import train_on

        train_it = partial(train_on, cluster)
    progress, launch = progress_console(), find_launch()
    again = "".join(f" --track {name}" for name in trackers)
    own = trackers if launch.rank == 0 else ()

    def warn(sentence: str) -> None:
        progress.print(sentence, style="yellow", soft_wrap=True, highlight=False, markup=False)

    with Tracking(own, resumed=resume_run or launch.restarted, warn=warn) as tracking:

        def on_event(event: Event) -> None:
            view.show(event)
            tracking.on_event(event)

        with TrainingView(progress, quiet=quiet) as view:
            try:
                outcome = train_it(source, out, options, go_on=resume_run, on_event=on_event)
            except Followed as ended:
                raise typer.Exit(ended.code) from None
            except InterruptedTraining as stop:
                raise InterruptedTraining(
                    f"{stop} Everything is saved. Go on with: everyclass train {source.source} "
                    f"--out {out} --resume{again}"
                ) from None
            except RepairsUsedUp as stop:
                tell_report(out, quiet=quiet)
                raise RepairsUsedUp(
                    f"{stop} Go on all the same with: everyclass train {source.source} --out {out} "
                    f"--resume --no-repair{again}"
                ) from None
            except InputError:
                raise
            except EveryclassError:
                # What it failed of is in the folder; a page shows it better than one message.
                if launch.rank == 0:
                    tell_report(out, quiet=quiet)
                raise
        if isinstance(outcome, NothingToShow):
            if outcome.sentence and not quiet:
                progress.print(outcome.sentence, soft_wrap=True)
            return
        report_line = leave_report(out)
    write_json(json_file, outcome.evaluation.to_dict())
    if not quiet:
        from everyclass.terminal.evaluation import evaluation_view

        console = result_console()
        for sentence in outcome.sentences:
            console.print(sentence, soft_wrap=True)
        console.print(evaluation_view(outcome.evaluation))
        console.print(
            f"Model, recipe, figures and predictions: {out}\n{report_line}\n"
            f"Next: everyclass predict {out} IMAGES... --out predictions.csv",
            soft_wrap=True,
        )


def _audit_counter(quiet: bool) -> Any:
    """Shows the audit's progress of a workflow's events, and nothing else of them."""
    from everyclass.workflows.events import AuditProgress

    count = counter("auditing", quiet)

    def show(event: Event) -> None:
        if isinstance(event, AuditProgress):
            count(event.done, event.total)

    return show
