"""The directory of contracts on every database."""

from uuid import uuid4

import pytest
from tests.projections.examples import cancelled, changed, contracted, issued, revoked, terms
from tests.projections.memory_log import MemoryLog

from medbus.projections.database import Database
from medbus.projections.directory import ContractFilter, DirectoryReader
from medbus.projections.projector import Projector
from medbus.schemas.events import CredentialKind, Event, Role

TOKEN, CERTIFICATE = CredentialKind.BEARER_TOKEN, CredentialKind.CLIENT_CERTIFICATE


class Directory:
    """The directory that some events lead to."""

    def __init__(self, log: MemoryLog, projector: Projector, reader: Database) -> None:
        self._log = log
        self._projector = projector
        self.reader = DirectoryReader(reader)

    async def given(self, *events: Event) -> DirectoryReader:
        self._log.extend(events)
        await self._projector.catch_up()
        return self.reader


@pytest.fixture
def directory(log: MemoryLog, projector: Projector, reader: Database) -> Directory:
    return Directory(log, projector, reader)


async def test_a_contract_is_found_by_its_subscriber_in_full(directory: Directory) -> None:
    reader = await directory.given(contracted("A-hospital", terms("A_CT1", "A_WS")))
    contract = await reader.contract("A-hospital")
    assert contract is not None
    assert contract.terms == terms("A_CT1", "A_WS")
    assert await reader.contract("B-hospital") is None


async def test_contracts_are_listed_by_subscriber_and_by_what_is_asked(directory: Directory) -> None:
    reader = await directory.given(
        contracted("B", terms("B1", roles=(Role.IMAGE_RECEIVING,))),
        contracted("A"),
        contracted("C"),
        cancelled("C"),
    )

    async def subscribers(chosen: ContractFilter | None = None) -> list[str]:
        return [contract.subscriber for contract in await reader.contracts(chosen)]

    assert await subscribers() == ["A", "B", "C"]
    assert await subscribers(ContractFilter(live=True)) == ["A", "B"]
    assert await subscribers(ContractFilter(live=False)) == ["C"]
    assert await subscribers(ContractFilter(role=Role.IMAGE_RECEIVING)) == ["B"]


async def test_an_ae_title_belongs_to_the_contract_in_force_else_to_the_one_cancelled_last(
    directory: Directory,
) -> None:
    async def owner() -> str | None:
        contract = await directory.reader.by_ae_title("CT1")
        return None if contract is None else contract.subscriber

    await directory.given(contracted("A", terms("CT1")))
    assert await owner() == "A"
    await directory.given(cancelled("A", minutes=9), contracted("B", terms("CT1")), cancelled("B", minutes=5))
    assert await owner() == "A"
    await directory.given(contracted("C", terms("CT1")))
    assert await owner() == "C"
    await directory.given(changed("C", terms("CT2")))
    assert await owner() == "A"
    assert await directory.reader.by_ae_title("ct1") is None


async def test_a_credential_is_found_by_kind_and_digest_in_whatever_state(directory: Directory) -> None:
    credential_id = uuid4()
    reader = await directory.given(contracted("A"), issued("A", "aa", credential_id=credential_id))
    contract = await reader.by_credential(TOKEN, "aa")
    assert contract is not None
    assert contract.subscriber == "A"
    assert await reader.by_credential(CERTIFICATE, "aa") is None
    assert await reader.by_credential(TOKEN, "ab") is None
    await directory.given(revoked("A", credential_id), cancelled("A"))
    contract = await reader.by_credential(TOKEN, "aa")
    assert contract is not None
    assert contract.credentials[0].revoked
    # Issued to another one it is that one's.
    await directory.given(contracted("B"), issued("B", "aa"))
    contract = await reader.by_credential(TOKEN, "aa")
    assert contract is not None
    assert contract.subscriber == "B"


async def test_a_destination_is_an_apparatus_with_an_address_of_a_contract_in_force(
    directory: Directory,
) -> None:
    reader = await directory.given(
        contracted("A", terms("WS1")),
        contracted("B", terms("CT1", host=None)),
        contracted("C", terms("WS2")),
        cancelled("C"),
    )
    found = await reader.destination("WS1")
    assert found is not None
    contract, apparatus = found
    assert (contract.subscriber, apparatus.host, apparatus.port) == ("A", "10.0.0.7", 104)
    assert await reader.destination("CT1") is None
    assert await reader.destination("WS2") is None
    assert await reader.destination("WS9") is None


async def test_an_event_that_comes_again_later_does_not_undo_what_followed(directory: Directory) -> None:
    first = contracted("A", terms("CT1"))
    reader = await directory.given(first, changed("A", terms("CT2")), first)
    contract = await reader.contract("A")
    assert contract is not None
    assert contract.terms == terms("CT2")
