"""Secrets of webhooks: one for each subscriber, from one key."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medbus.schemas.errors import SettingsError
from medbus.schemas.webhook import key_of, new_key, secret

KEY = bytes(range(32))


def test_a_secret_is_what_a_receiver_can_compute_elsewhere() -> None:
    assert secret(KEY, "A-hospital") == hmac.new(KEY, b"webhook:A-hospital", hashlib.sha256).hexdigest()
    assert secret(KEY, "A-hospital") == "6a7b67ebff92adb4e4e28beabfd236dcf97a0d82429c4fd5f817285376b26bce"


@given(st.text(min_size=1), st.text(min_size=1))
def test_each_subscriber_has_its_own(one: str, other: str) -> None:
    assert (secret(KEY, one) == secret(KEY, other)) == (one == other)
    assert secret(KEY, one) != secret(bytes(32), one)


def test_a_key_is_new_and_is_read_back() -> None:
    made = {new_key() for _ in range(10)}
    assert len(made) == 10
    for each in made:
        assert key_of(f"{each}\n").hex() == each


@pytest.mark.parametrize("text", ["", "00" * 31, "00" * 33, "AB" * 32, "hush-hush", "0" * 63 + "g"])
def test_other_texts_are_no_keys_and_are_not_told(text: str) -> None:
    with pytest.raises(SettingsError, match="this is none") as caught:
        key_of(text)
    assert caught.value.advice
    assert not text or text not in str(caught.value)
