"""Command sets: as pydicom reads them, and whatever hostile bytes do."""

from contextlib import suppress
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.filereader import read_dataset

from medbus.gateways.dicom.command import Command, Field, MalformedCommand, decode, encode

us = st.integers(0, 0xFFFF)
uid = st.from_regex(r"[1-9](\.[1-9][0-9]{0,8}){1,6}", fullmatch=True)
title = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789", min_size=1, max_size=16)
commands = st.builds(
    Command,
    field=st.sampled_from(list(Field)).map(int),
    response=st.booleans(),
    has_data=st.booleans(),
    message_id=st.none() | us,
    responds_to=st.none() | us,
    affected_class=st.just("") | uid,
    requested_class=st.just("") | uid,
    affected_instance=st.just("") | uid,
    requested_instance=st.just("") | uid,
    priority=st.none() | st.integers(0, 2),
    status=st.none() | us,
    error_comment=st.just("") | title,
    move_destination=st.just("") | title,
    event_type=st.none() | us,
    action_type=st.none() | us,
    remaining=st.none() | us,
    completed=st.none() | us,
    failed=st.none() | us,
    warning=st.none() | us,
    originator=st.just("") | title,
    originator_message_id=st.none() | us,
)


@given(commands)
def test_what_is_written_is_read_again(command: Command) -> None:
    assert decode(encode(command)) == command


@given(commands)
def test_others_read_it(command: Command) -> None:
    data = encode(command)
    read = read_dataset(BytesIO(data), is_implicit_VR=True, is_little_endian=True)
    assert read.CommandGroupLength == len(data) - 12
    assert read.CommandField == command.field | (0x8000 if command.response else 0)
    assert (read.CommandDataSetType == 0x0101) is not command.has_data
    assert read.get("Status") == command.status
    assert read.get("MessageID") == command.message_id
    assert str(read.get("AffectedSOPInstanceUID", "")) == command.affected_instance
    assert str(read.get("MoveDestination", "")) == command.move_destination
    assert [each.tag for each in read] == sorted(each.tag for each in read)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(MalformedCommand):
        decode(data)


@given(commands, st.data())
def test_a_command_set_cut_short_is_never_taken_for_another(command: Command, data: st.DataObject) -> None:
    encoded = encode(command)
    part = encoded[: data.draw(st.integers(0, len(encoded) - 1))]
    try:
        read = decode(part)
    except MalformedCommand:
        return
    for name in Command.__struct_fields__:
        if name not in ("field", "response", "has_data"):
            assert getattr(read, name) in (getattr(command, name), None, "")


def test_messages_are_named_as_in_the_standard() -> None:
    assert Command(field=Field.C_STORE).name == "C-STORE-RQ"
    assert Command(field=Field.N_EVENT_REPORT, response=True).name == "N-EVENT-REPORT-RSP"
    assert Command(field=0x0140).name == "0140H-RQ"


def test_a_command_without_a_field_is_refused() -> None:
    with pytest.raises(MalformedCommand, match="Command Field"):
        decode(b"")
