"""The server over real connections: answers, limits, access, counts, drift, its end.

Kinds: oracle (`everyclass predict` on the same files), property (a refusal holds no path and no
traceback), golden words of errors.
"""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from small_run import CLASSES, answer_of, ask, metrics_of, picture, serving, write_small_run

from everyclass.commands.serve import PACKAGES
from everyclass.serving.answers import Served
from everyclass.serving.limits import Limits
from everyclass.workflows.predict import predict

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(one) is None for one in PACKAGES),
    reason="the extra serve is not installed",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_run(tmp_path_factory.mktemp("run") / "run")


@pytest.fixture(scope="module")
def started(run: Path) -> Iterator[Any]:
    with serving(run, limits=Limits(max_bytes=200_000, max_pixels=1_000_000)) as started:
        yield started


@pytest.mark.parametrize(
    ("prior", "coverage"),
    [(None, None), ({"ash": 0.1, "birch <b>": 0.2, "cedar": 0.7}, 0.8)],
    ids=["plain", "prior and coverage"],
)
def test_answers_are_those_of_predict(
    run: Path, tmp_path: Path, prior: dict[str, float] | None, coverage: float | None
) -> None:
    forms = ("PNG", "JPEG", "BMP", "WEBP")
    files = [tmp_path / f"{k}.{form.lower()}" for k, form in enumerate(forms)]
    for k, (path, form) in enumerate(zip(files, forms)):
        path.write_bytes(picture(k, form))
    out = tmp_path / "out.jsonl"
    predict(
        run,
        [str(path) for path in files],
        out,
        prior=prior,
        coverage=0.9 if coverage is None else coverage,
        on_progress=lambda done, total: None,
    )
    rows = {Path(one["image"]).name: one for one in map(json.loads, out.read_text().splitlines())}
    with serving(run, prior=prior, coverage=coverage) as started:
        for path in files:
            found, row = answer_of(started.address, path.read_bytes()), rows[path.name]
            names = {"prediction_balanced", "prediction_natural", "confidence", "set", "set_size"}
            assert ("prediction_prior" in found) == (prior is not None)
            for name in names | (set() if prior is None else {"prediction_prior"}):
                wanted = row[name]
                assert found[name] == (
                    pytest.approx(wanted, abs=1e-5) if isinstance(wanted, float) else wanted
                )
            assert found["probabilities"] == pytest.approx(
                {name: row[f"prob_{name}"] for name in CLASSES}, abs=1e-5
            )
            assert found["coverage"] == (0.9 if coverage is None else coverage)


def test_the_record_is_that_of_the_class_that_was_given(started: Any, run: Path) -> None:
    found = answer_of(started.address, picture())
    evaluation = json.loads((run / "evaluation.json").read_text())
    (own,) = [one for one in evaluation["classes"] if one["name"] == found["prediction_balanced"]]
    record = found["record"]
    assert (record["class"], record["images"], record["split"]) == (own["name"], own["n"], "test")
    assert record["recall"] == own["recall"]
    assert record["recall_ci95"] == own["recall_ci95"]
    assert record["precision_ci95"] == own["precision_ci95"]


def test_requests_at_once_are_one_pass(run: Path) -> None:
    with serving(run, limits=Limits(max_batch=8, window_seconds=5.0)) as started:
        contents = [picture(seed) for seed in range(8)]
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(lambda one: answer_of(started.address, one), contents))
        told = metrics_of(started.address)
        assert told["everyclass_batch_images_count"] == 1
        assert told["everyclass_batch_images_sum"] == 8
    with serving(run) as started:
        alone = [answer_of(started.address, one) for one in contents]
    for one, other in zip(together, alone):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)


class Held:
    """Keeps every pass waiting until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, self.begun = threading.Event(), threading.Event()
        plain = Served.answers

        def answers(served: Served, pixels: Any) -> Any:
            self.begun.set()
            assert self.go.wait(60)
            return plain(served, pixels)

        monkeypatch.setattr(Served, "answers", answers)


def test_a_full_queue_says_so_and_when_to_come_again(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch)
    with serving(run, limits=Limits(max_waiting=2)) as started, ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(answer_of, started.address, picture(k)) for k in range(2)]
        assert held.begun.wait(30)
        deadline = time.monotonic() + 30
        while True:  # the second may still be on its way
            status, headers, text = ask(started.address, "/predict", picture())
            if status == 503 or time.monotonic() > deadline:
                break
        assert status == 503
        assert headers["retry-after"] == "1"
        assert json.loads(text)["outcome"] == "busy"
        assert ask(started.address, "/health")[0] == 200  # those who watch are not turned away
        held.go.set()
        assert all(one.result(60)["confidence"] > 0 for one in waiting)
        answer_of(started.address, picture())  # and there is room again


def test_a_request_has_its_time_and_keeps_its_place_until_its_thread_is_done(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch)
    with serving(run, limits=Limits(max_waiting=1, max_seconds=0.5)) as started:
        status, _, text = ask(started.address, "/predict", picture())
        assert status == 504
        assert json.loads(text)["error"] == "There was no answer within 0.5 seconds."
        assert ask(started.address, "/predict", picture())[0] == 503
        held.go.set()
        deadline = time.monotonic() + 30
        while (status := ask(started.address, "/predict", picture())[0]) == 503:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert status == 200


def test_a_slow_upload_is_ended(run: Path) -> None:
    with serving(run, limits=Limits(max_seconds=0.5)) as started:
        host, _, port = started.address.removeprefix("http://").rpartition(":")
        with socket.create_connection((host, int(port)), timeout=60) as one:
            one.sendall(
                b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc"
            )
            answer = b""
            while part := one.recv(4096):
                answer += part
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"did not arrive within 0.5 seconds" in answer


def test_a_body_is_given_up_as_soon_as_it_is_too_large(started: Any) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 1 << 30:
            sent += 1 << 16
            yield bytes(1 << 16)

    try:
        status, _, text = ask(started.address, "/predict", endless(), chunked=True)
        assert status == 413
        assert json.loads(text)["error"] == "The file is larger than 200,000 bytes."
    except ConnectionError:
        pass  # the server has closed while we were sending
    assert sent < 1 << 26  # what the sockets of both sides hold, and no more
    assert ask(started.address, "/predict", bytes(200_001))[0] == 413
    # Stated and never sent: refused by the head alone.
    connection = HTTPConnection(*_place(started.address), timeout=60)
    connection.putrequest("POST", "/predict")
    connection.putheader("Content-Length", "200001")
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
    told = metrics_of(started.address)
    assert told["everyclass_requests_total too-large"] >= 2


def _place(address: str) -> tuple[str, int]:
    host, _, port = address.removeprefix("http://").rpartition(":")
    return host, int(port)


def test_too_many_pixels_are_refused_by_the_header(
    started: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = bytearray(picture())
    bomb[16:24] = (60_000).to_bytes(4) * 2  # the size in a PNG's header
    monkeypatch.setattr(
        "everyclass.serving.answers.decode_resized", lambda *_, **__: pytest.fail("decoded")
    )
    status, _, text = ask(started.address, "/predict", bytes(bomb))
    assert status in (413, 422)  # 422: the header's checksum does not fit any more
    large = io.BytesIO()
    Image.new("1", (1_001, 1_000)).save(large, "PNG")
    status, _, text = ask(started.address, "/predict", large.getvalue())
    assert status == 413
    assert json.loads(text)["error"] == (
        "An image of 1,001 x 1,000 pixels; at most 1,000,000 pixels are read."
    )


def test_a_jpeg_of_very_many_scans_is_not_decoded(started: Any) -> None:
    stored = io.BytesIO()
    Image.new("RGB", (64, 64)).save(stored, "JPEG", progressive=True)
    content = stored.getvalue()
    answer_of(started.address, content)
    last = content.rindex(b"\xff\xda")
    many = content[:last] + 200 * content[last:-2] + content[-2:]
    status, _, text = ask(started.address, "/predict", many)
    assert status == 422
    assert json.loads(text)["error"] == "A JPEG of more than 100 scans."


@pytest.mark.parametrize(
    ("content", "media", "status", "words"),
    [
        (b"", "image/png", 422, "Not an image: an empty file"),
        (b"<html>hello", "image/png", 422, "Not an image: a web page"),
        (b"\x89PNG\r\n\x1a\n broken", "image/png", 422, "PNG"),
        (bytes(128) + b"DICM nothing", "application/octet-stream", 422, "DICOM"),
        (
            bytes(128) + b"DICM" + b"1.2.840.10008.1.2.1.99" + bytes(99),
            "application/octet-stream",
            422,
            "A deflated DICOM",
        ),
        (b"--x", "multipart/form-data; boundary=x", 415, "not a form or JSON"),
        (b"{}", "application/json", 415, "not a form or JSON"),
    ],
)
def test_what_is_no_image_is_refused_in_words(
    started: Any, content: bytes, media: str, status: int, words: str
) -> None:
    found, _, text = ask(started.address, "/predict", content, {"Content-Type": media})
    assert found == status
    assert words in json.loads(text)["error"]


def test_a_format_whose_package_is_absent_is_no_failure_of_ours(
    started: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    status, _, text = ask(started.address, "/predict", bytes(128) + b"DICM nothing")
    assert status == 422
    assert json.loads(text)["error"] == (
        "This server cannot read it. DICOM images need the package 'pydicom'."
    )


def test_what_curl_says_by_itself_is_taken(started: Any) -> None:
    answer = answer_of(
        started.address,
        picture(),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert answer == answer_of(started.address, picture())


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/no/such", 404), ("GET", "/predict", 405), ("POST", "/", 405), ("GET", "/docs", 404)],
)
def test_other_paths_say_so_in_json(started: Any, method: str, path: str, status: int) -> None:
    found, headers, text = ask(started.address, path, method=method)
    assert found == status
    assert set(json.loads(text)) == {"error"}
    assert headers["x-content-type-options"] == "nosniff"


def test_our_own_mistake_is_told_without_its_words(
    run: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(served: Served, pixels: Any) -> Any:
        raise RuntimeError(f"secret {__file__}")

    monkeypatch.setattr(Served, "answers", broken)
    with serving(run) as started, caplog.at_level(logging.ERROR):
        status, _, text = ask(started.address, "/predict", picture())
        assert status == 500
        assert json.loads(text) == {
            "error": "The server could not answer; its log says why.",
            "outcome": "failed",
        }
        assert metrics_of(started.address)["everyclass_requests_total failed"] == 1
    assert "secret" in caplog.text


def test_metrics_count_what_happened(run: Path) -> None:
    with serving(run) as started:
        given = [answer_of(started.address, picture(k))["prediction_balanced"] for k in range(5)]
        ask(started.address, "/predict", b"nothing")
        told = metrics_of(started.address)
        assert told["everyclass_requests_total answered"] == 5
        assert told["everyclass_requests_total unreadable"] == 1
        assert told["everyclass_requests_total busy"] == 0
        assert told["everyclass_request_seconds_count"] == 5
        assert told["everyclass_request_seconds_sum"] > 0
        for name in CLASSES:
            assert told[f"everyclass_predictions_total {name}"] == given.count(name)
            low, high = (told[f"everyclass_expected_share {name} {end}"] for end in ("low", "high"))
            assert 0 <= low < high <= 1
        assert told["everyclass_drift_p_value"] == 1.0
        assert told["everyclass_drift_alarm"] == 0
        health = json.loads(ask(started.address, "/health")[2])
        assert health["status"] == "ok"
        assert health["requests"]["answered"] == 5
        assert health["drift"]["images"] == 5


def test_drift_is_seen_told_and_logged_once(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (
        serving(run) as started,
        caplog.at_level(logging.WARNING),
        ThreadPoolExecutor(4) as pool,
    ):
        content = picture()  # one image over and over: one class alone is given
        list(pool.map(lambda _: answer_of(started.address, content), range(400)))
        told = metrics_of(started.address)
        assert told["everyclass_drift_alarm"] == 1
        assert told["everyclass_drift_p_value"] < 0.005
        drift = json.loads(ask(started.address, "/health")[2])["drift"]
        assert "often than expected" in drift["alarm"]
        assert "inside the class's interval" in drift["null"]
    assert len([one for one in caplog.records if one.message.startswith("Drift: ")]) == 1


def test_the_page_holds_itself_to_itself_and_escapes_names(started: Any) -> None:
    status, headers, content = ask(started.address, "/")
    text = content.decode()
    assert status == 200
    assert headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "birch <b>" not in text
    assert "birch &lt;b&gt;" in text
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", text)
