"""The command line: parse, call one workflow, show, exit code.

Exit codes: 0 done; 1 done but a problem was found and --strict was given, or the work could not be
finished; 2 bad input or usage; 130 interrupted. Results go to standard output, progress to
standard error. Workflows are imported inside the commands: torch takes seconds to load, and help
and the audit do not need it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from everyclass.errors import EveryclassError, InputError
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
    Quiet,
    Seed,
    SplitColumn,
    Strict,
    one_of,
    prior_of,
    wishes_of,
)

if TYPE_CHECKING:
    from everyclass.findings import Finding
    from everyclass.workflows.demo import DemoData
    from everyclass.workflows.events import Event
    from everyclass.workflows.fix_script import FixPlan
    from everyclass.workflows.prepare import DataSource
    from everyclass.workflows.run_script import RunOutcome

app = typer.Typer(
    name="everyclass",
    help="Image classifiers that predict every class: audit a data set, decide a recipe and say "
    "why, train, and report every class honestly.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@app.command()
def audit(
    data: Data,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    split_column: SplitColumn = None,
    group_column: GroupColumn = None,
    image_root: ImageRoot = None,
    image_size: ImageSize = None,
    val_fraction: Fraction = None,
    test_fraction: Fraction = None,
    seed: Seed = None,
    max_unreadable: MaxUnreadable = 0.01,
    strict: Strict = False,
    json_file: Json = None,
    quiet: Quiet = False,
) -> None:
    """Look at every image once: statistics, counts, faults, duplicates, leakage."""
    from everyclass.terminal.audit import audit_view
    from everyclass.workflows.audit import audit_data
    from everyclass.workflows.prepare import DEFAULT_FRACTION, DataSource

    result = audit_data(
        DataSource(
            source=data,
            image_column=image_column,
            label_column=label_column,
            split_column=split_column,
            group_column=group_column,
            image_root=image_root,
            max_unreadable=max_unreadable,
        ),
        side=image_size,
        val_fraction=DEFAULT_FRACTION if val_fraction is None else val_fraction,
        test_fraction=DEFAULT_FRACTION if test_fraction is None else test_fraction,
        seed=seed or 0,
        on_progress=_counter("auditing", quiet),
    )
    _write_json(json_file, result.audit.to_dict())
    if not quiet:
        _result_console().print(audit_view(result.audit))
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
    model: Annotated[str | None, typer.Option(help="'tutorial' or any timm model name.")] = None,
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
            "logit-adjustment, weights-inverse, weights-balanced, weights-sqrt or "
            "weights-effective.",
        ),
    ] = None,
    augmentation: Annotated[
        list[str] | None,
        typer.Option(help="none, crop, flip, vertical-flip, quarter-turns, rotation; repeatable."),
    ] = None,
    normalisation: Annotated[
        str | None, typer.Option(help="dataset, imagenet, backbone, none or raw.")
    ] = None,
    pretrained: Annotated[
        bool | None, typer.Option("--pretrained", help="Start from ImageNet weights.")
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
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    split_column: SplitColumn = None,
    group_column: GroupColumn = None,
    image_root: ImageRoot = None,
    max_unreadable: MaxUnreadable = 0.01,
    json_file: Json = None,
    quiet: Quiet = False,
) -> None:
    """Audit, decide a recipe, train, and report every class."""
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
    from everyclass.workflows.prepare import DataSource

    preset, wishes = wishes_of(recipe, settings or [], given)
    source = DataSource(
        source=data,
        image_column=image_column,
        label_column=label_column,
        split_column=split_column,
        group_column=group_column,
        image_root=image_root,
        max_unreadable=max_unreadable,
    )
    if out is None and not explain_only:
        raise InputError("No folder for the run was given.", remedy="Add --out RUN.")
    from everyclass.workflows.train import TrainOptions

    options = TrainOptions(
        wishes=wishes,
        preset=preset,
        overwrite=overwrite,
        show_batches=show_batches,
        checkpoint_seconds=checkpoint_seconds,
    )
    if explain_only:
        _explain(source, options, json_file, quiet)
    else:
        assert out is not None
        _train(source, out, options, resume_run, json_file, quiet)


def _explain(source: DataSource, options: Any, json_file: Path | None, quiet: bool) -> None:
    from everyclass.workflows.train import explain

    decided = explain(source, options, on_event=_audit_counter(quiet))
    _write_json(json_file, {d.name: d.value for d in decided.decisions})
    if not quiet:
        typer.echo(decided.to_yaml())


def _train(
    source: DataSource,
    out: Path,
    options: Any,
    resume_run: bool,
    json_file: Path | None,
    quiet: bool,
) -> None:
    from everyclass.terminal.training import TrainingView
    from everyclass.workflows.fit import InterruptedTraining
    from everyclass.workflows.train import resume
    from everyclass.workflows.train import train as train_run

    with TrainingView(_progress_console(), quiet=quiet) as view:
        try:
            outcome = (resume if resume_run else train_run)(
                source, out, options, on_event=view.show
            )
        except InterruptedTraining as stop:
            raise InterruptedTraining(
                f"{stop} Everything is saved. Go on with: everyclass train {source.source} "
                f"--out {out} --resume"
            ) from None
    _write_json(json_file, outcome.evaluation.to_dict())
    if not quiet:
        from everyclass.terminal.evaluation import evaluation_view

        console = _result_console()
        for sentence in outcome.sentences:
            console.print(sentence, soft_wrap=True)
        console.print(evaluation_view(outcome.evaluation))
        console.print(
            f"Model, recipe, figures and predictions: {out}\n"
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
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    split_column: SplitColumn = None,
    group_column: GroupColumn = None,
    image_root: ImageRoot = None,
    max_unreadable: MaxUnreadable = 0.01,
    strict: Strict = False,
    json_file: Json = None,
    quiet: Quiet = False,
) -> None:
    """Per-class recall, precision and F1 with intervals, calibration, and the verdict."""
    from everyclass.terminal.evaluation import evaluation_view
    from everyclass.workflows.evaluate import evaluate as evaluate_run
    from everyclass.workflows.prepare import DataSource

    result = evaluate_run(
        run,
        DataSource(
            source=data,
            image_column=image_column,
            label_column=label_column,
            split_column=split_column,
            group_column=group_column,
            image_root=image_root,
            max_unreadable=max_unreadable,
        ),
        split=one_of(split, ("auto", "train", "val", "test", "all"), "--split"),  # type: ignore[arg-type]
        kind=one_of(decision, ("balanced", "natural"), "--decision"),  # type: ignore[arg-type]
        on_progress=_counter("evaluating", quiet),
    )
    _write_json(json_file, result.evaluation.to_dict())
    if not quiet:
        console = _result_console()
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
    image_column: ImageColumn = None,
    image_root: ImageRoot = None,
    json_file: Json = None,
    quiet: Quiet = False,
) -> None:
    """Classify images: calibrated probabilities, the balanced and the natural decision."""
    from everyclass.workflows.predict import predict as predict_images

    result = predict_images(
        run,
        images,
        out,
        prior=None if prior is None else prior_of(prior),
        image_column=image_column,
        image_root=image_root,
        on_progress=_counter("predicting", quiet),
    )
    summary = {"n": result.n, "failed": result.failed, "predicted": dict(result.counts)}
    _write_json(json_file, {"out": str(result.path), **summary})
    if not quiet:
        console = _result_console()
        for note in result.notes:
            console.print(note, soft_wrap=True)
        shares = ", ".join(f"{name} {count:,}" for name, count in result.counts)
        console.print(f"{result.n:,} images: {shares}; {result.failed:,} unreadable.")
        console.print(f"Written to {result.path}.", soft_wrap=True)


@app.command(context_settings={"allow_interspersed_args": False})
def run(
    script: Annotated[
        str, typer.Argument(help="A Python script; with -m a module.", metavar="SCRIPT")
    ],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ARGS]...", help="Everything after SCRIPT is the script's own."),
    ] = None,
    is_module: Annotated[
        bool, typer.Option("-m", help="SCRIPT is a module, as in python -m MODULE.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for findings.json and diagnosis.json."),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget",
            help="Seconds of trials when something is wrong; 0 = none.",
            show_default="a quarter of the run, 20 to 300",
            min=0.0,
        ),
    ] = None,
    stop_on_collapse: Annotated[
        bool,
        typer.Option("--stop-on-collapse", help="End the script with code 1 at the first alarm."),
    ] = False,
    check_only: Annotated[
        bool, typer.Option("--check-only", help="Let it make two steps, check, and end it.")
    ] = False,
    fix: Annotated[
        bool,
        typer.Option(
            "--fix",
            help="When a cause is proved: write a patched copy beside the script (train.fixed.py), "
            "show the diff, run the copy once more and compare. The script itself is not touched.",
        ),
    ] = False,
    strict: Strict = False,
    json_file: Json = None,
    quiet: Quiet = False,
) -> None:
    """Run a training script as Python would, watch what it learns, and prove what is wrong.

    Standard output, exit code and numbers stay the script's own; ours go to standard error.
    """
    from everyclass.capture.execute import Target
    from everyclass.workflows.fix_script import plan_fix
    from everyclass.workflows.run_script import RunOptions, run_script

    if fix and (check_only or budget == 0):
        raise InputError("--fix applies what trials prove, and none would be made.", where="--fix")
    target = Target(name=script, arguments=tuple(arguments or ()), is_module=is_module)
    plan = plan_fix(target) if fix else None
    outcome = run_script(
        target,
        RunOptions(
            out=out,
            stop_on_collapse=stop_on_collapse,
            check_only=check_only,
            budget_seconds=budget,
            on_alarm=None if quiet else _tell_alarm,
            on_trial=None if quiet else _tell_trials,
        ),
    )
    diagnosis = outcome.diagnosis
    value = outcome.report.to_dict()
    if diagnosis is not None:
        value |= diagnosis.to_dict()
    _write_json(json_file, value)
    if not quiet:
        from everyclass.terminal.diagnosis import diagnosis_view
        from everyclass.terminal.watch import watch_view

        sys.stdout.flush()
        _progress_console().print(watch_view(outcome.report))
        if diagnosis is not None:
            _progress_console().print(diagnosis_view(diagnosis))
    if plan is not None:
        found = _fix(plan, outcome, stop_on_collapse=stop_on_collapse, quiet=quiet)
        _write_json(json_file, {**value, "fix": found})
        _write_json(None if out is None or found is None else out / "fix.json", found)
    problem = strict and outcome.report.problem_found
    raise typer.Exit(outcome.code or int(problem))


def _fix(
    plan: FixPlan, outcome: RunOutcome, *, stop_on_collapse: bool, quiet: bool
) -> dict[str, Any] | None:
    """Copy, diff, second run, comparison; None when there was nothing to change."""
    from everyclass.terminal.fix import difference_text, fix_view, patch_view
    from everyclass.workflows.fix_script import patch_script, run_again

    console = _progress_console()
    patched = patch_script(plan, outcome)
    if not quiet:
        console.print(patch_view(patched))
    if patched.copy is None:
        return None
    if not quiet:
        console.print(difference_text(patched), soft_wrap=True)
        console.print(f"everyclass: running {plan.copy_name} ...", soft_wrap=True)
    fix = run_again(plan, patched, outcome, stop_on_collapse=stop_on_collapse)
    if not quiet:
        console.print(fix_view(fix))
    return fix.to_dict()


def _tell_alarm(finding: Finding) -> None:
    from everyclass.terminal.watch import notice_line

    _progress_console().print(notice_line(finding), soft_wrap=True)


def _tell_trials(seconds: float, name: str) -> None:
    if not name:
        _progress_console().print(
            f"everyclass: looking for the cause by trials on copies, up to {seconds:.0f} s ..."
        )


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
    """See a training collapse and ours succeed, side by side, on the same images."""
    from everyclass.terminal.demo import demo_view
    from everyclass.terminal.training import TrainingView
    from everyclass.workflows.demo import run_demo

    chosen: DemoData = one_of(data, ("tissue", "digits", "fashion-mnist"), "--data")  # type: ignore[assignment]
    with TrainingView(_progress_console(), quiet=quiet) as view:
        result = run_demo(out, data=chosen, on_event=view.show, on_stage=view.say)
    _write_json(json_file, result.to_dict())
    if not quiet:
        _result_console().print(demo_view(result))


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


def _result_console() -> Console:
    return Console()


def _progress_console() -> Console:
    return Console(stderr=True)


def _write_json(path: Path | None, value: Any) -> None:
    if path is None:
        return
    from everyclass.run_folder import write_atomically

    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(path, text.encode())


def _counter(verb: str, quiet: bool) -> Any:
    """A progress line on standard error, redrawn on a terminal and silent elsewhere."""
    console = _progress_console()
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
