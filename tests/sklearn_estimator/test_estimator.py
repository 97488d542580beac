"""`EveryclassClassifier` as scikit-learn uses estimators, on images of a few pixels."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from everyclass.errors import InputError
from everyclass.sklearn import EveryclassClassifier
from image_folders import write_image_folder

SMALL = {
    "model": "test_resnet",
    "image_size": 16,
    "batch_size": 16,
    "max_repairs": None,
    "device": "cpu",
    "threads": 1,
    "random_state": 0,
}

Arrays = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


@pytest.fixture(scope="module")
def digits() -> Arrays:
    """The zeros and ones among scikit-learn's digits: 360 images of 8 x 8 greys from 0 to 16."""
    X, y = load_digits(return_X_y=True)
    kept = y < 2
    return X[kept], y[kept]


@pytest.fixture(scope="module")
def fitted(digits: Arrays) -> EveryclassClassifier:
    X, y = digits
    names = np.array(["zero", "one"], dtype=object)[y[:120]]
    return EveryclassClassifier(epochs=4, **SMALL).fit(X[:120], names)


def test_it_learns_and_answers_with_the_labels_of_y(
    fitted: EveryclassClassifier, digits: Arrays
) -> None:
    X, y = digits
    names = np.array(["zero", "one"], dtype=object)[y]
    assert fitted.classes_.tolist() == ["one", "zero"]
    assert fitted.score(X[120:], names[120:]) > 0.9
    probs = fitted.predict_proba(X[120:])
    assert probs.shape == (240, 2)
    assert np.allclose(probs.sum(axis=1), 1)
    likely = fitted.classes_[probs.argmax(axis=1)]
    assert np.mean(likely == names[120:]) > 0.9
    assert fitted.n_features_in_ == 64
    assert fitted.value_range_ == (0.0, 16.0)
    assert fitted.recipe_.settings.epochs == 4
    assert fitted.evaluation_.split == "val"


def test_greys_colours_flat_rows_and_files_are_the_same_images(
    fitted: EveryclassClassifier, digits: Arrays, tmp_path: Path
) -> None:
    from PIL import Image

    flat = digits[0][:20]
    wanted = fitted.predict_proba(flat)
    greys = flat.reshape(-1, 8, 8)
    assert np.array_equal(fitted.predict_proba(greys), wanted)
    assert np.array_equal(fitted.predict_proba(greys[..., None]), wanted)
    assert np.array_equal(fitted.predict_proba(np.stack([greys] * 3, axis=3)), wanted)
    pixels = np.rint(greys / 16 * 255).astype(np.uint8)
    paths = [tmp_path / f"{number}.png" for number in range(20)]
    for path, image in zip(paths, pixels):
        Image.fromarray(image).save(path)
    assert np.allclose(fitted.predict_proba(paths), wanted, atol=1e-5)
    texts = np.array([str(one) for one in paths])
    assert np.allclose(fitted.predict_proba(texts), wanted, atol=1e-5)
    paths[3].write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"3\.png cannot be used"):
        fitted.predict(paths)


def test_a_pickle_holds_files_and_answers_alike(
    fitted: EveryclassClassifier, digits: Arrays, tmp_path: Path
) -> None:
    wanted = fitted.predict_proba(digits[0][:9])
    content = pickle.dumps(fitted)
    assert b"everyclass.models" not in content
    assert np.array_equal(pickle.loads(content).predict_proba(digits[0][:9]), wanted)  # noqa: S301
    joblib.dump(fitted, tmp_path / "classifier.joblib")
    again = joblib.load(tmp_path / "classifier.joblib")
    assert np.array_equal(again.predict_proba(digits[0][:9]), wanted)


def test_a_fit_on_paths_in_a_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image_folder(tmp_path, {"ash": 24, "birch": 12}, side=16)
    monkeypatch.chdir(tmp_path)
    paths = sorted(str(one.relative_to(tmp_path)) for one in tmp_path.rglob("*.png"))
    labels = [path.startswith("birch") for path in paths]
    pipeline = Pipeline(
        [("same", FunctionTransformer()), ("net", EveryclassClassifier(epochs=1, **SMALL))]
    )
    predictions = pipeline.fit(paths, labels).predict(paths)
    assert predictions.dtype == bool
    assert not hasattr(pipeline[-1], "n_features_in_")
    with pytest.raises(ValueError, match=r"absent\.png"):
        pipeline.fit([*paths, "absent.png"], [*labels, True])


def test_cross_validation_and_search(digits: Arrays) -> None:
    X, y = digits[0][:60], digits[1][:60]
    scores = cross_val_score(EveryclassClassifier(epochs=1, **SMALL), X, y, cv=2)
    assert scores.shape == (2,)
    search = GridSearchCV(
        EveryclassClassifier(epochs=1, **SMALL),
        {"imbalance": ["none", "logit-adjustment"]},
        cv=2,
        scoring="balanced_accuracy",
    ).fit(X, y)
    assert search.best_estimator_.recipe_.settings.imbalance in ((), ("logit-adjustment",))
    assert len(search.cv_results_["mean_test_score"]) == 2


def test_the_seed_decides_and_a_clone_is_unfitted(digits: Arrays) -> None:
    X, y = digits[0][:40], digits[1][:40]
    first = EveryclassClassifier(epochs=1, settings={"clip_norm": 1.0}, **SMALL).fit(X, y)
    copy = clone(first)
    with pytest.raises(NotFittedError):
        copy.predict(X)
    assert copy.get_params() == first.get_params()
    assert np.array_equal(copy.fit(X, y).predict_proba(X), first.predict_proba(X))
    assert first.recipe_.settings.clip_norm == 1.0
    assert first.recipe_.settings.seed == 0


def test_a_network_of_the_users_survives_a_pickle(
    digits: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "flat_net.py").write_text(
        "from torch import nn\n"
        "def build(classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, classes))\n"
    )
    monkeypatch.chdir(tmp_path)
    wishes = {**SMALL, "model": "flat_net:build", "epochs": 1}
    content = pickle.dumps(EveryclassClassifier(**wishes).fit(digits[0][:40], digits[1][:40]))
    assert pickle.loads(content).predict(digits[0][:5]).shape == (5,)  # noqa: S301
    monkeypatch.chdir("/")
    monkeypatch.delitem(sys.modules, "flat_net")
    with pytest.raises(InputError, match="no module 'flat_net'"):
        pickle.loads(content).predict(digits[0][:5])  # noqa: S301


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"image_shape": (5, 5)}, r"makes 25 values, and each row of X has 64"),
        ({"image_shape": (8, 8, 2, 1)}, r"image_shape is \(8, 8, 2, 1\)"),
        ({"epochs": 0}, "epochs cannot be 0"),
        ({"model": "resnet81"}, "no model called 'resnet81'"),
        ({"decision": "best"}, "decision cannot be 'best'"),
        ({"settings": {"epochs": 2}}, "epochs is a parameter of its own"),
        ({"settings": {"nothing": 2}}, "no setting called 'nothing'"),
        ({"value_range": (1.0, 1.0)}, r"value_range is \(1.0, 1.0\)"),
    ],
)
def test_what_cannot_be_is_both_kinds_of_error(
    digits: Arrays, wishes: dict[str, Any], message: str
) -> None:
    classifier = EveryclassClassifier(**{**SMALL, "epochs": 1, **wishes})
    with pytest.raises(ValueError, match=message) as raised:
        classifier.fit(digits[0][:20], digits[1][:20])
    assert isinstance(raised.value, InputError)


def test_channels_first_are_told_from_images() -> None:
    with pytest.raises(ValueError, match=r"shape \(4, 3, 8, 9\).*X.transpose\(0, 2, 3, 1\)"):
        EveryclassClassifier(**SMALL).fit(np.zeros((4, 3, 8, 9)), [0, 0, 1, 1])


def test_rows_that_are_no_square_are_told_about(digits: Arrays) -> None:
    X = digits[0][:40, :50]
    with pytest.warns(UserWarning, match="1 x 50 pixels"):
        EveryclassClassifier(epochs=1, **SMALL).fit(X, digits[1][:40])


def test_without_scikit_learn_one_message_says_what_to_install() -> None:
    program = (
        "import sys\n"
        "sys.modules['sklearn'] = None\n"
        "import everyclass\n"
        "try:\n"
        "    import everyclass.sklearn\n"
        "except ImportError as error:\n"
        "    print(type(error).__mro__[1].__name__, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300
    )
    assert "InputError everyclass.sklearn needs scikit-learn 1.6 or newer" in done.stdout
    assert "pip install 'everyclass[sklearn]'" in done.stdout
