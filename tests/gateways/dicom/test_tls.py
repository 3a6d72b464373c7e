"""DICOM over TLS: who may speak, and that a certificate is evidence."""

import asyncio
import hashlib
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
import trustme
from tests.gateways import dcmtk
from tests.gateways.dicom.encoded import CT_IMAGE_STORAGE, EXPLICIT, ct
from tests.gateways.images import outgoing
from tests.gateways.site import ALWAYS_ONE, IMPLEMENTATIONS, Site, site

from medbus.gateways.dicom import part10
from medbus.gateways.dicom.client import verify
from medbus.gateways.dicom.client.peer import PeerUnreachable
from medbus.gateways.dicom.settings import TlsSettings
from medbus.gateways.dicom.status import SUCCESS
from medbus.gateways.dicom.tls import client_context
from medbus.schemas.errors import SettingsError

pytestmark = [pytest.mark.asyncio(loop_scope="module")]


@dataclass
class Secured:
    """A gateway that demands certificates, and the files that peers need."""

    site: Site
    ca: Path
    certificate: Path
    key: Path
    foreign: Path


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=ALWAYS_ONE)
async def secured(
    request: pytest.FixtureRequest, kafka: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Secured]:
    folder = tmp_path_factory.mktemp("tls")
    authority, other = trustme.CA(), trustme.CA()
    ca, foreign = folder / "ca.pem", folder / "foreign.pem"
    authority.cert_pem.write_to_path(str(ca))
    server, client = (
        authority.issue_cert("127.0.0.1", "localhost"),
        authority.issue_cert("modality.a.example"),
    )
    stranger = other.issue_cert("modality.x.example")
    for name, issued in (("server", server), ("client", client)):
        issued.private_key_pem.write_to_path(str(folder / f"{name}.key"))
        issued.cert_chain_pems[0].write_to_path(str(folder / f"{name}.pem"))
    stranger.private_key_and_cert_chain_pem.write_to_path(str(foreign))
    tls = TlsSettings(certificate=folder / "server.pem", key=folder / "server.key", client_ca=ca)
    async with site(kafka, folder, IMPLEMENTATIONS[request.param], tls=tls) as opened:
        yield Secured(opened, ca, folder / "client.pem", folder / "client.key", foreign)


async def test_the_certificate_is_evidence(secured: Secured) -> None:
    secured.site.auth.reset()
    context = client_context(secured.ca, certificate=secured.certificate, key=secured.key)
    assert await verify(secured.site.peer(tls=context)) == SUCCESS
    [request] = secured.site.auth.asked
    der = ssl.PEM_cert_to_DER_cert(secured.certificate.read_text())
    assert request.evidence.certificate == hashlib.sha256(der).hexdigest()


async def test_images_come_by_storescu_of_others(secured: Secured, tmp_path: Path) -> None:
    secured.site.auth.reset()
    image = ct()
    path = tmp_path / "image.dcm"
    sent = outgoing(image)
    assert isinstance(sent.content, bytes)
    path.write_bytes(
        part10.preamble(
            sop_class_uid=CT_IMAGE_STORAGE,
            sop_instance_uid=str(image.SOPInstanceUID),
            transfer_syntax_uid=EXPLICIT,
        )
        + sent.content
    )
    finished = await dcmtk.run(
        "storescu", "-v", "-aet", "MODALITY", "-aec", "MEDBUS",
        *("+tls", secured.key, secured.certificate, "+cf", secured.ca),
        "127.0.0.1", secured.site.port, path,
    )  # fmt: skip
    assert finished.code == 0, finished.output
    assert "Received Store Response (Success)" in finished.output
    await secured.site.settled()
    assert await secured.site.images.image(str(image.SOPInstanceUID)) is not None


async def test_peers_without_a_certificate_or_with_a_foreign_one_are_shaken_off(secured: Secured) -> None:
    secured.site.auth.reset()
    for context in (client_context(secured.ca), client_context(secured.ca, certificate=secured.foreign)):
        with pytest.raises(PeerUnreachable):
            await verify(secured.site.peer(tls=context))
    with pytest.raises(PeerUnreachable):
        await verify(secured.site.peer())
    assert secured.site.auth.asked == []


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
async def test_old_versions_are_refused(secured: Secured) -> None:
    context = client_context(secured.ca, certificate=secured.certificate, key=secured.key)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", secured.site.port), timeout=5) as connection,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        await asyncio.to_thread(context.wrap_socket, connection, server_hostname="127.0.0.1")


async def test_a_handshake_that_never_comes_blocks_nobody(secured: Secured) -> None:
    secured.site.auth.reset()
    silent = [socket.create_connection(("127.0.0.1", secured.site.port)) for _ in range(10)]
    try:
        context = client_context(secured.ca, certificate=secured.certificate, key=secured.key)
        assert await asyncio.wait_for(verify(secured.site.peer(tls=context)), 1.5) == SUCCESS
    finally:
        for each in silent:
            each.close()


async def test_files_that_are_not_there_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="TLS files can't be used"):
        client_context(tmp_path / "none.pem")
