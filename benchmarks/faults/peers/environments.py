"""A virtual environment a peer, which sees the torch of this one.

Comes in: a peer and a folder. Goes out: an `Installed`, also written into the environment, so that
it is made once. torch and torchvision are large, and what a peer would install of them is what this
environment has: a `.pth` file puts this environment's packages behind the peer's own. pip counts
them as installed, so it adds only what is missing, and never changes this environment. Knows no
adapter and no script.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from peers.tools import Peer

RECORD = "installed.json"
SHARED = "everyclass-benchmark.pth"
TIME_LIMIT_SECONDS = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What came of an installation.

    Attributes:
        peer: its name.
        package: what pip was asked for.
        python: the environment's interpreter.
        ok: whether it can be used.
        note: why not, or what was done otherwise than pip does it by itself; else "".
        seconds: it took.
    """

    peer: str
    package: str
    python: str
    ok: bool
    note: str = ""
    seconds: float = 0.0


def installed(peer: Peer, folder: Path) -> Installed:
    """The peer's environment in the folder, made now unless it is there."""
    if peer.refused:
        return Installed(
            peer=peer.name, package=peer.package, python="", ok=False, note=peer.refused
        )
    environment = folder / peer.name
    record = environment / RECORD
    if record.exists():
        return Installed(**json.loads(record.read_text()))
    shutil.rmtree(environment, ignore_errors=True)  # one that was interrupted has no record
    started = time.monotonic()
    note = _made(environment) or _filled(environment, peer)
    result = Installed(
        peer=peer.name,
        package=peer.package,
        python=str(_python(environment)),
        ok=not note,
        note=note or peer.without_dependencies,
        seconds=round(time.monotonic() - started, 1),
    )
    if environment.is_dir():
        record.write_text(json.dumps(asdict(result)))
    return result


def _python(environment: Path) -> Path:
    return environment / "bin" / "python"


def _made(environment: Path) -> str:
    """Create it; why that failed, or ""."""
    note = _run([sys.executable, "-m", "venv", str(environment)])
    if note:
        return note
    packages = Path(
        sysconfig.get_path("purelib", vars={"base": str(environment), "platbase": str(environment)})
    )
    shared = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages / SHARED).write_text("".join(f"{path}\n" for path in sorted(shared)))
    return ""


def _filled(environment: Path, peer: Peer) -> str:
    """Install the peer into it; why that failed, or ""."""
    options = ["--no-deps"] if peer.without_dependencies else []
    command = [str(_python(environment)), "-m", "pip", "install", "--quiet"]
    return _run([*command, *options, peer.package])


def _run(command: list[str]) -> str:
    """The end of what a failing command said, or ""."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIME_LIMIT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"not done after {TIME_LIMIT_SECONDS} s"
    if done.returncode == 0:
        return ""
    return (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}")[-600:]
