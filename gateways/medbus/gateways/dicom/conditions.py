"""Picks the imaging conditions of an image out of the values of its data set."""

from collections.abc import Mapping, Sequence
from typing import Final

from medbus.gateways.dicom.values import RawValue, text_of
from medbus.schemas.conditions import CONDITIONS, OF_MODALITY, OF_THE_REST, Condition

CONDITION_LENGTH: Final = 1024
"""A condition whose text has more characters is left to the header."""

TAGS: Final = frozenset(int(condition.tag, 16) for condition in CONDITIONS.values())
"""Where conditions stand."""

SEARCHED: Final = frozenset(
    {
        0x00180012,  # Contrast/Bolus Agent Sequence
        0x00186011,  # Sequence of Ultrasound Regions
        0x00189507,  # X-Ray 3D Acquisition Sequence
        0x00540012,  # Energy Window Information Sequence
        0x00540016,  # Radiopharmaceutical Information Sequence
        0x00540022,  # Detector Information Sequence
        0x00540052,  # Rotation Information Sequence
        0x00540062,  # Gated Information Sequence
        0x52009229,  # Shared Functional Groups Sequence
        0x52009230,  # Per-Frame Functional Groups Sequence
    }
)
"""Sequences in whose first item conditions stand too, at any depth (enhanced multi-frame: PS3.3 C.7.6.16)."""

_Row = tuple[str, int]


def _rows(conditions: Sequence[Condition]) -> tuple[_Row, ...]:
    return tuple((condition.keyword, int(condition.tag, 16)) for condition in conditions)


_ROWS: Final[Mapping[str, tuple[_Row, ...]]] = {
    modality: _rows(conditions) for modality, conditions in OF_MODALITY.items()
}
_ROWS_OF_THE_REST: Final = _rows(OF_THE_REST)


def conditions(
    modality: str,
    values: Mapping[int, RawValue],
    values_within: Mapping[int, RawValue],
    encodings: tuple[str, ...] = ("ascii",),
) -> dict[str, str]:
    """Keyword to text of every condition that has a value, in the vocabulary's order for the modality.

    Args:
        modality: Modality (0008,0060).
        values: by tag, of the data set itself.
        values_within: by tag, of its sequences; used where the data set itself has no such element.
        encodings: of texts.
    """
    found: dict[str, str] = {}
    for keyword, tag in _ROWS.get(modality, _ROWS_OF_THE_REST):
        raw = values.get(tag) or values_within.get(tag)
        if raw is None:
            continue
        text = text_of(raw, encodings)
        if len(text) <= CONDITION_LENGTH and text.strip("\\"):
            found[keyword] = text
    return found
