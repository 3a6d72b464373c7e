"""What two scopes have in common."""

from medbus.schemas.events import Scope


def common(one: Scope, other: Scope) -> Scope | None:
    """The scope of the images that lie in both; None if there can be none.

    An empty side of a scope is open, so sides that have nothing in common can't be written as one.
    """
    sides: list[tuple[str, ...]] = []
    for mine, theirs in (
        (one.patients, other.patients),
        (one.registrants, other.registrants),
        (one.modalities, other.modalities),
    ):
        both = tuple(each for each in mine if each in set(theirs)) if mine and theirs else mine or theirs
        if mine and theirs and not both:
            return None
        sides.append(both)
    return Scope(patients=sides[0], registrants=sides[1], modalities=sides[2])
