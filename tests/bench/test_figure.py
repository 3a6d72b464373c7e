"""Figures: medians, ratios, result lines, percentiles."""

import json
from pathlib import Path

import pytest
from bench.figure import Figure, Results, Target, at_least, number, percentile, percentiles, significant
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

numbers = st.floats(min_value=0.001, max_value=1e6)


def test_a_line_has_the_medians_and_their_ratio() -> None:
    figure = Figure(
        name="replay",
        unit="events/s",
        values=[30_000, 10_000, 20_000],
        peer="bare",
        peer_values=[40_000, 50_000],
    )
    assert json.loads(figure.line()) == {
        "name": "replay",
        "value": 20_000,
        "unit": "events/s",
        "peer": "bare",
        "peer_value": 45_000,
        "ratio": 0.4444,
    }


def test_without_the_peer_its_fields_are_null() -> None:
    line = json.loads(Figure(name="a", unit="ms", values=[1.23456], peer="Orthanc").line())
    assert line == {
        "name": "a",
        "value": 1.235,
        "unit": "ms",
        "peer": None,
        "peer_value": None,
        "ratio": None,
    }


def test_figures_are_in_the_file_as_soon_as_they_are_known(tmp_path: Path) -> None:
    file = tmp_path / "results" / "latest.jsonl"
    file.parent.mkdir()
    file.write_text("of the last run\n")
    results = Results(file)
    results.add([Figure(name="a", unit="ms", values=[1])])
    assert [json.loads(line)["name"] for line in file.read_text().splitlines()] == ["a"]
    results.add([Figure(name="b", unit="ms", values=[2])])
    assert [json.loads(line)["name"] for line in file.read_text().splitlines()] == ["a", "b"]


def test_the_table_shows_spread_and_missed_targets(tmp_path: Path) -> None:
    results = Results(tmp_path / "latest.jsonl")
    results.add(
        [
            Figure(name="slow", unit="ms", values=[1, 12, 150], target=Target(10, at_most=True)),
            Figure(name="fast", unit="x/s", values=[31_000], target=Target(30_000, at_most=False)),
        ]
    )
    console = Console(width=140, record=True)
    results.table(console)
    slow, fast = (line for line in console.export_text().splitlines() if "slow" in line or "fast" in line)
    assert "12 (1 to 150)" in slow
    assert "<= 10 missed" in slow
    assert ">= 30,000" in fast
    assert "missed" not in fast


@pytest.mark.parametrize(
    ("share", "expected"), [(0.01, 1), (0.5, 50), (0.501, 51), (0.99, 99), (0.995, 100), (1, 100)]
)
def test_percentiles_are_of_the_nearest_rank(share: float, expected: float) -> None:
    assert percentile([float(each) for each in range(100, 0, -1)], share) == expected


@given(st.lists(numbers, min_size=1), st.floats(min_value=0.01, max_value=1))
def test_a_percentile_is_a_value_that_the_share_does_not_exceed(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(each <= found for each in values) >= share * len(values) - 1e-9
    assert sum(each < found for each in values) < share * len(values) + 1e-9


def test_every_run_has_its_own_percentiles_in_milliseconds() -> None:
    p50, p99 = percentiles("decision", [[0.001, 0.002, 0.003], [0.004]], p99_target=10)
    assert (p50.name, p50.unit, list(p50.values)) == ("decision/p50", "ms", [2, 4])
    assert (p99.name, list(p99.values), p99.target) == ("decision/p99", [3, 4], Target(10, at_most=True))


@pytest.mark.parametrize(
    ("value", "rounded", "text"),
    [(123_456.7, 123_457, "123,457"), (12.3456, 12.35, "12.3"), (0.98765, 0.9877, "0.99"), (5, 5, "5")],
)
def test_numbers_are_as_exact_as_measurements_are(value: float, rounded: float, text: str) -> None:
    assert significant(value) == rounded
    assert number(value) == text


def test_a_target_may_be_so_many_times_what_the_peer_reaches() -> None:
    assert at_least(3, [100, 300, 200]) == Target(600, at_most=False)
    assert at_least(3, []) is None
