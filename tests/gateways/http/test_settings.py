"""Settings of the HTTP gateway."""

from pathlib import Path

import pytest
from tests.gateways.http.web import OLDER_SECRET, SECRET

from medbus.gateways.http.__main__ import settings
from medbus.gateways.http.gateway import Settings
from medbus.schemas.errors import SettingsError


def test_a_short_secret_is_refused_and_no_secret_is_told() -> None:
    short = "x7" * 7
    with pytest.raises(SettingsError, match="less than 16 characters") as caught:
        Settings(bootstrap="", database="", blobs="", payment_secrets=(SECRET, short))
    assert short not in str(caught.value)
    assert SECRET not in repr(Settings(bootstrap="", database="", blobs="", payment_secrets=(SECRET,)))


def test_secrets_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secrets"
    file.write_text(f"{SECRET}\n\n{OLDER_SECRET}\n")
    given = ["--bootstrap", "h:1", "--database", "d", "--blobs", "b", "--payment-secrets", str(file)]
    assert settings(given).payment_secrets == (SECRET, OLDER_SECRET)
    assert settings(given[:6]).payment_secrets == ()
    with pytest.raises(SettingsError, match="can't be read"):
        settings([*given[:7], str(tmp_path / "nothing")])
