"""Projections of a stack: greatest and least intensity, and the mean, along an axis or turned about one."""

from collections.abc import Callable, Sequence

from medbus.streams.processing.pixels.errors import InvalidParameter
from medbus.streams.processing.pixels.operation import Derived, Operation, Shape
from medbus.streams.processing.pixels.parameter import Kind, Parameter, Settings
from medbus.streams.processing.pixels.rays import Along, project, projected_affine, projected_spacing, slabs
from medbus.streams.processing.pixels.stack import AXES, Stack
from medbus.streams.processing.pixels.turning import (
    Turn,
    raster,
    turned,
    turned_affine,
    turned_slabs,
    turned_spacing,
)
from medbus.streams.processing.pixels.work import Work


def projection(
    stack: Stack,
    *,
    along: Along,
    axis: int,
    about: int | None = None,
    angle: float = 0.0,
    thickness: float | None = None,
    step: float | None = None,
    work: Work,
) -> Derived:
    """Project a stack, as a whole or in slabs.

    Args:
        stack: (slices, rows, columns), any type.
        along: what a ray leaves of its values.
        axis: along which rays run: 0 across the slices, 1 down the rows, 2 along a row.
        about: the axis about which their direction is turned; None for no turn.
        angle: of the turn in degrees, from `axis` towards the third axis.
        thickness: of a slab in mm; None for the whole stack.
        step: from slab to slab in mm; None for the thickness.
        work: who does it.

    Returns:
        See `rays.project` for no turn, and `turning.turned` for a turn, also about 0 degrees.
    """
    if about is None:
        cut = slabs(stack.shape[axis], stack.spacing[axis], thickness, step)
        pixels = project(stack, along=along, axis=axis, cut=cut, work=work)
        spacing = projected_spacing(stack, axis, cut)
        made = stack.unscaled if along.exact else stack.like
        return Derived(made(pixels, spacing=spacing), projected_affine(axis, cut))
    turn = Turn(axis=axis, about=about, angle=angle)
    points = raster(stack, turn)
    cut = turned_slabs(points, thickness, step)
    values = turned(stack, along=along, turn=turn, cut=cut, points=points, work=work)
    spacing = turned_spacing(stack, turn, cut, points)
    return Derived(stack.like(values, spacing=spacing), turned_affine(turn, cut, points))


PARAMETERS = (
    Parameter(
        name="axis",
        kind=Kind.AXIS,
        default="z",
        text="along which rays run: z across the slices, y down the rows, x along a row.",
    ),
    Parameter(
        name="about",
        kind=Kind.AXIS,
        text="axis about which the rays are turned by angle; another one than axis.",
    ),
    Parameter(
        name="angle",
        kind=Kind.ANGLE,
        unit="degree",
        least=-360,
        most=360,
        text="of the turn about that axis, from axis towards the third one; 0 if only about is given.",
    ),
    Parameter(
        name="thickness",
        kind=Kind.NUMBER,
        unit="mm",
        least=1e-6,
        text="of a slab, rounded to pixels; the whole stack if it is not given. The last slab may be "
        "thinner.",
    ),
    Parameter(
        name="step",
        kind=Kind.NUMBER,
        unit="mm",
        least=1e-6,
        text="from slab to slab, rounded to pixels; the thickness if it is not given.",
    ),
)


def _check_turn(settings: Settings) -> None:
    if "angle" in settings and "about" not in settings:
        raise InvalidParameter("angle needs about.", "It is the axis about which the rays are turned.")
    if settings.get("about") == settings.word("axis"):
        raise InvalidParameter(
            f"about can't be {settings.word('axis')}, the axis along which rays run.",
            "A turn about a ray changes nothing: choose another axis.",
        )
    if "step" in settings and "thickness" not in settings:
        raise InvalidParameter("step needs thickness.", "The whole stack is one slab without it.")


def _function(along: Along) -> Callable[[Sequence[Stack], Settings, Work], Derived]:
    def function(stacks: Sequence[Stack], settings: Settings, work: Work) -> Derived:
        (stack,) = stacks
        return projection(
            stack,
            along=along,
            axis=AXES.index(settings.word("axis")),
            about=AXES.index(settings.word("about")) if "about" in settings else None,
            angle=settings.number("angle") if "angle" in settings else 0.0,
            thickness=settings.number("thickness") if "thickness" in settings else None,
            step=settings.number("step") if "step" in settings else None,
            work=work,
        )

    return function


_TURNED = (
    "Turned about an axis, values between pixels are bilinear, pixels are as wide as the lesser spacing of "
    "the planes across that axis, and what no ray meets has the least value of the stack. "
)
_SOURCE = "Wallis and others, IEEE Transactions on Medical Imaging 8 (1989), 297-303."

MIP = Operation(
    name="mip",
    title="Maximum intensity projection",
    text="The greatest value along each ray, for the whole stack or in slabs. Along an axis values stay "
    f"exact: the type, slope and intercept of the input. {_TURNED}{_SOURCE}",
    parameters=PARAMETERS,
    shape=Shape.PROJECTION,
    check=_check_turn,
    function=_function(Along.GREATEST),
)

MINIP = Operation(
    name="minip",
    title="Minimum intensity projection",
    text="The least value along each ray, for the whole stack or in slabs. Along an axis values stay exact: "
    f"the type, slope and intercept of the input. {_TURNED}{_SOURCE}",
    parameters=PARAMETERS,
    shape=Shape.PROJECTION,
    check=_check_turn,
    function=_function(Along.LEAST),
)

MEAN_PROJECTION = Operation(
    name="mean-projection",
    title="Mean intensity projection",
    text="The mean along each ray, for the whole stack or in slabs. Values keep their unit and become "
    f"float32, rounded once. {_TURNED}{_SOURCE}",
    parameters=PARAMETERS,
    shape=Shape.PROJECTION,
    check=_check_turn,
    function=_function(Along.MEAN),
)
