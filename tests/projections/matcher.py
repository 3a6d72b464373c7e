"""Matching the plain way, image by image, as PS3.4 C.2.2.2 words it: what the SQL has to agree with."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, time, timedelta
from typing import Any

from medbus.projections.images import Level
from medbus.schemas.events import ImageRegistered, Scope

Attributes = dict[str, Any]

LEVEL_OF: Mapping[str, Level] = {
    **dict.fromkeys(
        ["PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex"], Level.PATIENT
    ),
    **dict.fromkeys(
        [
            *("StudyInstanceUID", "StudyID", "StudyDate", "StudyTime", "AccessionNumber", "StudyDescription"),
            *("ReferringPhysicianName", "ModalitiesInStudy", "SOPClassesInStudy"),
        ],
        Level.STUDY,
    ),
    **dict.fromkeys(["SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription"], Level.SERIES),
    **dict.fromkeys(["SOPInstanceUID", "SOPClassUID", "InstanceNumber", "ImageType"], Level.IMAGE),
}


def answers(
    events: Sequence[ImageRegistered], level: Level, texts: Mapping[str, str], scope: Scope
) -> list[Attributes]:
    """Those entities of a level that match, by their keys; events are in the order of their arrival."""
    visible = [e for e in events if _sees(scope, e)]
    keys = [_key(e, level) for e in visible]
    found = []
    for key in sorted(set(keys)):
        entity = _described(events, visible, key, level)
        if all(
            _matches(keyword, entity[keyword], text)
            for keyword, text in texts.items()
            if _counts(keyword, level)
        ):
            found.append({each: entity[each] for each in LEVEL_OF if _counts(each, level)})
    return found


def _counts(keyword: str, level: Level) -> bool:
    return keyword in LEVEL_OF and LEVEL_OF[keyword].depth <= level.depth


def _sees(scope: Scope, event: ImageRegistered) -> bool:
    return scope.holds(
        patient_id=event.patient.patient_id, registrant=event.registrant, modality=event.series.modality
    )


def _key(event: ImageRegistered, level: Level) -> tuple[str, ...]:
    study = event.study.study_instance_uid, event.patient.patient_id
    match level:
        case Level.PATIENT:
            return (event.patient.patient_id,)
        case Level.STUDY:
            return study
        case Level.SERIES:
            return *study, event.series.series_instance_uid
        case Level.IMAGE:
            return (event.instance.sop_instance_uid,)


def _described(
    events: Sequence[ImageRegistered], visible: Sequence[ImageRegistered], key: tuple[str, ...], level: Level
) -> Attributes:
    first = next(e for e in visible if _key(e, level) == key)
    if level is Level.PATIENT:
        # The first study of which something may be seen.
        seen = {_key(e, Level.STUDY) for e in visible if _key(e, level) == key}
        first = next(e for e in events if _key(e, Level.STUDY) in seen)
    of_study = next(e for e in events if _key(e, Level.STUDY) == _key(first, Level.STUDY))
    of_series = next(e for e in events if _key(e, Level.SERIES) == _key(first, Level.SERIES))
    same_study = [e for e in visible if _key(e, Level.STUDY) == _key(first, Level.STUDY)]
    return {
        "PatientID": of_study.patient.patient_id,
        "IssuerOfPatientID": of_study.patient.issuer_of_patient_id,
        "PatientName": of_study.patient.patient_name,
        "PatientBirthDate": of_study.patient.patient_birth_date,
        "PatientSex": of_study.patient.patient_sex,
        "StudyInstanceUID": of_study.study.study_instance_uid,
        "StudyID": of_study.study.study_id,
        "StudyDate": of_study.study.study_date,
        "StudyTime": of_study.study.study_time,
        "AccessionNumber": of_study.study.accession_number,
        "StudyDescription": of_study.study.study_description,
        "ReferringPhysicianName": of_study.study.referring_physician_name,
        "ModalitiesInStudy": "\\".join(sorted({e.series.modality for e in same_study})),
        "SOPClassesInStudy": "\\".join(sorted({e.instance.sop_class_uid for e in same_study})),
        "SeriesInstanceUID": of_series.series.series_instance_uid,
        "Modality": of_series.series.modality,
        "SeriesNumber": of_series.series.series_number,
        "SeriesDescription": of_series.series.series_description,
        "SOPInstanceUID": first.instance.sop_instance_uid,
        "SOPClassUID": first.instance.sop_class_uid,
        "InstanceNumber": first.instance.instance_number,
        "ImageType": first.instance.image_type,
    }


def _matches(keyword: str, value: Any, text: str) -> bool:  # noqa: PLR0911 - one for each kind of key
    if not text.strip("*"):
        return True
    match keyword:
        case "PatientName" | "ReferringPhysicianName":
            return _name_matches(value, text)
        case "PatientBirthDate" | "StudyDate":
            return _within(_date(value), text, _date, _date)
        case "StudyTime":
            first = _time(value)
            return _within(first, text, _time, _end_of)
        case "SeriesNumber" | "InstanceNumber":
            return bool(value == int(text))
        case "ModalitiesInStudy" | "SOPClassesInStudy":
            return any(_text_matches(each, one) for each in value.split("\\") for one in text.split("\\"))
        case "ImageType":
            return re.fullmatch(f".*\\\\{_expression(text)}\\\\.*", f"\\{value}\\", re.DOTALL) is not None
        case (
            "Modality"
            | "PatientSex"
            | "StudyInstanceUID"
            | "SeriesInstanceUID"
            | "SOPInstanceUID"
            | "SOPClassUID"
        ):
            return any(_text_matches(value, one) for one in text.split("\\"))
        case _:
            return _text_matches(value, text)


def _text_matches(value: str, text: str) -> bool:
    return re.fullmatch(_expression(text), value, re.DOTALL) is not None


def _expression(text: str) -> str:
    return "".join({"*": ".*", "?": "."}.get(each, re.escape(each)) for each in text)


def _name_matches(value: str, text: str) -> bool:
    have, want = _groups(value), _groups(text)
    if "=" not in text:
        return any(_text_matches(each, want[0]) for each in have)
    return all(_text_matches(h, w) for h, w in zip(have, want, strict=True) if w)


def _groups(name: str) -> list[str]:
    groups = [group.rstrip("^").casefold() for group in name.split("=")]
    return groups + [""] * (3 - len(groups))


def _within(value: Any, text: str, first: Any, last: Any) -> bool:
    if value is None:
        return False
    begin, dash, end = text.partition("-")
    if not dash:
        end = begin
    return (not begin or first(begin) <= value) and (not end or value <= last(end))


def _date(text: str) -> date | None:
    digits = text.replace(".", "") if re.fullmatch(r"\d{4}\.\d\d\.\d\d", text) else text
    try:
        return (
            date.fromisoformat(f"{digits[:4]}-{digits[4:6]}-{digits[6:]}")
            if re.fullmatch(r"\d{8}", digits)
            else None
        )
    except ValueError:
        return None


def _time(text: str) -> timedelta | None:
    parts = re.fullmatch(r"(\d\d)(\d\d)?(\d\d)?(?:\.(\d{1,6}))?", text.replace(":", ""))
    if parts is None:
        return None
    hour, minute, second, fraction = (each or "0" for each in parts.groups())
    try:
        time(int(hour), int(minute), int(second))
    except ValueError:
        return None
    return timedelta(
        hours=int(hour), minutes=int(minute), seconds=int(second), microseconds=int(fraction.ljust(6, "0"))
    )


def _end_of(text: str) -> timedelta:
    begin = _time(text)
    assert begin is not None
    whole, _, fraction = text.partition(".")
    steps: Iterable[tuple[bool, timedelta]] = [
        (bool(fraction), timedelta(microseconds=10 ** (6 - len(fraction)))),
        (len(whole) == 6, timedelta(seconds=1)),
        (len(whole) == 4, timedelta(minutes=1)),
        (True, timedelta(hours=1)),
    ]
    return begin + next(step for fits, step in steps if fits) - timedelta(microseconds=1)
