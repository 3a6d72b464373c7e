"""The lines of a log that tell what went wrong."""

from pathlib import Path

from medbus.compose.kafka.logs import LINE_CHARACTERS, size, telling_lines, text_since


def test_an_error_is_told_although_an_orderly_shutdown_follows() -> None:
    shutdown = "\n".join(f"2026-11-25T03:09:05Z INFO Broker: closing {number}" for number in range(50))
    told = telling_lines(
        "2026-11-25T03:09:04Z INFO Broker: starting\n"
        "2026-11-25T03:09:05Z ERROR Broker: can't start\n"
        "java.lang.RuntimeException: no luck\n"
        "\tat kafka.Kafka.main(Kafka.scala:1)\n"
        "Caused by: java.io.IOException: No space left on device\n"
        "\t... 7 more\n" + shutdown
    )
    lines = told.splitlines()
    assert lines[:3] == [
        "2026-11-25T03:09:05Z ERROR Broker: can't start",
        "java.lang.RuntimeException: no luck",
        "Caused by: java.io.IOException: No space left on device",
    ]
    assert lines[-1] == "2026-11-25T03:09:05Z INFO Broker: closing 49"
    assert len(lines) <= 16


def test_without_errors_the_last_lines_are_told() -> None:
    assert telling_lines("\n".join(map(str, range(100)))).splitlines() == [str(n) for n in range(92, 100)]


def test_long_lines_are_cut() -> None:
    assert telling_lines("x" * 5000) == "x" * LINE_CHARACTERS + "…"


def test_nothing_is_told_of_nothing(tmp_path: Path) -> None:
    assert size(tmp_path / "none") == 0
    assert telling_lines(text_since(tmp_path / "none")) == ""


def test_earlier_runs_are_left_out(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("first run\n")
    start = size(log)
    with log.open("a") as stream:
        stream.write("second run\n")
    assert text_since(log, start) == "second run\n"


def test_a_rotated_log_is_read_from_its_start(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("new\n")
    assert text_since(log, since=1_000_000) == "new\n"
