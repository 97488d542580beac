"""The server over real connections: answers, limits, access, counts, drift, its end.

Kinds: oracle (`everyclass predict` on the same files), property (a refusal holds no path and no
traceback), golden words of errors.
"""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_run import CLASSES, answer_of, ask, serving, small_limits, write_small_run

from everyclass import cli
from everyclass.errors import InputError
from everyclass.serve_command import PACKAGES
from everyclass.serving.access import Access, access_for, is_loopback
from everyclass.serving.answers import Served
from everyclass.workflows.predict import predict

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(one) is None for one in PACKAGES),
    reason="the extra serve is not installed",
)
TOKEN = "correct-horse-battery"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_run(tmp_path_factory.mktemp("run") / "run")


@pytest.fixture(scope="module")
def started(run: Path) -> Iterator[Any]:
    with serving(run, limits=small_limits(max_bytes=200_000, max_pixels=1_000_000)) as started:
        yield started


def picture(seed: int = 0, form: str = "PNG", side: int = 40) -> bytes:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, size=(side, side + 8, 3), dtype=np.uint8)
    stored = io.BytesIO()
    Image.fromarray(pixels).save(stored, form)
    return stored.getvalue()


def metrics_of(address: str) -> dict[str, float]:
    """`name{labels}` -> value."""
    from prometheus_client.parser import text_string_to_metric_families

    status, headers, text = ask(address, "/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain")
    return {
        one.name + "".join(f" {value}" for _, value in sorted(one.labels.items())): one.value
        for family in text_string_to_metric_families(text.decode())
        for one in family.samples
    }


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
    with serving(run, limits=small_limits(max_batch=8, window_seconds=5.0)) as started:
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
    with serving(run, limits=small_limits(max_waiting=2)) as started, ThreadPoolExecutor(2) as pool:
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
    with serving(run, limits=small_limits(max_waiting=1, max_seconds=0.5)) as started:
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
    with serving(run, limits=small_limits(max_seconds=0.5)) as started:
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


def test_what_curl_says_by_itself_is_taken(started: Any) -> None:
    answer_of(
        started.address,
        picture(),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )


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


def test_another_host_and_another_site_are_refused(started: Any) -> None:
    status, _, text = ask(started.address, "/predict", picture(), {"Host": "evil.example"})
    assert status == 403
    assert "localhost alone" in json.loads(text)["error"]
    for host in ("localhost:1", "127.0.0.1", "[::1]:80", "LOCALHOST"):
        assert ask(started.address, "/health", headers={"Host": host})[0] == 200
    status, _, _ = ask(started.address, "/predict", picture(), {"Sec-Fetch-Site": "cross-site"})
    assert status == 403


def test_a_token_is_asked_for_and_never_told(
    run: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import base64

    monkeypatch.setenv("EVERYCLASS_TOKEN", TOKEN)
    with serving(run, host="127.0.0.1") as started:
        assert started.token
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic %%%"}):
            for path in ("/", "/metrics", "/openapi.json", "/no/such"):
                status, told, text = ask(started.address, path, headers=headers)
                assert status == 401
                assert told["www-authenticate"].startswith("Basic realm=")
                assert TOKEN not in text.decode()
            assert ask(started.address, "/predict", picture(), headers)[0] == 401
            # Whoever watches over servers needs no token, and learns nothing else.
            assert json.loads(ask(started.address, "/health", headers=headers)[2]) == {
                "status": "ok"
            }
        pair = base64.b64encode(f"any:{TOKEN}".encode()).decode()
        for given in (f"Bearer {TOKEN}", f"Basic {pair}"):
            headers = {"Authorization": given, "Host": "models.example"}
            assert answer_of(started.address, picture(), headers=headers)["confidence"] > 0
            health = json.loads(ask(started.address, "/health", headers=headers)[2])
            assert health["requests"]["unauthorised"] == 3
        assert TOKEN not in repr(access_for("127.0.0.1", None))
    said = capfd.readouterr()
    assert TOKEN not in said.out + said.err


def test_without_a_token_no_other_machine_is_let_in(
    run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("EVERYCLASS_TOKEN", raising=False)
    for host in ("0.0.0.0", "::", "192.168.1.7", "models.example"):
        assert not is_loopback(host)
        with pytest.raises(SystemExit) as stop:
            cli.main(["serve", str(run), "--host", host, "--port", "0"])
        assert stop.value.code == 2
        said = capsys.readouterr().err
        assert f"--host {host} lets other machines in" in said
        assert "EVERYCLASS_TOKEN" in said
        assert "--token-file" in said
    kept = tmp_path / "token"
    kept.write_text(f"{TOKEN}\n")
    assert access_for("0.0.0.0", kept) == Access(token=TOKEN.encode())
    for bad in ("short", f"{TOKEN} {TOKEN}", "€" * 20):
        kept.write_text(bad, encoding="utf-8")
        with pytest.raises(InputError, match="at least 16") as error:
            access_for("0.0.0.0", kept)
        assert bad not in str(error.value)
    with pytest.raises(InputError, match="cannot be read"):
        access_for("127.0.0.1", tmp_path / "absent")


def test_bad_input_is_one_sentence_and_code_2(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments, words in (
            ([str(tmp_path)], "is not a run"),
            ([str(run), "--port", port], "cannot be listened on"),
            ([str(run), "--prior", "ash=1"], "missing: birch <b>, cedar"),
            ([str(run), "--coverage", "90"], "0.9 for 90 %"),
            ([str(run), "--max-seconds", "0"], "max_seconds is 0.0"),
        ):
            with pytest.raises(SystemExit) as stop:
                cli.main(["serve", *arguments, *([] if "--port" in arguments else ["--port", "0"])])
            assert stop.value.code == 2
            said = capsys.readouterr().err
            assert words in said
            assert "Traceback" not in said
    plain = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "fastapi" else plain(name)
    )
    with pytest.raises(SystemExit) as stop:
        cli.main(["serve", str(run)])
    assert stop.value.code == 2
    assert "pip install 'everyclass[serve]'" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)], ids=["SIGTERM", "Ctrl-C"]
)
def test_a_signal_ends_it_when_requests_under_way_are_answered(
    run: Path, tmp_path: Path, number: int, code: int
) -> None:
    told = tmp_path / "told.json"
    command = [sys.executable, "-m", "everyclass", "serve", str(run), "--port", "0"]
    command += ["--batch-window", "1500", "--json", str(told)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        found = re.search(r"http://[0-9.:]+", first)
        assert found, first + process.communicate()[1]
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(answer_of, found[0], picture())  # a pass waits 1.5 s for others
            deadline = time.monotonic() + 30
            while json.loads(ask(found[0], "/health")[2])["under_way"] == 0:
                assert time.monotonic() < deadline
            process.send_signal(number)
            assert waiting.result(60)["confidence"] > 0
        out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "Requests: 1 answered." in out
    assert json.loads(told.read_text())["requests"]["answered"] == 1
    assert "Traceback" not in err
