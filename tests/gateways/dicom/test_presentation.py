"""Which services an association needs, and which presentation contexts are accepted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom._uid_dict import UID_dictionary
from tests.gateways.dicom.encoded import BIG_ENDIAN, CT_IMAGE_STORAGE, EXPLICIT, IMPLICIT

from medbus.gateways.dicom.presentation import (
    QUERY_RETRIEVE,
    STORAGE_COMMITMENT,
    VERIFICATION,
    Proposal,
    Result,
    Service,
    is_storage,
    negotiate,
    services,
)

STUDY_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_GET = "1.2.840.10008.5.1.4.1.2.2.3"
WORKLIST = "1.2.840.10008.5.1.4.31"
PRIVATE = "1.2.826.0.1.3680043.10.999.1"
JPEG = "1.2.840.10008.1.2.4.70"


def proposal(uid: str, *syntaxes: str, **roles: bool) -> Proposal:
    return Proposal(
        context_id=1,
        abstract_syntax=uid,
        transfer_syntaxes=syntaxes or (IMPLICIT,),
        roles_proposed=bool(roles),
        **roles,
    )


to_us = proposal(CT_IMAGE_STORAGE)
to_them = proposal(CT_IMAGE_STORAGE, scu=False, scp=True)
both_ways = proposal(CT_IMAGE_STORAGE, scu=True, scp=True)


@pytest.mark.parametrize(
    ("proposed", "needed"),
    [
        ([proposal(VERIFICATION)], {Service.VERIFICATION: (VERIFICATION,)}),
        ([to_us], {Service.REGISTRATION: (CT_IMAGE_STORAGE,)}),
        ([proposal(PRIVATE), proposal(VERIFICATION)], {Service.REGISTRATION: (PRIVATE,)}),
        ([proposal(STORAGE_COMMITMENT)], {Service.REGISTRATION: (STORAGE_COMMITMENT,)}),
        ([proposal(STUDY_GET), to_them], {Service.QUERY: (CT_IMAGE_STORAGE, STUDY_GET)}),
        (
            [proposal(STUDY_FIND), to_us],
            {Service.QUERY: (STUDY_FIND,), Service.REGISTRATION: (CT_IMAGE_STORAGE,)},
        ),
        (
            [both_ways],
            {Service.QUERY: (CT_IMAGE_STORAGE,), Service.REGISTRATION: (CT_IMAGE_STORAGE,)},
        ),
        ([proposal(WORKLIST)], {}),
    ],
)
def test_what_is_asked_for(proposed: list[Proposal], needed: dict[Service, tuple[str, ...]]) -> None:
    assert services(proposed) == needed


def test_every_storage_class_is_one_and_nothing_else_is() -> None:
    for uid, (name, kind, *_) in UID_dictionary.items():
        if kind == "SOP Class" and name.endswith(("Image Storage", "SR Storage", "Waveform Storage")):
            assert is_storage(uid), name
        if (
            kind != "SOP Class"
            or name.endswith(("FIND", "MOVE", "GET"))
            or "Print" in name.split("Stored")[0]
        ):
            assert not is_storage(uid), name
    assert not any(map(is_storage, (VERIFICATION, STORAGE_COMMITMENT, WORKLIST, *QUERY_RETRIEVE)))
    assert is_storage(PRIVATE)
    assert is_storage("1.2.840.10008.5.1.4.1.1.999")


@pytest.mark.parametrize(
    ("one", "granted", "result"),
    [
        (to_us, {Service.REGISTRATION}, Result.ACCEPTANCE),
        (to_us, {Service.QUERY}, Result.USER_REJECTION),
        (to_them, {Service.QUERY}, Result.ACCEPTANCE),
        (to_them, {Service.REGISTRATION}, Result.USER_REJECTION),
        (proposal(VERIFICATION), {Service.QUERY}, Result.ACCEPTANCE),
        (proposal(STUDY_FIND), {Service.QUERY}, Result.ACCEPTANCE),
        (proposal(STUDY_FIND, JPEG), {Service.QUERY}, Result.TRANSFER_SYNTAXES_NOT_SUPPORTED),
        (proposal(STORAGE_COMMITMENT), {Service.QUERY}, Result.USER_REJECTION),
        (proposal(WORKLIST), {Service.QUERY}, Result.ABSTRACT_SYNTAX_NOT_SUPPORTED),
    ],
)
def test_only_what_is_granted_is_accepted(one: Proposal, granted: set[Service], result: Result) -> None:
    [answer] = negotiate([one], granted)
    assert answer.result is result


def test_roles_are_cut_down_to_what_is_granted() -> None:
    def roles(*granted: Service) -> tuple[bool, bool]:
        [answer] = negotiate([both_ways], granted)
        return answer.scu, answer.scp

    assert roles(Service.REGISTRATION, Service.QUERY) == (True, True)
    assert roles(Service.REGISTRATION) == (True, False)
    assert roles(Service.QUERY) == (False, True)


@pytest.mark.parametrize(
    ("one", "syntax"),
    [
        (proposal(CT_IMAGE_STORAGE, JPEG, EXPLICIT), JPEG),
        (proposal(CT_IMAGE_STORAGE, BIG_ENDIAN, EXPLICIT), BIG_ENDIAN),
        (proposal(CT_IMAGE_STORAGE, PRIVATE), PRIVATE),
        (proposal(CT_IMAGE_STORAGE, JPEG, EXPLICIT, scu=False, scp=True), JPEG),
        (proposal(CT_IMAGE_STORAGE, BIG_ENDIAN, EXPLICIT, scu=False, scp=True), EXPLICIT),
        (proposal(CT_IMAGE_STORAGE, BIG_ENDIAN, scu=False, scp=True), BIG_ENDIAN),
        (proposal(STUDY_FIND, BIG_ENDIAN, EXPLICIT, IMPLICIT), EXPLICIT),
        (proposal(STUDY_FIND, IMPLICIT, EXPLICIT), IMPLICIT),
    ],
)
def test_the_transfer_syntax_is_the_first_that_will_do(one: Proposal, syntax: str) -> None:
    [answer] = negotiate([one], {Service.REGISTRATION, Service.QUERY})
    assert answer.result is Result.ACCEPTANCE
    assert answer.transfer_syntax == syntax


uids = st.sampled_from(
    [VERIFICATION, STORAGE_COMMITMENT, STUDY_FIND, STUDY_GET, CT_IMAGE_STORAGE, PRIVATE, WORKLIST]
)
proposals = st.builds(
    Proposal,
    context_id=st.integers(0, 127).map(lambda number: 2 * number + 1),
    abstract_syntax=uids,
    transfer_syntaxes=st.lists(
        st.sampled_from([IMPLICIT, EXPLICIT, BIG_ENDIAN, JPEG, PRIVATE]), max_size=4
    ).map(tuple),
    scu=st.booleans(),
    scp=st.booleans(),
    roles_proposed=st.booleans(),
)


@given(st.lists(proposals, max_size=8), st.sets(st.sampled_from(list(Service))))
def test_nothing_is_accepted_beyond_proposal_and_grant(
    proposed: list[Proposal], granted: set[Service]
) -> None:
    answers = negotiate(proposed, granted)
    assert [each.proposal for each in answers] == proposed
    for answer in answers:
        one = answer.proposal
        assert answer.scu <= one.scu
        assert answer.scp <= one.scp
        if answer.result is Result.ACCEPTANCE:
            assert answer.transfer_syntax in one.transfer_syntaxes
            assert granted
            assert answer.scu or answer.scp or not is_storage(one.abstract_syntax)
        if is_storage(one.abstract_syntax):
            assert not answer.scu or Service.REGISTRATION in granted
            assert not answer.scp or Service.QUERY in granted
