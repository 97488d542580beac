"""The fault benchmark's second question: is the right cause named, and does its cure cure?

    python benchmarks/faults/causes.py --out OUT                    the default fraction
    python benchmarks/faults/causes.py --out OUT --shard 0/2        one half; another machine, 1/2
    python benchmarks/faults/causes.py --out OUT --developed        guises developed with, alone
    python benchmarks/faults/causes.py --out OUT --held-out         guises kept aside, alone
    python benchmarks/faults/causes.py --out OUT --calls watch      scripts that call the library
    python benchmarks/faults/causes.py --out OUT --list             what would be run, nothing is
    python benchmarks/faults/causes.py --out OUT --scripts FOLDER   the scripts alone, as files
    python benchmarks/faults/causes.py --out OUT --report           OUT's results as Markdown

`matrix` says which trainings are drawn, `measure` what is done with each, `remedied` how a proposed
change is applied, `causes_report` what is printed. A finished training is one line in
OUT/causes*.jsonl and is not run again. Every figure depends on the code that is watched: use a new
OUT after changing it. Guises in `held_out/` were written after watch, checks and trials; who
changes those is not to read them, nor their rows.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import get_args

from by_calls import Way, with_calls
from causes_report import report
from matrix import Plan, drawn
from measure import Bench, Row, measured
from run import IMPORTED_ONCE, SET_FOLDERS, prepare_images, read_results


def main() -> None:
    options = parsed()
    options.out.mkdir(parents=True, exist_ok=True)
    if not options.report:
        images = prepare_images(options.out / "images", options.data_root)
        plans = chosen(options, images)
        if options.list:
            print("\n".join(plan.key for plan in plans))
            return
        if options.scripts is not None:
            write_scripts(plans, options.scripts, images)
            return
        run_all(plans, images, options)
    print(report(read_results(options.out, "causes")))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--budget", type=float, default=20.0, help="seconds for trials, each run")
    parser.add_argument("--per-guise", type=int, default=2, help="trainings of each guise")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--only", default="", help="regular expression on a training's name")
    parser.add_argument("--limit", type=int, help="at most so many, from the head of the list")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--held-out", action="store_true", help="guises kept aside, alone")
    which.add_argument("--developed", action="store_true", help="guises developed with, alone")
    parser.add_argument(
        "--calls",
        choices=get_args(Way),
        help="scripts that call the library themselves, of those that can (see by_calls)",
    )
    parser.add_argument("--shard", default="0/1", help="i/n: trainings i, i + n, i + 2n, ...")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--time-limit", type=float, default=300.0, help="seconds for one script")
    parser.add_argument("--data-root", type=Path, default=os.environ.get("EVERYCLASS_DATA"))
    parser.add_argument("--list", action="store_true", help="print the plan only")
    parser.add_argument("--scripts", type=Path, help="write the scripts into this folder only")
    parser.add_argument("--report", action="store_true", help="print only")
    return parser.parse_args()


def chosen(options: argparse.Namespace, images: Path) -> list[Plan]:
    """What is asked for, of the drawn fraction."""
    by_folder = {folder: name for name, folder in SET_FOLDERS.items()}
    sets = {"", "demo", *(by_folder.get(one.name, one.name) for one in images.iterdir())}
    plans = drawn(sets=sets, first_seed=options.first_seed, per_guise=options.per_guise)
    if options.held_out:
        plans = [plan for plan in plans if plan.held_out]
    if options.developed:
        plans = [plan for plan in plans if not plan.held_out]
    if options.calls:
        plans = [plan for plan in plans if calls_fit(plan, options.calls)]
    plans = [plan for plan in plans if re.search(options.only, plan.key)][: options.limit]
    index, of = map(int, options.shard.split("/"))
    return plans[index::of]


def calls_fit(plan: Plan, way: Way) -> bool:
    """Whether faulty script and twin can be made to call the library."""
    texts = (plan.faulty(), plan.twin())
    return all(with_calls(text, way, budget=0) is not None for text in texts)


def write_scripts(plans: list[Plan], folder: Path, images: Path) -> None:
    """Each training's scripts as files, and `index.jsonl`: for tools that know nothing of this.

    `runs.jsonl` beside them is for `peers.py --runs`: the same scripts, sound twins as well.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines, runs = [], []
    for number, plan in enumerate(plans):
        names = {"faulty": f"{number:03d}_faulty.py", "twin": f"{number:03d}_twin.py"}
        (folder / names["faulty"]).write_text(plan.faulty())
        if plan.faults:
            (folder / names["twin"]).write_text(plan.twin())
        told = {
            "key": plan.key,
            "kind": plan.kind,
            "causes": [fault.cause for fault in plan.faults],
            "accepts": [list(fault.accepts) for fault in plan.faults],
            "held_out": plan.held_out,
            "script": names["faulty"],
            "twin": names["twin"] if plan.faults else None,
            "arguments": ["--root", str(images), "--seed", str(plan.seed)],
        }
        lines.append(json.dumps(told))
        runs += peer_runs(plan)
    (folder / "index.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "runs.jsonl").write_text("".join(json.dumps(run) + "\n" for run in runs))


def peer_runs(plan: Plan) -> list[dict[str, object]]:
    """A training and its sound twin, as `peers.py` reads them."""
    told = {"key": plan.key, "text": plan.faulty(), "cause": "healthy", "seed": plan.seed}
    if not plan.faults:
        return [told]
    accepts = [cause for fault in plan.faults for cause in (fault.cause, *fault.accepts)]
    twin = {**told, "key": f"{plan.key} (twin)", "text": plan.twin()}
    return [{**told, "cause": plan.faults[0].cause, "accepts": accepts}, twin]


# -- running ---------------------------------------------------------------------------------------


def run_all(plans: list[Plan], images: Path, options: argparse.Namespace) -> None:
    """Those without a row, by `--jobs` processes that each take every n-th."""
    rows = read_results(options.out, "causes")
    done = {row["key"] for row in rows}
    left = [plan for plan in plans if plan.key not in done]
    if not left:
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    for name in IMPORTED_ONCE:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)
    twins = {row["twin"]["name"]: row["twin"] for row in rows if "twin" in row}
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory(prefix="faults-") as scratch:
        workers = [
            context.Process(
                target=work,
                args=(left[job :: options.jobs], job, bench_of(images, scratch, twins, options)),
                kwargs={"out": options.out, "shard": options.shard},
            )
            for job in range(options.jobs)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    if any(worker.exitcode for worker in workers):
        raise SystemExit("A process of the benchmark failed; what it had finished is kept.")


def bench_of(
    images: Path, scratch: str, twins: dict[str, Row], options: argparse.Namespace
) -> Bench:
    return Bench(
        images=images,
        scratch=Path(scratch),
        budget=options.budget,
        time_limit=options.time_limit,
        default_changes=default_changes(),
        keep=options.out / "kept",
        twins=dict(twins),
        calls=options.calls,
    )


def default_changes() -> dict[str, str]:
    """Cause -> the first change that answers it: what a cause without a trial stands for."""
    from everyclass.diagnosis.changes import changes

    found: dict[str, str] = {}
    for change in changes():
        found.setdefault(change.cause, change.name)
    return found


def work(plans: list[Plan], job: int, bench: Bench, *, out: Path, shard: str) -> None:
    """In a process of its own: a line of results after each training."""
    results = out / f"causes-{shard.replace('/', '-of-')}-{job}.jsonl"
    for position, plan in enumerate(plans):
        row = measured(plan, bench)
        with results.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(progress(row, len(plans) - position - 1), file=sys.stderr, flush=True)


def progress(row: Row, left: int) -> str:
    named = ", ".join(f"{one['id']}{'' if one['proved'] else '?'}" for one in row["named"][:2])
    restored = (
        ("not " if not row["repair"]["restored"] else "") + "restored" if "repair" in row else ""
    )
    return (
        f"[{left:4d} left] {row['seconds_in_all']:6.1f} s  {row['truth']['outcome']:8s} "
        f"{row['verdict'] or '-':12s} {row['key']} -> {named or '-'} {restored}"
    )


if __name__ == "__main__":
    main()
