"""Derived objects against the Standard, as dciodvfy of dicom3tools reads it."""

import re
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from tests.dicom_files import shared_folder, wheel_file
from tests.streams.processing.dicom.images import processed, stacked

from medbus.streams.processing.pixels.catalogue import OPERATIONS

VALIDATOR = Path(sysconfig.get_path("scripts")) / "dciodvfy"

ASKED = {
    "mean": {"pixels": "3"},
    "derivative": {"axis": "x"},
    "band-pass": {"low": "2", "high": "4"},
    "mpr": {"axis": "y"},
}
"""What has to be said, where 1 for each parameter that is required will not do."""


def errors(dataset: Dataset, folder: Path) -> set[str]:
    """What is wrong with an object, without the places of items in sequences."""
    path = folder / "object.dcm"
    dataset.save_as(path, enforce_file_format=True)
    done = subprocess.run([VALIDATOR, path], capture_output=True, text=True, timeout=60, check=False)
    told = (done.stdout + done.stderr).splitlines()
    assert told, "the validator said nothing"
    return {re.sub(r"\[\d+\]", "", line) for line in told if line.startswith("Error")}


def slices() -> list[Dataset]:
    pixels = np.random.default_rng(7).integers(0, 2000, (4, 32, 32)).astype(np.int16)
    return stacked(pixels, WindowCenter="40", WindowWidth="400", RescaleType="HU")


def required(name: str) -> dict[str, str]:
    return ASKED.get(name) or {each.name: "1" for each in OPERATIONS[name].parameters if each.required}


def test_the_validator_finds_what_is_wrong(tmp_path: Path) -> None:
    (image, *_) = slices()
    del image.PixelSpacing
    assert any("PixelSpacing" in each for each in errors(image, tmp_path))


@pytest.mark.parametrize("name", [each.name for each in OPERATIONS.values() if each.inputs == 1])
def test_what_comes_of_a_ct_series_has_no_error_that_its_source_has_not(name: str, tmp_path: Path) -> None:
    source = slices()
    _, made = processed(OPERATIONS[name], source, required(name))
    assert made
    known = errors(source[0], tmp_path)
    for each in made:
        assert errors(each, tmp_path) - known == set()


@pytest.mark.parametrize("name", ["MR_small.dcm", "CT_small.dcm", "emri_small.dcm"])
def test_what_comes_of_real_images_has_no_error_that_they_have_not(name: str, tmp_path: Path) -> None:
    source = _read(name)
    _, made = processed(OPERATIONS["gaussian"], [source], {"sigma": "1"})
    known = errors(source, tmp_path)
    for each in made:
        assert errors(each, tmp_path) - known == set()


def _read(name: str) -> Dataset:
    folder = shared_folder()
    found = [] if folder is None else sorted(folder.rglob(name))
    try:
        return dcmread(found[0] if found else wheel_file(name))
    except StopIteration:
        pytest.skip(f"there is no {name}")
