"""Requests made from the server's own description; files broken on purpose are refused."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_run import ask, serving, write_small_run

from everyclass.commands.serve import PACKAGES

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(one) is None for one in PACKAGES),
    reason="the extra serve is not installed",
)
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "robustness"))

from broken_images import BREAKS, bombs, broken_images, whole_images  # noqa: E402

LEAK = re.compile(r"Traceback|File \"|/home/|/tmp/|site-packages|\.py\b|0x[0-9a-f]{6}|<_io")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    run = write_small_run(tmp_path_factory.mktemp("run") / "run")
    with serving(run) as started:
        yield started.address


def test_answers_are_as_described(address: str) -> None:
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_headers_conformance,
        response_schema_conformance,
        status_code_conformance,
        unsupported_method,
    )

    images = [content for _, content in whole_images()]
    schemathesis.openapi.media_type("image/*", st.sampled_from(images) | st.binary(max_size=200))
    described = schemathesis.openapi.from_url(f"{address}/openapi.json")
    seen: Counter[tuple[str, int]] = Counter()
    for found in described.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=25,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def ask_as_described(case: Any) -> None:
            response = case.call_and_validate(
                checks=[
                    not_a_server_error,
                    status_code_conformance,
                    content_type_conformance,
                    response_headers_conformance,
                    response_schema_conformance,
                    unsupported_method,
                ]
            )
            seen[case.operation.path, response.status_code] += 1
            assert not LEAK.search(response.text)

        ask_as_described()
    assert {path for path, _ in seen} == {"/", "/health", "/metrics", "/predict"}
    assert seen["/predict", 200] > 0
    assert seen["/predict", 422] > 0


def test_whole_images_are_answered_and_broken_ones_refused_in_words(address: str) -> None:
    for name, content in whole_images():
        status, _, text = ask(address, "/predict", content)
        assert status == 200, (name, text)
    refused = 0
    for kind, content in broken_images(150, seed=7):
        status, _, text = ask(address, "/predict", content)
        told = json.loads(text)
        if status == 200:  # a bit turned over in the pixels is still an image
            assert abs(sum(told["probabilities"].values()) - 1) < 1e-6
            continue
        refused += 1
        assert status in (413, 422), (kind, text)
        assert told["error"].endswith("."), kind
        assert not LEAK.search(text.decode()), (kind, text)
    assert refused > 75


def test_the_broken_images_are_what_they_are_called() -> None:
    found = list(broken_images(300, seed=1))
    assert found == list(broken_images(300, seed=1))
    kinds = {kind.partition(":")[0] for kind, _ in found}
    assert kinds == {"bomb", *BREAKS}
    assert all(len(content) < 2_000_000 for _, content in bombs())
