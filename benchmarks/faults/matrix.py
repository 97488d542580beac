"""Which trainings of all that could be made are run: a balanced fraction of a large product.

Comes in: guises (each with the script it fits). Goes out: `Plan` values. The product is cause x
guise x image set x network x seed x red herring; a place belongs to it when the guise's edits fit
the script there exactly once and the healthy script is known to learn there (`LENGTHS`).

The fraction is drawn by minimisation, as treatments are allocated in trials: guises take turns, and
each turn goes to the admissible place that was used least so far, by this guise's sets and
networks first, then by its cause's, then by all. It draws nothing at random, so every machine draws
the same; a shard takes every n-th plan, and any beginning of the list is as balanced as the whole.
Knows nothing of torch, and nothing of what a run comes to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import combinations

from compose import Edit, Guise, Place, written
from edits import BALANCED, CENTRED, LOSS, PIXELS, RIGHT_WEIGHTS
from registry import HEALTHY, all_guises, held_out_guises

LENGTHS: Mapping[tuple[str, str], int] = {
    ("digits", "tutorial_cnn"): 6,
    ("digits", "vgg"): 7,
    ("digits", "resnet18"): 3,
    ("digits", "vit"): 7,
    ("digits", "mlp"): 6,
    ("digits", "bn_cnn"): 5,
    ("demo_32", "tutorial_cnn"): 20,
    ("demo_32", "bn_cnn"): 8,
    ("trashnet", "tutorial_cnn"): 8,
    ("trashnet", "resnet18"): 5,
    ("trashnet", "vit"): 7,
    ("trashnet", "mlp"): 7,
    ("trashnet", "bn_cnn"): 8,
    ("pbc", "tutorial_cnn"): 8,
    ("pbc", "vgg"): 8,
    ("pbc", "resnet18"): 4,
    ("pbc", "vit"): 5,
    ("pbc", "mlp"): 6,
    ("pbc", "bn_cnn"): 8,
}
"""Epochs in which the healthy script learns, where it does so within some ten seconds."""

STEPS_AN_EPOCH = {"digits": 45, "demo_32": 25, "trashnet": 30, "pbc": 47}
SETS = ("digits", "demo_32", "trashnet", "pbc")
NETWORKS = ("tutorial_cnn", "vgg", "resnet18", "vit", "mlp")
NEED_CORRECTION = {("pbc", name) for name in ("tutorial_cnn", "vgg", "mlp", "vit")}
"""Where the long tail alone may starve classes: there a script corrects it, rightly."""

USUAL: Mapping[str, tuple[tuple[str, float], ...]] = {"functions": (("gamma", 0.97),)}
"""Settings of a script wherever a guise says nothing else."""

HERRINGS: Mapping[str, tuple[Edit, ...]] = {
    "": (),
    "mild-imbalance": (
        (
            "images, labels = images[order], labels[order]\n",
            "images, labels = images[order], labels[order]\n"
            "share = np.linspace(0.35, 1.0, len(classes))[labels]\n"
            "kept = np.arange(len(labels)) % 100 < 100 * share\n"
            "images, labels = images[kept], labels[kept]\n",
        ),
    ),
    "raw-pixels": ((PIXELS, ".float()\n"), (CENTRED, "")),
    "right-weights": (RIGHT_WEIGHTS,),
    "balanced-sampler": (BALANCED,),
}
"""What tempts to name a wrong cause, and does no harm: it stands in the healthy twin too."""

HARMLESS_RAW = ("resnet18", "bn_cnn")
"""Networks that begin with BatchNorm behind their first convolution learn from 0..255 as well."""

CORRECTIONS = ("right-weights", "balanced-sampler")
SEEDS = 3
TWO_FAULTS = 60
"""More than are wanted: where one of two does no harm alone, the training does not count."""

HEALTHY_RUNS = 60

ALONE: Mapping[str, str] = {
    "labels-unrelated": "nothing can be learned, whatever else is put right",
    "labels-out-of-range": "it stays in the labels that judge the other",
    "inputs-constant": "nothing can be learned, whatever else is put right",
    "train-eval-mismatch": "it shows in evaluation only, the other in training",
    "batchnorm-mismatch": "it shows in evaluation only, the other in training",
    "non-finite": "the other never gets to act",
    "class-imbalance": "what cures it belongs to the set it was written for",
    "double-correction": "it needs a set of its own",
    "stream-sorted": "it changes how the sets are divided",
    "undertrained": "any other fault makes it longer",
    "model-too-small": "its network is its own",
}
"""Causes that make no second fault, and why."""

OPPOSITES = frozenset({"learning-rate-too-high", "learning-rate-too-low"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A guise with the cause that it is a guise of."""

    cause: str
    guise: Guise
    held_out: bool

    @property
    def accepts(self) -> tuple[str, ...]:
        """Cause ids that count as right, fixed with the guise."""
        return (self.cause, *self.guise.accepts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One training to be run, and the texts of its scripts.

    Attributes:
        faults: one, two, or none for a healthy control.
        base: the guise whose script it is; of a control, the control itself.
        at: images, network and settings.
        seed: given to the script.
        herring: a name of `HERRINGS`.
    """

    faults: tuple[Fault, ...]
    base: Guise
    at: Place
    seed: int
    herring: str = ""

    @property
    def kind(self) -> str:
        return ("healthy", "one", "two")[len(self.faults)]

    @property
    def held_out(self) -> bool:
        """Whether any of its guises is."""
        return any(fault.held_out for fault in self.faults)

    @property
    def key(self) -> str:
        """Unique among plans."""
        names = [f"{fault.cause}/{fault.guise.name}" for fault in self.faults]
        what = " + ".join(names) or f"{HEALTHY}/{self.base.name}"
        told = "".join(f" {name}={value:g}" for name, value in self.at.settings)
        herring = f" {self.herring}" if self.herring else ""
        return f"{what} on {self.at.name}{told}{herring} seed={self.seed}"

    def script(self, active: Iterable[Fault]) -> str:
        """The script with these faults; of the others the cure stands instead.

        Raises:
            ValueError: see `written`.
        """
        present = tuple(active)
        settings = dict(self.at.settings)
        edits = [*HERRINGS[self.herring], *self.base.around]
        for fault in self.faults:
            edits += fault.guise.around
        for fault in self.faults:
            if fault in present:
                edits += fault.guise.edits
            else:
                edits += fault.guise.cure
                settings.update(fault.guise.cure_settings)
        if not self.faults:
            edits += self.base.edits
        at = Place(images=self.at.images, network=self.at.network, settings=tuple(settings.items()))
        # Two guises may need the same circumstances.
        return written(self.base.script, at, dict.fromkeys(edits), name=self.key)

    def faulty(self) -> str:
        """The script with every fault."""
        return self.script(self.faults)

    def twin(self) -> str:
        """The healthy script with the same circumstances."""
        return self.script(())

    def fits(self) -> bool:
        """Whether every script that it needs can be written, and differs from the twin."""
        try:
            texts = {self.faulty(), *(self.script((one,)) for one in self.faults)}
            return self.twin() not in texts
        except ValueError:
            return False


def faults() -> Iterator[Fault]:
    """Every guise of a fault: those developed with, then those kept aside."""
    for held, found in ((False, all_guises()), (True, held_out_guises())):
        for cause, guise in found:
            if cause != HEALTHY and guise.drawn:
                yield Fault(cause=cause, guise=guise, held_out=held)


def drawn(*, sets: Iterable[str], first_seed: int, per_guise: int = 2) -> list[Plan]:
    """The fraction, in an order of which any part is balanced.

    Args:
        sets: image sets that are there.
        first_seed: of `SEEDS` in turn.
        per_guise: trainings of each guise.
    """
    there = frozenset(sets)
    used = _Used()
    known = list(faults())
    ones = [
        plan
        for turn in range(per_guise)
        for number, fault in enumerate(known)
        for plan in _drawn_one(fault, first_seed + (turn + number) % SEEDS, there, used)
    ]
    twos = _drawn_twos(known, there, first_seed, used)
    plans = _interleaved([ones, twos, _controls(there, first_seed)])
    # With many turns a guise of few places comes to the same place and seed again.
    return list({plan.key: plan for plan in plans}.values())


# -- one fault -------------------------------------------------------------------------------------


class _Used:
    """How often places were used: by guise, by cause, by all."""

    def __init__(self) -> None:
        self._times: Counter[tuple[str, ...]] = Counter()

    def rank(self, who: Iterable[str], cause: str, at: Place, herring: str) -> tuple[int, ...]:
        """Smaller is used less."""
        times = self._times
        guises = tuple(who)
        return (
            sum(times[one, at.images] for one in guises),
            sum(times[one, at.network] for one in guises),
            times[cause, at.images, at.network],
            times[cause, at.network] + times[cause, at.images],
            times["herring", herring],
            times["all", at.images] + times["all", at.network],
            times["all", at.images, at.network],
        )

    def add(self, who: Iterable[str], causes: Iterable[str], at: Place, herring: str) -> None:
        for one in ("all", *who, *causes):
            self._times[one, at.images] += 1
            self._times[one, at.network] += 1
            self._times[one, at.images, at.network] += 1
        self._times["herring", herring] += 1


def _drawn_one(fault: Fault, seed: int, sets: frozenset[str], used: _Used) -> list[Plan]:
    """The least used of its places; none when no set of its is there."""
    plans = [plan for plan in _admissible((fault,)) if needs(plan.at.images) in sets]
    return [_least_used(plans, seed, used)] if plans else []


def _least_used(plans: list[Plan], seed: int, used: _Used) -> Plan:
    names = [fault.guise.name for fault in plans[0].faults]
    causes = [fault.cause for fault in plans[0].faults]
    best = min(plans, key=lambda plan: used.rank(names, causes[0], plan.at, plan.herring))
    used.add(names, causes, best.at, best.herring)
    return Plan(faults=best.faults, base=best.base, at=best.at, seed=seed, herring=best.herring)


@cache
def _admissible(chosen: tuple[Fault, ...]) -> tuple[Plan, ...]:
    """Every place and herring where the scripts fit; what the first place sets holds everywhere."""
    settings: dict[str, float] = {}
    for fault in chosen:
        for name, value in fault.guise.places[0].settings:
            if name in ("epochs", "steps"):
                continue
            if settings.setdefault(name, value) != value:
                return ()
    settings = {**dict(USUAL.get(chosen[0].guise.script, ())), **settings}
    found = []
    for images, network in _places(chosen):
        length = _length(chosen, images, network)
        if length is None:
            continue
        at = Place(images=images, network=network, settings=(*settings.items(), length))
        for herring in HERRINGS:
            if not _goes(herring, images, network, chosen):
                continue
            plan = Plan(faults=chosen, base=chosen[0].guise, at=at, seed=0, herring=herring)
            found += [plan] if plan.fits() else []
    return tuple(found)


def _places(chosen: tuple[Fault, ...]) -> list[tuple[str, str]]:
    sets = [fault.guise.images or SETS for fault in chosen]
    networks = [fault.guise.networks or NETWORKS for fault in chosen]
    return [
        (images, network)
        for images in sets[0]
        for network in networks[0]
        if all(images in one for one in sets) and all(network in one for one in networks)
    ]


def _length(chosen: tuple[Fault, ...], images: str, network: str) -> tuple[str, float] | None:
    """The setting that says how long; that of a guise's own place goes before."""
    script = chosen[0].guise.script
    option = "steps" if script == "iterations" else "epochs"
    own = [
        dict(at.settings)[option]
        for fault in chosen
        for at in fault.guise.places
        if (at.images, at.network) == (images, network) and option in dict(at.settings)
    ]
    epochs = LENGTHS.get((images, network))
    if epochs is None:
        # A set of the guise's own, with the length that it was written with.
        return (option, max(own)) if own and images not in SETS else None
    usual = epochs * STEPS_AN_EPOCH[images] if option == "steps" else epochs
    return option, max([usual, *own])


def _goes(herring: str, images: str, network: str, chosen: tuple[Fault, ...]) -> bool:
    """Whether the herring does no harm here and is no part of the fault."""
    if herring and chosen[0].guise.script != "plain":
        return False
    if herring == "raw-pixels":
        if network not in HARMLESS_RAW:
            return False
        if any(fault.cause.startswith(("inputs", "train-eval")) for fault in chosen):
            return False
    if herring == "mild-imbalance" and images not in ("digits", "trashnet"):
        return False
    touches_loss = any(LOSS in old for fault in chosen for old, _ in fault.guise.edits)
    if herring == "right-weights" and touches_loss:
        return False
    cured = any(
        BALANCED in fault.guise.cure or fault.cause == "double-correction" for fault in chosen
    )
    if (images, network) in NEED_CORRECTION and not cured:
        return herring in CORRECTIONS
    return not (cured and herring)


def needs(images: str) -> str:
    """The set of files that a part of `scripts/parts` reads: "" for those of scikit-learn."""
    if images.startswith("digits"):
        return ""
    return "demo" if images.startswith("demo") else images


# -- two faults, healthy controls ------------------------------------------------------------------


def _drawn_twos(
    known: list[Fault], sets: frozenset[str], first_seed: int, used: _Used
) -> list[Plan]:
    """Pairs of guises whose edits fit one script, causes used least first."""
    pairs = [
        (a, b)
        for a, b in combinations(known, 2)
        if a.guise.script == b.guise.script
        and a.cause != b.cause
        and not {a.cause, b.cause} & set(ALONE)
        and {a.cause, b.cause} != OPPOSITES
        and not set(a.accepts) & set(b.accepts)
    ]
    times: Counter[str] = Counter()
    found: list[Plan] = []
    while pairs and len(found) < TWO_FAULTS:
        pairs.sort(key=lambda pair: _pair_rank(pair, times))
        pair = pairs.pop(0)
        plans = [plan for plan in _admissible(pair) if needs(plan.at.images) in sets]
        if not plans:
            continue
        for fault in pair:
            times[fault.cause] += 1
            times[fault.guise.name] += 1
        times[" + ".join(sorted(one.cause for one in pair))] += 1
        found.append(_least_used(plans, first_seed + len(found) % SEEDS, used))
    return found


def _pair_rank(pair: tuple[Fault, Fault], times: Counter[str]) -> tuple[int, int, int]:
    a, b = pair
    return (
        times[" + ".join(sorted((a.cause, b.cause)))],
        max(times[a.cause], times[b.cause]),
        times[a.guise.name] + times[b.guise.name],
    )


def _controls(sets: frozenset[str], first_seed: int) -> list[Plan]:
    """Healthy scripts of the catalogue, the hard ones among them, each where it was written for."""
    places = [
        (guise, at)
        for cause, guise in all_guises()
        if cause == HEALTHY
        for at in guise.places
        if needs(at.images) in sets
    ]
    return [
        Plan(faults=(), base=guise, at=at, seed=first_seed + number % SEEDS)
        for number, (guise, at) in enumerate(places[:HEALTHY_RUNS])
    ]


def _interleaved(lists: list[list[Plan]]) -> list[Plan]:
    """One list in which each of the lists is spread evenly."""
    placed = [
        ((position + 0.5) / len(plans), number, plan)
        for number, plans in enumerate(lists)
        for position, plan in enumerate(plans)
    ]
    return [plan for _, _, plan in sorted(placed, key=lambda one: one[:2])]
