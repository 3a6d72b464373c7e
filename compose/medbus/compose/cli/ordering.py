"""What somebody wants processed, as options say it, and whether it can be."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from medbus.gateways.dicom.values import is_uid
from medbus.schemas.errors import SettingsError
from medbus.schemas.events import Answer, Keep
from medbus.streams.processing.asked import asked


class Chosen(NamedTuple):
    """Images: UIDs of registered ones, and files."""

    images: Sequence[str] = ()
    series: Sequence[str] = ()
    studies: Sequence[str] = ()
    files: Sequence[Path] = ()

    @property
    def any(self) -> bool:
        """Whether there are some."""
        return any(self)

    def named(self) -> dict[str, Sequence[str]]:
        """Those that are registered, as the gateway takes them."""
        return {
            "sop_instance_uids": self.images,
            "series_instance_uids": self.series,
            "study_instance_uids": self.studies,
        }


class Order(NamedTuple):
    """What is to be done."""

    processing_type: str
    parameters: Mapping[str, str]
    images: Chosen
    masks: Chosen
    keep: str
    answer: str
    destinations: Sequence[str]
    server: str | None

    def document(self) -> dict[str, object]:
        """As the gateway takes it."""
        return {
            "type": self.processing_type,
            "parameters": self.parameters,
            "images": self.images.named(),
            "masks": self.masks.named(),
            "keep": self.keep,
            "answer": self.answer,
            "destinations": self.destinations,
            "server": self.server,
        }


def parameters(words: Sequence[str]) -> dict[str, str]:
    """The parameters that somebody wrote as NAME=VALUE.

    Raises:
        SettingsError: a word is none, or a name comes twice.
    """
    found: dict[str, str] = {}
    for word in words:
        name, assigned, value = word.partition("=")
        if not assigned or not name:
            raise SettingsError(
                f"{word!r} is no parameter.",
                "Write NAME=VALUE, as sigma=2: see `medbus process TYPE --explain`.",
            )
        if name in found:
            raise SettingsError(f"{name} is given twice.", "Give it once.")
        found[name] = value
    return found


def check(order: Order) -> None:
    """Go on only with what can be asked for.

    Raises:
        InvalidParameter: there is no such type, or a parameter is not what it may be.
        SettingsError: images or masks are missing or too many, or a word is none of those that there are.
    """
    operation = asked(order.processing_type, order.parameters).operation
    if not order.images.any:
        raise SettingsError("There are no images to process.", "Give --image, --series, --study or --file.")
    if operation.inputs == 2 and not order.masks.any:
        raise SettingsError(
            f"{operation.name} needs masks.", "Give --mask-image, --mask-series or --mask-file."
        )
    if operation.inputs == 1 and order.masks.any:
        raise SettingsError(f"{operation.name} takes no masks.", "Leave --mask-… out.")
    for chosen in (order.images, order.masks):
        for uid in (*chosen.images, *chosen.series, *chosen.studies):
            if not is_uid(uid):
                raise SettingsError(f"{uid!r} is no UID.", "Find those of images with `medbus catalog`.")
    _check_word("--keep", order.keep, tuple(Keep))
    _check_word("--answer", order.answer, tuple(Answer))


def _check_word(option: str, word: str, among: Sequence[str]) -> None:
    known = [each.lower().replace("_", "-") for each in among if each != "UNSPECIFIED"]
    if word.lower().replace("_", "-") not in known:
        raise SettingsError(f"{option} can't be {word!r}.", f"Choose among {', '.join(known)}.")
