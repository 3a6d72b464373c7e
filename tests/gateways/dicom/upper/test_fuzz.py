"""The fuzz target, with inputs by hypothesis, and by atheris where it is installed."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.gateways.dicom.upper.fuzz import one_input
from tests.gateways.dicom.upper.test_stream import items

SEED_SIZE = 8
"""Bytes at the start of an input that say how it is cut."""


@settings(max_examples=300)
@given(st.binary(max_size=300))
def test_noise(data: bytes) -> None:
    one_input(data)


@settings(max_examples=200)
@given(st.binary(min_size=SEED_SIZE, max_size=SEED_SIZE), items, st.data())
def test_damaged_streams(head: bytes, sent: list[tuple[bytes, object]], data: st.DataObject) -> None:
    stream = bytearray(b"".join(encoded for encoded, _ in sent))
    for _ in range(data.draw(st.integers(0, 4)) if stream else 0):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    one_input(head + bytes(stream))


@settings(max_examples=200)
@given(
    st.binary(min_size=SEED_SIZE, max_size=SEED_SIZE),
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 1100) | st.just(2**32 - 1), st.binary(max_size=80)),
        max_size=5,
    ),
)
def test_headers_that_lie(head: bytes, pdus: list[tuple[int, int, bytes]]) -> None:
    one_input(
        head + b"".join(bytes((kind, 0)) + length.to_bytes(4, "big") + body for kind, length, body in pdus)
    )


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")
def test_atheris_finds_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.gateways.dicom.upper.fuzz",
            "-runs=50000",
            "-max_total_time=30",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
