"""DIMSE messages over an association: put together from fragments, and taken apart into them."""

import logging
import queue
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.pdu_primitives import P_DATA

from medbus.gateways.dicom import command as commands
from medbus.gateways.dicom.command import Command, Field
from medbus.gateways.dicom.dimse import fragment_length, outcome_of, store_request
from medbus.gateways.dicom.limits import LONGEST_COMMAND, LONGEST_IDENTIFIER
from medbus.gateways.dicom.outgoing import Outgoing, Unreachable
from medbus.gateways.dicom.pynetdicom import MAXIMUM_PDU
from medbus.gateways.dicom.pynetdicom.inflow import EARLY, Inflow
from medbus.gateways.dicom.status import Outcome

log = logging.getLogger(__name__)

_WAITING_PDUS = 16
"""How many fragments may wait to be sent: enough to keep the wire busy, little enough for any image."""

_WAITING_MESSAGES = 16
"""How many requests may wait; more than one come only from peers that do not wait for responses."""

_COMMAND, _LAST = 0b01, 0b10
"""Bits of the message control header (PS3.8 E.2)."""


class Message(NamedTuple):
    """A message that has come; of an image, the data set may still be coming."""

    context_id: int
    command: Command
    data: Inflow

    def identifier(self) -> bytes:
        """The data set as a whole."""
        return b"".join(self.data)


class Messages(DIMSEServiceProvider):
    """Puts the messages of an association together.

    Data sets are not kept in files and not kept as a whole: what is longer than a megabyte is handed on while
    it comes. Bytes that make no sense end the association.
    """

    def __init__(self, assoc: Association) -> None:
        super().__init__(assoc)
        self.cancelled: set[int] = set()
        self._command = bytearray()
        self._message: Message | None = None
        self._handed_on = False

    def receive_primitive(self, primitive: P_DATA) -> None:
        try:
            for context_id, fragment in primitive.presentation_data_value_list:
                self._take(context_id, fragment)
        except Exception as error:
            log.info("undecodable message from %s: %r", self.assoc.requestor.ae_title, error)
            self.dul.event_queue.put("Evt19")

    def cut_off(self) -> None:
        """The association is over: let go of what is half there."""
        if self._message is not None:
            self._message.data.drop()

    def _take(self, context_id: int, fragment: bytes) -> None:
        header = fragment[0]
        if header & _COMMAND:
            self._command += memoryview(fragment)[1:]
            if len(self._command) > LONGEST_COMMAND:
                raise commands.MalformedCommand("The command set is too long.")
            if header & _LAST:
                self._begin(context_id)
            return
        message = self._message
        if message is None:
            raise commands.MalformedCommand("A data set came without a command set.")
        data = message.data
        data.put(fragment[1:])
        if message.command.field != Field.C_STORE and data.size > LONGEST_IDENTIFIER:
            raise commands.MalformedCommand("The data set is too long.")
        if header & _LAST:
            data.finish()
            self._message = None
            if not self._handed_on:
                self._hand_on(message)
        elif message.command.field == Field.C_STORE and data.size >= EARLY and not self._handed_on:
            self._handed_on = True
            self._hand_on(message)

    def _begin(self, context_id: int) -> None:
        command = commands.decode(self._command)
        self._command.clear()
        if command.field == Field.C_CANCEL:
            self.cancelled.add(command.responds_to or 0)
            return
        message = Message(context_id, command, Inflow(self._alive, self.assoc.network_timeout or 60.0))
        if command.has_data:
            self._message, self._handed_on = message, False
        else:
            message.data.finish()
            self._hand_on(message)

    def _hand_on(self, message: Message) -> None:
        if message.command.response:
            # They were asked for, so they may be many: the peer waits until there is room for more.
            while self.msg_queue.qsize() > _WAITING_MESSAGES and not self.assoc._kill:
                time.sleep(0.001)
        elif self.msg_queue.qsize() > _WAITING_MESSAGES:
            raise commands.MalformedCommand("Too many requests at once.")
        item: Any = (message.context_id, message)
        self.msg_queue.put(item)

    def _alive(self) -> bool:
        return self.dul.is_alive()


def send(association: Association, context_id: int, command: Command, data: bytes | None = None) -> None:
    """Send a message with a data set that is short, or none."""
    encoded = commands.encode(command)
    length = _length(association)
    for start in range(0, len(encoded), length):
        last = _LAST if start + length >= len(encoded) else 0
        _send_fragment(association, context_id, _COMMAND | last, encoded[start : start + length])
    if data is not None:
        for start in range(0, max(len(data), 1), length):
            last = _LAST if start + length >= len(data) else 0
            _send_fragment(association, context_id, last, data[start : start + length])


def store(
    association: Association, context_id: int, message_id: int, image: Outgoing, timeout: float
) -> Outcome:
    """Send a C-STORE and wait for the response. Blocks.

    Args:
        timeout: seconds without any progress after which the peer is given up.

    Raises:
        Unreachable: the peer is gone, or does not respond.
    """
    request = store_request(image, message_id)
    send(association, context_id, request)
    _send_data_set(association, context_id, image, timeout)
    command = receive(association, timeout).command
    if command.field == Field.C_STORE and command.response and command.responds_to == message_id:
        return outcome_of(command)
    raise Unreachable(f"a {command.name} came instead of the response to a C-STORE")


def receive(association: Association, timeout: float) -> Message:
    """The next message. Blocks.

    Raises:
        Unreachable: there is none in time, or the association is over.
    """
    try:
        item: Any = association.dimse.msg_queue.get(timeout=timeout)
    except queue.Empty:
        raise Unreachable(f"did not respond within {timeout:g} s") from None
    message: Message | None = item[1]
    if message is None:
        raise Unreachable("ended the association")
    return message


def has_room(association: Association) -> bool:
    """Whether more may be put into the provider's queue."""
    return association.dul.to_provider_queue.qsize() < _WAITING_PDUS


def _length(association: Association) -> int:
    """Bytes of a message that go into one P-DATA-TF."""
    return fragment_length(association.dimse.maximum_pdu_size or 0, MAXIMUM_PDU)


def _send_data_set(association: Association, context_id: int, image: Outgoing, timeout: float) -> None:
    previous: bytes | None = None
    try:
        for fragment in _fragments(image, _length(association)):
            if previous is not None:
                _wait_for_room(association, timeout)
                _send_fragment(association, context_id, 0, previous)
            previous = fragment
    except Exception:
        # A data set that ends half-way must not look whole to the peer.
        association.acse.send_abort(0x00)
        raise
    _wait_for_room(association, timeout)
    _send_fragment(association, context_id, _LAST, previous or b"")


def _wait_for_room(association: Association, timeout: float) -> None:
    end = time.monotonic() + timeout
    while not has_room(association):
        if not association.dul.is_alive():
            raise Unreachable("ended the association")
        if time.monotonic() > end:
            raise Unreachable(f"took nothing for {timeout:g} s")
        time.sleep(0.0005)


def _send_fragment(association: Association, context_id: int, header: int, fragment: bytes) -> None:
    primitive = P_DATA()
    primitive.presentation_data_value_list.append((context_id, bytes((header,)) + fragment))
    association.dul.send_pdu(primitive)


def _fragments(image: Outgoing, length: int) -> Iterator[bytes]:
    if not callable(image.content):
        for start in range(0, len(image.content), length):
            yield bytes(image.content[start : start + length])
        return
    held = bytearray()
    for chunk in image.content():
        held += chunk
        while len(held) >= length:
            yield bytes(held[:length])
            del held[:length]
    if held:
        yield bytes(held)
