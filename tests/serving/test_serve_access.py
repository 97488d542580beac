"""Who may ask the server, what it refuses to begin with, and how it ends."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from small_run import answer_of, ask, picture, serving, write_small_run

from everyclass import cli
from everyclass.commands.serve import PACKAGES
from everyclass.errors import InputError
from everyclass.serving.access import Access, access_for, is_loopback

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
    with serving(run) as started:
        yield started


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
