"""Images processed by a whole service: real broker, real processes, results as every peer gets them."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from scipy import ndimage
from tests import synthetic
from tests.compose.commands import Told, command
from tests.dicom_files import part10
from tests.gateways import dcmtk
from tests.gateways.recipient import recipient
from tests.running_service import RunningService
from tests.streams.processing.dicom.images import stacked

pytestmark = [pytest.mark.timeout(300)]

SLICES, SIDE = 12, 24
PRICES = (
    "--price",
    "processing_image=0.10",
    "--price",
    "processing_fixed=1",
    "--price",
    "processing_session=0.5",
)


@pytest.fixture(scope="module")
def port() -> int:
    """Where D-hospital's workstation listens."""
    return dcmtk.free_port()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[RunningService]:
    running = RunningService(
        tmp_path_factory.mktemp("processing") / "home",
        MEDBUS_BILLING_PERIOD="off",
        MEDBUS_DICOM_WORKERS="1",
        MEDBUS_PROCESSING_NAME="here",
        MEDBUS_WITHOUT="collector",
    )
    try:
        running.start()
        run(running, "tariff", "set", "std", "--currency", "EUR", *PRICES)
        for name, apparatus, roles in (
            ("A-hospital", "A_CT#1=A_CT1/CT", ("image_registering", "image_receiving")),
            ("D-hospital", f"D_WS#1=D_WS1@127.0.0.1:{port}", ("image_receiving",)),
        ):
            asked = [word for role in roles for word in ("--role", role)]
            network = ("--network", "127.0.0.0/8", "--tariff", "std")
            run(running, "subscriber", "add", name, *asked, "--apparatus", apparatus, *network)
            token = run(running, "credential", "issue", name, "--label", "test")
            (running.home / f"{name}.token").write_text(token)
        yield running
    finally:
        running.close()


@pytest.fixture(scope="module")
def series(service: RunningService, tmp_path_factory: pytest.TempPathFactory) -> list[Dataset]:
    """A CT series of A-hospital's, registered."""
    folder = tmp_path_factory.mktemp("series")
    pixels = np.random.default_rng(5).integers(0, 2000, (SLICES, SIDE, SIDE)).astype(np.int16)
    images = stacked(pixels, spacing=(0.5, 0.5), PatientID="P-1")
    register(service, folder, images)
    return images


def run(service: RunningService, *arguments: str) -> str:
    done = command(service.home, *arguments)
    assert done.code == 0, done.out + done.err
    return done.out


def register(service: RunningService, folder: Path, images: list[Dataset]) -> None:
    for image in images:
        synthetic.write(image, folder)
    assert f"{len(images)} of {len(images)}" in run(service, "send", "--as", "A_CT1", str(folder))
    study = str(images[0].StudyInstanceUID)
    service.wait(lambda: len(catalog(service, study)) >= len(images), "the images to be seen", 20)


def catalog(service: RunningService, study: str) -> list[dict[str, Any]]:
    found = run(service, "catalog", "images", "--study", study, "--json")
    return [json.loads(line) for line in found.splitlines()]


def events(service: RunningService, topic: str, kind: str, **fields: object) -> list[dict[str, Any]]:
    """Events of a kind, with these fields."""
    told = [json.loads(line) for line in run(service, "replay", topic, "--json").splitlines()]
    found = [each["event"] for each in told if each["type"] == kind]
    return [each for each in found if all(each[name] == value for name, value in fields.items())]


def process(service: RunningService, *arguments: str, by: str = "A-hospital") -> Told:
    return command(service.home, "process", *arguments, "--token-file", str(service.home / f"{by}.token"))


def processed(service: RunningService, *arguments: str, by: str = "A-hospital") -> dict[str, Any]:
    """The job that came of a request, when it is over."""
    done = process(service, *arguments, "--wait", "--json", by=by)
    assert done.code == 0, done.out + done.err
    return dict(json.loads(done.out.splitlines()[-1]))


def files(folder: Path) -> list[Dataset]:
    return sorted((dcmread(path) for path in folder.iterdir()), key=lambda each: int(each.InstanceNumber))


def values(image: Dataset) -> np.ndarray[Any, np.dtype[np.float64]]:
    return image.pixel_array * float(image.RescaleSlope) + float(image.RescaleIntercept)


def test_a_series_is_smoothed_and_fetched_as_derived_objects(
    service: RunningService, series: list[Dataset], tmp_path: Path
) -> None:
    uid = str(series[0].SeriesInstanceUID)
    done = process(service, "gaussian", "sigma=1", "--series", uid, "--out", str(tmp_path / "out"))
    assert done.code == 0, done.out + done.err

    made = files(tmp_path / "out")
    assert [int(each.InstanceNumber) for each in made] == list(range(1, SLICES + 1))
    assert len({each.SeriesInstanceUID for each in made}) == 1
    for source, result in zip(series, made, strict=True):
        assert result.ImageType[0] == "DERIVED"
        assert result.StudyInstanceUID == source.StudyInstanceUID
        assert result.SeriesInstanceUID != source.SeriesInstanceUID
        assert result.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert "Gaussian smoothing: sigma 1" in result.DerivationDescription
        # 1 mm are 2 pixels.
        smooth = ndimage.gaussian_filter(values(source), 2, mode="reflect", truncate=4)
        assert np.abs(values(result) - smooth).max() < 0.5
        assert result.file_meta.SendingApplicationEntityTitle == "A_CT1"


def test_what_was_processed_before_is_given_out_again(
    service: RunningService, series: list[Dataset], tmp_path: Path
) -> None:
    arguments = ("laplacian", "--series", str(series[0].SeriesInstanceUID))
    first = processed(service, *arguments)
    again = processed(service, *arguments)

    def results(job: dict[str, Any]) -> set[str]:
        out = tmp_path / str(job["id"])
        token = ("--token-file", str(service.home / "A-hospital.token"))
        run(service, "result", "fetch", str(job["id"]), "--out", str(out), *token)
        return {str(each.SOPInstanceUID) for each in files(out)}

    assert results(first) == results(again)
    done, repeated = (
        events(service, "processing", "ItemProcessed", grant_id=job["id"]) for job in (first, again)
    )
    assert {each["server"] for each in done} == {"here-1"}
    assert sum(each["images"] for each in done) == SLICES
    assert {each["server"] for each in repeated} == {None}
    assert sum(each["images"] for each in repeated) == 0


async def test_results_are_sent_to_another_hospital_and_kept(
    service: RunningService, series: list[Dataset], port: int
) -> None:
    contexts = {str(CTImageStorage): [str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian)]}
    study = str(series[0].StudyInstanceUID)
    before = len(await asyncio.to_thread(catalog, service, study))
    async with recipient("D_WS1", contexts, port) as taken:
        uid = str(series[0].SeriesInstanceUID)
        to = ("--to", "D-hospital", "--answer", "c-store", "--keep", "after")
        job = await asyncio.to_thread(processed, service, "mip", "--series", uid, *to)
        await service.until(lambda: len(taken.received) == 1, "the projection to arrive", 30)
    assert (job["state"], job["results"]) == ("COMPLETED", 1)
    await service.until(
        lambda: len(catalog(service, study)) == before + 1, "the projection to be registered", 20
    )
    (uid,) = taken.received
    rows = await asyncio.to_thread(catalog, service, study)
    row = next(each for each in rows if each["sop_instance_uid"] == uid)
    assert row["registrant"] == "A-hospital"
    (delivered,) = await asyncio.to_thread(
        events, service, "deliveries", "ImageDelivered", sop_instance_uid=uid
    )
    assert (delivered["channel"], delivered["destination"], delivered["subscriber"]) == (
        "C_STORE",
        "D_WS1",
        "A-hospital",
    )


async def test_results_go_through_storescu_into_the_service_and_come_back_as_they_are(
    service: RunningService, tmp_path: Path
) -> None:
    for folder in ("in", "back"):
        (tmp_path / folder).mkdir()
    pixels = np.random.default_rng(6).integers(0, 2000, (3, SIDE, SIDE)).astype(np.int16)
    sources = [synthetic.write(each, tmp_path / "in") for each in stacked(pixels, PatientID="P-6")]
    out = tmp_path / "out"
    arguments = ("sobel", "--file", *map(str, sources), "--out", str(out))
    done = await asyncio.to_thread(process, service, *arguments)
    assert done.code == 0, done.out + done.err
    made = sorted(out.iterdir())

    peer = service.peer("A_CT1")
    sent = await dcmtk.run("storescu", "-aet", "A_CT1", "-aec", peer.ae_title, peer.host, peer.port, *made)
    assert sent.code == 0, sent.output

    study = str(dcmread(made[0]).StudyInstanceUID)
    await service.until(lambda: len(catalog(service, study)) == len(made), "the results to be seen", 20)
    fetch = ("fetch", "--as", "A_CT1", "--study", study, "--out", str(tmp_path / "back"))
    await asyncio.to_thread(run, service, *fetch)
    assert {part10(each).data_set for each in (tmp_path / "back").iterdir()} == {
        part10(each).data_set for each in made
    }


def test_an_image_is_enclosed_and_not_registered(service: RunningService, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    image = synthetic.ct(Rows=SIDE, Columns=SIDE, PixelData=bytes(2 * SIDE * SIDE))
    path = synthetic.write(image, tmp_path / "in")
    done = process(service, "median", "width=3", "--file", str(path), "--out", str(tmp_path / "out"))
    assert done.code == 0, done.out + done.err
    (made,) = files(tmp_path / "out")
    assert made.SourceImageSequence[0].ReferencedSOPInstanceUID == image.SOPInstanceUID
    assert catalog(service, str(image.StudyInstanceUID)) == []


def test_one_image_that_cannot_be_processed_fails_by_itself(service: RunningService, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "bad").mkdir()
    pixels = np.zeros((3, SIDE, SIDE), np.int16)
    images = stacked(pixels, spacing=(0.5, 0.5), PatientID="P-3")
    images[1].PixelData = images[1].PixelData[:100]
    register(service, tmp_path / "in", images)
    done = process(
        service, "sobel", "--series", str(images[0].SeriesInstanceUID), "--out", str(tmp_path / "out")
    )
    assert done.code == 1
    assert "2 of 3" in done.out.replace("\n", " ")
    assert len(files(tmp_path / "out")) == 2
    (letter,) = events(service, "dead-letters", "DeadLettered")
    assert letter["topic"] == "work"


def test_everything_is_charged_once(service: RunningService, series: list[Dataset]) -> None:
    job = processed(service, "unsharp", "radius=1", "--series", str(series[0].SeriesInstanceUID))
    chain = ""

    def fees() -> list[str]:
        nonlocal chain
        chain = run(service, "request", "show", str(job["id"]))
        return [line.strip() for line in chain.splitlines() if "FeeCharged PROCESSING" in line]

    service.wait(lambda: len(fees()) == 3, "the fees", 20)
    assert sorted(line.split("  ")[0] for line in fees()) == [
        "FeeCharged PROCESSING_FIXED 1.00 EUR for 1 request of unsharp, std version 1",
        "FeeCharged PROCESSING_IMAGE 1.20 EUR for 12 images of unsharp, std version 1",
        "FeeCharged PROCESSING_SESSION 0.50 EUR for 1 session of unsharp, std version 1",
    ]
    assert (
        "no difference" in run(service, "audit", "rebill").lower()
        or command(service.home, "audit", "rebill").code == 0
    )


def test_a_server_that_is_named_does_it_and_one_that_is_not_there_is_said(
    service: RunningService, series: list[Dataset]
) -> None:
    uid = str(series[0].SeriesInstanceUID)
    named = processed(service, "mean", "pixels=3", "--series", uid, "--server", "here-1")
    assert named["state"] == "COMPLETED"
    wrong = process(service, "mean", "pixels=5", "--series", uid, "--server", "500-1", "--wait")
    assert wrong.code == 1
    assert "There is no processing server 500-1" in " ".join((wrong.out + wrong.err).split())


def test_what_is_asked_wrongly_is_refused_before_anything_is_sent(
    service: RunningService, series: list[Dataset]
) -> None:
    uid = str(series[0].SeriesInstanceUID)
    for arguments, said in (
        (("blur", "--series", uid), "blur"),
        (("gaussian", "--series", uid), "gaussian needs sigma"),
        (("gaussian", "sigma=wide", "--series", uid), "sigma"),
        (("gaussian", "sigma=1"), "--series"),
        (("subtract", "--series", uid), "mask"),
    ):
        done = process(service, *arguments)
        assert done.code != 0, arguments
        assert said in " ".join((done.out + done.err).split()), (arguments, done.err)


def test_whoever_may_not_register_may_not_keep_and_strangers_see_nothing(
    service: RunningService, series: list[Dataset]
) -> None:
    uid = str(series[0].SeriesInstanceUID)
    kept = process(service, "mip", "--series", uid, "--keep", "after", "--wait", by="D-hospital")
    assert kept.code == 1
    assert "IMAGE_REGISTERING" in kept.out + kept.err
    job = processed(service, "minip", "--series", uid)
    token = ("--token-file", str(service.home / "D-hospital.token"))
    seen = command(service.home, "result", "show", str(job["id"]), *token)
    assert seen.code == 1
    assert "404" in seen.err


def test_two_servers_share_the_work(service: RunningService, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    pixels = np.random.default_rng(9).integers(0, 2000, (60, SIDE, SIDE)).astype(np.int16)
    images = stacked(pixels, spacing=(0.5, 0.5), PatientID="P-9")
    register(service, tmp_path / "in", images)
    other = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "medbus.compose.cli",
            "worker",
            "processing",
            "--name",
            "500-1",
            "--cores",
            "1",
        ],
        env={"PATH": "/usr/bin:/bin", "MEDBUS_HOME": str(service.home), "HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert other.stdout is not None
        while "takes work" not in (line := other.stdout.readline()):
            assert line, "the worker ended"
        uid = str(images[0].SeriesInstanceUID)
        processed(
            service, "mean", "pixels=3", "--series", uid
        )  # meanwhile the two have shared the partitions
        job = processed(service, "median", "width=3", "--series", uid)
    finally:
        other.terminate()
        other.wait(20)
    done = events(service, "processing", "ItemProcessed", grant_id=job["id"])
    servers = [each["server"] for each in done]
    assert len(servers) == 60
    assert 18 <= servers.count("500-1") <= 42
    assert other.returncode == 0
