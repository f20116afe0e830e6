"""Labeling against a bare asyncio client: states a second, our CPU a state, and peak memory.

    python benchmarks/label_throughput.py --states 1000 10000
    python benchmarks/label_throughput.py --states 10000 100000 1000000 --latency-ms 0 --only advise

A stub server in a process of its own answers every chat after a set time with the same reply. The
bare client, a loop around aiohttp, sends the same bodies over as many connections, parses the JSON,
and does nothing else.
``advise`` is the teacher alone, ``label`` also stores the advice. They take turns, so that each is
compared with the bare client of the same moment: the table has medians over the turns, and in
brackets their quartiles.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import resource
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import aiohttp

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.envs.plan import parse_plan
from llm4teach.envs.task import State, state_key
from llm4teach.teacher_labeling.backends.openai.teacher import OpenAITeacher
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.labeling.run import label_states

FAMILY = "SimpleDoorKey"
OPTIONS = tuple(map(parse_plan, ("explore", "go to key > pick up key", "drop key")))
REPLY = "1. It sees the key.\n2. It should take it.\n3. Action: {go to <key>, pick up <key>}"


class Stub(asyncio.Protocol):
    """Answers HTTP on one connection, each request after the set time."""

    latency_s = 0.0
    chat = b""

    def connection_made(self, transport: Any) -> None:
        """Keep the connection."""
        self._transport, self._buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n")[0]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            is_chat = b"chat/completions" in head
            self._buffer = self._buffer[end + 4 + length :]
            body = self.chat if is_chat else b'{"data": [{"id": "stub"}]}'
            reply = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            if is_chat and self.latency_s:
                asyncio.get_running_loop().call_later(self.latency_s, self._transport.write, reply)
            else:
                self._transport.write(reply)


def serve(port: Any, latency_s: float, n: int) -> None:
    """Run the stub for ever and tell its port."""
    choices = [
        {"index": i, "message": {"role": "assistant", "content": f"{i}. {REPLY}"}} for i in range(n)
    ]
    usage = {"prompt_tokens": 400, "completion_tokens": 30 * n}
    Stub.chat = json.dumps({"id": "x", "choices": choices, "usage": usage}).encode()
    Stub.latency_s = latency_s

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", 0)
        port.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def make_state(i: int) -> State:
    """Return a state of its own text."""
    text = f"Agent sees <key{i}>, holds <nothing>."
    return State(state_key(FAMILY, text), text, OPTIONS)


class States(Sequence[State]):
    """So many states, each made when it is asked for: a million of them take no memory here."""

    def __init__(self, n: int) -> None:
        self._n = n

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, i: Any) -> Any:
        return make_state(i)

    def __iter__(self) -> Iterator[State]:
        return map(make_state, range(self._n))


@dataclass
class Figures:
    """What a run took."""

    seconds: float
    cpu_us: float  # of this process, a state


def measured(run: Callable[[Sequence[State]], int], n: int) -> Figures:
    """Run once; it returns how many states it has asked about."""
    begin, cpu = time.perf_counter(), time.process_time()
    done = run(States(n))
    assert done == n, f"{done} of {n} states"
    return Figures(time.perf_counter() - begin, (time.process_time() - cpu) / n * 1e6)


def spread(values: list[float], form: str) -> str:
    """Median and quartiles; nothing of nothing."""
    if len(values) < 2:
        return "".join(format(value, form) for value in values)
    low, middle, high = quantiles(values, method="inclusive")
    return f"{middle:{form}} [{low:{form}}, {high:{form}}]"


def bare(teacher: OpenAITeacher, port: int, in_flight: int, states: Sequence[State]) -> int:
    """Ask the teacher's questions over as many connections, and parse the JSON."""
    waiting, done = iter(states), 0

    url = f"http://127.0.0.1:{port}/v1/chat/completions"

    async def worker(session: aiohttp.ClientSession) -> None:
        nonlocal done
        for state in waiting:
            (question,) = teacher._elicitation.requests(state)
            body = {"model": "stub", "messages": question.messages, "n": question.n}
            data = json.dumps(body | {"temperature": 1.0, "max_tokens": 200, "seed": 1}).encode()
            async with session.post(url, data=data) as response:
                json.loads(await response.read())
            done += 1

    async def run() -> None:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            await asyncio.gather(*(worker(session) for _ in range(in_flight)))

    asyncio.run(run())
    return done


def advise(teacher: OpenAITeacher, states: Sequence[State]) -> int:
    """Ask the teacher."""
    return sum(1 for _ in teacher.advise(states))


def label(teacher: OpenAITeacher, folder: Path, states: Sequence[State]) -> int:
    """Label into a new store."""
    info = teacher.info
    store = AdviceStore(folder / uuid.uuid4().hex, info.teacher_id, info.prompt_version)
    return label_states(teacher, store, states).ok


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--states", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--latency-ms", type=float, nargs="+", default=[0.0, 20.0])
    parser.add_argument("--in-flight", type=int, default=16)
    parser.add_argument("--n", type=int, default=10, help="replies a state")
    parser.add_argument("--only", choices=("bare", "advise", "label"), nargs="+")
    parser.add_argument("--repeat", type=int, default=5, help="turns")
    given = parser.parse_args()
    kinds = given.only or ["bare", "advise", "label"]
    print(
        "| latency | states | client | states/s | of bare | CPU µs a state | above bare | peak MB |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    folder = tempfile.TemporaryDirectory()
    context = multiprocessing.get_context("spawn")
    for latency_ms in given.latency_ms:
        queue = context.Queue()
        arguments = (queue, latency_ms / 1e3, given.n)
        server = context.Process(target=serve, args=arguments, daemon=True)
        server.start()
        port = queue.get()
        config = TeacherConfig(
            base_url=f"http://127.0.0.1:{port}/v1",
            model="stub",
            max_in_flight=given.in_flight,
            n_samples=given.n,
        )
        teacher = OpenAITeacher(config, FAMILY)
        runs: dict[str, Callable[[Sequence[State]], int]] = {
            "bare": partial(bare, teacher, port, given.in_flight),
            "advise": partial(advise, teacher),
            "label": partial(label, teacher, Path(folder.name)),
        }
        for run in runs.values():
            run(States(100))  # imports, caches, files
        for n in given.states:
            turns = [{kind: measured(runs[kind], n) for kind in kinds} for _ in range(given.repeat)]
            for kind in kinds:
                figures = [turn[kind] for turn in turns]
                bares = [turn.get("bare") for turn in turns]
                pairs = [(own, bare) for own, bare in zip(figures, bares, strict=True) if bare]
                ratio = spread([bare.seconds / own.seconds for own, bare in pairs], ".3f")
                above = spread([own.cpu_us - bare.cpu_us for own, bare in pairs], ".0f")
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                rate = median(n / own.seconds for own in figures)
                cpu = median(own.cpu_us for own in figures)
                row = (f"{latency_ms:g} ms", f"{n:,}", kind, f"{rate:,.0f}", ratio, f"{cpu:.0f}")
                print("|", " | ".join([*row, above, f"{peak:.0f}"]), "|", flush=True)
        server.terminate()
        server.join()


if __name__ == "__main__":
    main()
