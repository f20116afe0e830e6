"""Load test of `llm4teach serve-student`: requests a second and latencies by concurrency.

    python benchmarks/serve_student.py student.onnx

The server runs in a process of its own on this machine, so both share its cores.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import subprocess
import sys
import time

import aiohttp
import numpy as np

from llm4teach.student.export.onnx_policy import OnnxStudent

RAW = {"Content-Type": "application/octet-stream"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("student", help="an exported .onnx file")
    parser.add_argument("--requests", type=int, default=2_000, help="for each row")
    arguments = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "llm4teach", "serve-student", arguments.student]
    server = subprocess.Popen([*command, "--port", str(port)], stdout=subprocess.DEVNULL)
    try:
        asyncio.run(measure(OnnxStudent(arguments.student), port, arguments.requests))
    finally:
        server.terminate()
        server.wait()


async def measure(student: OnnxStudent, port: int, requests: int) -> None:
    """Print the table."""
    url = f"http://127.0.0.1:{port}"
    shape = student.observation_shape
    async with aiohttp.ClientSession() as session:
        for _ in range(200):
            try:
                async with session.get(f"{url}/health") as answer:
                    answer.raise_for_status()
                    break
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)
        print("| body | observations | connections | requests/s | ms: median | 99% |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |")
        for kind, batch, connections in (
            ("bytes", 1, 1),
            ("bytes", 1, 8),
            ("bytes", 64, 8),
            ("JSON", 1, 8),
            ("JSON", 64, 8),
        ):
            seen = np.zeros((batch, *shape), np.uint8)
            body = {"data": seen.tobytes(), "headers": RAW}
            if kind == "JSON":
                body = {"json": {"observations": seen.tolist()}}  # type: ignore[dict-item]
            count = requests if batch == 1 else requests // 8
            walls: list[float] = []
            began = time.perf_counter()
            await asyncio.gather(
                *(
                    one(session, f"{url}/v1/act", body, count // connections, walls)
                    for _ in range(connections)
                )
            )
            rate = len(walls) / (time.perf_counter() - began)
            median, last = np.quantile(walls, [0.5, 0.99]) * 1000
            row = f"| {kind} | {batch} | {connections} | {rate:,.0f} | {median:.2f} | {last:.2f} |"
            print(row, flush=True)


async def one(
    session: aiohttp.ClientSession, url: str, body: dict[str, object], n: int, walls: list[float]
) -> None:
    """Send requests one after the other."""
    for _ in range(n):
        began = time.perf_counter()
        async with session.post(url, **body) as answer:  # type: ignore[arg-type]
            answer.raise_for_status()
            await answer.read()
        walls.append(time.perf_counter() - began)


if __name__ == "__main__":
    main()
