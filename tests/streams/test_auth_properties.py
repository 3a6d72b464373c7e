"""What holds for every request and whatever the facts."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from medbus.bus.record import Partition, Position, Record, Undecodable
from medbus.projections.directory.contract import Contract, Credential
from medbus.schemas.events import (
    Answer,
    Apparatus,
    Blob,
    CancellationRequested,
    CredentialKind,
    DeliveryRequested,
    Evidence,
    Keep,
    Meta,
    PrintRequested,
    ProcessingRequested,
    QueryRequested,
    RegistrationRequested,
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
from medbus.streams.auth.facts import Destination, Facts
from medbus.streams.auth.identification import pointed_at
from medbus.streams.auth.scope import common
from medbus.streams.auth.undecidable import refuse

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def tuples(of: st.SearchStrategy[Any], max_size: int = 3) -> st.SearchStrategy[Any]:
    return st.lists(of, max_size=max_size).map(tuple)


# Few values, so that they meet often; and any text at all, so that nothing is taken for granted.
words = st.sampled_from(["A", "B", "P1", "P2", "CT", "MR"]) | st.text(max_size=3)
titles = st.sampled_from(["A", "B", " A "]) | st.text(max_size=17)
digests = st.sampled_from(["a1" * 32, "b2" * 32])
times = st.datetimes(timezones=st.just(UTC))
addresses = st.sampled_from(["10.0.0.1", "::ffff:10.0.0.1", "::1", "fe80::1%eth0", "nowhere", ""]) | st.text(
    max_size=9
)
networks = st.sampled_from(["10.0.0.0/8", "::/0", "0.0.0.0/0", "nonsense", "10.0.0.1/8"])
scopes = st.builds(Scope, patients=tuples(words), registrants=tuples(words), modalities=tuples(words))
apparatuses = st.builds(
    Apparatus,
    apparatus_id=words,
    ae_title=titles,
    host=st.none() | st.just("h"),
    port=st.none() | st.just(104),
)
contracts = st.builds(
    Contract,
    subscriber=st.sampled_from(["A", "B"]),
    terms=st.builds(
        Terms,
        name=words,
        roles=tuples(st.sampled_from(Role), 8),
        apparatuses=tuples(apparatuses),
        networks=tuples(networks),
        scope=scopes,
        capacity_bytes=st.none() | st.integers(0, 2**63 - 1),
        webhook=st.none() | words,
    ),
    contracted_at=times,
    cancelled_at=st.none() | times,
    credentials=tuples(
        st.builds(
            Credential,
            credential_id=st.uuids(),
            kind=st.sampled_from(CredentialKind),
            digest=digests,
            label=st.just(""),
            issued_at=times,
            expires_at=st.none() | times,
            revoked=st.booleans(),
        )
    ),
)
facts_of_any_kind = st.builds(
    Facts,
    token=st.none() | contracts,
    certificate=st.none() | contracts,
    ae_title=st.none() | contracts,
    destination=st.none() | st.builds(Destination, contract=contracts, apparatus=apparatuses),
    recipients=st.dictionaries(words, contracts, max_size=3),
    device=st.none() | contracts,
    used_bytes=st.integers(0, 2**70),
    grant_lifetime=st.timedeltas(),
)
heads: Any = {
    "meta": st.builds(
        Meta,
        event_id=st.uuids(),
        cause_id=st.none(),
        correlation_id=st.uuids(),
        actor=st.none() | words,
        source=st.just("gateway"),
        occurred_at=times,
    ),
    "evidence": st.builds(
        Evidence,
        calling_ae_title=st.none() | titles,
        called_ae_title=st.none() | titles,
        address=addresses,
        certificate=st.none() | digests,
        token=st.none() | digests,
    ),
}
selections = st.builds(
    Selection,
    sop_instance_uids=tuples(words),
    series_instance_uids=tuples(words),
    study_instance_uids=tuples(words),
    enclosed=tuples(
        st.builds(Blob, digest=words, size=st.just(1), transfer_syntax_uid=words),
    ),
)
requests: st.SearchStrategy[Request] = st.one_of(
    st.builds(Request, **heads),
    st.builds(VerificationRequested, **heads),
    st.builds(RegistrationRequested, **heads),
    st.builds(QueryRequested, **heads),
    st.builds(
        DeliveryRequested,
        **heads,
        destination=st.none() | titles,
        study_instance_uid=words,
        patients=tuples(words),
        registrants=tuples(words),
        modalities=tuples(words),
    ),
    st.builds(
        ProcessingRequested,
        **heads,
        processing_type=words,
        parameters=st.dictionaries(words, words, max_size=2),
        images=selections,
        masks=selections,
        keep=st.sampled_from(Keep),
        answer=st.sampled_from(Answer),
        destinations=tuples(words),
        server=st.none() | words,
    ),
    st.builds(ResultRequested, **heads, processing_id=st.uuids()),
    st.builds(CancellationRequested, **heads, processing_id=st.uuids()),
    st.builds(PrintRequested, **heads, device=words, film_size=words, copies=st.just(1), frames=st.just(())),
    st.builds(
        SoftwareReleaseRequested,
        **heads,
        software_id=words,
        version=words,
        channel=words,
        digest=words,
        size=st.just(1),
    ),
    st.builds(SoftwareRequested, **heads, software_id=words, apparatus_id=words),
)


processing = st.builds(
    ProcessingRequested,
    **heads,
    processing_type=words,
    parameters=st.just({}),
    images=st.builds(Selection, sop_instance_uids=st.tuples(words)),
    keep=st.sampled_from([Keep.NEITHER, Keep.BEFORE, Keep.AFTER, Keep.BOTH]),
    answer=st.sampled_from([Answer.FETCH, Answer.C_STORE, Answer.WEBHOOK]),
    destinations=tuples(st.sampled_from(["A", "B", "C"])),
)
recipients = contracts | st.builds(
    lambda contract, scope: replace(contract, terms=replace(contract.terms, scope=scope, webhook="w")),
    contracts,
    st.just(Scope()) | scopes,
)


@st.composite
def plausible(draw: st.DrawFn, of: st.SearchStrategy[Request]) -> tuple[Facts, Request]:
    """A request, and facts such as a catalog has them: nothing is wrong with most of them, so that many are
    granted."""
    request = draw(of)
    shown = request.evidence
    seldom = st.integers(0, 15).map(lambda number: number == 0)

    def sound(contract: Contract, apparatus: Apparatus) -> Contract:
        terms = contract.terms
        return replace(
            contract,
            cancelled_at=contract.cancelled_at if draw(seldom) else None,
            terms=replace(
                terms,
                roles=terms.roles if draw(seldom) else tuple(Role),
                networks=terms.networks if draw(seldom) else ("0.0.0.0/0", "::/0"),
                apparatuses=terms.apparatuses if draw(seldom) else (apparatus, *terms.apparatuses),
            ),
            credentials=(
                contract.credentials
                if draw(seldom)
                else tuple(
                    Credential(credential_id=UUID(int=1), kind=kind, digest=digest, label="", issued_at=EPOCH)
                    for kind, digest in (
                        (CredentialKind.BEARER_TOKEN, shown.token),
                        (CredentialKind.CLIENT_CERTIFICATE, shown.certificate),
                    )
                    if digest is not None
                )
            ),
        )

    asking = Apparatus(
        apparatus_id=request.apparatus_id if isinstance(request, SoftwareRequested) else "X",
        ae_title=(shown.calling_ae_title or "").strip(" "),
    )
    title = request.destination if isinstance(request, DeliveryRequested) else None
    aimed_at = Apparatus(apparatus_id="Y", ae_title=(title or "").strip(" "), host="h", port=104)
    contract = sound(draw(contracts), asking)
    names = request.destinations if isinstance(request, ProcessingRequested) else ()
    return (
        Facts(
            token=contract,
            certificate=contract,
            ae_title=contract,
            destination=Destination(contract=sound(draw(contracts), aimed_at), apparatus=aimed_at),
            recipients={
                name: replace(sound(draw(recipients), aimed_at), subscriber=name)
                for name in names
                if not draw(seldom)
            },
            device=sound(draw(contracts), aimed_at),
            used_bytes=draw(st.just(0) | st.integers(0, 2**70)),
        ),
        request,
    )


cases = plausible(requests) | plausible(processing) | st.tuples(facts_of_any_kind, requests)


@given(cases)
def test_every_request_gets_a_decision(case: tuple[Facts, Request]) -> None:
    facts, request = case
    decision = decide(facts, request)
    assert isinstance(decision, RequestAuthorized | RequestRejected)
    assert decision.request_id == request.meta.event_id
    if isinstance(decision, RequestRejected):
        assert decision.detail


@given(cases)
def test_a_request_that_comes_again_is_decided_under_the_same_id(case: tuple[Facts, Request]) -> None:
    facts, request = case
    decision = decide(facts, request)
    assert decide(facts, request) == decision
    assert decision.meta.event_id == decide(Facts(), request).meta.event_id
    assert decision.meta.event_id == uuid5(request.meta.event_id, "decision")
    assert decision.meta.cause_id == request.meta.event_id
    assert decision.meta.correlation_id == request.meta.correlation_id


@given(requests, st.none() | st.builds(Destination, contract=contracts, apparatus=apparatuses), contracts)
def test_a_non_subscriber_is_never_granted_anything(
    request: Request, destination: Destination | None, device: Contract
) -> None:
    facts = Facts(destination=destination, device=device, recipients={"A": device, "B": device})
    assert isinstance(decide(facts, request), RequestRejected)


@given(cases)
def test_a_grant_is_to_a_live_contract_that_the_evidence_points_to(case: tuple[Facts, Request]) -> None:
    facts, request = case
    decision = decide(facts, request)
    if isinstance(decision, RequestAuthorized):
        contract = pointed_at(request.evidence, facts)
        assert contract is not None
        assert contract.live
        assert decision.subscriber == decision.meta.actor == contract.subscriber
        at, shown = request.meta.occurred_at, request.evidence
        if shown.token is not None or shown.certificate is not None:
            assert any(
                each.digest in (shown.token, shown.certificate)
                and not each.revoked
                and (each.expires_at is None or each.expires_at > at)
                for each in contract.credentials
            )
        else:
            assert contract.terms.networks


@given(cases)
def test_a_grant_is_never_wider_than_the_contract(case: tuple[Facts, Request]) -> None:
    facts, request = case
    decision = decide(facts, request)
    if isinstance(decision, RequestAuthorized):
        contract = pointed_at(request.evidence, facts)
        assert contract is not None
        assert _within(decision.scope, contract.terms.scope)
        if isinstance(request, DeliveryRequested) and request.destination is not None:
            assert facts.destination is not None
            assert _within(decision.scope, facts.destination.contract.terms.scope)
        if isinstance(request, ProcessingRequested):
            for name in request.destinations:
                to = contract if name == contract.subscriber else facts.recipients[name]
                assert _within(decision.scope, to.terms.scope)
        registers = isinstance(request, RegistrationRequested) or (
            isinstance(request, ProcessingRequested) and request.keep is not Keep.NEITHER
        )
        if registers and contract.terms.capacity_bytes is not None:
            assert decision.max_bytes is not None
            assert 0 < decision.max_bytes <= contract.terms.capacity_bytes


@given(cases)
def test_results_go_only_to_those_who_receive_and_can_be_reached(case: tuple[Facts, Request]) -> None:
    facts, request = case
    decision = decide(facts, request)
    if isinstance(decision, RequestAuthorized) and isinstance(request, ProcessingRequested):
        contract = pointed_at(request.evidence, facts)
        assert contract is not None
        assert not request.images.empty
        assert request.keep is not Keep.UNSPECIFIED
        for name in request.destinations or (contract.subscriber,):
            to = contract if name == contract.subscriber else facts.recipients[name]
            assert to.live
            assert to.subscriber == name
            assert Role.IMAGE_RECEIVING in to.terms.roles
            match request.answer:
                case Answer.C_STORE:
                    assert [each for each in to.terms.apparatuses if each.host and each.port]
                case Answer.WEBHOOK:
                    assert to.terms.webhook is not None
                case answer:
                    assert answer is Answer.FETCH


@given(scopes, scopes, words, words, words)
def test_what_scopes_have_in_common_is_what_lies_in_both(
    one: Scope, two: Scope, patient: str, registrant: str, modality: str
) -> None:
    both = common(one, two)
    image = {"patient_id": patient, "registrant": registrant, "modality": modality}
    assert (both is not None and both.holds(**image)) == (one.holds(**image) and two.holds(**image))


@given(requests, times)
def test_a_request_that_can_not_be_handled_is_refused_under_the_same_id(
    request: Request, at: datetime
) -> None:
    (rejection,) = refuse(_record(request, at), "ValueError: x")
    assert isinstance(rejection, RequestRejected)
    assert rejection.meta.event_id == uuid5(request.meta.event_id, "decision")
    undecodable = Undecodable(error="?", key=str(request.request_id).encode(), value=b"")
    (rejection,) = refuse(_record(undecodable, at), "?")
    assert isinstance(rejection, RequestRejected)
    assert rejection.meta.event_id == uuid5(request.meta.event_id, "decision")
    assert rejection.request_id == request.request_id


@given(st.none() | st.binary(max_size=40), times)
def test_a_record_that_tells_no_request_is_refused_in_silence(key: bytes | None, at: datetime) -> None:
    try:
        UUID((key or b"").decode())
    except ValueError:
        assert list(refuse(_record(Undecodable(error="?", key=key, value=b""), at), "?")) == []


def test_an_expiry_beyond_the_calendar_is_its_end() -> None:
    facts = Facts(
        ae_title=Contract(
            subscriber="A",
            terms=Terms(
                name="A",
                apparatuses=(Apparatus(apparatus_id="X", ae_title="A"),),
                networks=("10.0.0.0/8",),
            ),
            contracted_at=datetime(2026, 1, 1, tzinfo=UTC),
        ),
        grant_lifetime=timedelta.max,
    )
    request = VerificationRequested(
        meta=Meta.first(UUID(int=1), source="g", occurred_at=datetime(2026, 1, 1, tzinfo=UTC)),
        evidence=Evidence(calling_ae_title="A", address="10.0.0.1"),
    )
    decision = decide(facts, request)
    assert isinstance(decision, RequestAuthorized)
    assert decision.expires_at == datetime.max.replace(tzinfo=UTC)


def _within(narrow: Scope, wide: Scope) -> bool:
    return all(
        not mine or (theirs and set(theirs) <= set(mine))
        for theirs, mine in (
            (narrow.patients, wide.patients),
            (narrow.registrants, wide.registrants),
            (narrow.modalities, wide.modalities),
        )
    )


def _record(event: Request | Undecodable, at: datetime) -> Record:
    return Record(position=Position(Partition("requests", 0), 0), timestamp=at, event=event)
