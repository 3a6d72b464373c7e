"""C-FIND: what the catalog knows, within the contract's scope (PS3.4 C.4.1)."""

import logging
from abc import abstractmethod
from typing import Protocol

from medbus.gateways.dicom import identifier
from medbus.gateways.dicom.conversation import Conversation, check_live
from medbus.gateways.dicom.identifier import Identifier
from medbus.gateways.dicom.presentation import Service
from medbus.gateways.dicom.status import SUCCESS, Code, Outcome, Refused
from medbus.projections.errors import CatalogError
from medbus.projections.images import ImageReader

log = logging.getLogger(__name__)


class Answers(Protocol):
    """Where matches go to."""

    @abstractmethod
    async def match(self, data: bytes, *, all_keys: bool) -> None:
        """Send one match (FF00H, or FF01H where some keys are not supported)."""

    @abstractmethod
    def cancelled(self) -> bool:
        """Whether the requester wants no more (C-CANCEL), or is gone."""


class Finding:
    """Answers queries.

    Args:
        images: the image catalog.
        ae_title: this gateway's, from which what is found can be retrieved.
    """

    def __init__(self, *, images: ImageReader, ae_title: str) -> None:
        self._images = images
        self._ae_title = ae_title

    async def find(self, conversation: Conversation, keys: Identifier, answers: Answers) -> Outcome:
        """Answer a query.

        Args:
            conversation: needs a grant for queries.
            keys: the identifier.
            answers: where the matches go.

        Returns:
            0000H: these were all. FE00H: cancelled. 0124H: not granted, or no longer.
            A700H: the catalog can't be read. A900H: the identifier is not one of this information model.
            C000H: it can't be read, or a value does not fit its key.
        """
        try:
            grant = await conversation.grant(Service.QUERY)
            asked = identifier.question(keys)
            async for found in self._images.find(asked.query, grant.scope):
                if answers.cancelled():
                    return Outcome(Code.CANCEL)
                check_live(grant)
                match = identifier.answer(
                    asked, found, retrieve_ae_title=self._ae_title, transfer_syntax=keys.transfer_syntax
                )
                await answers.match(match, all_keys=asked.all_supported)
        except Refused as error:
            log.info("%s: query refused: %s", conversation.peer, error)
            return error.outcome
        except CatalogError as error:
            log.exception("query of %s", conversation.peer)
            return Outcome.refused(Code.OUT_OF_RESOURCES, error.message)
        return SUCCESS
