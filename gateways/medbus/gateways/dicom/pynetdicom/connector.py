"""Opens associations for the service, in worker threads."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from typing import TypeVar

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medbus.gateways.dicom import identifier
from medbus.gateways.dicom.outgoing import Address, Contexts, Outgoing
from medbus.gateways.dicom.presentation import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
from medbus.gateways.dicom.pynetdicom.requester import Requester
from medbus.gateways.dicom.status import Outcome

T = TypeVar("T")


class PynetdicomConnector:
    """Opens associations with pynetdicom.

    Args:
        executor: threads to wait in; one is taken for each image that is on its way.
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
        requester = Requester(self._ae_title, address, contexts, timeout=self._timeout, tls=self._tls)
        await self._run(requester.__enter__)
        try:
            yield Outlet(requester, self._executor)
        except BaseException as error:
            kind, trace, caught = type(error), error.__traceback__, error
            await self._run(lambda: requester.__exit__(kind, caught, trace))
            raise
        await self._run(lambda: requester.__exit__(None, None, None))

    async def report(self, address: Address, event_type: int, information: Dataset) -> Outcome:
        """Send a report of storage commitment.

        Raises:
            Unreachable: the peer does not answer, or does not take reports.
        """
        return await self._run(lambda: self._report(address, event_type, information))

    def _report(self, address: Address, event_type: int, information: Dataset) -> Outcome:
        syntaxes = [str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian)]
        # The sender of a report is the SCP, so the role is turned round (PS3.4 J.3.3.1).
        with Requester(
            self._ae_title,
            address,
            [(STORAGE_COMMITMENT, syntaxes)],
            receiving=[STORAGE_COMMITMENT],
            timeout=self._timeout,
            tls=self._tls,
        ) as requester:
            syntax = next(iter(requester.accepted(STORAGE_COMMITMENT)))
            data = identifier.encode(information, syntax)
            return requester.report(STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE, event_type, data)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)


class Outlet:
    """An association to another application entity."""

    def __init__(self, requester: Requester, executor: Executor) -> None:
        self._requester = requester
        self._executor = executor

    def accepts(self, sop_class_uid: str) -> Collection[str]:
        return self._requester.accepted(sop_class_uid).keys()

    async def store(self, image: Outgoing) -> Outcome:
        """Raises Unreachable."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._requester.store, image)
