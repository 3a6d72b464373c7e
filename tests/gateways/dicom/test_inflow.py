"""Data sets on their way in: whole, in order, and bounded."""

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medbus.gateways.dicom.pynetdicom import inflow
from medbus.gateways.dicom.pynetdicom.inflow import CutShort, Inflow


def flow(alive: bool = True, patience: float = 5.0) -> Inflow:
    return Inflow(lambda: alive, patience)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=50), max_size=20))
def test_a_thread_gets_all_of_it(chunks: list[bytes]) -> None:
    data = flow()

    def put() -> None:
        for chunk in chunks:
            data.put(chunk)
        data.finish()

    thread = threading.Thread(target=put)
    thread.start()
    assert b"".join(data) == b"".join(chunks)
    thread.join()
    assert data.size == sum(map(len, chunks))


async def test_a_coroutine_gets_all_of_it_while_it_comes() -> None:
    data = flow()
    chunks = [bytes([number]) * 1000 for number in range(200)]

    def put() -> None:
        for chunk in chunks:
            data.put(chunk)
            time.sleep(0.0001)
        data.finish()

    thread = threading.Thread(target=put)
    thread.start()
    got = b"".join([chunk async for chunk in data])
    thread.join()
    assert got == b"".join(chunks)


async def test_what_is_there_comes_as_one() -> None:
    data = flow()
    for _ in range(10):
        data.put(b"x" * 100)
    data.finish()
    assert [chunk async for chunk in data] == [b"x" * 1000]


def test_the_network_waits_while_nobody_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflow, "WINDOW", 1000)
    data = flow()
    put = 0

    def fill() -> None:
        nonlocal put
        for _ in range(100):
            data.put(b"x" * 100)
            put += 1
        data.finish()

    thread = threading.Thread(target=fill)
    thread.start()
    time.sleep(0.2)
    assert put == 11, "no more than the window waits in memory"
    assert sum(map(len, data)) == 10_000
    thread.join()


def test_a_taker_that_never_comes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflow, "WINDOW", 10)
    data = flow(patience=0.1)
    data.put(b"x" * 100)
    with pytest.raises(CutShort):
        data.put(b"x")


async def test_a_peer_that_leaves_in_the_middle_is_noticed() -> None:
    data = flow(alive=False)
    data.put(b"half")
    with pytest.raises(CutShort):
        _ = [chunk async for chunk in data]
    with pytest.raises(CutShort):
        list(data)


def test_the_rest_can_be_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflow, "WINDOW", 10)
    data = flow()

    def put() -> None:
        for _ in range(100):
            data.put(b"x" * 100)
        data.finish()

    thread = threading.Thread(target=put)
    thread.start()
    data.drain()
    thread.join(5)
    assert data.complete
    assert data.size == 10_000
