"""The audit: an oracle for its statistics, merging in any order, every warning, every figure."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from everyclass.errors import InputError
from everyclass.images import audit as audit_module
from everyclass.images.audit import AuditState, audit_images
from everyclass.images.audit_findings import CHECKS, find_warnings
from everyclass.images.audit_values import ODDITIES, Audit
from everyclass.images.examine import Chunk, ImageFault, examine
from everyclass.images.pixels import load_image
from everyclass.images.readers import read_table
from everyclass.images.store import ImageStore
from everyclass.images.table import ImageTable, SetAside

SIDE = 8
RNG = np.random.default_rng(0)


def noise(width: int = 20, height: int = 20, low: int = 0, high: int = 256) -> Image.Image:
    return Image.fromarray(RNG.integers(low, high, (height, width, 3), dtype=np.uint8))


def messy(folder: Path) -> ImageTable:
    """Twenty-six rows with one of everything; the expected findings stand in the tests below."""
    folder.mkdir(exist_ok=True)
    rows: list[tuple[str, int | None, str | None, str | None]] = []

    def add(name: str, image: Image.Image | bytes | None, label, split="train", group=None) -> None:
        path = folder / name
        if isinstance(image, bytes):
            path.write_bytes(image)
        elif image is not None:
            image.save(path)
        rows.append((str(path), label, group, split))

    for i in range(12):
        add(f"a{i:02d}.png", noise(), 0, group=f"p{i // 2}")
    for i in range(4):
        add(f"b{i}.jpg", noise(24, 16), 1, group="q")
    add("v0.png", noise(60, 20), 0, "val", "p0")
    add("v1.png", noise(4, 9), 1, "val", "r")
    for name, source, label, split in (
        ("copy_in_val.png", "a00.png", 0, "val"),
        ("copy_same.png", "a01.png", 0, "train"),
        ("copy_other_label.png", "a02.png", 1, "train"),
    ):
        shutil.copy(folder / source, folder / name)
        add(name, None, label, split)
    add("black.png", Image.new("RGB", (20, 20), (3, 3, 3)), 1)
    add("grey.png", noise().convert("L"), 0)
    add(
        "deep.png", Image.fromarray(np.tile(np.linspace(0, 4095, 20).astype(np.uint16), (20, 1))), 0
    )
    add("broken.jpg", (folder / "b0.jpg").read_bytes()[:-40], 1)
    add("text.jpg", b"not an image", 0)
    add("none.png", noise(), None, None)
    images, labels, groups, splits = zip(*rows)
    table = ImageTable.from_lists(
        images,
        labels,
        classes=("ash", "birch", "cedar"),
        groups=groups,
        splits=splits,
        source="set",
    )
    aside = SetAside(image=str(folder / "gone.png"), label="ash", reason="no such file")
    return replace(table, set_aside=(aside,), notes=("Something was guessed.",))


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> ImageTable:
    return messy(tmp_path_factory.mktemp("messy"))


@pytest.fixture(scope="module")
def audit(table) -> Audit:
    return audit_images(table, side=SIDE, threads=2, max_unreadable=0.2)


def facts_of(table: ImageTable) -> list:
    return [
        examine(image, row=row, side=SIDE)
        for row, (image, code) in enumerate(zip(table.images, table.split_codes()))
    ]


def test_oracle_statistics_are_two_pass_over_the_training_pixels(table, audit):
    codes = table.split_codes()
    usable = [row for row in audit.usable_rows(table) if codes[row] == 0]
    pixels = np.stack([load_image(table.image(row), side=SIDE) for row in usable])
    pixels = pixels.reshape(-1, 3).astype(np.float64) / 255
    mean = pixels.mean(axis=0)
    np.testing.assert_allclose(audit.mean, mean, atol=1e-9)
    np.testing.assert_allclose(audit.std, np.sqrt(((pixels - mean) ** 2).mean(axis=0)), atol=1e-9)
    assert audit.n_train == len(usable)
    train = audit.of_split("train")
    assert (train.n_pixels, train.mean, train.std) == (len(pixels), audit.mean, audit.std)


def test_statistics_are_of_all_images_where_there_is_no_train_split(table, audit):
    without = table.with_split([None] * len(table))
    whole = audit_images(without, side=SIDE, threads=1, max_unreadable=0.2)
    assert [part.split for part in whole.splits] == [""]
    assert (whole.mean, whole.n_train) == (whole.splits[0].mean, whole.n)
    assert whole.train_counts == whole.class_counts == audit.class_counts
    assert whole.judging_split is None


@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_property_merging_any_partition_in_any_order_gives_the_same_audit(table, audit, data):
    facts = data.draw(st.permutations(facts_of(table)))
    states = [AuditState() for _ in range(data.draw(st.integers(1, 6)))]
    while facts:  # in portions of any size
        portion = data.draw(st.integers(1, len(facts)))
        data.draw(st.sampled_from(states)).update(facts[:portion])
        facts = facts[portion:]
    while len(states) > 1:  # any tree of merges
        other = states.pop(data.draw(st.integers(0, len(states) - 1)))
        data.draw(st.sampled_from(states)).merge(other)
    merged = states[0].finish(table, side=SIDE)
    assert merged == audit
    assert json.dumps(merged.to_dict()) == json.dumps(audit.to_dict())


def test_a_merged_state_leaves_the_other_as_it_was(table, audit):
    facts = facts_of(table)
    one, other = AuditState(), AuditState()
    one.update(facts[:13])
    other.update(facts[13:])
    total = AuditState()
    total.merge(one)
    total.merge(other)
    again = AuditState()
    again.merge(other)
    again.merge(one)
    assert total.finish(table, side=SIDE) == again.finish(table, side=SIDE) == audit


def test_contents_are_the_digests_of_the_files_however_states_were_joined(table):
    expected = np.zeros((len(table), 16), dtype=np.uint8)
    for row, image in enumerate(table.images):
        if isinstance(examine(image, row=row, side=SIDE), ImageFault):
            continue
        digest = hashlib.blake2b(Path(image).read_bytes(), digest_size=16).digest()
        expected[row] = np.frombuffer(digest, dtype=np.uint8)
    for size in (1, 7, len(table)):
        state = AuditState()
        for start in range(0, len(table), size):
            state.update(facts_of(table)[start : start + size])
        np.testing.assert_array_equal(state.contents(len(table)), expected)


def test_the_number_of_threads_changes_nothing_and_progress_counts_up(table, audit, monkeypatch):
    monkeypatch.setattr(audit_module, "_CHUNK", 4)
    for threads in (1, 5):
        seen: list[tuple[int, int]] = []
        same = audit_images(
            table,
            side=SIDE,
            threads=threads,
            max_unreadable=0.2,
            on_progress=lambda done, total: seen.append((done, total)),  # noqa: B023
        )
        assert same == audit
        n = len(table)
        assert seen == [(min(done, n), n) for done in range(4, n + 4, 4)]


def test_only_a_bounded_number_of_tasks_is_under_way():
    started: list[int] = []

    def chunks():
        for i in range(200):
            started.append(i)
            yield Chunk(rows=[i], images=[], side=SIDE)

    consumed = 0
    for row in audit_module._in_threads(lambda chunk: chunk.rows[0], chunks(), threads=2):
        assert row == consumed  # in order
        consumed += 1
        assert len(started) - consumed <= 2 * audit_module._CHUNKS_AHEAD
    assert consumed == 200


def test_counts_ratio_and_effective_classes_by_hand(audit):
    # Readable: 12 + copy + grey + deep of ash and 4 + copy + black of birch in train; v0 and the
    # copy of ash and v1 of birch in val; one without split and label.
    assert [(part.split, part.n, part.counts) for part in audit.splits] == [
        ("train", 21, (15, 6, 0)),
        ("val", 3, (2, 1, 0)),
        ("", 1, (0, 0, 0)),
    ]
    assert (audit.n, audit.unlabelled) == (25, 1)
    assert audit.class_counts == (17, 7, 0)
    assert audit.imbalance_ratio == 15 / 6
    entropy = -(15 / 21) * math.log(15 / 21) - (6 / 21) * math.log(6 / 21)
    assert audit.effective_classes == pytest.approx(math.exp(entropy))


def test_sizes_kinds_and_values(audit):
    # b0 to b3 are 24 x 16, v0 is 60 x 20 and v1 4 x 9, the others 20 x 20.
    sizes = audit.sizes
    assert sizes.common == ((20, 20, 19), (24, 16, 4), (4, 9, 1), (60, 20, 1))
    assert (sizes.width.low, sizes.width.median, sizes.width.high) == (4, 20, 60)
    assert (sizes.height.low, sizes.height.median, sizes.height.high) == (9, 20, 20)
    assert (sizes.distinct, sizes.smaller) == (4, 1)
    kinds = {(k.format, k.mode, k.bit_depth): (k.n, k.blank) for k in audit.kinds}
    assert kinds == {
        ("PNG", "RGB", 8): (19, 1),
        ("JPEG", "RGB", 8): (4, 0),
        ("PNG", "I;16", 16): (1, 0),
        ("PNG", "L", 8): (1, 0),
    }
    deep = next(kind for kind in audit.kinds if kind.bit_depth == 16)
    assert (deep.low, deep.high) == (0, 15)  # 4095 // 256


def test_medians_are_the_lower_of_two(tmp_path):
    for i, width in enumerate((10, 12, 30, 40)):
        noise(width, 10).save(tmp_path / f"{i}.png")
    images = [str(tmp_path / f"{i}.png") for i in range(4)]
    audit = audit_images(ImageTable.from_lists(images), side=SIDE, threads=1)
    assert audit.sizes.width.median == 12


def names(group) -> list[str]:
    return [Path(found.image).name for found in group.images]


def test_duplicates_by_content(audit):
    assert [(names(g), g.across_labels, g.across_splits) for g in audit.duplicates] == [
        (["a00.png", "copy_in_val.png"], False, True),
        (["a01.png", "copy_same.png"], False, False),
        (["a02.png", "copy_other_label.png"], True, False),
    ]


def test_groups_that_straddle(audit):
    # p0 has a00 and a01 in train and v0 in val; images without a group straddle nothing.
    assert [(g.group, g.counts) for g in audit.straddling] == [("p0", (("train", 2), ("val", 1)))]


def test_blank_images_with_their_level(audit):
    assert [(Path(b.found.image).name, b.found.label, b.level) for b in audit.blank] == [
        ("black.png", "birch", 3)
    ]


def test_label_order_by_hand(tmp_path):
    paths = []
    for i in range(6):
        noise().save(tmp_path / f"{i}.png")
        paths.append(str(tmp_path / f"{i}.png"))
    table = ImageTable.from_lists(paths, [0, 0, 0, 1, 1, 1], classes=("a", "b"))
    order = audit_images(table, side=SIDE, threads=1).label_order
    # Four of five neighbours; in random order 2 * (3 * 2) / (6 * 5).
    assert (order.alike, order.alike_if_shuffled, order.is_sorted) == (0.8, 0.4, True)
    mixed = ImageTable.from_lists(paths, [0, 1, 0, 1, 0, 1], classes=("a", "b"))
    order = audit_images(mixed, side=SIDE, threads=1).label_order
    assert (order.alike, order.is_sorted) == (0.0, False)


def test_unreadable_images_are_listed_and_dropped_whole(table, audit):
    listed = [(Path(f.image).name, f.label, f.reason.split(":")[0]) for f in audit.unreadable]
    assert listed == [
        ("broken.jpg", "birch", "truncated JPEG"),
        ("text.jpg", "ash", "not an image"),
    ]
    left = audit.drop_unreadable(table)
    assert [left.image(row) for row in range(len(left))] == [
        table.image(int(row)) for row in audit.usable_rows(table)
    ]
    assert len(left) == len(table) - 2
    assert [found.reason.split(":")[0] for found in left.set_aside] == [
        "no such file",
        "truncated JPEG",
        "not an image",
    ]
    assert audit.set_aside == table.set_aside


def test_the_run_stops_above_the_stated_share(table):
    # Two unreadable and one missing of 28.
    assert audit_images(table, side=SIDE, threads=2, max_unreadable=3 / 28).n == 25
    with pytest.raises(InputError) as caught:
        audit_images(table, side=SIDE, threads=2, max_unreadable=0.1)
    message = str(caught.value)
    assert message.startswith(
        "set: 3 of 28 images (10.7%) cannot be read; up to 10.0% are set aside. First: "
    )
    assert message.count("no such file") == message.count("truncated JPEG") == 1
    assert message.endswith("Restore or remove these files, or allow more: --max-unreadable 0.108.")
    allowed = float(message.rstrip(".").rsplit(" ", 1)[1])
    audit_images(table, side=SIDE, threads=2, max_unreadable=allowed)


def test_nothing_readable_is_said_at_once(tmp_path):
    table = ImageTable.from_lists([str(tmp_path / "a.png")], source="set")
    with pytest.raises(InputError, match=r"set has no image that can be read\. First: .*a\.png"):
        audit_images(table, side=SIDE, threads=1, max_unreadable=1.0)


def test_an_unfinished_state_gives_no_audit(table):
    state = AuditState()
    state.update([ImageFault(row=0, reason="no such file")])
    with pytest.raises(AssertionError, match="each row seen once"):
        state.finish(table, side=SIDE)


def test_a_table_without_labels(table):
    bare = ImageTable.from_lists(list(table.images)[:12])
    audit = audit_images(bare, side=SIDE, threads=1)
    assert (audit.imbalance_ratio, audit.effective_classes, audit.label_order) == (None, None, None)
    assert (audit.class_counts, audit.unlabelled) == ((), 12)
    assert "There are no labels: nothing is said about classes." in audit.meaning
    assert Audit.from_dict(json.loads(json.dumps(audit.to_dict()))) == audit


def test_the_store_is_filled_on_the_way(table, tmp_path):
    with ImageStore(table, side=SIDE, threads=1, folder=tmp_path) as store:
        audit = audit_images(table, side=SIDE, threads=2, max_unreadable=0.2, store=store)
        kept = audit.usable_rows(table)
        np.testing.assert_array_equal(np.flatnonzero(store.stored()), kept)
        expected = np.stack([load_image(table.image(int(row)), side=SIDE) for row in kept])
        np.testing.assert_array_equal(store.take(kept).gather(range(len(kept))), expected)


def test_json_round_trip_and_refusals(audit):
    values = json.loads(json.dumps(audit.to_dict()))
    assert Audit.from_dict(values) == audit
    assert values["warnings"][0]["harm"] == "invalid"
    del values["sizes"]["width"]["median"]
    with pytest.raises(InputError, match=r"audit\.json: sizes\.width\.median: Field required"):
        Audit.from_dict(values)
    with pytest.raises(InputError, match="the whole"):
        Audit.from_dict(None)


# Warnings.


def ids(audit: Audit) -> list[str]:
    return [warning.id for warning in audit.warnings]


def test_every_warning_of_the_messy_set_in_order_of_harm(audit):
    assert [(warning.harm, warning.id) for warning in audit.warnings] == [
        ("invalid", "duplicates-across-splits"),
        ("invalid", "groups-across-splits"),
        ("invalid", "duplicates-across-labels"),
        ("harmful", "class-empty"),
        ("harmful", "unreadable"),
        ("harmful", "set-aside"),
        ("harmful", "blank"),
        ("harmful", "narrow-range"),
        ("notable", "duplicates"),
        ("notable", "label-order"),
        ("notable", "enlarged"),
        ("notable", "depth-lost"),
        ("notable", "unlabelled"),
        ("notable", "dark"),
        ("notable", "grey-among-coloured"),
        ("notable", "odd-size"),
        ("notable", "stretched"),
    ]
    assert find_warnings(audit) == audit.warnings


def test_sentences_hold_their_numbers(audit):
    sentences = {warning.id: warning.sentence for warning in audit.warnings}
    folder = Path(audit.unreadable[0].image).parent.name
    assert sentences["duplicates-across-splits"] == (
        "1 image to evaluate on (33.3%) is in train as well, byte for byte: memory is measured, "
        f"not recognition. First: {folder}/a00.png (train), {folder}/copy_in_val.png (val)."
    )
    assert sentences["groups-across-splits"] == (
        "1 group has images in more than one split; first: 'p0' (train 2, val 1). The network can "
        "recognise the group instead of the class."
    )
    assert sentences["class-empty"] == "Class 'cedar' has no image that can be read."
    assert "values 0 to 15 of 0 to 255" in sentences["narrow-range"]
    assert "black (level 3 of 255)" in sentences["blank"]


def test_every_check_can_fire_and_each_id_is_its_own(audit):
    """One record a check: made to fire by changing the facts that it looks at."""
    train, val, rest = audit.splits
    fired = {warning.id: warning for warning in audit.warnings}
    for changed in (
        replace(audit, imbalance_ratio=50.0),
        replace(audit, splits=(replace(train, counts=(15, 2, 0)), val, rest)),
        replace(audit, splits=(train, replace(val, counts=(2, 0, 1)), rest)),
        replace(audit, splits=(replace(train, counts=(15, 6, 0)), replace(val, counts=(2, 1, 2)))),
        replace(audit, reduced=2),
        replace(audit, odd_images=()),
    ):
        fired |= {warning.id: warning for warning in find_warnings(changed)}
    assert len(fired.keys() - set(ODDITIES)) == len(CHECKS)
    for warning in fired.values():
        assert warning.sentence.endswith(".")
        assert warning.remedy.endswith(".")
        assert warning.evidence
    assert fired["class-imbalance"].sentence == (
        "'ash' has 50 times as many training images (15) as 'birch' (6): plain training favours "
        "the large classes."
    )
    assert fired["class-unmeasured"].sentence.startswith("Class 'birch' has no image in val: its")
    assert fired["class-not-in-train"].sentence.startswith("Class 'cedar' has images in val")


def test_a_clean_set_has_no_warning(tmp_path):
    images = []
    for i in range(60):
        noise().save(tmp_path / f"{i}.png")
        images.append(str(tmp_path / f"{i}.png"))
    table = ImageTable.from_lists(
        images,
        [i % 2 for i in range(60)],
        classes=("a", "b"),
        splits=[("train", "train", "val", "test")[i // 2 % 4] for i in range(60)],
        groups=[str(i) for i in range(60)],
    )
    audit = audit_images(table, side=SIDE, threads=2)
    assert ids(audit) == []
    assert audit.meaning[0] == "Nothing was found that makes measured figures worthless."


def test_a_few_copies_harm_and_many_invalidate(audit):
    train, val, rest = audit.splits
    few = replace(audit, splits=(train, replace(val, n=101), rest))
    harms = {warning.id: warning.harm for warning in find_warnings(few)}
    assert harms["duplicates-across-splits"] == "harmful"
    first = audit.duplicates[0]
    between = replace(first, images=(replace(first.images[0], split="test"), first.images[1]))
    only_between = find_warnings(replace(audit, duplicates=(between,)))
    warning = next(w for w in only_between if w.id == "duplicates-across-splits")
    assert (warning.harm, warning.evidence["leaked"]) == ("notable", 0)
    assert "1 image is in val and in test" in warning.sentence


@pytest.mark.data
def test_trashnet(real_sets):
    """Real photographs: 2,527 of 6 classes, three pairs of which are the same file twice."""
    if not (real_sets / "trashnet").is_dir():
        pytest.skip("EVERYCLASS_DATA has no trashnet folder")
    table = read_table(real_sets / "trashnet")
    audit = audit_images(table, side=64, threads=2)
    assert audit.n == 2527
    assert dict(zip(audit.classes, audit.class_counts))["trash"] == 137
    assert [group.across_labels for group in audit.duplicates] == [True] * 3
