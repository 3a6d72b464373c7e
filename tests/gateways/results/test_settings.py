"""Settings of what gives out results."""

from dataclasses import replace
from pathlib import Path

import pytest

from medbus.gateways.results.settings import Settings
from medbus.schemas.errors import SettingsError


def test_settings_that_make_no_sense_are_said(tmp_path: Path) -> None:
    good = Settings(bootstrap="a:1", database="x", blobs="y")
    assert good.key() is None
    with pytest.raises(SettingsError, match="make no sense"):
        replace(good, first_delay=2.0, longest_delay=1.0)
    with pytest.raises(SettingsError, match="can't be read"):
        replace(good, webhook_key=tmp_path / "nothing").key()
    (tmp_path / "key").write_text("short")
    with pytest.raises(SettingsError, match="64 characters"):
        replace(good, webhook_key=tmp_path / "key").key()
