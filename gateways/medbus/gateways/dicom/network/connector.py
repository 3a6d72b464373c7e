"""Opens associations for the service."""

import ssl
from collections.abc import AsyncIterator, Collection
from concurrent.futures import Executor
from contextlib import asynccontextmanager

from pydicom.dataset import Dataset

from medbus.gateways.dicom import dimse, identifier
from medbus.gateways.dicom.network.requester import Requester
from medbus.gateways.dicom.outgoing import Address, Contexts, Outgoing
from medbus.gateways.dicom.presentation import STORAGE_COMMITMENT, UNCOMPRESSED
from medbus.gateways.dicom.status import Outcome


class NetworkConnector:
    """Opens associations on the event loop.

    Args:
        executor: threads to read large images in.
        ae_title: this side's.
        timeout: seconds for a connection, an answer, or a response.
        tls: for encrypted connections only.
    """

    def __init__(
        self, executor: Executor, *, ae_title: str, timeout: float, tls: ssl.SSLContext | None = None
    ) -> None:
        self._executor = executor
        self._ae_title = ae_title
        self._timeout = timeout
        self._tls = tls

    @asynccontextmanager
    async def connect(self, address: Address, contexts: Contexts) -> AsyncIterator["Outlet"]:
        """An association under which images can be sent.

        Raises:
            Unreachable: on entering, if there is none.
        """
        async with self._requester(address, contexts) as requester:
            yield Outlet(requester)

    async def report(self, address: Address, event_type: int, information: Dataset) -> Outcome:
        """Send a report of storage commitment.

        Raises:
            Unreachable: the peer does not answer, or does not take reports.
        """
        # The sender of a report is the SCP, so the role is turned round (PS3.4 J.3.3.1).
        contexts = [(STORAGE_COMMITMENT, UNCOMPRESSED)]
        async with self._requester(address, contexts, receiving=[STORAGE_COMMITMENT]) as requester:
            context_id, syntax = requester.context(STORAGE_COMMITMENT)
            request = dimse.commitment_report(event_type)
            return await requester.ask(context_id, request, identifier.encode(information, syntax))

    def _requester(self, address: Address, contexts: Contexts, receiving: Collection[str] = ()) -> Requester:
        return Requester(
            self._ae_title,
            address,
            contexts,
            receiving=receiving,
            timeout=self._timeout,
            tls=self._tls,
            executor=self._executor,
        )


class Outlet:
    """An association to another application entity."""

    def __init__(self, requester: Requester) -> None:
        self._requester = requester

    def accepts(self, sop_class_uid: str) -> Collection[str]:
        return self._requester.accepted(sop_class_uid)

    async def store(self, image: Outgoing) -> Outcome:
        """Raises Unreachable."""
        return await self._requester.store(image)
