"""How the images of a request are divided into work items. Pure."""

from collections.abc import Sequence
from itertools import groupby

from medbus.schemas.errors import MedbusError
from medbus.schemas.events import Blob, Value
from medbus.streams.processing.asked import Asked
from medbus.streams.processing.pixels.operation import Shape
from medbus.streams.processing.planning.identity import identity_of
from medbus.streams.processing.planning.inputs import Input


class Unplannable(MedbusError):
    """A request can't be done as a whole: nothing of it is processed."""


class Part(Value):
    """A part of a request, for one server.

    Attributes:
        number: from 0.
        images: what is processed.
        masks: what is subtracted.
        identity: of the work.
        reason: why it can't be done; empty if it may.
    """

    number: int
    images: tuple[Blob, ...]
    masks: tuple[Blob, ...] = ()
    identity: str
    reason: str = ""


def divide(asked: Asked, images: Sequence[Input], masks: Sequence[Input] = ()) -> tuple[Part, ...]:
    """Divide images into parts that can be done apart.

    Frame by frame each object is a part, else each series; an object that can't be processed is a part of its
    own. The order of the arguments makes no difference, nor does it matter if one comes twice.

    A mask is for all images. Several are paired with as many images, by instance number, if both are one
    series each; where whole series are needed at once, all masks are one series, and for all of them.

    Args:
        asked: what is to be done.
        images: what is processed.
        masks: what is subtracted, for a type that takes two stacks.

    Raises:
        Unplannable: there are no images, or masks that can't be paired with them.
    """
    chosen, taken = _sorted(images), _sorted(masks)
    if not chosen:
        raise Unplannable("No images were chosen that could be processed.", "Choose images.")
    _check_masks(asked, taken)
    usable = [each for each in chosen if not each.reason]
    groups: list[tuple[list[Input], list[Input], str]] = [
        ([each], [], each.reason) for each in chosen if each.reason
    ]
    if asked.operation.shape_for(asked.settings) is Shape.FRAME:
        groups += [([image], mask, "") for image, mask in zip(usable, _paired(usable, taken), strict=True)]
    else:
        if len({_series(each) for each in taken}) > 1:
            raise Unplannable("The masks are of several series.", "Choose masks of one series.")
        groups += [(list(group), taken, "") for _, group in groupby(usable, _series)]
    groups.sort(key=lambda group: group[0][0].order())
    return tuple(
        Part(
            number=number,
            images=tuple(each.blob for each in some),
            masks=tuple(each.blob for each in others),
            identity=identity_of(
                asked, [each.blob.digest for each in some], [each.blob.digest for each in others]
            ),
            reason=reason,
        )
        for number, (some, others, reason) in enumerate(groups)
    )


def _sorted(inputs: Sequence[Input]) -> list[Input]:
    """Each object once, in its order."""
    once: dict[str, Input] = {}
    for each in sorted(inputs, key=Input.order):
        once.setdefault(each.blob.digest, each)
    return list(once.values())


def _series(each: Input) -> tuple[str, str]:
    return each.study_instance_uid, each.series_instance_uid


def _check_masks(asked: Asked, masks: Sequence[Input]) -> None:
    title = asked.operation.name
    if asked.operation.inputs == 1 and masks:
        raise Unplannable(f"{title} takes no masks.", "Leave them out, or ask for subtract.")
    if asked.operation.inputs == 2 and not masks:
        raise Unplannable(f"{title} needs a mask.", "Name what is to be subtracted.")
    for each in masks:
        if each.reason:
            raise Unplannable(f"A mask can't be used: {each.reason}")


def _paired(images: Sequence[Input], masks: Sequence[Input]) -> list[list[Input]]:
    """The masks of each image."""
    if len(masks) <= 1:
        return [list(masks)] * len(images)
    advice = "Choose one mask for all images, or as many masks as images, of one series each."
    if len(masks) != len(images):
        raise Unplannable(f"{len(masks)} masks can't be paired with {len(images)} images.", advice)
    for name, inputs in (("images", images), ("masks", masks)):
        if len({_series(each) for each in inputs}) > 1:
            raise Unplannable(f"The {name} are of several series: which mask is whose is not clear.", advice)
        numbers = {each.instance_number for each in inputs}
        if None in numbers or len(numbers) < len(inputs):
            raise Unplannable(
                f"Some {name} have no instance number, or share one: which mask is whose is not clear.",
                "Choose one mask for all images.",
            )
    # Both are in the order of their numbers.
    return [[mask] for mask in masks]
