"""Requests a second of `everyclass serve`, and how long they take, beside the bare model.

    python benchmarks/speed/serving.py [--models test_resnet resnet10t] [--side 64] [--seconds 8]
        [--concurrency 1 8 32]

A server in a process of its own gets JPEG files of 150 x 150 px from clients (aiohttp, in this
process) that each send their next request when the last is answered: a closed loop, so that the
load is the number of clients. What a request costs: HTTP on both sides, decoding, resizing, its
share of a forward pass, probabilities, decisions, a prediction set, JSON. The client's own
processor time is taken from the same cores and is told.

"bare model": the same classifier with batch normalisation folded, on images in memory that have the
network's size, as many threads as the server has workers, one core each, in batches of the size
that the server made in the mean at that load (rounded). Rounds of server and bare model alternate;
the ratio is of medians. Weights are random: the time does not depend on them. Milliseconds of
processor time depend less than the clock on what else runs on the machine.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command sets it; both sides have it

import asyncio
import io
import json
import statistics
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import numpy as np
import torch
from PIL import Image
from served_run import serving, untrained_run

from everyclass.models.classifier import Classifier
from everyclass.models.file import load_model
from everyclass.models.folding import folded
from everyclass.workflows.cores import usable_cores

PIXELS = 150


def photos(n: int) -> list[bytes]:
    """JPEG files that cost about what photographs cost to decode."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(n):
        small = Image.fromarray(rng.integers(0, 256, size=(20, 20, 3), dtype=np.uint8))
        stored = io.BytesIO()
        small.resize((PIXELS, PIXELS), Image.Resampling.BICUBIC).save(stored, "JPEG", quality=85)
        found.append(stored.getvalue())
    return found


async def load(address: str, files: list[bytes], *, clients: int, seconds: float) -> list[float]:
    """Seconds of each request that was answered."""
    taken: list[float] = []
    end = time.perf_counter() + seconds

    async def client(session: aiohttp.ClientSession, turn: int) -> None:
        while time.perf_counter() < end:
            turn += 1
            began = time.perf_counter()
            async with session.post(
                f"{address}/predict", data=files[turn % len(files)]
            ) as response:
                await response.read()
                assert response.status == 200, response.status
            taken.append(time.perf_counter() - began)

    headers = {"Content-Type": "application/octet-stream"}
    connector = aiohttp.TCPConnector(limit=clients)
    async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
        await asyncio.gather(*(client(session, 7 * k) for k in range(clients)))
    return taken


def bare(
    classifier: Classifier, batch: int, *, threads: int, seconds: float
) -> tuple[float, float]:
    """Images a second, seconds of processor time of each."""
    side = classifier.preprocessing.side
    images = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8)
    images = images.contiguous(memory_format=torch.channels_last)
    end = time.perf_counter() + seconds

    def work(_: int) -> int:
        torch.set_num_threads(1)
        passes = 0
        with torch.inference_mode():
            while time.perf_counter() < end:
                classifier(images)
                passes += 1
        return passes

    began, used = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(threads) as pool:
        images = batch * sum(pool.map(work, range(threads)))
    spent = time.process_time() - used
    return images / (time.perf_counter() - began), spent / images


def state_of(address: str) -> tuple[float, float, float]:
    """Images and forward passes so far, and the server's seconds of processor time."""
    with urllib.request.urlopen(f"{address}/metrics") as response:
        lines = dict(
            line.rsplit(" ", 1)
            for line in response.read().decode().splitlines()
            if not line.startswith("#")
        )
    return (
        float(lines["everyclass_batch_images_sum"]),
        float(lines["everyclass_batch_images_count"]),
        float(lines["process_cpu_seconds_total"]),
    )


def measure(arguments: argparse.Namespace, name: str, scratch: Path) -> list[dict]:
    run = untrained_run(scratch / name, model=name, side=arguments.side)
    classifier = folded(load_model(run).classifier)
    files, cores, rows = photos(64), usable_cores(), []
    with serving(run) as (_, address):
        for clients in arguments.concurrency:
            asyncio.run(load(address, files, clients=clients, seconds=1.0))
            rates, bares, costs, taken, client, totals = [], [], [], [], 0.0, np.zeros(3)
            for _ in range(arguments.rounds):
                before, used = np.array(state_of(address)), time.process_time()
                began = time.perf_counter()
                found = asyncio.run(
                    load(address, files, clients=clients, seconds=arguments.seconds)
                )
                rates.append(len(found) / (time.perf_counter() - began))
                client += time.process_time() - used
                taken += found
                totals += np.array(state_of(address)) - before
                size = max(1, round(totals[0] / totals[1]))
                rate, cost = bare(classifier, size, threads=cores, seconds=arguments.seconds / 2)
                bares.append(rate)
                costs.append(cost)
            p50, p99 = np.quantile(taken, [0.5, 0.99])
            row = {
                "model": name,
                "side": arguments.side,
                "clients": clients,
                "n": len(taken),
                "requests_per_second": statistics.median(rates),
                "range": (min(rates), max(rates)),
                "p50_ms": 1e3 * p50,
                "p99_ms": 1e3 * p99,
                "images_a_pass": totals[0] / totals[1],
                "bare_images_per_second": statistics.median(bares),
                "ratio": statistics.median(rates) / statistics.median(bares),
                "server_ms": 1e3 * totals[2] / len(taken),
                "bare_ms": 1e3 * statistics.median(costs),
                "client_ms": 1e3 * client / len(taken),
            }
            rows.append(row)
            print(
                f"| {name} | {clients} | {row['requests_per_second']:,.0f} ({min(rates):,.0f} to "
                f"{max(rates):,.0f}) | {row['p50_ms']:,.0f} | {row['p99_ms']:,.0f} | "
                f"{row['images_a_pass']:.1f} | {row['bare_images_per_second']:,.0f} | "
                f"{row['ratio']:.2f} | {row['server_ms']:.2f} | {row['bare_ms']:.2f} | "
                f"{row['client_ms']:.2f} |",
                flush=True,
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["test_resnet", "resnet10t"])
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--concurrency", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    print(
        f"{usable_cores()} cores, load {os.getloadavg()[0]:.1f}, {arguments.rounds} rounds of "
        f"{arguments.seconds:g} s, {arguments.side} px, torch {torch.__version__}\n"
    )
    print(
        "| model | clients | requests/s | p50 ms | p99 ms | images a pass | bare model images/s | "
        "ratio | server ms each | bare ms each | client ms each |\n" + "|---" * 11 + "|"
    )
    with tempfile.TemporaryDirectory() as scratch:
        rows = [row for name in arguments.models for row in measure(arguments, name, Path(scratch))]
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
