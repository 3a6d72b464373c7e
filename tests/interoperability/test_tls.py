"""DICOM over TLS between others' programs and the service, each with a certificate of its own."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from tests.interoperability import entity
from tests.interoperability.files import renewed, slices, uids
from tests.interoperability.programs import run, storescu
from tests.interoperability.serving import SUBSCRIBER, Serving, serving
from tests.running_service import medbus

from medbus.gateways.dicom.tls import client_context

LITTLE = "1.2.840.10008.1.2.1"


@dataclass(frozen=True)
class Secured:
    """A service that demands certificates, and what a peer needs to have one."""

    service: Serving
    ca: Path
    key: Path
    certificate: Path
    foreign_key: Path
    foreign_certificate: Path


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("tls")
    authority, other = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    for name, issued in (
        ("server", authority.issue_cert("127.0.0.1")),
        ("peer", authority.issue_cert("modality.a.example")),
        ("foreign", other.issue_cert("modality.x.example")),
    ):
        issued.private_key_pem.write_to_path(str(folder / f"{name}.key"))
        issued.cert_chain_pems[0].write_to_path(str(folder / f"{name}.pem"))
    with serving(
        folder / "home",
        MEDBUS_TLS_CERTIFICATE=str(folder / "server.pem"),
        MEDBUS_TLS_KEY=str(folder / "server.key"),
        MEDBUS_TLS_CLIENT_CA=str(folder / "ca.pem"),
    ) as service:
        medbus(
            "credential", "issue", SUBSCRIBER, "--certificate", str(folder / "peer.pem"), home=folder / "home"
        )
        yield Secured(
            service,
            ca=folder / "ca.pem",
            key=folder / "peer.key",
            certificate=folder / "peer.pem",
            foreign_key=folder / "foreign.key",
            foreign_certificate=folder / "foreign.pem",
        )


@pytest.mark.parametrize("profile", ["+py", "+px", "+pz"])
def test_storescu_sends(secured: Secured, tmp_path: Path, profile: str) -> None:
    """In each of the TLS profiles of PS3.15 annex B that are not retired."""
    files = slices(tmp_path)
    own = ("+tls", secured.key, secured.certificate, "+cf", secured.ca, profile)
    storescu(secured.service.port, files, "-R", "-xe", *own)
    for file in files:
        secured.service.same(file, LITTLE)


def test_storescu_with_a_foreign_certificate_or_without_tls_is_shut_out(
    secured: Secured, tmp_path: Path
) -> None:
    file = renewed("CT_small.dcm")(tmp_path)
    foreign = ("+tls", secured.foreign_key, secured.foreign_certificate, "+cf", secured.ca)
    for options in (foreign, ()):
        with pytest.raises((AssertionError, subprocess.TimeoutExpired), match="storescu"):
            run("storescu", secured.service.port, *options, files=[file])


@pytest.mark.parametrize("length", [pytest.param(16384, id="16KiB"), pytest.param(0, id="unlimited")])
def test_pynetdicom_sends_and_gets(secured: Secured, tmp_path: Path, length: int) -> None:
    files = slices(tmp_path)
    study, instances = uids(*files)
    context = client_context(secured.ca, certificate=secured.certificate, key=secured.key)
    port = secured.service.port
    assert entity.store(port, files, length, tls=context) == [0, 0]
    stored = secured.service.stored(*instances)
    assert entity.get(port, study, LITTLE, length, tls=context)[1] == stored
