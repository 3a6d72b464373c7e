"""Which terms a contract may have."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medbus.schemas.events import Apparatus, Collection, Retrieval, Role, Terms
from medbus.streams.contracts.terms import MAX_SECONDS, MIN_SECONDS, InvalidTerms, ae_title, checked

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


@pytest.mark.parametrize(
    "url",
    [
        "https://results.example/medbus",
        "https://results.example:8443/a?b=c",
        "https://[2001:db8::1]/",
        "http://127.0.0.1:9000/in",
        "http://127.3.2.1/",
        "http://[::1]:9000/",
        "http://localhost:9000",
    ],
)
def test_a_webhook_is_an_https_url_or_on_this_machine(url: str) -> None:
    assert checked(msgspec.structs.replace(TERMS, webhook=url)).webhook == url


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://results.example/medbus", "is not safe"),
        ("http://10.0.0.1/", "is not safe"),
        ("http://localhost.example/", "is not safe"),
        ("http://127.0.0.1.example/", "is not safe"),
        ("http://2130706433/", "is not safe"),
        ("https://user:secret@results.example/", "a user or a password"),
        ("https://token@results.example/", "a user or a password"),
        ("https://results.example/#a", "has a fragment"),
        ("", "is no URL"),
        ("results.example", "is no URL"),
        ("https://", "is no URL"),
        ("https:///path", "is no URL"),
        ("https://results.example:0/", "is no URL"),
        ("https://results.example:99999/", "is no URL"),
        ("https://results.example:x/", "is no URL"),
        ("https://[2001:db8::1/", "is no URL"),
        ("https://results.example/a b", "is no URL"),
        ("https://results.example/\r\nHost: x", "is no URL"),
        ("https://results.example/ä", "is no URL"),
        ("ftp://results.example/", "is no URL"),
        ("file:///etc/passwd", "is no URL"),
        ("javascript:alert(1)", "is no URL"),
        ("https://results.example/" + "x" * 2048, "is no URL"),
    ],
)
def test_other_texts_are_no_webhooks(url: str, problem: str) -> None:
    with pytest.raises(InvalidTerms, match=problem) as caught:
        checked(msgspec.structs.replace(TERMS, webhook=url))
    assert caught.value.advice
    assert "secret" not in str(caught.value)


CT = apparatus()
PACS = apparatus("A_PACS#1", "A_PACS", "10.0.0.1", 104)


def collecting(*collections: Collection, roles: tuple[Role, ...] = (Role.IMAGE_REGISTERING,)) -> Terms:
    return Terms(name="A", roles=roles, apparatuses=(CT, PACS), collections=collections)


def collection(
    retrieval: Retrieval = Retrieval.C_GET,
    apparatus_id: str = "A_PACS#1",
    address: str = "",
    every: int = 300,
) -> Collection:
    return Collection(retrieval=retrieval, apparatus_id=apparatus_id, address=address, every_seconds=every)


def test_images_are_collected_in_four_ways() -> None:
    ways = (
        collection(Retrieval.C_GET),
        collection(Retrieval.C_MOVE),
        collection(Retrieval.DICOMWEB, "A_CT#1", "https://pacs.example/dicom-web"),
        collection(Retrieval.DICOMWEB, "A_CT#1", "http://10.0.0.1:8042/dicom-web"),
        collection(Retrieval.FOLDER, "A_CT#1", "/var/spool/ct1"),
    )
    assert checked(collecting(*ways)).collections == ways
    assert checked(collecting(collection(Retrieval.FOLDER, address="//var//spool/./ct1/"))).collections == (
        collection(Retrieval.FOLDER, address="/var/spool/ct1"),
    )


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (collection(Retrieval.UNSPECIFIED), "is not known here"),
        (collection(apparatus_id="X"), "'X' is no apparatus of the contract"),
        (collection(Retrieval.C_GET, "A_CT#1"), "A_CT#1 has no host and port"),
        (collection(Retrieval.C_MOVE, "A_CT#1"), "A_CT#1 has no host and port"),
        (collection(Retrieval.C_GET, address="10.0.0.1:104"), "C_GET needs no address"),
        (collection(Retrieval.DICOMWEB), "is no URL"),
        (collection(Retrieval.DICOMWEB, address="/var/spool"), "is no URL"),
        (collection(Retrieval.DICOMWEB, address="https://a:b@pacs.example/"), "a user or a password"),
        (collection(Retrieval.FOLDER), "is no folder"),
        (collection(Retrieval.FOLDER, address="spool/ct1"), "is no folder"),
        (collection(Retrieval.FOLDER, address="~/ct1"), "is no folder"),
        (collection(Retrieval.FOLDER, address="/"), "is no folder"),
        (collection(Retrieval.FOLDER, address="/var/../etc"), "is no folder"),
        (collection(Retrieval.FOLDER, address="/var/\x00"), "is no folder"),
        (collection(every=MIN_SECONDS - 1), "every 4 s"),
        (collection(every=MAX_SECONDS + 1), "every 2678401 s"),
    ],
)
def test_images_are_not_collected_in_others(wrong: Collection, problem: str) -> None:
    with pytest.raises(InvalidTerms, match=problem) as caught:
        checked(collecting(wrong))
    assert caught.value.advice


def test_images_are_collected_every_5_seconds_to_every_31_days() -> None:
    for every in (5, 86400 * 31):
        assert checked(collecting(collection(every=every))).collections[0].every_seconds == every


def test_who_collects_must_be_allowed_to_register() -> None:
    with pytest.raises(InvalidTerms, match="without the role IMAGE_REGISTERING"):
        checked(collecting(collection(), roles=(Role.IMAGE_RECEIVING,)))


def test_images_are_collected_from_a_place_once() -> None:
    with pytest.raises(InvalidTerms, match="The collection 'A_PACS#1=c_get' is there twice"):
        checked(collecting(collection(), collection(every=5)))
    outer = collection(Retrieval.FOLDER, "A_CT#1", "/var/spool")
    for inner in ("/var/spool", "/var/spool/ct1/"):
        with pytest.raises(InvalidTerms, match="are not apart"):
            checked(collecting(outer, collection(Retrieval.FOLDER, "A_PACS#1", inner)))
    checked(collecting(outer, collection(Retrieval.FOLDER, "A_PACS#1", "/var/spool2")))


@given(st.sampled_from(["https://", "http://", "/", ""]), st.text())
def test_an_address_is_accepted_as_it_is_recorded_or_refused(begin: str, rest: str) -> None:
    address = begin + rest
    for given_ in (
        msgspec.structs.replace(TERMS, webhook=address),
        collecting(collection(Retrieval.DICOMWEB, address=address)),
        collecting(collection(Retrieval.FOLDER, address=address)),
    ):
        try:
            recorded = checked(given_)
        except InvalidTerms:
            continue
        assert checked(recorded) == recorded
