"""`everyclass train`, top to bottom: data, audit, recipe, loop, model, evaluation.

Comes in: a data source, wishes, a folder. Goes out: a run folder, and events while it works.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from everyclass.decide import Machine
from everyclass.errors import InputError
from everyclass.images.audit_values import Audit
from everyclass.images.store import ImageStore
from everyclass.images.table import ImageTable
from everyclass.models.backbones import Backbone, build_backbone, last_layer, refuse_unknown
from everyclass.models.classifier import Classifier, Preprocessing, channels_last_obstacle
from everyclass.models.freezing import early_parameters, freeze
from everyclass.models.pretrained import find_weights
from everyclass.recipe import Recipe
from everyclass.run_folder import RunFolder
from everyclass.settings import PRESETS, Settings
from everyclass.training.processes import ALONE, Processes
from everyclass.transfer import LOCAL_MODEL, LocalWeights
from everyclass.workflows.compute import measured
from everyclass.workflows.correction import Correction, HeadMethod, build_correction
from everyclass.workflows.data_source import DataSource
from everyclass.workflows.events import Decided, Event, Finished
from everyclass.workflows.few_images import advice
from everyclass.workflows.finish import Outcome, finish
from everyclass.workflows.follow import open_for_all
from everyclass.workflows.job import CHECKPOINT_SECONDS, Job
from everyclass.workflows.launch import device_of, refuse_device
from everyclass.workflows.machine import describe_environment, find_machine
from everyclass.workflows.manifest import refuse_other_data, write_manifest
from everyclass.workflows.prepare import Prepared, prepare, reopen
from everyclass.workflows.probe import fit_head
from everyclass.workflows.repair import Course, RepairOptions, fit_and_repair
from everyclass.workflows.stopping import Stop, stop_signals


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """What the user asked for, besides the data.

    Args:
        wishes: settings by name; they win over every other origin.
        preset: name of a ready recipe.
        overwrite: replace a run that is at `out`.
        show_batches: show every so many batches as the tutorial does; 0 = never.
        checkpoint_seconds: between checkpoints inside an epoch.
        repair: what an alarm leads to.
        cached: keep decoded images and audits for later runs on the same files, and use what
            earlier ones kept.
    """

    wishes: Mapping[str, Any] = field(default_factory=dict)
    preset: str | None = None
    overwrite: bool = False
    show_batches: int = 0
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    repair: RepairOptions = field(default_factory=RepairOptions)
    cached: bool = False

    @property
    def fixed(self) -> frozenset[str]:
        """Names of the settings that the user decided."""
        return frozenset({**PRESETS.get(self.preset or "", {}), **self.wishes})


def explain(
    data: DataSource, options: TrainOptions, *, on_event: Callable[[Event], None]
) -> Recipe:
    """The recipe that `train` would follow; nothing is written.

    Raises:
        InputError: as `train`.
    """
    machine = _first_checks(options)
    prepared = prepare(
        data,
        wishes=options.wishes,
        preset=options.preset,
        machine=machine,
        store_folder=None,
        local=_local_weights(options),
        on_event=on_event,
    )
    settings = prepared.recipe.settings
    _correction(settings, prepared.table)
    recipe = _with_backbone_facts(prepared.recipe, _backbone(settings, prepared.table))
    on_event(Decided(recipe=recipe, path=None))
    return recipe


def train(
    data: DataSource,
    out: Path,
    options: TrainOptions,
    *,
    on_event: Callable[[Event], None],
    processes: Processes = ALONE,
    stop: Stop | None = None,
) -> Outcome:
    """Train a classifier and leave a complete run in `out`.

    Args:
        processes: that train it, this one being the first.
        stop: asks for a stop between two steps, beside Ctrl-C and SIGTERM.
    Raises:
        InputError: bad data, wishes or folder; nothing is left behind.
        InterruptedTraining: Ctrl-C or SIGTERM; the run can be resumed.
        NonFiniteLoss: the loss is NaN or infinite and no repair was found; the last checkpoint is
            kept.
        RepairsUsedUp: the training failed again after its last repair.
    """
    machine = _first_checks(options)
    refuse_device(machine.device, processes)
    run = RunFolder.create(out, overwrite=options.overwrite)
    try:
        prepared = prepare(
            data,
            wishes=options.wishes,
            preset=options.preset,
            machine=machine,
            store_folder=run.store,
            cached=options.cached,
            local=_local_weights(options),
            on_event=on_event,
        )
        recipe = decided(prepared, options, machine, run, processes)
        _write_beginning(run, prepared, recipe)
    except BaseException:
        # Bad input, Ctrl-C, anything: what was prepared goes, an earlier run stays.
        run.abandon()
        raise
    run = run.publish()
    on_event(Decided(recipe=recipe, path=run.recipe))
    course = Course(run=run, recipe=recipe, start=None)
    try:
        materials = Materials.of(prepared, options, processes)
        return _fit_and_finish(course, materials, source=data.source, on_event=on_event, stop=stop)
    finally:
        prepared.store.close()


def decided(
    prepared: Prepared,
    options: TrainOptions,
    machine: Machine,
    run: RunFolder,
    processes: Processes = ALONE,
) -> Recipe:
    """The recipe with what only the network and the machine can tell.

    Args:
        run: where a job would be written that is made for measuring.
        processes: that train it; threads are shared then, and not measured.
    Raises:
        InputError: corrections that do not go together, or a network that cannot be had.
    """
    settings = prepared.recipe.settings
    _correction(settings, prepared.table)  # refused before anything is published
    _refuse_batches(options, settings)
    recipe = _with_backbone_facts(prepared.recipe, _backbone(settings, prepared.table))
    if settings.fine_tuning == "head":  # which spends its time on passes that are made once
        return recipe
    return measured(
        recipe,
        lambda: Materials.of(prepared, options, processes).job(recipe, run, None),
        n_train=int(prepared.table.counts("train").sum()),
        fixed=options.fixed | ({"threads"} if processes.several else set()),
        bf16=machine.bf16,
    )


def train_prepared(
    prepared: Prepared,
    out: Path,
    options: TrainOptions,
    *,
    on_event: Callable[[Event], None],
) -> None:
    """Train by the recipe of what was prepared, or go on with the run that `out` has of it; a
    finished one stays as it is. For several trainings on the same images: the store stays open.

    Raises:
        InputError: the run in `out` was begun with another recipe or other data.
        Others as `train`.
    """
    recipe, run = prepared.recipe, RunFolder(out)
    if run.recipe.exists():
        _refuse_other_recipe(run, recipe)
        refuse_other_data(run.manifest, prepared.table, run=str(run.path))
        if run.evaluation.exists():
            return
        course = Course.of(run).gone_on(options.repair)
    else:
        run = RunFolder.create(out)
        try:
            _write_beginning(run, prepared, recipe)
        except BaseException:
            run.abandon()
            raise
        course = Course(run=run.publish(), recipe=recipe, start=None)
    on_event(Decided(recipe=course.recipe, path=course.run.followed_recipe))
    # One of several: advice on the data is for whoever asked for all of them.
    materials = Materials.of(prepared, options)
    _fit_and_finish(course, materials, source=None, on_event=on_event)


def _refuse_other_recipe(run: RunFolder, recipe: Recipe) -> None:
    began = Recipe.from_yaml(run.recipe.read_text(encoding="utf-8"), where=str(run.recipe))
    for name, value in recipe.settings.model_dump().items():
        has = getattr(began.settings, name)
        if has != value:
            raise InputError(
                f"{run.path} was trained with {name} = {has}; now {value} is asked for.",
                remedy="Choose another --out, or ask for the same.",
            )


def resume(
    data: DataSource,
    out: Path,
    options: TrainOptions,
    *,
    on_event: Callable[[Event], None],
    processes: Processes = ALONE,
    stop: Stop | None = None,
) -> Outcome:
    """Continue the run in `out` exactly where its last checkpoint stands.

    Args:
        processes: that go on with it, this one being the first; there may be more or fewer than
            before.
        stop: as of `train`.
    Raises:
        InputError: no run there, a finished one, other data than it began with, or wishes (a
            resumed run follows its own recipe).
        RepairsUsedUp: it had stopped for want of repairs, and `options` allow no more.
    """
    run = RunFolder.open(out)
    if options.wishes or options.preset:
        names = ", ".join([*options.wishes, *([options.preset] if options.preset else [])])
        raise InputError(
            f"--resume follows the recipe of {run.path}; it cannot take other settings ({names}).",
            remedy="Leave them away, or start a new run with another --out.",
        )
    if run.evaluation.exists():
        raise InputError(
            f"{run.path} is finished; there is nothing to resume.",
            remedy="Evaluate it, or train again with another --out.",
        )
    course = Course.of(run).gone_on(options.repair)
    materials = Materials.reopened(data, course, options, processes)
    on_event(Decided(recipe=course.recipe, path=course.run.followed_recipe))
    try:
        return _fit_and_finish(course, materials, source=data.source, on_event=on_event, stop=stop)
    finally:
        materials.store.close()


def _first_checks(options: TrainOptions) -> Machine:
    """What can be refused before an audit of millions of images."""
    if "model" in options.wishes:
        refuse_unknown(options.wishes["model"])
    return find_machine(options.wishes.get("device"))


def _local_weights(options: TrainOptions) -> LocalWeights | None:
    """Those of the model asked for, or of the one that is trained where its weights are here."""
    wanted = {**PRESETS.get(options.preset or "", {}), **options.wishes}
    return find_weights(wanted.get("model", LOCAL_MODEL))


def _refuse_batches(options: TrainOptions, settings: Settings) -> None:
    if options.show_batches and settings.fine_tuning == "head":
        raise InputError(
            "--fine-tuning head trains on features, and has no batches of images to show.",
            remedy="Leave --show-batches away, or use --fine-tuning light or full.",
        )


@dataclass(frozen=True, slots=True)
class Materials:
    """What every training of a run has in common, whatever its recipe."""

    table: ImageTable
    store: ImageStore
    audit: Audit
    options: TrainOptions
    processes: Processes = ALONE

    @classmethod
    def of(
        cls, prepared: Prepared, options: TrainOptions, processes: Processes = ALONE
    ) -> Materials:
        """Of what was prepared."""
        return cls(prepared.table, prepared.store, prepared.audit, options, processes)

    @classmethod
    def reopened(
        cls, data: DataSource, course: Course, options: TrainOptions, processes: Processes
    ) -> Materials:
        """Of a run that was begun, the data read again.

        Raises:
            InputError: other data than it began with, or no such device here.
        """
        run, settings = course.run, course.recipe.settings
        find_machine(settings.device)
        refuse_device(settings.device, processes)
        audit = Audit.from_dict(run.read_json(run.audit))
        table, store = reopen(
            data,
            settings,
            audit,
            store_folder=run.store,
            manifest=run.manifest,
            cached=options.cached,
        )
        refuse_other_data(run.manifest, table, run=str(run.path))
        return cls(table, store, audit, options, processes)

    def job(self, recipe: Recipe, run: RunFolder, start: bytes | None) -> Job:
        """With the first weights of the recipe."""
        settings = recipe.settings
        backbone = _backbone(settings, self.table)
        preprocessing = Preprocessing(
            side=settings.image_size,
            mean=settings.mean,
            std=settings.std,
            scale=1.0 if settings.normalisation == "raw" else 255.0,
        )
        classifier = Classifier(backbone.network, preprocessing)
        if settings.pretrained and settings.fine_tuning != "head":
            light = settings.fine_tuning == "light"
            early = early_parameters(backbone.network, settings.model) if light else ()
            freeze(backbone.network, early)
        classifier.lay_out(channels_last=settings.memory_format == "channels_last")
        return Job(
            run=run,
            table=self.table,
            settings=settings,
            correction=_correction(settings, self.table, self.processes),
            store=self.store,
            classifier=classifier,
            weights=backbone.weights,
            small_stem=backbone.small_stem,
            cosine_head=backbone.cosine_head,
            start=start,
            show_batches=self.options.show_batches,
            checkpoint_seconds=self.options.checkpoint_seconds,
            processes=self.processes,
        )


def _fit_and_finish(
    course: Course,
    materials: Materials,
    *,
    source: str | None,
    on_event: Callable[[Event], None],
    stop: Stop | None = None,
) -> Outcome:
    open_for_all(materials.processes)
    with stop_signals(stop) as stopped:
        if course.recipe.settings.fine_tuning == "head":
            job = materials.job(course.recipe, course.run, None)
            progress, told = fit_head(job, stop=stopped, on_event=on_event), tuple[str, ...]()
        else:
            job, progress, told = fit_and_repair(
                course,
                materials.job,
                materials.options.repair,
                audit=materials.audit,
                stop=stopped,
                on_event=on_event,
            )
    outcome = finish(job, progress)
    few = () if source is None else advice(materials.table, source=source)
    outcome = replace(outcome, sentences=(*told, *outcome.sentences, *few))
    on_event(
        Finished(folder=course.run.path, evaluation=outcome.evaluation, sentences=outcome.sentences)
    )
    return outcome


def _write_beginning(run: RunFolder, prepared: Prepared, recipe: Recipe) -> None:
    """Everything a resume needs; the recipe last, because it is what makes a folder a run."""
    run.write_json(run.audit, prepared.audit.to_dict())
    write_manifest(run.manifest, prepared.table, prepared.contents, prepared.looks)
    run.write_json(run.environment, describe_environment(recipe.settings.threads))
    run.write_text(run.recipe, recipe.to_yaml())


def _correction(settings: Settings, table: ImageTable, processes: Processes = ALONE) -> Correction:
    labels = table.of_split("train").labels()
    return build_correction(
        settings.imbalance,
        labels,
        classes=table.classes,
        epochs=settings.epochs,
        label_smoothing=settings.label_smoothing,
        seed=settings.seed,
        device=device_of(settings, processes),
    )


def _backbone(settings: Settings, table: ImageTable) -> Backbone:
    backbone = build_backbone(
        settings.model,
        side=settings.image_size,
        n_classes=len(table.classes),
        seed=settings.seed,
        pretrained=settings.pretrained,
        weights_file=settings.weights_file,
        cosine_head="ldam-drw" in settings.imbalance,
    )
    if settings.fine_tuning == "light":
        early_parameters(backbone.network, settings.model)
    heads = any(name in get_args(HeadMethod) for name in settings.imbalance)
    if heads or settings.fine_tuning != "full":
        last_layer(backbone.network, settings.model, len(table.classes))  # refused now, not later
    return backbone


def _with_backbone_facts(recipe: Recipe, backbone: Backbone) -> Recipe:
    """What only the network knows: its statistics, and how it may lie in memory."""
    own = next(one for one in recipe.decisions if one.name == "memory_format")
    obstacle = channels_last_obstacle(backbone.network)
    if own.value == "channels_last" and obstacle is not None:
        recipe = recipe.with_value("memory_format", "contiguous", f"the network {obstacle}")
    if recipe.settings.normalisation != "backbone" or backbone.mean is None:
        return recipe
    reason = f"what {backbone.weights} was trained with"
    return recipe.with_value("mean", backbone.mean, reason).with_value("std", backbone.std, reason)
