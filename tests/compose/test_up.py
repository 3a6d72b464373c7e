"""`medbus up` and the commands against it, as a user runs them: real processes, real broker, real images."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests import synthetic
from tests.running_service import RunningService, lines, medbus

pytestmark = [pytest.mark.timeout(300)]

A_CT = "A_CT#1=A_CT1/CT"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    running = RunningService(tmp_path_factory.mktemp("up") / "home", MEDBUS_WITHOUT="")
    try:
        running.start()
        yield running
        assert running.stop(signal.SIGINT) == 0
        assert "stopped" in running.output.splitlines()[-1]
    finally:
        running.close()


def test_status_shows_every_component_up(service: RunningService) -> None:
    (report,) = lines(medbus("status", "--json", home=service.home))

    components = report["components"]
    assert isinstance(components, list)
    assert [(each["name"], each["state"]) for each in components] == [
        (name, "up")
        for name in (
            *("kafka", "topics", "projector", "auth", "billing"),
            *("processing", "processing-server", "results", "collector"),
            *("gateway-dicom-1", "gateway-dicom-2", "gateway-http"),
        )
    ]
    assert all(each["memory_bytes"] > 0 for each in components if each["name"] != "topics")


def test_a_study_goes_in_and_out_and_every_step_is_told(service: RunningService, tmp_path: Path) -> None:
    sent = synthetic.series(tmp_path / "sent", 5, PatientID="P-5", Modality="MR", RepetitionTime="500.0")
    add = ("--role", "image-registering", "--role", "image_receiving", "--apparatus", "B_MR#1=B_MR1/MR")
    medbus("subscriber", "add", "B-hospital", *add, home=service.home)

    done = medbus("send", "--as", "B_MR1", str(tmp_path / "sent"), home=service.home)
    assert "5 of 5 images registered" in done.stdout

    service.wait(lambda: len(_images(service)) == 5, "5 images in the catalog", 20)
    rows = _images(service)
    assert {row["registrant"] for row in rows} == {"B-hospital"}
    assert {row["apparatus_id"] for row in rows} == {"B_MR#1"}
    assert {row["modality"] for row in rows} == {"MR"}
    assert {row["imaging_date"] for row in rows} == {"20240229"}

    (first, *_) = lines(medbus("catalog", "conditions", "--patient", "P-5", "--json", home=service.home))
    assert "RepetitionTime" in str(first["conditions"])
    assert "TR=500.0 ms" in medbus("catalog", "conditions", "--patient", "P-5", home=service.home).stdout

    out = tmp_path / "fetched"
    done = medbus("fetch", "--as", "B_MR1", "--patient", "P-5", "--out", str(out), home=service.home)
    assert "5 of 5 images fetched" in done.stdout
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in sent)

    told = lines(medbus("replay", "requests", "decisions", "deliveries", "--json", home=service.home))
    assert {"RegistrationRequested", "QueryRequested", "DeliveryRequested", "RequestAuthorized"} <= {
        event["type"] for event in told
    }
    assert sum(event["type"] == "ImageDelivered" for event in told) == 5


def test_a_stranger_and_a_cancelled_subscriber_are_turned_away(
    service: RunningService, tmp_path: Path
) -> None:
    synthetic.series(tmp_path, 1)
    add = ("--role", "image_registering", "--apparatus", "C_CT#1=C_CT1/CT")
    medbus("subscriber", "add", "C-clinic", *add, home=service.home)
    medbus("subscriber", "cancel", "C-clinic", "--reason", "moved away", home=service.home)

    stranger = medbus("send", "--as", "NOBODY", str(tmp_path), home=service.home, check=False)
    cancelled = medbus("send", "--as", "C_CT1", str(tmp_path), home=service.home, check=False)

    assert stranger.returncode == cancelled.returncode == 1
    assert "calling AE title not recognized" in stranger.stderr
    reasons = [
        event["event"]["reason"]  # type: ignore[index]
        for event in lines(medbus("replay", "decisions", "--json", home=service.home))
        if event["type"] == "RequestRejected"
    ]
    assert reasons[-2:] in (
        ["UNKNOWN_SUBSCRIBER", "CONTRACT_CANCELLED"],
        ["CONTRACT_CANCELLED", "UNKNOWN_SUBSCRIBER"],  # two partitions are replayed in no order
    )


def test_credentials_are_issued_once_and_revoked(service: RunningService) -> None:
    add = ("--role", "image_receiving", "--apparatus", "V_WS#1=V_WS1")
    medbus("subscriber", "add", "V-viewer", *add, home=service.home)

    issued = medbus("credential", "issue", "V-viewer", "--label", "viewer", home=service.home)
    token = issued.stdout.strip()
    (contract,) = lines(medbus("subscriber", "show", "V-viewer", "--json", home=service.home))
    credential_id = str(contract["credentials"]).split("'credential_id': '")[1].split("'")[0]
    medbus("credential", "revoke", "V-viewer", credential_id, home=service.home)

    assert len(token) == 43
    assert token not in medbus("replay", "subscribers", "--json", home=service.home).stdout
    assert "yes" in medbus("subscriber", "show", "V-viewer", home=service.home).stdout


@pytest.mark.parametrize(
    ("arguments", "said", "advice"),
    [
        (("subscriber", "show", "nobody"), "no subscriber 'nobody'", "medbus subscriber list"),
        (("subscriber", "add", "X", "--role", "boss"), "no role 'boss'", "image_registering"),
        (
            ("subscriber", "add", "X", "--role", "auditor", "--apparatus", "A_CT1"),
            "'A_CT1' does not describe an apparatus",
            "ID=AET",
        ),
        (("replay", "nonsense"), "no topic 'nonsense'", "requests"),
        (("replay", "images", "--from", "yesterday"), "neither an offset nor a time", "2026-01-31T12:00"),
        (("send", "--as", "A", "/no/such/path"), "no file or folder /no/such/path", "path"),
        (("fetch", "--as", "A", "--out", "x", "--to", "nowhere"), "no DICOM gateway", "AET@HOST:PORT"),
    ],
)
def test_a_wrong_argument_is_told_with_what_to_do(
    service: RunningService, arguments: tuple[str, ...], said: str, advice: str
) -> None:
    done = medbus(*arguments, home=service.home, check=False)

    assert done.returncode == 1
    assert said in " ".join(done.stderr.split())
    assert advice in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_topics_are_verified(service: RunningService) -> None:
    assert "medbus.images" in medbus("topics", "verify", home=service.home).stdout
    assert "Nothing was missing" in medbus("topics", "create", home=service.home).stdout


def test_tail_shows_events_until_it_is_interrupted(service: RunningService) -> None:
    tail = subprocess.Popen(
        [sys.executable, "-m", "medbus.compose.cli", "tail", "subscribers", "--from", "0", "--json"],
        env={**os.environ, "MEDBUS_HOME": str(service.home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert tail.stdout is not None
        medbus("subscriber", "add", "T-site", "--role", "auditor", home=service.home)
        assert any('"T-site"' in line for line in iter(tail.stdout.readline, ""))
        tail.send_signal(signal.SIGINT)
        _, errors = tail.communicate(timeout=10)
        assert tail.returncode == 130
        assert "Traceback" not in errors
    finally:
        tail.kill()
        tail.wait()


def test_a_second_service_on_the_same_home_is_refused(service: RunningService) -> None:
    done = medbus("up", home=service.home, check=False)

    assert done.returncode == 1
    assert "runs on" in done.stderr
    assert "--home" in done.stderr


def test_without_a_service_commands_say_how_to_start_one(tmp_path: Path) -> None:
    done = medbus("status", home=tmp_path, check=False)

    assert done.returncode == 1
    assert "medbus up" in done.stderr


def test_a_restart_finds_everything_and_a_killed_one_leaves_nothing(tmp_path: Path) -> None:
    running = RunningService(tmp_path / "home")
    try:
        running.start()
        medbus("subscriber", "add", "R-site", "--role", "auditor", home=running.home)
        family = running.family()
        psutil.Process(running.pid).kill()
        _, alive = psutil.wait_procs(family, timeout=20)
        assert not alive, [each.cmdline() for each in alive]

        running.start()
        (contract,) = lines(medbus("subscriber", "list", "--json", home=running.home))
        assert contract["subscriber"] == "R-site"
        assert running.stop() == 0
    finally:
        running.close()


def test_it_runs_on_a_cluster_that_is_there_already(kafka: str, prefix: str, tmp_path: Path) -> None:
    running = RunningService(tmp_path / "home", MEDBUS_KAFKA=kafka, MEDBUS_PREFIX=prefix)
    try:
        running.start()
        assert running.status().bootstrap == kafka
        assert "kafka " not in running.output
        medbus("subscriber", "add", "K-site", "--role", "auditor", home=running.home)
        assert f"{prefix}.subscribers" in medbus("topics", "verify", home=running.home).stdout
        assert running.stop() == 0
    finally:
        running.close()


def _images(service: RunningService) -> list[dict[str, object]]:
    return lines(medbus("catalog", "images", "--patient", "P-5", "--json", home=service.home))
