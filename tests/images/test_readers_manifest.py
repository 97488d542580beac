"""Manifests: columns, labels, splits, groups, repeated rows and what is refused, by its text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from everyclass.errors import InputError
from everyclass.images.readers import read_table
from everyclass.images.table import ImageTable, SetAside


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten empty files, 0.png to 9.png: the readers look at names only."""
    for number in range(10):
        (tmp_path / f"{number}.png").touch()
    return tmp_path


def write(folder: Path, *lines: str, name: str = "cells.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes("".join(f"{line}\n" for line in lines).encode(encoding))
    return path


def read(folder: Path, *lines: str, name: str = "cells.csv", **options: str) -> ImageTable:
    return read_table(write(folder, *lines, name=name), **options)  # type: ignore[arg-type]


def refusal(folder: Path, *lines: str, name: str = "cells.csv", **options: str) -> str:
    with pytest.raises(InputError) as caught:
        read(folder, *lines, name=name, **options)
    return str(caught.value)


def names_of(table: ImageTable) -> list[str]:
    return [table.classes[label] for label in table.labels()]


# Columns and files


def test_image_and_label_in_file_order(folder: Path) -> None:
    table = read(folder, "image,label", "1.png,dog", "0.png,cat", "2.png,dog")
    assert table.keys().to_pylist() == ["1.png", "0.png", "2.png"]
    assert table.classes == ("cat", "dog")
    assert table.labels().tolist() == [1, 0, 1]
    assert table.splits().tolist() == ["", "", ""]
    assert table.root == f"{folder}/"
    assert table.source == str(folder / "cells.csv")
    assert table.notes == ("Columns used: image as image, label as label.",)
    assert table.set_aside == ()


@pytest.mark.parametrize("image", ["image", "path", "filename", "file", "image_id", " Image "])
@pytest.mark.parametrize("label", ["label", "class", "target", "LABEL"])
def test_usual_column_names(folder: Path, image: str, label: str) -> None:
    table = read(folder, f"{label},x,{image}", "a,7,0.png", "b,7,1.png")
    assert table.keys().to_pylist() == ["0.png", "1.png"]
    assert table.classes == ("a", "b")


def test_named_columns(folder: Path) -> None:
    table = read(
        folder,
        "id,diagnosis,fold,person,image,label",
        "0.png,a,train,p1,x,x",
        "1.png,b,val,p2,x,x",
        "2.png,b,train,p3,x,x",
        image_column="id",
        label_column="diagnosis",
        split_column="fold",
        group_column="person",
    )
    assert names_of(table.of_split("val")) == ["b"]
    assert table.groups().tolist() == ["p1", "p2", "p3"]
    assert table.notes[0] == (
        "Columns used: id as image, diagnosis as label, fold as split, person as group."
    )


@pytest.mark.parametrize("name", ["group", "patient", "slide", "smear", "patient_id", "Slide_ID"])
def test_group_columns(folder: Path, name: str) -> None:
    table = read(folder, f"image,label,{name}", "0.png,a,p", "1.png,b,", "2.png,b,p")
    assert table.groups().tolist() == ["p", None, "p"]


def test_tsv_and_capital_extension(folder: Path) -> None:
    table = read(folder, "image\tlabel", "0.png\ta, b", "1.png\tc", name="CELLS.TSV")
    assert table.classes == ("a, b", "c")
    assert len(table.notes) == 1


@pytest.mark.parametrize(("separator", "word"), [(";", "semicolons"), ("\t", "tabs")])
def test_a_csv_file_with_another_separator(folder: Path, separator: str, word: str) -> None:
    lines = [line.replace("|", separator) for line in ("image|label", "0.png|a,1", "1.png|b")]
    table = read(folder, *lines)
    assert table.classes == ("a,1", "b")
    assert f"cells.csv is read with {word} between values." in table.notes


def test_quotes_blank_lines_windows_line_ends_and_spaces(folder: Path) -> None:
    lines = ('"image","label"\r', "\r", ' 0.png ,"a ""x"", y"\r', "1.png, b \r", "\r")
    table = read(folder, *lines)
    assert table.classes == ('a "x", y', "b")
    assert table.keys().to_pylist() == ["0.png", "1.png"]


def test_byte_order_mark(folder: Path) -> None:
    path = write(folder, "image,label", "0.png,é", "1.png,b", encoding="utf-8-sig")
    assert read_table(path).classes == ("b", "é")


def test_parquet_with_dictionary_integer_and_float_columns(folder: Path) -> None:
    columns = {
        "image_id": pa.array([0, 1, 2, 3], pa.int64()),
        "label": pa.array([10.0, 2.0, None, 2.0]),
        "split": pa.array(["train", "train", "val", "valid"]).dictionary_encode(),
        "patient": pa.array([7, 8, None, 7], pa.int32()),
    }
    pq.write_table(pa.table(columns), folder / "cells.parquet")
    table = read_table(folder / "cells.parquet")
    assert table.keys().to_pylist() == ["0.png", "1.png", "3.png"]
    assert table.classes == ("2", "10")
    assert table.labels().tolist() == [1, 0, 0]
    assert table.splits().tolist() == ["train", "train", "val"]
    assert table.groups().tolist() == ["7", "8", "7"]
    assert table.set_aside == (SetAside(image=f"{folder}/2.png", label=None, reason="no label"),)


def test_a_parquet_column_of_structures_is_refused(folder: Path) -> None:
    columns = {"image": pa.array([{"path": "0.png"}]), "label": pa.array([0])}
    pq.write_table(pa.table(columns), folder / "cells.parquet")
    with pytest.raises(InputError, match=r"Column 'image' of cells.parquet holds struct<path"):
        read_table(folder / "cells.parquet")


def test_a_broken_parquet_file_is_refused(folder: Path) -> None:
    (folder / "cells.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(InputError, match=r"^cells.parquet is not a readable Parquet file: "):
        read_table(folder / "cells.parquet")


def test_no_image_column(folder: Path) -> None:
    assert refusal(folder, "id,diagnosis", "0,a") == (
        "cells.csv has no image column (columns: id, diagnosis). "
        "Rename one to 'image' or say which: --image-column id."
    )


def test_no_label_column(folder: Path) -> None:
    assert refusal(folder, "image,age,diagnosis", "0.png,7,a") == (
        "cells.csv has no label column (columns: image, age, diagnosis). "
        "Rename one to 'label' or say which: --label-column diagnosis."
    )


def test_a_file_without_header(folder: Path) -> None:
    assert refusal(folder, "0.png,a", "1.png,b") == (
        "cells.csv has no image column (columns: 0.png, a). "
        "Its first row looks like data: put a row 'image,label' above it."
    )


def test_two_label_columns(folder: Path) -> None:
    assert refusal(folder, "image,label,target", "0.png,a,1") == (
        "cells.csv has 2 columns that may be the label (label, target). "
        "Say which: --label-column label."
    )


def test_a_column_that_is_not_there(folder: Path) -> None:
    assert refusal(folder, "image,label", "0.png,a", label_column="class") == (
        "cells.csv has no column 'class' (columns: image, label). "
        "Give one of them to --label-column."
    )


def test_one_column_for_two_things(folder: Path) -> None:
    assert refusal(folder, "image,label", "0.png,a", label_column="image") == (
        "Column 'image' of cells.csv is named as image and as label. "
        "Give another one to --label-column."
    )


def test_two_columns_of_one_name(folder: Path) -> None:
    assert refusal(folder, "image,label,label", "0.png,a,b") == (
        "cells.csv has 2 columns called 'label'. Rename all but one."
    )


@pytest.mark.parametrize("lines", [(), ("",), ("", "  ")])
def test_an_empty_file(folder: Path, lines: Sequence[str]) -> None:
    assert refusal(folder, *lines) == (
        "cells.csv is empty. Write it again, with a row an image, or name another file."
    )


def test_a_header_without_rows(folder: Path) -> None:
    message = (
        "cells.csv has column names (image, label) but no rows. Add a row an image, or name "
        "another file."
    )
    assert refusal(folder, "image,label") == message
    pq.write_table(
        pa.table({"image": pa.array([], pa.string()), "label": pa.array([], pa.string())}),
        folder / "none.parquet",
    )
    with pytest.raises(InputError, match="but no rows"):
        read_table(folder / "none.parquet")


def test_a_ragged_row(folder: Path) -> None:
    assert refusal(folder, "image,label", "0.png,a", "1.png,b,c", "2.png,b") == (
        "Row 3 of cells.csv has 3 values where the header has 2 columns ('1.png,b,c'). "
        "Mend the row; a value that contains the separator goes in quotation marks."
    )
    assert "Row 3 of cells.csv has 1 value where the header has 2 columns ('1.png')." in refusal(
        folder, "image,label", "0.png,a", "1.png"
    )


@pytest.mark.parametrize(
    "lines",
    [
        ("image,label", '0.png,"a', "1.png,b", "2.png,b"),
        ("image,label,remark", '0.png,a,"x', "1.png,b,y", "2.png,b,z"),
    ],
)
def test_a_quotation_mark_that_is_never_closed(folder: Path, lines: Sequence[str]) -> None:
    assert refusal(folder, *lines) == (
        "Row 2 of cells.csv has a value that goes on over a line break. "
        "Look for a quotation mark that is never closed."
    )


def test_remarks_of_several_lines_are_no_open_quotation(folder: Path) -> None:
    table = read(folder, "image,label,remark", '0.png,a,"x', 'y, z"', "1.png,b,")
    assert table.classes == ("a", "b")


def test_text_that_is_not_utf8(folder: Path) -> None:
    path = write(folder, "image,label", "0.png,Zelle", "1.png,Drüse", encoding="latin-1")
    with pytest.raises(InputError) as caught:
        read_table(path)
    assert str(caught.value) == (
        "cells.csv is not UTF-8 text (byte 32, in line 3, is 0xfc). "
        "Save it again as UTF-8 ('CSV UTF-8' in a spreadsheet)."
    )


def test_text_that_is_not_utf8_far_down(folder: Path) -> None:
    rows = ["0.png,a"] * 150_000
    path = write(folder, "image,label", *rows, "1.png,ü", encoding="latin-1")
    with pytest.raises(InputError, match=r"\(byte 1,200,018, in line 150,002, is 0xfc\)"):
        read_table(path)


def test_utf16(folder: Path) -> None:
    path = write(folder, "image,label", "0.png,a", encoding="utf-16")
    with pytest.raises(InputError) as caught:
        read_table(path)
    assert str(caught.value) == ("cells.csv is UTF-16 text. Save it again as UTF-8 ('CSV UTF-8').")


def test_bytes_that_are_no_text(folder: Path) -> None:
    (folder / "cells.csv").write_bytes(b"image,label\0\n")
    with pytest.raises(InputError) as caught:
        read_table(folder / "cells.csv")
    assert str(caught.value) == (
        "cells.csv is not a text file: byte 11 is zero. Save it again as CSV (UTF-8)."
    )


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("0.png", "0.png is one image, not a data set."),
        ("cells.xlsx", "cells.xlsx is a spreadsheet. Save it as CSV (UTF-8)."),
        ("cells.txt", "cells.txt is no manifest: its name ends otherwise."),
    ],
)
def test_a_file_that_is_no_manifest(folder: Path, name: str, start: str) -> None:
    (folder / name).touch()
    with pytest.raises(InputError) as caught:
        read_table(folder / name)
    assert str(caught.value).startswith(start)


def test_an_image_column_that_is_empty(folder: Path) -> None:
    assert refusal(folder, "image,label", ",a", ",b") == (
        "Column 'image' of cells.csv is empty in all 2 rows. Name another one: --image-column NAME."
    )


# Labels, splits and rows


def test_whole_numbers_are_classes_in_numerical_order(folder: Path) -> None:
    table = read(folder, "image,label", "0.png,10", "1.png,9", "2.png,-1", "3.png,9")
    assert table.classes == ("-1", "9", "10")
    assert table.labels().tolist() == [2, 1, 0, 1]


def test_whole_numbers_that_a_spreadsheet_wrote_with_decimals(folder: Path) -> None:
    table = read(folder, "image,label", "0.png,1.0", "1.png,0.0", "2.png,")
    assert table.classes == ("0", "1")
    assert table.notes[1] == "Labels such as '1.0' are read as whole numbers."


def test_words_for_nothing_may_be_classes(folder: Path) -> None:
    table = read(folder, "image,label", "0.png,NA", "1.png,None", "2.png,nan")
    assert table.classes == ("NA", "nan", "None")


def test_rows_without_label_or_image_are_set_aside(folder: Path) -> None:
    table = read(folder, "image,label", "0.png,a", "1.png,", ",b", "2.png,b", " , ")
    assert names_of(table) == ["a", "b"]
    assert table.set_aside == (
        SetAside(image="", label=None, reason="row 4 names no image"),
        SetAside(image="", label=None, reason="row 6 names no image"),
        SetAside(image=f"{folder}/1.png", label=None, reason="no label"),
    )


def test_rows_without_label_are_kept_when_labels_are_not_required(folder: Path) -> None:
    path = write(folder, "image,label", "0.png,a", "1.png,")
    table = read_table(path, require_labels=False)
    assert table.labels().tolist() == [0, -1]
    path = write(folder, "image,age", "0.png,a", "1.png,")
    table = read_table(path, require_labels=False)
    assert table.labels().tolist() == [-1, -1]
    assert table.classes == ()


def test_missing_files_are_set_aside(folder: Path) -> None:
    table = read(folder, "image,label", "0.png,a", "x.png,a", "1.png,b", "y/0.png,b")
    assert table.keys().to_pylist() == ["0.png", "1.png"]
    assert table.set_aside == (
        SetAside(image=f"{folder}/x.png", label="a", reason="no such file"),
        SetAside(image=f"{folder}/y/0.png", label="b", reason="no such file"),
    )


def test_split_values_and_their_aliases(folder: Path) -> None:
    values = ["train", "Training", "val", "valid", "validation", "DEV", "test", "testing", ""]
    rows = (f"{i}.png,{'ab'[i % 2]},{value}" for i, value in enumerate(values))
    table = read(folder, "image,label,split", *rows)
    assert table.splits().tolist() == [*["train"] * 2, *["val"] * 4, *["test"] * 2, ""]


def test_an_unknown_split(folder: Path) -> None:
    assert refusal(folder, "image,label,split", "0.png,a,train", "1.png,b,fold2") == (
        "Row 3 of cells.csv: split 'fold2' is none of train, val and test. Rename it (training, "
        "valid, validation, dev and testing are understood too), or name another column: "
        "--split-column NAME."
    )


def test_repeated_rows_are_one_row(folder: Path) -> None:
    table = read(
        folder,
        "image,label,remark",
        *("0.png,a,x", "1.png,b,x", "./1.png,b,y", "0.png,a,x", "1.png,b,"),
    )
    assert table.keys().to_pylist() == ["0.png", "1.png"]
    assert table.notes[-1] == (
        "3 rows left out that repeat an earlier one (first: row 4 repeats row 3)."
    )
    assert table.set_aside == ()


def test_a_missing_file_named_twice_is_set_aside_once(folder: Path) -> None:
    table = read(folder, "image,label", "0.png,a", "1.png,b", "x.png,b", "x.png,b")
    assert [row.reason for row in table.set_aside] == ["no such file"]


def test_one_image_with_two_labels_is_set_aside_in_all_its_rows(folder: Path) -> None:
    table = read(
        folder,
        "image,label",
        *("0.png,a", "1.png,b", "2.png,b", "0.png,b", "1.png,b", "3.png,a", "0.png,c", "4.png,c"),
    )
    reason = "labelled a, b and c (rows 2, 5, 8)"
    assert table.set_aside == (
        SetAside(image=f"{folder}/0.png", label="a", reason=reason),
        SetAside(image=f"{folder}/0.png", label="b", reason=reason),
        SetAside(image=f"{folder}/0.png", label="c", reason=reason),
    )
    assert table.keys().to_pylist() == ["1.png", "2.png", "3.png", "4.png"]
    two = read(folder, "image,label", "0.png,a", "0.png,b", "1.png,a", "2.png,b")
    assert two.set_aside[0].reason == "labelled both a and b (rows 2, 3)"


def test_one_image_in_two_groups_is_set_aside(folder: Path) -> None:
    table = read(folder, "image,label,group", "0.png,a,p", "0.png,a,q", "1.png,a,p", "2.png,b,")
    assert table.set_aside[0].reason == "in groups both p and q (rows 2, 3)"
    assert len(table) == len(table.set_aside) == 2


def test_one_image_in_two_splits_is_refused(folder: Path) -> None:
    lines = ("image,label,split", "0.png,a,train", "1.png,b,train", "0.png,a,test")
    assert refusal(folder, *lines) == (
        f"{folder}/0.png is in split both test and train (rows 2, 4 of {folder}/cells.csv). "
        "Keep one of the rows: an image must not be measured on what it trained."
    )


# Classes that cannot be


def test_one_class_only(folder: Path) -> None:
    assert refusal(folder, "image,label", "0.png,a", "1.png,a") == (
        f"{folder}/cells.csv has one class only, 'a' (2 images, from column 'label'). "
        "A classifier needs two or more."
    )


def test_a_class_with_one_image_is_allowed(folder: Path) -> None:
    table = read(folder, "image,label", "0.png,a", "1.png,a", "2.png,b")
    assert table.counts().tolist() == [2, 1]


def test_a_class_none_of_whose_rows_can_be_used(folder: Path) -> None:
    lines = ("image,label", "0.png,a", "1.png,b", "x.png,MC", "y.png,MC", "z.png,QQ")
    assert refusal(folder, *lines) == (
        f"Class 'MC' has 2 rows in {folder}/cells.csv, but none can be used "
        f"(first: {folder}/x.png: no such file). The same holds for 'QQ'. "
        "Mend these rows, or remove them if the class is not wanted."
    )


def test_a_label_column_that_is_an_identifier(folder: Path) -> None:
    (folder / "images").mkdir()
    for number in range(51):
        (folder / "images" / f"{number}.png").touch()
    rows = [f"images/{number}.png,id{number}" for number in range(51)]
    assert refusal(folder, "image,label", *rows) == (
        f"In {folder}/cells.csv each of 51 images has a class of its own, from column 'label' "
        "(first: 'id0', 'id1', 'id2' and 48 more). That looks like an identifier, not a label: say "
        "which column holds the class, --label-column NAME."
    )
    assert len(read(folder, "image,label", *rows[:50])) == 50


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_label_in_val_or_test_that_is_not_in_train(folder: Path, split: str) -> None:
    lines = (
        *("image,label,split", "0.png,a,train", "1.png,b,train", "x.png,a,train"),
        *(f"2.png,MC,{split}", f"3.png,MC,{split}", f"4.png,a,{split}"),
    )
    assert refusal(folder, *lines) == (
        f"Class 'MC' is in split {split} (2 rows, first: row 5, 2.png) but not in train. "
        "Move at least one to train, or remove these rows."
    )


def test_rows_without_split_may_be_trained_on(folder: Path) -> None:
    table = read(folder, "image,label,split", "0.png,a,train", "1.png,b,val", "2.png,b,")
    assert table.counts("val").tolist() == [0, 1]


def test_no_row_can_be_used(folder: Path) -> None:
    message = refusal(folder, "image,label", "0.png,", "1.png,")
    assert message == (
        f"{folder}/cells.csv has no usable row; 2 rows set aside (first: {folder}/0.png: no label)."
        " Mend these rows."
    )
