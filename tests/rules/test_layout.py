"""The shape of the code base: import order, torch-free bands, empty inner packages."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "everyclass"

BANDS = {
    "errors": 0,
    "calibrations": 0,
    "contracts": 0,
    "json_reader": 0,
    "json_writer": 0,
    "findings": 0,
    "notebook": 0,
    "diagnoses": 0,
    "repairs": 0,
    "slices": 0,
    "seeding": 0,
    "stats": 1,
    "images": 2,
    "fixing": 2,
    "settings": 2,
    "recipe": 2,
    "decide": 2,
    "transfer": 2,
    "run_folder": 2,
    "imbalance": 3,
    "models": 3,
    "training": 3,
    "monitoring": 3,
    "diagnosis": 4,
    "capture": 4,
    "workflows": 5,
    "terminal": 6,
    "report": 6,
    "serving": 6,
    "cli": 6,
    "commands": 6,
    "printing": 6,
    "sklearn": 6,
    "__init__": 6,
    "__main__": 6,
}
STDLIB_ONLY = 0
TORCH_FREE_BANDS = {0, 1, 2}
TORCH_PACKAGES = {"torch", "torchvision", "timm", "lightning_fabric", "pytorch_lightning"}
# The audit command must start without torch, and what it shows is torch-free too.
TORCH_FREE_MODULES = {
    *("cli", "printing", "__init__", "__main__", "terminal.audit"),
    *("workflows.audit", "workflows.data_source", "workflows.prepare", "workflows.cores"),
    "workflows.freed_memory",
    *("workflows.launched", "workflows.stopping"),
    # A process of a cluster that only audits, or passes words on, has no use for torch.
    *("workflows.cluster", "workflows.cluster_blocks", "workflows.cluster_audit"),
    "workflows.cluster_post",
    # A torch that cannot be loaded is what it is there to tell.
    *("workflows.doctor", "workflows.doctor_machine", "workflows.doctor_packages"),
    *("workflows.doctor_trial", "workflows.doctor_values", "terminal.doctor"),
}


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts)


def band_of(module: str) -> int:
    return BANDS[module.split(".")[0]]


def imports(path: Path, *, top_level_only: bool) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_go_down_the_bands(path: Path) -> None:
    own = band_of(name_of(path))
    for module in imports(path, top_level_only=False):
        if module.startswith("everyclass."):
            other = band_of(module.removeprefix("everyclass."))
            assert other <= own, f"{name_of(path)} (band {own}) imports {module} (band {other})"


def torch_free(path: Path) -> bool:
    name = name_of(path)
    return (
        band_of(name) in TORCH_FREE_BANDS
        or name in TORCH_FREE_MODULES
        or name.startswith(("report.", "commands."))
    )


@pytest.mark.parametrize("path", [path for path in modules() if torch_free(path)], ids=name_of)
def test_lower_bands_never_import_torch(path: Path) -> None:
    name = name_of(path)
    top_level = name in TORCH_FREE_MODULES or name.startswith("commands.")
    roots = {module.split(".")[0] for module in imports(path, top_level_only=top_level)}
    assert not roots & TORCH_PACKAGES


@pytest.mark.parametrize(
    "path", [path for path in modules() if band_of(name_of(path)) == STDLIB_ONLY], ids=name_of
)
def test_words_use_the_standard_library_alone(path: Path) -> None:
    for module in imports(path, top_level_only=False):
        root = module.split(".")[0]
        assert root == "everyclass" or root in sys.stdlib_module_names, module


def test_inner_packages_are_empty() -> None:
    for path in SOURCE.glob("*/__init__.py"):
        assert path.read_text() == "", f"{path} must stay empty: import full module paths"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["audit", "--help"],
        ["train", "--help"],
        ["compare", "--help"],
        ["curve", "--help"],
        ["crossval", "--help"],
        ["report", "--help"],
        ["doctor", "--help"],
        ["export", "--help"],
        ["serve", "--help"],
    ],
)
def test_commands_that_compute_nothing_leave_torch_out(arguments: list[str]) -> None:
    assert loaded_after(arguments) == []


def test_audit_leaves_torch_out(image_folder: Path) -> None:
    assert loaded_after(["audit", str(image_folder), "--quiet"]) == []


def loaded_after(arguments: list[str]) -> list[str]:
    """The torch packages in `sys.modules` after running the command in a fresh interpreter."""
    script = (
        "import sys\n"
        "from everyclass.cli import main\n"
        "try:\n"
        f"    main({arguments!r})\n"
        "except SystemExit as stop:\n"
        "    assert not stop.code, stop.code\n"
        f"print('LOADED', sorted(set({sorted(TORCH_PACKAGES)!r}) & sys.modules.keys()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith("LOADED "), done.stdout
    loaded: list[str] = ast.literal_eval(last.removeprefix("LOADED "))
    return loaded
