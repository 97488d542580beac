"""Thousands of broken images against a running server: no crash, no leak of any kind.

    python benchmarks/robustness/serving.py [--images 10000] [--seed 0] [--concurrency 8]

A server of its own (`everyclass serve`, a network that was never trained) gets the files of
`broken_images.py`: truncated, bits turned over, wrong headers, spliced, bombs; a whole image after
each hundred must still be answered as at first. Memory and open files of the server are read from
/proc as it goes on; the first tenth is the warm-up. Fails (exit code 1) on an answer of
5xx, a text that holds a path, a traceback or an address, a changed answer, or a server that died.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import aiohttp
from broken_images import broken_images, whole_images

sys.path.insert(0, str(Path(__file__).parents[1] / "speed"))
from served_run import serving, untrained_run

LEAK = re.compile(r"Traceback|File \"|/home/|/tmp/|site-packages|\.py\b|0x[0-9a-f]{6}|<_io")


def state_of(process: subprocess.Popen[str]) -> dict[str, float]:
    """Resident memory in MB, its highest so far, open files."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    found = {
        name: int(re.search(rf"{name}:\s+(\d+)", text)[1]) / 1e3 for name in ("VmRSS", "VmHWM")
    }
    return {**found, "files": len(list(Path(f"/proc/{process.pid}/fd").iterdir()))}


async def ask_all(
    address: str, files: list[tuple[str, bytes]], *, concurrency: int
) -> tuple[Counter[int], Counter[str], list[str], float]:
    """Answers by status, refusals by kind of file, complaints, the slowest answer in seconds."""
    statuses, answered, complaints, slowest = Counter[int](), Counter[str](), list[str](), 0.0
    queue = iter(files)

    async def client(session: aiohttp.ClientSession) -> None:
        nonlocal slowest
        for kind, content in queue:
            began = time.perf_counter()
            try:
                async with session.post(f"{address}/predict", data=content) as response:
                    status, text = response.status, await response.text()
            except aiohttp.ClientError as error:
                complaints.append(f"{kind}: {error!r}")
                continue
            slowest = max(slowest, time.perf_counter() - began)
            statuses[status] += 1
            if status == 200:
                answered[kind.partition(":")[0]] += 1
            if status >= 500 or LEAK.search(text):
                complaints.append(f"{kind}: {status} {text[:200]}")

    headers = {"Content-Type": "application/octet-stream"}
    async with aiohttp.ClientSession(headers=headers) as session:
        await asyncio.gather(*(client(session) for _ in range(concurrency)))
    return statuses, answered, complaints, slowest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--concurrency", type=int, default=8)
    arguments = parser.parse_args()
    whole = whole_images()[0][1]
    with tempfile.TemporaryDirectory() as scratch:
        run = untrained_run(Path(scratch) / "run", model="test_resnet", side=32)
        # A bomb within the limits may take its time on a busy machine; crashes are looked for.
        with serving(run, "--max-seconds", "120") as (process, address):
            files = list(broken_images(arguments.images, seed=arguments.seed))
            parts = max(1, len(files) // 100)
            statuses, answered, complaints, slowest = Counter[int](), Counter[str](), [], 0.0
            first, states = None, []
            began = time.perf_counter()
            for k in range(0, len(files), parts):
                found = asyncio.run(
                    ask_all(address, files[k : k + parts], concurrency=arguments.concurrency)
                )
                statuses.update(found[0])
                answered.update(found[1])
                complaints += found[2]
                slowest = max(slowest, found[3])
                told = subprocess.run(
                    ["curl", "-s", "--data-binary", "@-", f"{address}/predict"],
                    input=whole,
                    capture_output=True,
                    check=False,
                ).stdout
                answer = json.loads(told or b"{}").get("probabilities")
                first = first or answer
                if answer is None or any(abs(answer[one] - first[one]) > 1e-4 for one in first):
                    complaints.append(f"after {k + parts} files a whole image: {told[:200]!r}")
                states.append(state_of(process))
                if process.poll() is not None:
                    complaints.append("the server died")
                    break
            seconds = time.perf_counter() - began
    print(
        f"{sum(statuses.values()):,} files in {seconds:,.0f} s, {arguments.concurrency} at a time"
    )
    print(f"by status: {dict(sorted(statuses.items()))}; slowest answer {slowest:.1f} s")
    print(f"still an image, answered: {dict(answered.most_common())}")
    for share in (0.1, 0.25, 0.5, 0.75, 1.0):
        k = max(0, round(share * len(states)) - 1)
        told = ", ".join(f"{name} {value:,.0f}" for name, value in states[k].items())
        print(f"after {share:4.0%}: {told} (MB, MB, open files)")
    print(f"complaints: {len(complaints)}")
    for one in complaints[:20]:
        print("  ", one)
    sys.exit(bool(complaints))


if __name__ == "__main__":
    main()
