"""The life of a contract."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4, uuid5

import msgspec
from hypothesis import given as over
from hypothesis import strategies as st
from tests.streams.specification import given

from medbus.schemas.errors import MedbusError
from medbus.schemas.events import (
    Apparatus,
    Collection,
    ContractCancelled,
    ContractChanged,
    CredentialIssued,
    CredentialKind,
    CredentialRevoked,
    Meta,
    Retrieval,
    Role,
    Scope,
    SubscriberActivated,
    SubscriberContracted,
    SubscriberEvent,
    Terms,
)
from medbus.streams.contracts.commands import (
    Activate,
    Cancel,
    Change,
    Command,
    Contract,
    IssueCredential,
    RevokeCredential,
)
from medbus.streams.contracts.decider import (
    AlreadyTaken,
    ContractExists,
    InvalidCredential,
    NoSuchContract,
    State,
    decide,
    evolve,
    fold,
)
from medbus.streams.contracts.terms import InvalidTerms

AT = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
DIGEST = "ab" * 32
CT = Apparatus(apparatus_id="A_CT#1", ae_title="A_CT1", modality="CT")
TERMS = Terms(name="A", roles=(Role.IMAGE_REGISTERING,), apparatuses=(CT,), networks=("10.0.0.0/8",))
OTHER = msgspec.structs.replace(TERMS, name="B", apparatuses=(msgspec.structs.replace(CT, ae_title="B_CT1"),))
CREDENTIAL = UUID(int=77)


def contract(subscriber: str = "A", terms: Terms = TERMS) -> Contract:
    return Contract(command_id=uuid4(), at=AT, source="cli", subscriber=subscriber, terms=terms)


def collecting(terms: Terms, folder: str) -> Terms:
    """The terms with a folder that is looked into every five minutes."""
    collection = Collection(
        retrieval=Retrieval.FOLDER, apparatus_id="A_CT#1", address=folder, every_seconds=300
    )
    return msgspec.structs.replace(terms, collections=(collection,))


def activate(program: str = "scanner 1.0") -> Activate:
    return Activate(command_id=uuid4(), at=AT, source="cli", subscriber="A", program=program)


def change(terms: Terms, subscriber: str = "A") -> Change:
    return Change(command_id=uuid4(), at=AT, source="cli", subscriber=subscriber, terms=terms)


def cancel(subscriber: str = "A") -> Cancel:
    return Cancel(command_id=uuid4(), at=AT, source="cli", subscriber=subscriber, reason="moved away")


def issue(
    subscriber: str = "A",
    *,
    credential_id: UUID = CREDENTIAL,
    kind: CredentialKind = CredentialKind.BEARER_TOKEN,
    digest: str = DIGEST,
    expires_at: datetime | None = None,
) -> IssueCredential:
    return IssueCredential(
        command_id=uuid4(),
        at=AT,
        source="cli",
        subscriber=subscriber,
        credential_id=credential_id,
        kind=kind,
        digest=digest,
        label="viewer",
        expires_at=expires_at,
    )


def revoke(credential_id: UUID = CREDENTIAL) -> RevokeCredential:
    return RevokeCredential(
        command_id=uuid4(), at=AT, source="cli", subscriber="A", credential_id=credential_id, reason="lost"
    )


def happened(*commands: Command) -> tuple[SubscriberEvent, ...]:
    """The events that these commands led to, one after the other."""
    state = State()
    events: list[SubscriberEvent] = []
    for command in commands:
        new = decide(state, command)
        state = fold(state, new)
        events.extend(new)
    return tuple(events)


def head(command: Command) -> Meta:
    event_id = uuid5(command.command_id, type(command).__name__)
    return Meta.first(event_id, source="cli", occurred_at=AT)


class TestContract:
    def test_is_made(self) -> None:
        command = contract()
        given().when(command).then(SubscriberContracted(meta=head(command), subscriber="A", terms=TERMS))

    def test_is_made_once(self) -> None:
        given(*happened(contract())).when(contract()).then_error(
            ContractExists, "A has a contract since 2026-01-02."
        )

    def test_is_made_anew_after_its_end(self) -> None:
        command = contract()
        given(*happened(contract(), cancel())).when(command).then(
            SubscriberContracted(meta=head(command), subscriber="A", terms=TERMS)
        )

    def test_has_ae_titles_of_its_own(self) -> None:
        given(*happened(contract())).when(contract("B", TERMS)).then_error(
            AlreadyTaken, "The AE title A_CT1 belongs to A (A_CT#1)."
        )

    def test_has_folders_of_its_own(self) -> None:
        taken = happened(contract(terms=collecting(TERMS, "/var/spool/a")))
        for folder in ("/var/spool/a", "/var/spool", "/var/spool/a/ct1"):
            given(*taken).when(contract("B", collecting(OTHER, folder))).then_error(
                AlreadyTaken, "The images in /var/spool/a are collected for A already."
            )
        apart = contract("B", collecting(OTHER, "/var/spool/b"))
        given(*taken).when(apart).then(
            SubscriberContracted(meta=head(apart), subscriber="B", terms=apart.terms)
        )

    def test_may_be_collected_from_and_be_told_of_results(self) -> None:
        agreed = msgspec.structs.replace(
            collecting(TERMS, "/var/spool/a"), webhook="https://results.example/medbus"
        )
        command = change(agreed)
        given(*happened(contract())).when(command).then(
            ContractChanged(meta=head(command), subscriber="A", terms=agreed)
        )
        unsafe = change(msgspec.structs.replace(agreed, webhook="http://results.example/medbus"))
        given(*happened(contract())).when(unsafe).then_error(
            InvalidTerms,
            "The webhook 'http://results.example/medbus' is not safe",
        )

    def test_may_have_the_ae_titles_of_one_that_ended(self) -> None:
        command = contract("B", TERMS)
        given(*happened(contract(), cancel())).when(command).then(
            SubscriberContracted(meta=head(command), subscriber="B", terms=TERMS)
        )

    def test_is_recorded_without_what_does_not_count(self) -> None:
        command = contract(
            terms=msgspec.structs.replace(
                TERMS,
                roles=(Role.IMAGE_REGISTERING, Role.IMAGE_REGISTERING),
                apparatuses=(msgspec.structs.replace(CT, ae_title=" A_CT1  "),),
                networks=("192.0.2.7", "192.0.2.7/32"),
            )
        )
        recorded = msgspec.structs.replace(TERMS, networks=("192.0.2.7/32",))
        given().when(command).then(SubscriberContracted(meta=head(command), subscriber="A", terms=recorded))

    def test_needs_a_proper_id(self) -> None:
        for name in ("", "a/b", "x" * 65, "a\nb", "\x00", " a", "a "):
            given().when(contract(name)).then_error(InvalidTerms, "can't be the id of a subscriber")
        for name in ("a", "x" * 64, "Krankenhaus Süd", "A-hospital"):
            assert len(decide(State(), contract(name))) == 1


class TestActivation:
    def test_is_the_first_run(self) -> None:
        command = activate()
        given(*happened(contract())).when(command).then(
            SubscriberActivated(meta=head(command), subscriber="A", program="scanner 1.0")
        )

    def test_happens_once(self) -> None:
        given(*happened(contract(), activate())).when(activate("scanner 2.0")).then_nothing()

    def test_needs_a_contract(self) -> None:
        given().when(activate()).then_error(NoSuchContract, "'A' has no contract.")


class TestChange:
    def test_replaces_the_terms(self) -> None:
        command = change(OTHER)
        given(*happened(contract())).when(command).then(
            ContractChanged(meta=head(command), subscriber="A", terms=OTHER)
        )

    def test_to_the_same_is_none(self) -> None:
        given(*happened(contract())).when(change(TERMS)).then_nothing()

    def test_keeps_ae_titles_unique(self) -> None:
        given(*happened(contract(), contract("B", OTHER))).when(change(OTHER)).then_error(
            AlreadyTaken, "The AE title B_CT1 belongs to B (A_CT#1)."
        )

    def test_may_keep_its_own_ae_titles(self) -> None:
        wider = msgspec.structs.replace(TERMS, scope=Scope(modalities=("CT",)))
        command = change(wider)
        given(*happened(contract())).when(command).then(
            ContractChanged(meta=head(command), subscriber="A", terms=wider)
        )

    def test_checks_the_terms(self) -> None:
        given(*happened(contract())).when(change(msgspec.structs.replace(TERMS, roles=()))).then_error(
            InvalidTerms, "A contract needs at least one role."
        )

    def test_is_not_for_the_cancelled(self) -> None:
        given(*happened(contract(), cancel())).when(change(OTHER)).then_error(
            NoSuchContract, "The contract of A was cancelled at 2026-01-02 03:04."
        )


class TestCancellation:
    def test_ends_the_contract(self) -> None:
        command = cancel()
        given(*happened(contract())).when(command).then(
            ContractCancelled(meta=head(command), subscriber="A", reason="moved away")
        )

    def test_is_final(self) -> None:
        ended = given(*happened(contract(), issue(), cancel()))
        for command in (cancel(), activate(), issue(), revoke()):
            ended.when(command).then_error(NoSuchContract, "was cancelled")

    def test_needs_a_contract(self) -> None:
        given().when(cancel("B")).then_error(NoSuchContract, "'B' has no contract.")


class TestCredential:
    def test_is_issued(self) -> None:
        expires_at = AT + timedelta(days=1)
        command = issue(expires_at=expires_at)
        given(*happened(contract())).when(command).then(
            CredentialIssued(
                meta=head(command),
                subscriber="A",
                credential_id=CREDENTIAL,
                kind=CredentialKind.BEARER_TOKEN,
                digest=DIGEST,
                label="viewer",
                expires_at=expires_at,
            )
        )

    def test_is_of_a_kind(self) -> None:
        given(*happened(contract())).when(issue(kind=CredentialKind.UNSPECIFIED)).then_error(
            InvalidCredential, "A credential needs a kind."
        )

    def test_is_recorded_as_a_digest_only(self) -> None:
        for secret in ("", "hunter2", DIGEST.upper(), DIGEST + "0", f" {DIGEST}", f"{DIGEST}\n"):
            given(*happened(contract())).when(issue(digest=secret)).then_error(
                InvalidCredential, "is no SHA-256 in lower-case hexadecimal"
            )

    def test_is_not_issued_when_expired(self) -> None:
        given(*happened(contract())).when(issue(expires_at=AT)).then_error(
            InvalidCredential, "would have expired at 2026-01-02 03:04 already"
        )

    def test_has_an_id_of_its_own(self) -> None:
        given(*happened(contract(), issue())).when(issue(digest="cd" * 32)).then_error(
            InvalidCredential, "A has a credential"
        )

    def test_belongs_to_one_subscriber(self) -> None:
        both = happened(contract(), contract("B", OTHER), issue())
        given(*both).when(issue("B", credential_id=uuid4())).then_error(
            AlreadyTaken, f"This BEARER_TOKEN is in use by A ({CREDENTIAL})."
        )

    def test_may_be_issued_elsewhere_once_it_is_revoked_or_the_contract_ended(self) -> None:
        for end in (revoke(), cancel()):
            both = happened(contract(), contract("B", OTHER), issue(), end)
            assert len(decide(fold(State(), both), issue("B", credential_id=uuid4()))) == 1

    def test_is_revoked(self) -> None:
        command = revoke()
        given(*happened(contract(), issue())).when(command).then(
            CredentialRevoked(meta=head(command), subscriber="A", credential_id=CREDENTIAL, reason="lost")
        )

    def test_is_revoked_once(self) -> None:
        given(*happened(contract(), issue(), revoke())).when(revoke()).then_nothing()

    def test_that_is_not_there_is_not_revoked(self) -> None:
        given(*happened(contract())).when(revoke()).then_error(
            InvalidCredential, f"A has no credential {CREDENTIAL}."
        )


_subscribers = st.sampled_from(["A", "B", "C"])
_heads = {
    "command_id": st.uuids(),
    "at": st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    "source": st.just("cli"),
    "subscriber": _subscribers,
    "actor": st.none() | _subscribers,
}
_terms = st.builds(
    Terms,
    name=st.text(max_size=5),
    roles=st.lists(st.sampled_from(Role), max_size=2).map(tuple),
    apparatuses=st.lists(
        st.builds(
            Apparatus, apparatus_id=st.just("X"), ae_title=st.sampled_from(["X1", "X2", " X3 ", "Y\\"])
        ),
        max_size=1,
    ).map(tuple),
    networks=st.lists(st.sampled_from(["10.0.0.0/8", "10.0.0.1/8", "::/0"]), max_size=1).map(tuple),
    capacity_bytes=st.none() | st.integers(-1, 5),
)
_credential_ids = st.sampled_from([UUID(int=1), UUID(int=2)])
commands: st.SearchStrategy[Command] = st.one_of(
    st.builds(Contract, **_heads, terms=_terms),
    st.builds(Activate, **_heads, program=st.just("p")),
    st.builds(Change, **_heads, terms=_terms),
    st.builds(Cancel, **_heads, reason=st.just("r")),
    st.builds(
        IssueCredential,
        **_heads,
        credential_id=_credential_ids,
        kind=st.sampled_from(CredentialKind),
        digest=st.sampled_from(["ab" * 32, "cd" * 32, "x"]),
        label=st.just("l"),
        expires_at=st.none(),
    ),
    st.builds(RevokeCredential, **_heads, credential_id=_credential_ids, reason=st.just("r")),
)


def refused(state: State, error: MedbusError) -> State:
    assert error.message
    assert error.advice
    return state


def run(state: State, command: Command) -> State:
    """The state after a command, also after one that is refused."""
    try:
        events = decide(state, command)
    except MedbusError as error:
        return refused(state, error)
    assert len(events) <= 1
    return fold(state, events)


@over(st.lists(commands, max_size=12), st.data())
def test_any_command_may_be_retried_at_will(history: list[Command], data: st.DataObject) -> None:
    state = State()
    done: list[Command] = []
    for command in history:
        after = run(state, command)
        if after != state:
            done.append(command)
        state = after
        if done:
            assert decide(state, data.draw(st.sampled_from(done))) == ()


@over(st.lists(commands, max_size=12))
def test_an_event_that_comes_twice_changes_nothing(history: list[Command]) -> None:
    state = State()
    for command in history:
        try:
            events = decide(state, command)
        except MedbusError:
            continue
        for event in events:
            state = evolve(state, event)
            assert evolve(state, event) == state


@over(st.lists(commands, max_size=20))
def test_no_two_live_contracts_ever_share_an_ae_title_or_a_credential(history: list[Command]) -> None:
    state = State()
    for command in history:
        state = run(state, command)
        live = [each for each in state.contracts.values() if each.live]
        titles = [apparatus.ae_title for each in live for apparatus in each.terms.apparatuses]
        assert len(titles) == len(set(titles))
        assert all(title == title.strip() for title in titles)
        credentials = [
            (credential.kind, credential.digest)
            for each in live
            for credential in each.credentials
            if not credential.revoked
        ]
        assert len(credentials) == len(set(credentials))
