"""Which requests are legitimate, and why the others are not."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import msgspec
import pytest

from medbus.projections.accounts import Account, Balance
from medbus.projections.directory.contract import Contract, Credential
from medbus.schemas.events import (
    AccountRequested,
    ActivationRequested,
    Answer,
    Apparatus,
    Blob,
    CancellationRequested,
    CredentialKind,
    DeliveryRequested,
    Evidence,
    Keep,
    Meta,
    Money,
    PaymentCondition,
    PrintRequested,
    ProcessingRequested,
    QueryRequested,
    RegistrationRequested,
    RejectionReason,
    Request,
    RequestAuthorized,
    RequestRejected,
    ResultRequested,
    Role,
    Scope,
    Selection,
    SoftwareReleaseRequested,
    SoftwareRequested,
    Terms,
    VerificationRequested,
)
from medbus.streams.auth.decider import decide
from medbus.streams.auth.destinations import MOST_RECIPIENTS
from medbus.streams.auth.facts import Destination, Facts

NOW = datetime(2026, 5, 6, 7, 8, 9, 10, tzinfo=UTC)
REQUEST_ID = UUID(int=42)
TOKEN, CERTIFICATE = "a1" * 32, "b2" * 32

WORKSTATION = Apparatus(apparatus_id="A_WS#1", ae_title="A_WS1", host="10.0.0.9", port=104)
SCANNER = Apparatus(apparatus_id="A_CT#1", ae_title="A_CT1", modality="CT")


def contract(
    subscriber: str = "A",
    *roles: Role,
    apparatuses: tuple[Apparatus, ...] = (SCANNER, WORKSTATION),
    networks: tuple[str, ...] = ("10.0.0.0/8", "2001:db8::/32"),
    scope: Scope = Scope(),  # noqa: B008
    capacity: int | None = None,
    credentials: tuple[Credential, ...] = (),
    cancelled: bool = False,
) -> Contract:
    return Contract(
        subscriber=subscriber,
        terms=Terms(
            name=subscriber,
            roles=roles or (Role.IMAGE_REGISTERING, Role.IMAGE_RECEIVING),
            apparatuses=apparatuses,
            networks=networks,
            scope=scope,
            capacity_bytes=capacity,
        ),
        contracted_at=NOW,
        cancelled_at=NOW if cancelled else None,
        credentials=credentials,
    )


def other(*roles: Role, scope: Scope = Scope(), cancelled: bool = False) -> Destination:  # noqa: B008
    """Another subscriber's workstation."""
    apparatus = Apparatus(apparatus_id="D_WS#1", ae_title="D_WS1", host="10.0.9.9", port=104)
    return Destination(
        contract=contract(
            "D",
            *(roles or (Role.IMAGE_RECEIVING,)),
            apparatuses=(apparatus,),
            scope=scope,
            cancelled=cancelled,
        ),
        apparatus=apparatus,
    )


def credential(
    kind: CredentialKind, *, revoked: bool = False, expires_at: datetime | None = None
) -> Credential:
    return Credential(
        credential_id=UUID(int=1),
        kind=kind,
        digest=TOKEN if kind is CredentialKind.BEARER_TOKEN else CERTIFICATE,
        label="x",
        issued_at=NOW,
        expires_at=expires_at,
        revoked=revoked,
    )


def head() -> Meta:
    return Meta.first(REQUEST_ID, source="gateway", occurred_at=NOW)


def evidence(
    ae_title: str | None = "A_CT1",
    address: str = "10.1.2.3",
    *,
    certificate: str | None = None,
    token: str | None = None,
) -> Evidence:
    return Evidence(calling_ae_title=ae_title, address=address, certificate=certificate, token=token)


def registration(shown: Evidence | None = None) -> RegistrationRequested:
    return RegistrationRequested(meta=head(), evidence=shown or evidence())


def delivery(
    destination: str | None = None,
    *,
    patients: tuple[str, ...] = (),
    registrants: tuple[str, ...] = (),
    modalities: tuple[str, ...] = (),
) -> DeliveryRequested:
    return DeliveryRequested(
        meta=head(),
        evidence=evidence(),
        destination=destination,
        study_instance_uid="1.2.3",
        patients=patients,
        registrants=registrants,
        modalities=modalities,
    )


def printing(device: str = "P") -> PrintRequested:
    return PrintRequested(
        meta=head(), evidence=evidence(), device=device, film_size="14INX17IN", copies=1, frames=()
    )


def software(apparatus_id: str = "A_CT#1") -> SoftwareRequested:
    return SoftwareRequested(meta=head(), evidence=evidence(), software_id="recon", apparatus_id=apparatus_id)


PLAIN: Mapping[str, Any] = {"meta": head(), "evidence": evidence()}
NAMED = Selection(sop_instance_uids=("1.2",))


def processing(
    *destinations: str, keep: Keep = Keep.NEITHER, answer: Answer = Answer.FETCH, images: Selection = NAMED
) -> ProcessingRequested:
    return ProcessingRequested(
        **PLAIN,
        processing_type="mip",
        parameters={},
        images=images,
        keep=keep,
        answer=answer,
        destinations=destinations,
    )


PROCESSING = processing()
RESULT = ResultRequested(**PLAIN, processing_id=UUID(int=7))
CANCELLATION = CancellationRequested(**PLAIN, processing_id=UUID(int=7))
RELEASE = SoftwareReleaseRequested(
    **PLAIN, software_id="recon", version="1", channel="product", digest="00", size=1
)


def granted(request: Request, facts: Facts) -> RequestAuthorized:
    decision = decide(facts, request)
    assert isinstance(decision, RequestAuthorized), decision
    return decision


def refused(reason: RejectionReason, request: Request, facts: Facts) -> str:
    """The request is refused for this reason; returns the words for a person."""
    decision = decide(facts, request)
    assert isinstance(decision, RequestRejected), decision
    assert decision.reason is reason, decision.detail
    assert decision.meta.event_id == uuid5(REQUEST_ID, "decision")
    assert len(decision.detail.split(". ")) > 1, "it says what is wrong and what to do"
    return decision.detail


class TestIdentification:
    def test_by_ae_title_from_a_network_of_the_contract(self) -> None:
        for address in ("10.1.2.3", "::ffff:10.1.2.3", "2001:db8::7"):
            grant = granted(registration(evidence(address=address)), Facts(ae_title=contract()))
            assert (grant.subscriber, grant.apparatus_id) == ("A", "A_CT#1")

    def test_blanks_around_an_ae_title_do_not_count(self) -> None:
        granted(registration(evidence(" A_CT1 ")), Facts(ae_title=contract()))

    def test_an_unknown_ae_title(self) -> None:
        refused(RejectionReason.UNKNOWN_SUBSCRIBER, registration(), Facts())

    def test_no_evidence_at_all(self) -> None:
        refused(RejectionReason.UNKNOWN_SUBSCRIBER, registration(evidence(None)), Facts(ae_title=contract()))

    @pytest.mark.parametrize("address", ["11.0.0.1", "2001:db9::1", "::ffff:11.0.0.1", "", "scanner.example"])
    def test_another_network(self, address: str) -> None:
        detail = refused(
            RejectionReason.WRONG_NETWORK, registration(evidence(address=address)), Facts(ae_title=contract())
        )
        assert "10.0.0.0/8, 2001:db8::/32" in detail

    def test_no_network_in_the_contract_lets_nobody_in_by_ae_title(self) -> None:
        refused(RejectionReason.WRONG_NETWORK, registration(), Facts(ae_title=contract(networks=())))

    def test_a_cancelled_contract(self) -> None:
        ended = contract(cancelled=True, credentials=(credential(CredentialKind.BEARER_TOKEN),))
        refused(RejectionReason.CONTRACT_CANCELLED, registration(), Facts(ae_title=ended))
        refused(
            RejectionReason.CONTRACT_CANCELLED,
            registration(evidence(None, token=TOKEN)),
            Facts(token=ended),
        )

    def test_a_token_or_a_certificate_from_anywhere(self) -> None:
        both = contract(
            credentials=(
                credential(CredentialKind.BEARER_TOKEN),
                credential(CredentialKind.CLIENT_CERTIFICATE),
            )
        )
        grant = granted(registration(evidence(None, "203.0.113.1", token=TOKEN)), Facts(token=both))
        assert (grant.subscriber, grant.apparatus_id) == ("A", None)
        grant = granted(
            registration(evidence("A_CT1", "203.0.113.1", certificate=CERTIFICATE)),
            Facts(certificate=both, ae_title=both),
        )
        assert (grant.subscriber, grant.apparatus_id) == ("A", "A_CT#1")

    def test_an_unknown_token_or_certificate_even_with_a_good_ae_title(self) -> None:
        facts = Facts(ae_title=contract())
        refused(RejectionReason.WRONG_CREDENTIAL, registration(evidence(token=TOKEN)), facts)
        refused(RejectionReason.WRONG_CREDENTIAL, registration(evidence(certificate=CERTIFICATE)), facts)

    def test_a_revoked_token(self) -> None:
        facts = Facts(token=contract(credentials=(credential(CredentialKind.BEARER_TOKEN, revoked=True),)))
        detail = refused(RejectionReason.WRONG_CREDENTIAL, registration(evidence(None, token=TOKEN)), facts)
        assert "was revoked" in detail

    def test_an_expired_token(self) -> None:
        for expires_at, good in ((NOW + timedelta(microseconds=1), True), (NOW, False)):
            held = contract(credentials=(credential(CredentialKind.BEARER_TOKEN, expires_at=expires_at),))
            request = registration(evidence(None, token=TOKEN))
            if good:
                granted(request, Facts(token=held))
            else:
                assert "has expired" in refused(RejectionReason.WRONG_CREDENTIAL, request, Facts(token=held))

    def test_a_missing_certificate(self) -> None:
        held = contract(credentials=(credential(CredentialKind.CLIENT_CERTIFICATE),))
        refused(RejectionReason.WRONG_CREDENTIAL, registration(), Facts(ae_title=held))

    def test_a_certificate_that_expires_does_not_open_the_door(self) -> None:
        held = contract(credentials=(credential(CredentialKind.CLIENT_CERTIFICATE, expires_at=NOW),))
        refused(RejectionReason.WRONG_CREDENTIAL, registration(), Facts(ae_title=held))
        revoked = contract(credentials=(credential(CredentialKind.CLIENT_CERTIFICATE, revoked=True),))
        granted(registration(), Facts(ae_title=revoked))

    def test_a_token_does_not_replace_the_certificate_on_an_association(self) -> None:
        held = contract(
            credentials=(
                credential(CredentialKind.BEARER_TOKEN),
                credential(CredentialKind.CLIENT_CERTIFICATE),
            )
        )
        facts = Facts(token=held, ae_title=held, certificate=held)
        refused(RejectionReason.WRONG_CREDENTIAL, registration(evidence(token=TOKEN)), facts)
        granted(registration(evidence(token=TOKEN, certificate=CERTIFICATE)), facts)

    def test_the_ae_title_of_somebody_else(self) -> None:
        held = contract("B", apparatuses=(), credentials=(credential(CredentialKind.CLIENT_CERTIFICATE),))
        facts = Facts(certificate=held, ae_title=contract())
        detail = refused(
            RejectionReason.WRONG_CREDENTIAL, registration(evidence(certificate=CERTIFICATE)), facts
        )
        assert "is not one of B" in detail


class TestRole:
    @pytest.mark.parametrize(
        ("request_", "roles"),
        [
            (registration(), {Role.IMAGE_REGISTERING}),
            (QueryRequested(**PLAIN), {Role.IMAGE_RECEIVING, Role.IMAGE_SENDING}),
            (delivery(), {Role.IMAGE_RECEIVING}),
            (delivery("A_WS1"), {Role.IMAGE_RECEIVING}),
            (delivery("D_WS1"), {Role.IMAGE_RECEIVING, Role.IMAGE_SENDING}),
            (PROCESSING, {Role.IMAGE_RECEIVING}),
            (RESULT, {Role.IMAGE_RECEIVING}),
            (CANCELLATION, {Role.IMAGE_RECEIVING}),
            (printing(), {Role.IMAGE_RECEIVING, Role.IMAGE_SENDING}),
            (RELEASE, {Role.VENDOR}),
            (software(), {Role.SOFTWARE_EXECUTING}),
            (VerificationRequested(**PLAIN), set(Role)),
        ],
        ids=lambda value: type(value).__name__ if isinstance(value, Request) else "",
    )
    def test_each_request_needs_its_role(self, request_: Request, roles: set[Role]) -> None:
        for role in Role:
            own = contract("A", role)
            facts = Facts(
                ae_title=own,
                destination=(
                    Destination(contract=contract("A", role), apparatus=WORKSTATION)
                    if isinstance(request_, DeliveryRequested) and request_.destination == "A_WS1"
                    else other()
                ),
                device=contract("P", Role.HARD_COPY_DEVICE),
            )
            if role in roles:
                granted(request_, facts)
            else:
                detail = refused(RejectionReason.WRONG_ROLE, request_, facts)
                assert all(each in detail for each in roles)

    def test_a_request_without_a_rule(self) -> None:
        refused(RejectionReason.UNDECIDABLE, Request(**PLAIN), Facts(ae_title=contract()))


class TestDestination:
    FACTS = Facts(ae_title=contract("A", Role.IMAGE_SENDING))

    def to(self, destination: Destination | None) -> Facts:
        return msgspec.structs.replace(self.FACTS, destination=destination)

    def test_another_subscriber_that_receives(self) -> None:
        assert granted(delivery("D_WS1"), self.to(other())).subscriber == "A"
        granted(delivery(" D_WS1 "), self.to(other()))

    def test_nobody(self) -> None:
        refused(RejectionReason.UNKNOWN_DESTINATION, delivery("NOBODY"), self.to(None))

    def test_one_that_does_not_receive(self) -> None:
        detail = refused(
            RejectionReason.UNKNOWN_DESTINATION, delivery("D_WS1"), self.to(other(Role.IMAGE_REGISTERING))
        )
        assert "without the role IMAGE_RECEIVING" in detail

    def test_one_whose_contract_ended(self) -> None:
        refused(RejectionReason.UNKNOWN_DESTINATION, delivery("D_WS1"), self.to(other(cancelled=True)))

    def test_one_without_an_address(self) -> None:
        there = other()
        nowhere = msgspec.structs.replace(
            there, apparatus=msgspec.structs.replace(there.apparatus, host=None, port=None)
        )
        refused(RejectionReason.UNKNOWN_DESTINATION, delivery("D_WS1"), self.to(nowhere))

    def test_an_own_apparatus_without_an_address(self) -> None:
        refused(RejectionReason.UNKNOWN_DESTINATION, delivery("A_CT1"), Facts(ae_title=contract()))

    def test_a_printer(self) -> None:
        printer = contract("P", Role.HARD_COPY_DEVICE)
        granted(printing(), msgspec.structs.replace(self.FACTS, device=printer))
        for device in (None, contract("P"), contract("P", Role.HARD_COPY_DEVICE, cancelled=True)):
            facts = msgspec.structs.replace(self.FACTS, device=device)
            refused(RejectionReason.UNKNOWN_DESTINATION, printing(), facts)


class TestScope:
    LIMITED = contract(scope=Scope(patients=("P1", "P2"), modalities=("CT", "MR")))

    def test_a_grant_carries_the_scope_of_the_contract(self) -> None:
        for request in (registration(), QueryRequested(**PLAIN), PROCESSING, RESULT, CANCELLATION):
            assert granted(request, Facts(ae_title=self.LIMITED)).scope == self.LIMITED.terms.scope

    def test_a_delivery_is_narrowed_to_what_is_asked_for(self) -> None:
        grant = granted(
            delivery(patients=("P2", "P3"), registrants=("A", "B"), modalities=()),
            Facts(ae_title=self.LIMITED),
        )
        assert grant.scope == Scope(patients=("P2",), registrants=("A", "B"), modalities=("CT", "MR"))

    def test_nothing_that_is_asked_for_can_lie_within(self) -> None:
        for request in (delivery(patients=("P3",)), delivery(modalities=("US", "XA"))):
            refused(RejectionReason.OUT_OF_SCOPE, request, Facts(ae_title=self.LIMITED))

    def test_something_that_is_asked_for_can_lie_within(self) -> None:
        request = delivery(patients=("P1", "P9"), modalities=("US", "MR"), registrants=("Z",))
        granted(request, Facts(ae_title=self.LIMITED))

    def test_a_destination_gets_no_more_than_its_own_contract_says(self) -> None:
        facts = Facts(ae_title=contract(), destination=other(scope=Scope(patients=("P1",))))
        assert granted(delivery("D_WS1"), facts).scope == Scope(patients=("P1",))
        detail = refused(RejectionReason.OUT_OF_SCOPE, delivery("D_WS1", patients=("P2",)), facts)
        assert "the contract of D" in detail

    def test_software_is_for_an_apparatus_of_the_contract(self) -> None:
        facts = Facts(ae_title=contract("A", Role.SOFTWARE_EXECUTING))
        assert granted(software("A_WS#1"), facts).apparatus_id == "A_WS#1"
        refused(RejectionReason.OUT_OF_SCOPE, software("B_CT#1"), facts)


class TestCapacity:
    def test_a_grant_for_registration_is_limited_to_what_is_left(self) -> None:
        facts = Facts(ae_title=contract(capacity=1000), used_bytes=400)
        grant = granted(registration(), facts)
        assert (grant.max_bytes, grant.used_bytes) == (600, 400)
        assert granted(QueryRequested(**PLAIN), facts).max_bytes is None

    def test_without_a_capacity_there_is_no_limit(self) -> None:
        assert granted(registration(), Facts(ae_title=contract(), used_bytes=10**15)).max_bytes is None

    @pytest.mark.parametrize("used", [1000, 1001, 10**15])
    def test_nothing_is_left(self, used: int) -> None:
        facts = Facts(ae_title=contract(capacity=1000), used_bytes=used)
        assert f"{used} of 1000 bytes" in refused(RejectionReason.NO_CAPACITY_LEFT, registration(), facts)
        granted(delivery(), facts)


class TestProcessing:
    def to(self, *recipients: Contract, own: Contract | None = None) -> Facts:
        return Facts(
            ae_title=own or contract("A", Role.IMAGE_RECEIVING),
            recipients={each.subscriber: each for each in recipients},
        )

    def test_the_results_go_to_the_requester_if_nobody_is_named(self) -> None:
        for request in (processing(), processing("A"), processing("A", "A")):
            grant = granted(request, self.to())
            assert (grant.subscriber, grant.request) == ("A", "ProcessingRequested")
            assert (grant.scope, grant.max_bytes, grant.used_bytes) == (Scope(), None, None)

    @pytest.mark.parametrize("keep", [Keep.BEFORE, Keep.AFTER, Keep.BOTH])
    def test_who_keeps_images_must_be_allowed_to_register_them(self, keep: Keep) -> None:
        granted(processing(keep=keep), self.to(own=contract()))
        for held, lacking in (
            (Role.IMAGE_RECEIVING, Role.IMAGE_REGISTERING),
            (Role.IMAGE_REGISTERING, Role.IMAGE_RECEIVING),
        ):
            facts = self.to(own=contract("A", held))
            detail = refused(RejectionReason.WRONG_ROLE, processing(keep=keep), facts)
            assert f"lacks the role {lacking}" in detail

    @pytest.mark.parametrize("keep", [Keep.BEFORE, Keep.AFTER, Keep.BOTH])
    def test_what_is_kept_is_limited_to_the_capacity_that_is_left(self, keep: Keep) -> None:
        own = contract(capacity=1000)
        facts = msgspec.structs.replace(self.to(own=own), used_bytes=400)
        grant = granted(processing(keep=keep), facts)
        assert (grant.max_bytes, grant.used_bytes) == (600, 400)
        grant = granted(processing(), facts)
        assert (grant.max_bytes, grant.used_bytes) == (None, None)
        full = msgspec.structs.replace(facts, used_bytes=1000)
        assert "1000 of 1000 bytes" in refused(RejectionReason.NO_CAPACITY_LEFT, processing(keep=keep), full)
        granted(processing(), full)

    def test_without_images_there_is_nothing_to_process(self) -> None:
        detail = refused(RejectionReason.OUT_OF_SCOPE, processing(images=Selection()), self.to())
        assert "names no image, series or study, and encloses none" in detail
        blob = Blob(digest="blake3:00", size=1, transfer_syntax_uid="1.2.840.10008.1.2.1")
        for images in (
            Selection(series_instance_uids=("1.2",)),
            Selection(study_instance_uids=("1.2",)),
            Selection(enclosed=(blob,)),
        ):
            granted(processing(images=images), self.to())

    def test_what_a_later_version_would_keep_or_answer_can_not_be_decided(self) -> None:
        for request, field in (
            (processing(keep=Keep.UNSPECIFIED), "(keep)"),
            (processing(answer=Answer.UNSPECIFIED), "(answer)"),
        ):
            assert field in refused(RejectionReason.UNDECIDABLE, request, self.to(own=contract()))

    @pytest.mark.parametrize(
        ("recipient", "problem", "todo"),
        [
            (None, "'D' is no subscriber", "Check the name"),
            (contract("D", cancelled=True), "a contract that was cancelled", "Leave it out"),
            (contract("D", Role.IMAGE_SENDING), "without the role IMAGE_RECEIVING", "change it"),
        ],
    )
    def test_each_destination_must_be_one_that_receives(
        self, recipient: Contract | None, problem: str, todo: str
    ) -> None:
        facts = self.to(contract("C"), *([] if recipient is None else [recipient]))
        granted(processing("C"), facts)
        for answer in (Answer.FETCH, Answer.C_STORE, Answer.WEBHOOK):
            detail = refused(RejectionReason.UNKNOWN_DESTINATION, processing("D", answer=answer), facts)
            assert problem in detail
            assert todo in detail
        refused(RejectionReason.UNKNOWN_DESTINATION, processing("C", "D"), facts)

    def test_what_was_looked_up_must_be_what_was_asked_for(self) -> None:
        facts = Facts(ae_title=contract(), recipients={"D": contract("C")})
        assert "'D' is no subscriber" in refused(RejectionReason.UNKNOWN_DESTINATION, processing("D"), facts)

    def test_sending_needs_an_apparatus_with_host_and_port(self) -> None:
        request = processing("D", answer=Answer.C_STORE)
        granted(request, self.to(contract("D")))
        detail = refused(
            RejectionReason.UNKNOWN_DESTINATION, request, self.to(contract("D", apparatuses=(SCANNER,)))
        )
        assert "'D' has no apparatus with a host and a port" in detail
        assert "or fetch the results" in detail

    def test_an_announcement_needs_a_webhook(self) -> None:
        request = processing("D", answer=Answer.WEBHOOK)
        assert "'D' has no webhook" in refused(
            RejectionReason.UNKNOWN_DESTINATION, request, self.to(contract("D"))
        )
        granted(request, self.to(announced(contract("D"))))

    def test_the_requester_needs_them_too_if_nobody_is_named(self) -> None:
        own = contract(apparatuses=(SCANNER,))
        for answer in (Answer.C_STORE, Answer.WEBHOOK):
            for request in (processing(answer=answer), processing("A", answer=answer)):
                detail = refused(RejectionReason.UNKNOWN_DESTINATION, request, self.to(own=own))
                assert detail.startswith("'A' has no ")
        granted(processing(answer=Answer.C_STORE), self.to(own=contract()))
        granted(processing(answer=Answer.WEBHOOK), self.to(own=announced(own)))
        granted(processing("D", answer=Answer.C_STORE), self.to(contract("D"), own=own))

    def test_there_are_not_too_many_destinations(self) -> None:
        granted(processing(*["A"] * MOST_RECIPIENTS), self.to())
        detail = refused(
            RejectionReason.UNKNOWN_DESTINATION, processing(*["A"] * (MOST_RECIPIENTS + 1)), self.to()
        )
        assert f"{MOST_RECIPIENTS} destinations at most" in detail

    def test_nobody_gets_more_than_its_own_contract_says(self) -> None:
        own = contract(scope=Scope(patients=("P1", "P2", "P3")))
        some = contract("C", scope=Scope(patients=("P2", "P3"), modalities=("CT",)))
        few = contract("D", scope=Scope(patients=("P3", "P4")))
        facts = self.to(some, few, own=own)
        assert granted(processing("C"), facts).scope == Scope(patients=("P2", "P3"), modalities=("CT",))
        both = granted(processing("C", "D"), facts)
        assert both.scope == Scope(patients=("P3",), modalities=("CT",))
        none = self.to(some, contract("D", scope=Scope(modalities=("MR",))), own=own)
        detail = refused(RejectionReason.OUT_OF_SCOPE, processing("C", "D"), none)
        assert "the contract of D" in detail


def announced(made: Contract) -> Contract:
    """The contract with a webhook."""
    terms = msgspec.structs.replace(made.terms, webhook="https://results.example/medbus")
    return msgspec.structs.replace(made, terms=terms)


class TestPayment:
    def test_in_advance_more_must_have_been_paid_than_was_charged(self) -> None:
        facts = paying(PaymentCondition.PREPAID, paid=500, charged=499)
        assert granted(registration(), facts).subscriber == "A"
        for charged in (500, 501):
            detail = refused(
                RejectionReason.PAYMENT_REQUIRED,
                registration(),
                paying(PaymentCondition.PREPAID, paid=500, charged=charged),
            )
            assert detail.startswith("Payment required: A has ")
        assert "-0.01 EUR left" in detail

    def test_what_was_paid_in_another_currency_does_not_count(self) -> None:
        facts = paying(PaymentCondition.PREPAID, paid=500, currency="JPY")
        refused(RejectionReason.PAYMENT_REQUIRED, registration(), facts)

    def test_without_an_account_nothing_was_paid(self) -> None:
        for condition in (PaymentCondition.PREPAID, PaymentCondition.CONFIRMED):
            facts = Facts(ae_title=on_condition(condition), currency="EUR")
            refused(RejectionReason.PAYMENT_REQUIRED, registration(), facts)

    def test_confirmed_means_a_payment_since_the_contract_and_no_invoice_open(self) -> None:
        confirmed = PaymentCondition.CONFIRMED
        granted(registration(), paying(confirmed, paid=500, charged=900, invoiced=500))
        open_ = paying(confirmed, paid=500, charged=900, invoiced=501)
        assert "invoices of 0.01 EUR" in refused(RejectionReason.PAYMENT_REQUIRED, registration(), open_)
        old = paying(confirmed, paid=500, paid_at=NOW - timedelta(microseconds=1))
        assert "has not paid yet" in refused(RejectionReason.PAYMENT_REQUIRED, registration(), old)

    @pytest.mark.parametrize(("left", "images"), [(500, 100), (499, 99), (5, 1), (4, 1)])
    def test_a_delivery_is_granted_for_what_is_left(self, left: int, images: int) -> None:
        facts = msgspec.structs.replace(
            paying(PaymentCondition.PREPAID, paid=1000, charged=1000 - left),
            delivery_price=Money(minor_units=5, currency="EUR"),
        )
        assert granted(delivery(), facts).max_images == images
        assert granted(registration(), facts).max_images is None
        free = msgspec.structs.replace(facts, delivery_price=Money(minor_units=0, currency="EUR"))
        assert granted(delivery(), free).max_images is None
        later = msgspec.structs.replace(facts, ae_title=contract())
        assert granted(delivery(), later).max_images is None

    def test_a_condition_of_the_future_is_not_met(self) -> None:
        facts = paying(PaymentCondition.UNSPECIFIED, paid=500)
        refused(RejectionReason.PAYMENT_REQUIRED, registration(), facts)

    @pytest.mark.parametrize(
        "request_",
        [
            VerificationRequested(**PLAIN),
            ActivationRequested(**PLAIN, program="viewer 1"),
            AccountRequested(**PLAIN),
        ],
    )
    def test_to_look_and_to_begin_needs_no_payment(self, request_: Request) -> None:
        granted(request_, paying(PaymentCondition.PREPAID, charged=1))

    @pytest.mark.parametrize("request_", [RESULT, CANCELLATION])
    def test_to_get_or_to_end_what_was_granted_needs_none_either(self, request_: Request) -> None:
        granted(request_, paying(PaymentCondition.PREPAID, charged=1))

    @pytest.mark.parametrize("request_", [QueryRequested(**PLAIN), delivery(), PROCESSING])
    def test_every_other_request_does(self, request_: Request) -> None:
        refused(RejectionReason.PAYMENT_REQUIRED, request_, paying(PaymentCondition.PREPAID, charged=1))


class TestAccount:
    def test_ones_own_needs_no_role(self) -> None:
        facts = Facts(ae_title=contract("A", Role.HARD_COPY_DEVICE))
        assert granted(AccountRequested(**PLAIN), facts).subscriber == "A"
        granted(AccountRequested(**PLAIN, account="A"), facts)

    @pytest.mark.parametrize("role", [Role.AUDITOR, Role.MANAGER])
    def test_anothers_is_for_auditors_and_managers(self, role: Role) -> None:
        request = AccountRequested(**PLAIN, account="B")
        assert granted(request, Facts(ae_title=contract("A", role))).subscriber == "A"
        detail = refused(RejectionReason.WRONG_ROLE, request, Facts(ae_title=contract()))
        assert "AUDITOR or MANAGER" in detail

    def test_activation_needs_a_contract_in_force(self) -> None:
        request = ActivationRequested(**PLAIN, program="viewer 1")
        granted(request, Facts(ae_title=contract()))
        refused(RejectionReason.CONTRACT_CANCELLED, request, Facts(ae_title=contract(cancelled=True)))


def on_condition(condition: PaymentCondition) -> Contract:
    made = contract()
    terms = msgspec.structs.replace(made.terms, payment=condition, tariff="standard")
    return msgspec.structs.replace(made, terms=terms)


def paying(
    condition: PaymentCondition,
    *,
    paid: int = 0,
    charged: int = 0,
    invoiced: int = 0,
    currency: str = "EUR",
    paid_at: datetime = NOW,
) -> Facts:
    """A contract with a condition of payment in euro, and its account."""
    balance = Balance(currency=currency, paid=paid, charged=charged, invoiced=invoiced)
    account = Account(subscriber="A", balances=(balance,), paid_at=paid_at)
    return Facts(ae_title=on_condition(condition), account=account, currency="EUR")


class TestDecision:
    def test_follows_from_the_request(self) -> None:
        grant = granted(registration(), Facts(ae_title=contract(), grant_lifetime=timedelta(minutes=5)))
        assert grant == RequestAuthorized(
            meta=Meta(
                event_id=uuid5(REQUEST_ID, "decision"),
                cause_id=REQUEST_ID,
                correlation_id=REQUEST_ID,
                actor="A",
                source="auth",
                occurred_at=NOW,
            ),
            request_id=REQUEST_ID,
            request="RegistrationRequested",
            subscriber="A",
            apparatus_id="A_CT#1",
            scope=Scope(),
            max_bytes=None,
            max_images=None,
            expires_at=NOW + timedelta(minutes=5),
        )

    def test_the_first_check_that_fails_decides(self) -> None:
        hopeless = contract(
            "A",
            Role.AUDITOR,
            networks=(),
            scope=Scope(patients=("P1",)),
            capacity=0,
            cancelled=True,
            credentials=(credential(CredentialKind.CLIENT_CERTIFICATE),),
        )
        request = delivery("NOBODY", patients=("P2",))
        reasons: list[RejectionReason] = []
        facts = Facts(ae_title=hopeless)
        for repair in (
            {"cancelled_at": None},
            {"credentials": ()},
            {"terms": msgspec.structs.replace(hopeless.terms, networks=("10.0.0.0/8",))},
            {"terms": contract(scope=Scope(patients=("P1",))).terms},
        ):
            decision = decide(facts, request)
            assert isinstance(decision, RequestRejected)
            reasons.append(decision.reason)
            hopeless = msgspec.structs.replace(hopeless, **repair)
            facts = Facts(ae_title=hopeless)
        assert reasons == [
            RejectionReason.CONTRACT_CANCELLED,
            RejectionReason.WRONG_CREDENTIAL,
            RejectionReason.WRONG_NETWORK,
            RejectionReason.WRONG_ROLE,
        ]
        refused(RejectionReason.UNKNOWN_DESTINATION, request, facts)
        refused(RejectionReason.OUT_OF_SCOPE, delivery(patients=("P2",)), facts)
