"""The file with the key of webhooks: made once, for its owner alone, and never changed in silence."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from medbus.compose import settings as compose
from medbus.compose.settings import Settings
from medbus.compose.webhook_key import read, read_or_make
from medbus.schemas.errors import SettingsError


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"MEDBUS_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)


def test_it_is_made_in_the_home_at_first_use_and_stays(tmp_path: Path) -> None:
    settings = compose.load(home=tmp_path / "home")

    key = read_or_make(settings)

    file = tmp_path / "home" / "webhook.key"
    assert key.hex() + "\n" == file.read_text()
    assert len(key) == 32
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert read_or_make(settings) == read(settings) == key
    assert [each.name for each in file.parent.iterdir()] == ["webhook.key"]


def test_of_many_who_make_it_at_once_all_get_the_same(tmp_path: Path) -> None:
    settings = compose.load(home=tmp_path)
    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(lambda _: read_or_make(settings), range(64)))
    assert keys == {read(settings)}


def test_it_is_not_made_where_it_is_only_read(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="can't be read") as caught:
        read(compose.load(home=tmp_path))
    assert "webhook_key" in caught.value.advice
    assert list(tmp_path.iterdir()) == []


def test_one_that_is_named_must_be_there(tmp_path: Path) -> None:
    file = tmp_path / "elsewhere.key"
    settings = compose.load(home=tmp_path / "home", webhook_key=file)
    with pytest.raises(SettingsError, match=r"elsewhere\.key"):
        read_or_make(settings)

    file.write_text("5a" * 32)
    assert read_or_make(settings) == b"\x5a" * 32
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("content", [b"", b"hush-hush", b"\xff\xfe", b"5a" * 31])
def test_what_is_no_key_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "webhook.key"
    file.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        read_or_make(compose.load(home=tmp_path))
    assert "hush-hush" not in str(caught.value)
    assert file.read_bytes() == content
