"""Processes at one port leave a connection to those that have less to do."""

import tempfile

from medbus.gateways.dicom.network.turns import SIZE, Turns


def test_whoever_has_the_fewest_associations_takes_the_next() -> None:
    with tempfile.TemporaryFile() as shared:
        shared.truncate(SIZE)
        first, second = (Turns(shared.fileno(), place, 2) for place in range(2))
        assert first.mine()
        assert second.mine()
        first.has(1)
        assert not first.mine()
        assert second.mine()
        second.has(2)
        assert first.mine()
        assert not second.mine()


def test_a_process_that_starts_again_begins_at_nothing() -> None:
    with tempfile.TemporaryFile() as shared:
        shared.truncate(SIZE)
        first = Turns(shared.fileno(), 0, 2)
        Turns(shared.fileno(), 1, 2).has(0)
        first.has(5)
        again = Turns(shared.fileno(), 0, 2)
        assert again.mine()


def test_a_single_process_always_takes_it() -> None:
    with tempfile.TemporaryFile() as shared:
        shared.truncate(SIZE)
        only = Turns(shared.fileno(), 0, 1)
        only.has(100)
        assert only.mine()
