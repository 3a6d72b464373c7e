"""Settings: where they come from, which wins, and what a wrong one says."""

from pathlib import Path

import pytest

from medbus.compose import settings
from medbus.schemas.errors import SettingsError


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in settings.Settings.model_fields:
        monkeypatch.delenv(f"MEDBUS_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)


def test_everything_is_in_the_home_by_default(tmp_path: Path) -> None:
    loaded = settings.load(home=tmp_path)

    assert loaded.kafka is None
    assert loaded.database_url == f"sqlite+aiosqlite:///{tmp_path}/catalogs/catalog.sqlite"
    assert loaded.blobs_url == f"file://{tmp_path}/blobs"
    assert loaded.dicom_host == "127.0.0.1"


def test_an_option_wins_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "medbus.toml").write_text('dicom_port = 1\nhttp_port = 1\nae_title = "FILE"\n')
    monkeypatch.setenv("MEDBUS_DICOM_PORT", "2")
    monkeypatch.setenv("MEDBUS_HTTP_PORT", "2")

    loaded = settings.load(home=tmp_path, dicom_port=3)

    assert (loaded.dicom_port, loaded.http_port, loaded.ae_title) == (3, 2, "FILE")


def test_a_child_process_reads_the_same_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = settings.load(
        home=tmp_path, kafka="kafka:9092", tls_certificate=tmp_path / "c.pem", auth_workers=3
    )

    for name, value in given.environment().items():
        monkeypatch.setenv(name, value)

    assert settings.load() == given


@pytest.mark.parametrize(
    ("option", "value"),
    [("dicom_port", 70000), ("ae_title", "A" * 17), ("prefix", "with.dot"), ("log_level", "LOUD")],
)
def test_a_wrong_value_is_named_with_what_to_do(tmp_path: Path, option: str, value: object) -> None:
    with pytest.raises(SettingsError) as caught:
        settings.load(home=tmp_path, **{option: value})

    assert option in caught.value.message
    assert str(value) in caught.value.message
    assert f"MEDBUS_{option.upper()}" in caught.value.advice


def test_a_misspelt_name_in_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "medbus.toml").write_text("dicom_prot = 104\n")

    with pytest.raises(SettingsError, match="dicom_prot"):
        settings.load(home=tmp_path)


def test_a_broken_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "medbus.toml").write_text("dicom_port = = 104\n")

    with pytest.raises(SettingsError, match=r"medbus\.toml can't be read"):
        settings.load(home=tmp_path)
