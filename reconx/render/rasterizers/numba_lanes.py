"""Eight floats as one value of a compiled kernel: one register of AVX, two of NEON.

LLVM vectorises plain loops by itself, but keeps their sums in memory, and gives up where arrays
might overlap; written as `Lanes`, a kernel's inner loop is what it says. `Lanes` have + - * /, +=
and comparisons, with each other and with float32; a comparison gives a `Mask`, which has &.
"""

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

WIDTH = 8
_VECTOR, _TRUTHS = ir.VectorType(ir.FloatType(), WIDTH), ir.VectorType(ir.IntType(1), WIDTH)


class _LanesType(types.Type):
    def __init__(self) -> None:
        super().__init__("Lanes")


class _MaskType(types.Type):
    def __init__(self) -> None:
        super().__init__("Mask")


LANES, MASK = _LanesType(), _MaskType()


@register_model(_LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: types.Type) -> None:
        super().__init__(manager, kind, _VECTOR)


@register_model(_MaskType)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: types.Type) -> None:
        super().__init__(manager, kind, _TRUTHS)


def _are_lanes(*kinds: types.Type) -> bool:
    """Whether these are `Lanes` and float32, the former at least once."""
    return LANES in kinds and all(kind in (LANES, types.float32) for kind in kinds)


def _widen(builder: Any, kind: types.Type, value: Any) -> Any:
    """`Lanes` as they are; a float32 in every lane."""
    if kind == LANES:
        return value
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    alone = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    first = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
    return builder.shuffle_vector(alone, undefined, first)


def _teach(function: Callable[..., Any], result: types.Type, emit: Callable[..., Any]) -> None:
    """Let numba compile an operator of two `Lanes`, or of `Lanes` and a float32."""

    @type_callable(function)
    def type_operator(context: Any) -> Callable[..., Any]:
        return lambda a, b: result if _are_lanes(a, b) else None

    def lower(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        a, b = (_widen(builder, *pair) for pair in zip(signature.args, values, strict=True))
        return emit(builder, a, b)

    for kinds in ((LANES, LANES), (LANES, types.float32), (types.float32, LANES)):
        lower_builtin(function, *kinds)(lower)


_teach(operator.add, LANES, lambda builder, a, b: builder.fadd(a, b))
_teach(operator.iadd, LANES, lambda builder, a, b: builder.fadd(a, b))
_teach(operator.sub, LANES, lambda builder, a, b: builder.fsub(a, b))
_teach(operator.mul, LANES, lambda builder, a, b: builder.fmul(a, b))
_teach(operator.truediv, LANES, lambda builder, a, b: builder.fdiv(a, b))
_teach(operator.lt, MASK, lambda builder, a, b: builder.fcmp_ordered("<", a, b))
_teach(operator.gt, MASK, lambda builder, a, b: builder.fcmp_ordered(">", a, b))
_teach(operator.ge, MASK, lambda builder, a, b: builder.fcmp_ordered(">=", a, b))


@type_callable(operator.and_)
def _type_and(context: Any) -> Callable[..., Any]:
    return lambda a, b: MASK if a == b == MASK else None


@lower_builtin(operator.and_, MASK, MASK)
def _and(context: Any, builder: Any, signature: Any, values: Any) -> Any:
    return builder.and_(*values)


def _intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function for kernels, without numba's own first argument."""
    return intrinsic(function)


def _operation(emit: Callable[..., Any]) -> Callable[..., Any]:
    """An intrinsic of two `Lanes` or float32 values that gives `Lanes`."""

    @_intrinsic
    def function(typing: Any, a: types.Type, b: types.Type) -> Any:
        def lower(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            a, b = (_widen(builder, *pair) for pair in zip(signature.args, values, strict=True))
            return emit(builder, a, b)

        return (LANES(a, b), lower) if _are_lanes(a, b) else None

    return function


lowest = _operation(lambda builder, a, b: builder.select(builder.fcmp_ordered("<", a, b), a, b))
"""The lower of a and b, lane by lane; b where either is NaN."""
highest = _operation(lambda builder, a, b: builder.select(builder.fcmp_ordered(">", a, b), a, b))
"""The higher of a and b, lane by lane; b where either is NaN."""


@_intrinsic
def kept(typing: Any, mask: types.Type, value: types.Type) -> Any:
    """The value where the mask holds, else 0."""

    def lower(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.select(values[0], values[1], ir.Constant(_VECTOR, None))

    return LANES(mask, value), lower


@_intrinsic
def bits(typing: Any, mask: types.Type) -> Any:
    """An int32 whose bit i is lane i of a mask."""

    def lower(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        packed = builder.bitcast(values[0], ir.IntType(WIDTH))
        return builder.zext(packed, ir.IntType(32))

    return types.int32(mask), lower


@_intrinsic
def lowest_bit(typing: Any, number: types.Type) -> Any:
    """Place of the lowest set bit of an int32 that is not 0."""

    def lower(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.cttz(values[0], ir.Constant(ir.IntType(1), 1))

    return types.int32(types.int32), lower


@_intrinsic
def root(typing: Any, value: types.Type) -> Any:
    """The square root of each lane."""

    def lower(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = ir.FunctionType(_VECTOR, [_VECTOR])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.sqrt.v8f32")
        return builder.call(function, values)

    return LANES(value), lower


def _fold(builder: Any, a: Any, b: Any, run: int) -> Any:
    """Halve a's lanes and b's by adding runs of 1, 2 or 4; the results take turns, a's first.

    Runs of 1 and 2 are added within a half of the register, where AVX shuffles fastest.
    """
    halves, distance = ((0, 4), 2) if run < 4 else ((0,), 4)
    near = [
        lane
        for half in halves
        for start in range(half, half + distance, run)
        for first in (start, WIDTH + start)
        for lane in range(first, first + run)
    ]
    index = ir.VectorType(ir.IntType(32), WIDTH)
    parts = [
        builder.shuffle_vector(a, b, ir.Constant(index, [lane + shift for lane in near]))
        for shift in (0, distance)
    ]
    return builder.fadd(*parts)


@_intrinsic
def totals(typing: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any) -> Any:
    """The sum of a's lanes in lane 0, of b's in lane 1, and so on."""

    def lower(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        vectors = list(values)
        for run in (1, 2, 4):
            pairs = zip(vectors[::2], vectors[1::2], strict=True)
            vectors = [_fold(builder, left, right, run) for left, right in pairs]
        return vectors[0]

    return LANES(*[LANES] * WIDTH), lower


@_intrinsic
def folded(typing: Any, a: types.Type, b: types.Type) -> Any:
    """Lanes whose even ones add up to the sum of a's lanes, and the odd ones to that of b's."""

    def lower(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        left, right = values
        return _fold(builder, left, right, 1)

    return LANES(a, b), lower


@_intrinsic
def load(typing: Any, array: types.Type, place: types.Type) -> Any:
    """Eight neighbours in a one-dimensional float32 array, from a place on."""

    def lower(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load(_pointer(context, builder, signature, values), align=4)

    return LANES(array, types.uint64), lower


@_intrinsic
def store(typing: Any, array: types.Type, place: types.Type, value: types.Type) -> Any:
    """Write eight neighbours into a one-dimensional float32 array, from a place on."""

    def lower(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        builder.store(values[2], _pointer(context, builder, signature, values), align=4)
        return context.get_dummy_value()

    return types.void(array, types.uint64, value), lower


def _pointer(context: Any, builder: Any, signature: Any, values: Any) -> Any:
    """Address of the array's entry; nobody checks that the array is as long."""
    array = context.make_array(signature.args[0])(context, builder, values[0])
    return builder.bitcast(builder.gep(array.data, [values[1]]), _VECTOR.as_pointer())
