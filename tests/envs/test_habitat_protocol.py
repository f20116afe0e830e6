"""The wire between core and worker: what is sent arrives, and nothing else is taken for it."""

import io
import random
import struct

import numpy as np
import pytest

from llm4teach.envs.habitat.worker import protocol
from llm4teach.envs.habitat.worker.protocol import Message, ProtocolError, StepResults


def read(data: bytes) -> Message | None:
    return protocol.read_message(io.BytesIO(data).read)


def test_messages_arrive_as_they_were_sent() -> None:
    sent = [
        Message(protocol.STEP, payload=bytes(range(256))),
        Message(protocol.MAKE, {"n_envs": 3, "simulator": "kinematic"}),
        Message(protocol.CLOSE),
    ]
    stream = io.BytesIO(b"".join(map(protocol.pack, sent)))
    assert [protocol.read_message(stream.read) for _ in sent] == sent
    assert protocol.read_message(stream.read) is None


def test_other_bytes_are_refused() -> None:
    good = protocol.pack(Message(protocol.MAKE, {"a": 1}, b"xyz"))
    with pytest.raises(ProtocolError, match="expected a message"):
        read(b"HTTP/1.1 200 OK\r\n\r\n")
    with pytest.raises(ProtocolError, match="version 2"):
        read(good[:4] + struct.pack("<H", 2) + good[6:])
    with pytest.raises(ProtocolError, match="kind 99"):
        read(good[:6] + struct.pack("<H", 99) + good[8:])
    with pytest.raises(ProtocolError, match="without JSON"):
        read(good.replace(b'{"a"', b'{"a['))
    with pytest.raises(ProtocolError, match="no object"):
        read(good.replace(b'{"a": 1}', b"[1,2,34]"))
    for cut in range(1, len(good)):
        with pytest.raises(ProtocolError):
            read(good[:cut])


def test_random_bytes_never_get_further_than_an_error() -> None:
    rng = random.Random(0)
    good = bytearray(protocol.pack(Message(protocol.STEP, {"a": [1]}, bytes(40))))
    for _ in range(2_000):
        data = bytearray(good)
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            message = read(bytes(data))
        except ProtocolError:
            continue
        assert message is None or isinstance(message.json, dict)


def test_sizes_are_bounded_before_anything_is_read() -> None:
    header = struct.pack("<4sHHII", protocol.MAGIC, protocol.VERSION, protocol.STEP, 0, 1 << 31)
    asked: list[int] = []

    def reading(size: int) -> bytes:
        asked.append(size)
        return header[:size]

    with pytest.raises(ProtocolError, match="2147483648"):
        protocol.read_message(reading)
    assert asked == [len(header)]
    with pytest.raises(ProtocolError, match="too large"):
        protocol.pack(Message(protocol.DONE, {"a": "x" * protocol.MAX_JSON}))


def test_requests_and_results_keep_their_arrays() -> None:
    rng = np.random.default_rng(0)
    envs, seeds = np.array([0, 5, 2]), np.array([1 << 40, 0, 7])
    got = protocol.unpack_request(protocol.pack_request(envs, seeds), 6)
    np.testing.assert_array_equal(got[0], envs)
    np.testing.assert_array_equal(got[1], seeds)
    for bad in (protocol.pack_request(envs, seeds)[:-1], protocol.pack_request(envs + 3, seeds)):
        with pytest.raises(ProtocolError):
            protocol.unpack_request(bad, 6)

    sent = StepResults(
        rng.integers(0, 256, (3, 4, 5), np.uint8),
        rng.normal(size=3),
        np.array([True, False, False]),
        np.array([False, False, True]),
        rng.normal(size=(3, 2)),
    )
    payload = protocol.pack_results(sent)
    for before, after in zip(sent, protocol.unpack_results(payload, 3, (4, 5), 2), strict=True):
        np.testing.assert_array_equal(before, after)
        assert before.dtype == after.dtype
    with pytest.raises(ProtocolError, match="for 2 environments"):
        protocol.unpack_results(payload, 2, (4, 5), 2)
    at = 3 * 8 + 6 * 8  # the first flag
    with pytest.raises(ProtocolError, match="no sense"):
        protocol.unpack_results(payload[:at] + b"\2" + payload[at + 1 :], 3, (4, 5), 2)
