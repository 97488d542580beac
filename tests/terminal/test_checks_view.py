from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from everyclass.findings import CheckResult
from everyclass.terminal.checks import checks_view

ISSUE = CheckResult(
    name="output-activation",
    outcome="issue",
    cause="output-activation-wrong",
    evidence={"share": 0.48},
    sentence="A ReLU follows the last layer: 48 % of the outputs are exactly 0, where no gradient "
    "flows, and no logit can be negative. [not markup]",
    remedy="Let the last linear layer's output be the logits: no activation after it.",
)
PASSED = CheckResult(
    name="label-range", outcome="passed", cause=None, evidence={}, sentence="Label ids fit."
)
LACKING = CheckResult(
    name="loss-weights",
    outcome="not-applicable",
    cause=None,
    evidence={},
    sentence="The loss has no class weights.",
)


def shown(results: Sequence[CheckResult], width: int = 80) -> list[str]:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(checks_view(results))
    return capture.get().rstrip("\n").split("\n")


def test_issues_come_first_with_their_remedy() -> None:
    other = CheckResult(
        name="double-correction",
        outcome="not-applicable",
        cause=None,
        evidence={},
        sentence=LACKING.sentence,
    )
    lines = [line.rstrip() for line in shown([LACKING, PASSED, ISSUE, other])]
    assert lines == [
        "✗ output-activation-wrong",
        "  A ReLU follows the last layer: 48 % of the outputs are exactly 0, where no",
        "  gradient flows, and no logit can be negative. [not markup]",
        "  → Let the last linear layer's output be the logits: no activation after it.",
        "",
        "✓ 1 passed: label range",
        "· 2 not applicable",
        "  loss weights, double correction: The loss has no class weights.",
    ]


def test_nothing_is_wider_than_the_terminal() -> None:
    for width in (40, 80, 120):
        assert max(map(len, shown([ISSUE, PASSED, LACKING] * 3, width))) <= width


def test_only_what_is_there_is_shown() -> None:
    assert [line.rstrip() for line in shown([PASSED])] == ["✓ 1 passed: label range"]
    assert shown([]) == [""]
