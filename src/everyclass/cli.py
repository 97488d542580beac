"""The command line: parse, call one workflow, show, exit code.

Exit codes: 0 done; 1 done but a problem was found and --strict was given, or the work could not be
finished; 2 bad input or usage; 130 interrupted. Results go to standard output, progress to
standard error. Workflows are imported inside the commands: torch takes seconds to load, and help
and the audit do not need it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from everyclass.compare_command import CompareCommand, compare
from everyclass.crossval_command import crossval
from everyclass.curve_command import curve
from everyclass.doctor_command import doctor
from everyclass.errors import EveryclassError, InputError
from everyclass.export_command import export
from everyclass.options import (
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
    Strict,
    TileDownsample,
    TileSize,
    cluster_of,
    one_of,
    prior_of,
    wishes_of,
)
from everyclass.printing import progress_console, result_console, write_json
from everyclass.report_command import leave_report, report, tell_report
from everyclass.run_command import run
from everyclass.serve_command import serve

if TYPE_CHECKING:
    from everyclass.workflows.cluster import Cluster
    from everyclass.workflows.data_source import DataSource
    from everyclass.workflows.demo import DemoData
    from everyclass.workflows.events import Event

app = typer.Typer(
    name="everyclass",
    help="Image classifiers that predict every class: audit a data set, decide a recipe and say "
    "why, train, and report every class honestly.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


app.command(context_settings={"allow_interspersed_args": False})(run)
app.command(cls=CompareCommand)(compare)
app.command()(curve)
app.command()(crossval)
app.command()(report)
app.command()(doctor)
app.command()(export)
app.command()(serve)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"everyclass {version('everyclass')}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    show_version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    """Options of all commands."""
    # Threads that wait by spinning slow a training to a seventh as soon as anything else runs on
    # the same cores (measured: 46 against 6 images/s beside one busy process). It must be said
    # before torch is loaded; whoever sets it otherwise is left alone, and so is a script that
    # `run` runs as plain Python would.
    if context.invoked_subcommand != "run":
        from everyclass.workflows.freed_memory import keep_freed_memory

        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        keep_freed_memory()
    if context.invoked_subcommand not in ("run", "train"):
        from everyclass.workflows.launched import refuse_several

        refuse_several(str(context.invoked_subcommand))


@app.command()
def audit(
    data: Data,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    split_column: SplitColumn = None,
    group_column: GroupColumn = None,
    image_root: ImageRoot = None,
    tile_size: TileSize = None,
    tile_downsample: TileDownsample = 1,
    image_size: ImageSize = None,
    val_fraction: Fraction = None,
    test_fraction: Fraction = None,
    seed: Seed = None,
    max_unreadable: MaxUnreadable = 0.01,
    strict: Strict = False,
    ray: RayAddress = None,
    ray_workers: RayWorkers = None,
    json_file: Json = None,
    no_cache: NoCache = False,
    quiet: Quiet = False,
) -> None:
    """Look at every image once: statistics, counts, faults, duplicates, leakage."""
    from everyclass.terminal.audit import audit_view
    from everyclass.workflows.audit import audit_data
    from everyclass.workflows.data_source import DEFAULT_FRACTION, DataSource

    with cluster_of(ray, ray_workers) as cluster:
        result = audit_data(
            DataSource(
                source=data,
                image_column=image_column,
                label_column=label_column,
                split_column=split_column,
                group_column=group_column,
                image_root=image_root,
                tile_size=tile_size,
                tile_downsample=tile_downsample,
                max_unreadable=max_unreadable,
            ),
            side=image_size,
            val_fraction=DEFAULT_FRACTION if val_fraction is None else val_fraction,
            test_fraction=DEFAULT_FRACTION if test_fraction is None else test_fraction,
            seed=seed or 0,
            cached=not no_cache,
            cluster=cluster,
            on_progress=_counter("auditing", quiet),
        )
        redone = "" if cluster is None else cluster.redone_sentence()
    write_json(json_file, result.audit.to_dict())
    if not quiet:
        if redone:
            progress_console().print(redone, soft_wrap=True)
        result_console().print(audit_view(result.audit))
        if result.remembered:
            result_console().print(
                f"{result.remembered:,} of {result.audit.n:,} images are as they were at an audit "
                "before and were not read again; --no-cache reads them.",
                style="dim",
            )
    if strict and result.audit.warnings:
        raise typer.Exit(1)


@app.command()
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


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.", metavar="RUN")],
    data: Data,
    split: Annotated[str, typer.Option(help="auto, train, val, test or all.")] = "auto",
    decision: Annotated[
        str, typer.Option(help="balanced (highest mean recall) or natural (fewest errors).")
    ] = "balanced",
    coverage: Annotated[
        float | None,
        typer.Option(help="Coverage of the prediction sets that are judged too.  [default: 0.9]"),
    ] = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    split_column: SplitColumn = None,
    group_column: GroupColumn = None,
    image_root: ImageRoot = None,
    tile_size: TileSize = None,
    tile_downsample: TileDownsample = 1,
    max_unreadable: MaxUnreadable = 0.01,
    strict: Strict = False,
    json_file: Json = None,
    quiet: Quiet = False,
) -> None:
    """Per-class recall, precision and F1 with intervals, calibration, and the verdict."""
    from everyclass.terminal.evaluation import evaluation_view
    from everyclass.workflows.data_source import DataSource
    from everyclass.workflows.evaluate import evaluate as evaluate_run

    result = evaluate_run(
        run,
        DataSource(
            source=data,
            image_column=image_column,
            label_column=label_column,
            split_column=split_column,
            group_column=group_column,
            image_root=image_root,
            tile_size=tile_size,
            tile_downsample=tile_downsample,
            max_unreadable=max_unreadable,
        ),
        split=one_of(split, ("auto", "train", "val", "test", "all"), "--split"),  # type: ignore[arg-type]
        kind=one_of(decision, ("balanced", "natural"), "--decision"),  # type: ignore[arg-type]
        coverage=coverage,
        on_progress=_counter("evaluating", quiet),
    )
    write_json(json_file, result.evaluation.to_dict())
    if not quiet:
        console = result_console()
        for sentence in result.sentences:
            console.print(sentence, soft_wrap=True)
        for found in result.set_aside:
            console.print(f"Set aside: {found.image}: {found.reason}", soft_wrap=True)
        console.print(evaluation_view(result.evaluation))
    if strict and result.evaluation.collapse != "healthy":
        raise typer.Exit(1)


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.", metavar="RUN")],
    images: Annotated[
        list[str], typer.Argument(help="Files, folders or one manifest.", metavar="IMAGES...")
    ],
    out: Annotated[Path, typer.Option("--out", help="FILE.csv, FILE.jsonl or FILE.parquet.")],
    prior: Annotated[
        str | None,
        typer.Option(
            help="Class frequencies where the model will be used: 'A=0.7,B=0.3', or a YAML or "
            "JSON file of them.",
        ),
    ] = None,
    coverage: Annotated[
        float | None,
        typer.Option(
            help="Add the set of classes that holds the right one for this share of the images of "
            "each class, as 0.9.",
        ),
    ] = None,
    image_column: ImageColumn = None,
    image_root: ImageRoot = None,
    tile_size: TileSize = None,
    tile_downsample: TileDownsample = 1,
    ray: RayAddress = None,
    ray_workers: RayWorkers = None,
    json_file: Json = None,
    quiet: Quiet = False,
) -> None:
    """Classify images: calibrated probabilities, both decisions, sets of a given coverage."""
    from everyclass.workflows.predict import predict as predict_images

    with cluster_of(ray, ray_workers) as cluster:
        result = predict_images(
            run,
            images,
            out,
            prior=None if prior is None else prior_of(prior),
            coverage=coverage,
            image_column=image_column,
            image_root=image_root,
            tile_size=tile_size,
            tile_downsample=tile_downsample,
            cluster=cluster,
            on_progress=_counter("predicting", quiet),
        )
        redone = "" if cluster is None else cluster.redone_sentence()
    write_json(json_file, result.to_dict())
    if not quiet:
        from everyclass.terminal.prediction_sets import sets_lines

        if redone:
            progress_console().print(redone, soft_wrap=True)
        console = result_console()
        for note in result.notes:
            console.print(note, soft_wrap=True)
        shares = ", ".join(f"{name} {count:,}" for name, count in result.counts)
        console.print(f"{result.n:,} images: {shares}; {result.failed:,} unreadable.")
        if result.sets is not None:
            console.print(sets_lines(result.sets), soft_wrap=True)
        console.print(f"Written to {result.path}.", soft_wrap=True)


@app.command()
def demo(
    data: Annotated[
        str, typer.Option("--data", help="tissue (made here), digits or fashion-mnist.")
    ] = "tissue",
    out: Annotated[Path, typer.Option("--out", help="Folder for images and runs.")] = Path(
        "everyclass-demo"
    ),
    json_file: Json = None,
    quiet: Quiet = False,
) -> None:
    """See a script collapse, its cause proved and cured, and our training on the same images."""
    from everyclass.terminal.demo import demo_view
    from everyclass.terminal.training import TrainingView
    from everyclass.workflows.demo import train_ours, watch_script, write_images

    chosen: DemoData = one_of(data, ("tissue", "digits", "fashion-mnist"), "--data")  # type: ignore[assignment]
    console = progress_console()

    def say(sentence: str) -> None:
        if not quiet:
            console.print(f"\n{sentence}", style="bold", soft_wrap=True)

    say(f"Writing the images to {out / 'images'} ...")
    source = write_images(out, chosen)
    say("1 of 2: a script as people write them, watched, and cured: everyclass run --fix train.py")
    script = watch_script(out, source, quiet=quiet)
    say("2 of 2: everyclass train, on the same images and the same split.")
    with TrainingView(console, quiet=quiet) as view:
        result = train_ours(out, source, script, data=chosen, on_event=view.show)
    write_json(json_file, result.to_dict())
    if not quiet:
        result_console().print(demo_view(result))


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point: runs a command and exits with its code; errors are one message."""
    try:
        code = app(args=None if arguments is None else list(arguments), standalone_mode=False)
    except typer.Exit as stop:
        code = stop.exit_code
    except InputError as error:
        code = _complain(error, 2)
    except EveryclassError as error:
        code = _complain(error, 130 if type(error).__name__ == "InterruptedTraining" else 1)
    except (KeyboardInterrupt, typer.Abort):
        code = _complain("Interrupted.", 130)
    except Exception as error:
        # Click's own usage errors know how to show themselves; anything else is our mistake and
        # keeps its traceback.
        if not hasattr(error, "show") or not hasattr(error, "exit_code"):
            raise
        error.show()
        code = int(error.exit_code)
    sys.exit(code or 0)


def _complain(error: object, code: int) -> int:
    typer.echo(f"everyclass: {error}", err=True)
    return code


def _counter(verb: str, quiet: bool) -> Any:
    """A progress line on standard error, redrawn on a terminal and silent elsewhere."""
    console = progress_console()
    if quiet or not console.is_terminal:
        return lambda done, total: None

    def show(done: int, total: int) -> None:
        end = "\n" if done >= total else "\r"
        console.print(f"{verb} {done:,} of {total:,} images", end=end, highlight=False)

    return show


def _audit_counter(quiet: bool) -> Any:
    """Shows the audit's progress of a workflow's events, and nothing else of them."""
    from everyclass.workflows.events import AuditProgress

    count = _counter("auditing", quiet)

    def show(event: Event) -> None:
        if isinstance(event, AuditProgress):
            count(event.done, event.total)

    return show
