"""Which terms a contract may have."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medbus.schemas.events import Apparatus, Role, Terms
from medbus.streams.contracts.terms import InvalidTerms, ae_title, checked

TERMS = Terms(name="A", roles=(Role.VENDOR,))


def apparatus(
    apparatus_id: str = "A_CT#1", title: str = "A_CT1", host: str | None = None, port: int | None = None
) -> Apparatus:
    return Apparatus(apparatus_id=apparatus_id, ae_title=title, host=host, port=port)


def terms(*apparatuses: Apparatus, networks: tuple[str, ...] = (), capacity: int | None = None) -> Terms:
    return msgspec.structs.replace(TERMS, apparatuses=apparatuses, networks=networks, capacity_bytes=capacity)


@pytest.mark.parametrize("title", ["A", "A_CT#1", "x" * 16, "a b", "~!@$%^&*()", " A ", "A" + " " * 15])
def test_an_ae_title_is_up_to_16_characters_of_the_default_repertoire(title: str) -> None:
    assert ae_title(title) == title.strip()


@pytest.mark.parametrize(
    "title",
    ["", " ", " " * 16, "x" * 17, "a\\b", "a\nb", "a\x1bb", "a\x7f", "Ä", "\uff21\uff25", " " * 17 + "A"],
)
def test_other_texts_are_no_ae_titles(title: str) -> None:
    with pytest.raises(InvalidTerms, match="is no AE title"):
        ae_title(title)


@given(st.text(max_size=20))
def test_an_ae_title_without_its_blanks_stays_one(title: str) -> None:
    try:
        short = ae_title(title)
    except InvalidTerms:
        return
    assert ae_title(short) == short
    assert 1 <= len(short) <= 16
    assert short.isascii()


@pytest.mark.parametrize(
    ("network", "canonical"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("192.0.2.7", "192.0.2.7/32"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("::1", "::1/128"),
        (" 0.0.0.0/0 ", "0.0.0.0/0"),
    ],
)
def test_networks_are_written_out(network: str, canonical: str) -> None:
    assert checked(terms(networks=(network,))).networks == (canonical,)


def test_a_network_with_host_bits_is_a_slip_that_is_told() -> None:
    with pytest.raises(InvalidTerms) as caught:
        checked(terms(networks=("10.1.2.3/8",)))
    assert caught.value.advice == "Did you mean 10.0.0.0/8?"


@pytest.mark.parametrize("network", ["", "10.0.0.0/33", "hospital.example", "10.0.0", "*"])
def test_other_texts_are_no_networks(network: str) -> None:
    with pytest.raises(InvalidTerms, match="is no network"):
        checked(terms(networks=(network,)))


def test_host_and_port_come_together() -> None:
    assert checked(terms(apparatus(host="10.0.0.1", port=104))).apparatuses[0].port == 104
    for half in (apparatus(host="10.0.0.1"), apparatus(port=104)):
        with pytest.raises(InvalidTerms, match="a host without a port, or a port without a host"):
            checked(terms(half))


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_ports_are_16_bits(port: int) -> None:
    with pytest.raises(InvalidTerms, match="is no port"):
        checked(terms(apparatus(host="h", port=port)))


@pytest.mark.parametrize("host", ["", " ", "a b", "a\nb"])
def test_hosts_are_names_or_addresses(host: str) -> None:
    with pytest.raises(InvalidTerms, match="is no host"):
        checked(terms(apparatus(host=host, port=104)))


def test_an_apparatus_is_there_once() -> None:
    with pytest.raises(InvalidTerms, match="The AE title 'T' is there twice"):
        checked(terms(apparatus("X", "T"), apparatus("Y", " T")))
    with pytest.raises(InvalidTerms, match="The apparatus 'X' is there twice"):
        checked(terms(apparatus("X", "T"), apparatus("X", "U")))
    with pytest.raises(InvalidTerms, match="can't be the id of an apparatus"):
        checked(terms(apparatus("", "T")))


def test_a_capacity_is_a_number_of_bytes() -> None:
    for capacity in (None, 0, 1, 2**63 - 1):
        assert checked(terms(capacity=capacity)).capacity_bytes == capacity
    for capacity in (-1, 2**63):
        with pytest.raises(InvalidTerms, match=f"A capacity of {capacity} bytes is not possible"):
            checked(terms(capacity=capacity))


def test_a_contract_has_a_role() -> None:
    for roles in ((), (Role.UNSPECIFIED,), (Role.VENDOR, Role.UNSPECIFIED)):
        with pytest.raises(InvalidTerms, match="needs at least one role"):
            checked(msgspec.structs.replace(TERMS, roles=roles))
