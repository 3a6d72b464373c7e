"""Queries: what a value asks for, and that the catalog's SQL finds what the Standard's words say."""

from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.projections.examples import image
from tests.projections.matcher import LEVEL_OF, answers
from tests.projections.memory_log import MemoryLog
from tests.projections.tables import catalog

from medbus.projections import projection
from medbus.projections.database import Database
from medbus.projections.errors import InvalidQuery
from medbus.projections.images import (
    AnyOf,
    ImageProjection,
    ImageReader,
    Level,
    Match,
    Query,
    Range,
    Single,
    Universal,
    Wildcard,
    matching,
    search,
)
from medbus.projections.images.matching import day, folded, name_groups, span
from medbus.projections.projector import Projector
from medbus.schemas.events import ImageRegistered, Scope


@pytest.mark.parametrize(
    ("keyword", "text", "match"),
    [
        ("PatientName", "", Universal()),
        ("PatientName", "*", Universal()),
        ("PatientName", "DOE*", Wildcard(pattern="DOE*")),
        ("PatientID", " 4711 ", Single(value="4711")),
        ("StudyInstanceUID", "1.2\\1.3", AnyOf(values=("1.2", "1.3"))),
        ("StudyInstanceUID", "1.2\0", Single(value="1.2")),
        ("ModalitiesInStudy", "CT\\MR", AnyOf(values=("CT", "MR"))),
        ("StudyDate", "20240101-20240131", Range(first="20240101", last="20240131")),
        ("StudyDate", "-20240131", Range(first=None, last="20240131")),
        ("StudyDate", "20240101-", Range(first="20240101", last=None)),
        ("StudyDate", "20240101", Single(value="20240101")),
        ("StudyTime", "10-1130", Range(first="10", last="1130")),
        ("SeriesNumber", "007", Single(value="007")),
        ("NumberOfStudyRelatedInstances", "5", Universal()),
        ("SliceThickness", "5", Universal()),
    ],
)
def test_a_value_says_how_a_key_is_to_match(keyword: str, text: str, match: Match) -> None:
    assert matching(keyword, text) == match


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("StudyDate", "2024"),
        ("StudyDate", "20241301"),
        ("StudyDate", "-"),
        ("StudyDate", "20240101-20240102-20240103"),
        ("StudyTime", "2460"),
        ("StudyInstanceUID", "1.2.*"),
        ("InstanceNumber", "one"),
        ("InstanceNumber", "1" * 30),
    ],
)
def test_a_value_that_does_not_fit_its_key_is_refused(keyword: str, text: str) -> None:
    with pytest.raises(InvalidQuery, match=keyword):
        matching(keyword, text)


def test_times_and_dates_are_compared_as_what_they_mean() -> None:
    assert span("10") == span("10") == (36_000_000_000, 39_599_999_999)
    assert span("101530.5") == (36_930_500_000, 36_930_599_999)
    assert span("10:15:30") == span("101530")
    assert span("") is span("1") is span("25") is span("1061") is span("noon") is None
    assert day("2024.01.02") == day("20240102") == "20240102"
    assert day("") is day("20240230") is day("2024") is None


def test_names_are_compared_without_case_but_with_accents() -> None:
    assert name_groups("Yamada^Tarou^^=山田^太郎=やまだ^たろう") == (
        "yamada^tarou",
        "山田^太郎",
        "やまだ^たろう",
    )
    assert name_groups("") == ("", "", "")
    assert folded("MÜLLER") == folded("mu\u0308ller") != folded("MULLER")


NAMES = [
    "DOE^JANE",
    "doe^john^^",
    "Döring^Anna",
    "DÖRING^ANNA",
    "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "50%_[a]^X",
    "",
]
DATES = ["20240102", "20231231", "2024.01.02", "", "20240230", "soon", "19991231"]
TIMES = ["101112", "10", "1015", "101112.5", "", "morning", "235959.999999"]
TEXTS = ["Thorax", "thorax", "Thorax 50%", "A_C", "ABC", "a[b]c", "back\\slash", "ÄÖ", ""]


def images(uids: st.SearchStrategy[str]) -> st.SearchStrategy[ImageRegistered]:
    return st.builds(
        lambda uid, study, series, patient, name, sex, of_study, modality, number, kind, registrant: image(
            uid,
            study=study,
            series=f"{study}.{series}",
            patient=patient,
            name=name,
            sex=sex,
            birth_date=of_study["study_date"],
            of_study=of_study,
            modality=modality,
            number=number,
            of_series={"series_number": number, "series_description": of_study["study_description"]},
            of_instance={"image_type": kind},
            registrant=registrant,
        ),
        uids,
        st.sampled_from(["1.1", "1.2", "1.3", "1.10"]),
        st.sampled_from(["1", "2"]),
        st.sampled_from(["P1", "P2", "p1", "P_1", ""]),
        st.sampled_from(NAMES),
        st.sampled_from(["M", "F", ""]),
        st.fixed_dictionaries(
            {
                "study_date": st.sampled_from(DATES),
                "study_time": st.sampled_from(TIMES),
                "study_description": st.sampled_from(TEXTS),
                "accession_number": st.sampled_from(["A1", "A2", ""]),
                "referring_physician_name": st.sampled_from(NAMES),
            }
        ),
        st.sampled_from(["CT", "MR", "SR"]),
        st.sampled_from([None, 1, 2]),
        st.sampled_from(["ORIGINAL\\PRIMARY\\AXIAL", "DERIVED\\SECONDARY", ""]),
        st.sampled_from(["A-hospital", "B-hospital"]),
    )


def pattern(values: list[str]) -> st.SearchStrategy[str]:
    """A value as it is, in other case, or with wildcards in it."""

    def spoil(value: str, at: int, what: str) -> str:
        cut = at % (len(value) + 1)
        return {
            "as is": value,
            "upper": value.upper(),
            "star": f"{value[:cut]}*",
            "end": f"*{value[cut:]}",
        }.get(what, f"{value[:cut]}?{value[cut + 1 :]}")

    spoiled = st.builds(
        spoil,
        st.sampled_from(values),
        st.integers(0, 20),
        st.sampled_from(["as is", "upper", "star", "end", "mark"]),
    )
    return st.one_of(spoiled, st.just(""))


def ranges(values: list[str]) -> st.SearchStrategy[str]:
    value = st.sampled_from(values)
    return st.one_of(
        value, st.builds("{}-{}".format, value, value), value.map("{}-".format), value.map("-{}".format)
    )


queries: st.SearchStrategy[dict[str, str]] = st.fixed_dictionaries(
    {},
    optional={
        "PatientID": pattern(["P1", "P2", "P_1"]),
        "PatientName": pattern([*NAMES, "doe^jane", "=山田^太郎", "Yamada^Tarou=山田^太郎"]),
        "PatientSex": st.sampled_from(["M", "F\\M", "?"]),
        "PatientBirthDate": ranges(["20240102", "20231231"]),
        "StudyInstanceUID": st.sampled_from(["1.1", "1.1\\1.2", "1.10"]),
        "StudyDate": ranges(["20240102", "20231231", "20240101", "2024.01.02"]),
        "StudyTime": ranges(["10", "1011", "101112", "101112.5", "2359"]),
        "AccessionNumber": pattern(["A1", "A2"]),
        "StudyDescription": pattern(TEXTS),
        "ReferringPhysicianName": pattern(NAMES),
        "ModalitiesInStudy": st.sampled_from(["CT", "CT\\MR", "?R", "XX"]),
        "SOPClassesInStudy": st.sampled_from(["1.2.840.10008.5.1.4.1.1.2", "1.2"]),
        "Modality": st.sampled_from(["CT", "MR\\SR", "*R"]),
        "SeriesNumber": st.sampled_from(["1", "02"]),
        "InstanceNumber": st.sampled_from(["1", "2"]),
        "ImageType": pattern(["ORIGINAL", "PRIMARY", "PRIMARY\\AXIAL", "DERIVED"]),
    },
)
scopes = st.builds(
    Scope,
    patients=st.sampled_from([(), ("P1",), ("P1", "P2"), ("nobody",)]),
    registrants=st.sampled_from([(), ("A-hospital",)]),
    modalities=st.sampled_from([(), ("CT", "MR")]),
)
studies = st.lists(st.integers(0, 10**6), min_size=1, max_size=12, unique=True).flatmap(
    lambda uids: st.tuples(*(images(st.just(f"9.{uid}")) for uid in uids))
)


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(studies, st.sampled_from(list(Level)), queries, scopes)
def test_the_catalog_finds_what_a_plain_matcher_finds(
    events: tuple[ImageRegistered, ...], level: Level, texts: dict[str, str], scope: Scope
) -> None:
    log = MemoryLog(partitions=1)
    log.extend(events)
    projections = (ImageProjection(),)
    wanted = dict.fromkeys(LEVEL_OF, "") | texts
    with catalog(projections) as connection:
        projection.apply(connection, projections, log.all())
        found, _ = search.page(connection, Query.of(level, wanted), scope, after=None, size=1000)
    expected = answers(events, level, texts, scope)
    supported = [keyword for keyword in LEVEL_OF if LEVEL_OF[keyword].depth <= level.depth]
    assert [{keyword: each[keyword] for keyword in supported} for each in found] == expected


FIXED: list[tuple[Level, Mapping[str, str]]] = [
    (Level.STUDY, {"PatientName": "doe*"}),
    (Level.STUDY, {"PatientName": "DÖRING^*"}),
    (Level.STUDY, {"PatientName": "DORING*"}),
    (Level.STUDY, {"PatientName": "山田*"}),
    (Level.STUDY, {"PatientName": "*たろう"}),
    (Level.STUDY, {"PatientName": "=山田^太郎"}),
    (Level.STUDY, {"PatientName": "yamada^tarou=山*"}),
    (Level.STUDY, {"PatientName": "50%_[a]*"}),
    (Level.STUDY, {"StudyDescription": "thorax"}),
    (Level.STUDY, {"StudyDescription": "Thorax*"}),
    (Level.STUDY, {"StudyDescription": "*50%"}),
    (Level.STUDY, {"StudyDescription": "A_C"}),
    (Level.STUDY, {"StudyDescription": "A?C"}),
    (Level.STUDY, {"StudyDescription": "a[b]*"}),
    (Level.STUDY, {"StudyDescription": "back\\*"}),
    (Level.STUDY, {"StudyDescription": "Ä?"}),
    (Level.STUDY, {"StudyDate": "20240101-20240131"}),
    (Level.STUDY, {"StudyDate": "-20231231"}),
    (Level.STUDY, {"StudyDate": "20240102-"}),
    (Level.STUDY, {"StudyTime": "1011-1011"}),
    (Level.STUDY, {"ModalitiesInStudy": "MR\\SR"}),
    (Level.STUDY, {"ModalitiesInStudy": "?R"}),
    (Level.STUDY, {"StudyInstanceUID": "1.1\\1.3\\7.7"}),
    (Level.PATIENT, {"PatientName": "doe^jane"}),
    (Level.PATIENT, {"PatientID": "P?"}),
    (Level.PATIENT, {"StudyInstanceUID": "1.1"}),
    (Level.SERIES, {"StudyInstanceUID": "1.1", "Modality": "CT"}),
    (Level.SERIES, {"SeriesNumber": "2"}),
    (Level.IMAGE, {"StudyInstanceUID": "1.2", "ImageType": "PRIMARY"}),
    (Level.IMAGE, {"SOPInstanceUID": "9.1\\9.2\\9.3"}),
    (Level.IMAGE, {"InstanceNumber": "1", "PatientID": "P1"}),
]


async def test_every_database_finds_the_same(log: MemoryLog, projector: Projector, reader: Database) -> None:
    events = [
        image(
            f"9.{n}",
            study=["1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "1.7", "1.8", "1.9"][n % 9],
            series=f"1.{n % 9 + 1}.{n % 2}",
            patient=["P1", "P2", "p1"][n % 9 % 3],
            name=NAMES[n % 9 % len(NAMES)],
            modality=["CT", "MR", "SR"][n % 3],
            number=n % 4,
            of_study={
                "study_date": DATES[n % 9 % len(DATES)],
                "study_time": TIMES[n % 9 % len(TIMES)],
                "study_description": TEXTS[n % 9],
            },
            of_series={"series_number": n % 3},
        )
        for n in range(27)
    ]
    log.extend(events)
    await projector.catch_up()
    images = ImageReader(reader)
    matched = 0
    for level, texts in FIXED:
        for scope in (Scope(), Scope(modalities=("CT", "MR"))):
            query = Query.of(level, dict.fromkeys(LEVEL_OF, "") | dict(texts))
            found = [answer async for answer in images.find(query, scope)]
            expected = answers(events, level, texts, scope)
            supported = [keyword for keyword in LEVEL_OF if LEVEL_OF[keyword].depth <= level.depth]
            assert [{k: each[k] for k in supported} for each in found] == expected, (level, texts, scope)
            matched += len(found)
    assert matched > 50


async def test_keys_that_are_not_supported_match_everything_and_come_back_empty(
    log: MemoryLog, projector: Projector, reader: Database
) -> None:
    log.append(image("1.1.1.1"))
    await projector.catch_up()
    query = Query.of(
        Level.STUDY, {"PatientComments": "x", "Modality": "MR", "SOPInstanceUID": "9", "StudyID": ""}
    )
    (answer,) = [each async for each in ImageReader(reader).find(query)]
    assert answer == {
        "StudyID": "",
        "StudyInstanceUID": "1.1",
        "PatientComments": None,
        "Modality": None,
        "SOPInstanceUID": None,
    }
