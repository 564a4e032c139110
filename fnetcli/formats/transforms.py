"""Linear transforms as ITK keeps them in text files (.txt, .tfm): SimpleITK, ANTs, 3D Slicer.

A transform is a 4x4 matrix, in millimetres of RAS+, that maps a point of the reference to the same
point of the patient in the moving volume. ITK means the same map in LPS+: x and y are negated. The
files are read without ITK, which is large and would read far more than is wanted here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fnetcli.errors import ReadError
from fnetcli.files.durable import atomic_write
from fnetcli.files.guarded import FileKind, read_bytes

Matrix = NDArray[np.float64]

FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])  # RAS+ to LPS+ and back
TRANSFORM = FileKind(  # a linear one takes a few hundred bytes; of others the kind is told
    "a linear transform", 16 << 20, "name an ITK transform in text (.txt, .tfm)", ReadError
)
MAX_STRETCH, MAX_SHIFT = 100.0, 1e6  # either way; mm


def write_transform(path: Path, transform: Matrix) -> None:
    """Write an affine ITK transform (text, LPS+), whole or not at all; make missing folders.

    Raise what `atomic_write` raises.
    """
    matrix = FLIP @ transform @ FLIP
    numbers = [*matrix[:3, :3].ravel(), *matrix[:3, 3]]
    text = (
        "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n"
        f"Parameters: {' '.join(f'{number + 0:.17g}' for number in numbers)}\n"
        "FixedParameters: 0 0 0\n"
    )
    atomic_write(path, lambda file: file.write(text.encode()))


def read_transform(path: Path) -> Matrix:
    """Read a linear ITK transform (text: .txt, .tfm) that maps reference points to moving points.

    Raise ReadError for all others (deformable, two-dimensional, binary or damaged), UsageError if
    there is no such file.
    """
    content = read_bytes(path, TRANSFORM)
    try:
        matrix = _parse(content, _SPATIAL)
        _require_sense(matrix)
        return np.asarray(FLIP @ matrix @ FLIP)
    except Refused as refused:
        raise ReadError(f"{path}: {refused}") from None
    except (ValueError, IndexError, OverflowError):
        raise ReadError(
            f"{path}: not a readable ITK transform (its numbers are damaged); write it again"
        ) from None


class Refused(Exception):  # noqa: N818 - a refusal, to become a ReadError
    """What is wrong with a transform, and what to do."""


@dataclass
class _Part:
    kind: str  # "Euler3DTransform"
    numbers: dict[str, list[float]]


def parse_planar(content: bytes) -> Matrix:
    """Return the 3x3 matrix of a two-dimensional ITK transform, in its own coordinates.

    Raise Refused, or ValueError and IndexError if its numbers are damaged.
    """
    return _parse(content, _PLANAR)


def _parse(content: bytes, known: _Matrices) -> Matrix:
    if not content.startswith(b"#Insight Transform File"):
        raise Refused(
            "not an ITK transform in text form (.txt, .tfm); save it as one, for example with "
            "SimpleITK.WriteTransform or ANTs' ConvertTransformFile"
        )
    dimensions = 2 if known is _PLANAR else 3
    parts: list[_Part] = []
    for line in content.decode("utf-8", "replace").splitlines():
        name, _, rest = line.partition(":")
        if name == "Transform":
            parts.append(_Part(_kind(rest.strip(), dimensions, known), {}))
        elif name in {"Parameters", "FixedParameters"} and parts:
            parts[-1].numbers[name] = [float(word) for word in rest.split()]
    is_composite = bool(parts) and parts[0].kind == "CompositeTransform"
    linear = parts[1:] if is_composite else parts
    if not linear:
        raise Refused("holds no transform; write it again")
    if len(linear) > 1 and not is_composite:
        raise Refused(f"holds {len(linear)} transforms in no order; save one, or a composite one")
    matrix = np.eye(dimensions + 1)
    with np.errstate(over="ignore", invalid="ignore"):
        for part in linear:  # the last transform is applied first
            matrix = matrix @ _matrix(part, dimensions, known)
    return matrix


def _require_sense(matrix: Matrix) -> None:
    is_finite = bool(np.isfinite(matrix).all())
    stretches = np.linalg.svd(matrix[:3, :3], compute_uv=False) if is_finite else np.zeros(3)
    least, most = float(stretches.min()), float(stretches.max())
    if least <= 1e-6 * most:
        raise Refused("its transform cannot be inverted; write it again")
    if least * MAX_STRETCH < 1 or most > MAX_STRETCH:
        raise Refused(
            f"its transform stretches by {least:.3g} to {most:.3g}, which no patient does; write "
            "it again, in millimetres"
        )
    if np.abs(matrix[:3, 3]).max() > MAX_SHIFT:
        raise Refused(
            f"its transform shifts by more than {MAX_SHIFT:g} mm; write it again, in millimetres"
        )


def _kind(name: str, dimensions: int, known: _Matrices) -> str:
    kind, _, rest = name.partition("_")
    if kind == "CompositeTransform" or (
        kind in known and rest.endswith(f"_{dimensions}_{dimensions}")
    ):
        return kind
    if kind in _SPATIAL or kind in _PLANAR or rest.endswith(("_2_2", "_3_3")):
        words = "two-dimensional; give a three-dimensional transform"
        if dimensions == 2:
            words = "three-dimensional; give a two-dimensional transform for pictures"
        if rest.endswith(("_2_2", "_3_3")) and not rest.endswith(f"_{dimensions}_{dimensions}"):
            raise Refused(f"{kind} is {words}")
    if any(sign in kind for sign in ("Displacement", "BSpline", "Velocity", "Spline", "Kernel")):
        raise Refused(
            f"a deformable transform ({kind[:40]}), but only rigid and affine ones can be used; "
            "resample the volume with the program that wrote the transform"
        )
    raise Refused(f"unknown kind of transform ({kind[:40]}); save it as an AffineTransform")


def _matrix(part: _Part, dimensions: int, known: _Matrices) -> Matrix:
    """Return the matrix in ITK's coordinates: x -> linear (x - centre) + centre + translation."""
    numbers = part.numbers.get("Parameters", [])
    linear, translation = known[part.kind](numbers)
    fixed = part.numbers.get("FixedParameters", [])
    if part.kind == "Euler3DTransform" and fixed[3:4] not in ([], [0.0]):
        raise Refused("its angles are in the order ZYX; save it as an AffineTransform")
    centre = np.array(fixed[:dimensions] or [0.0] * dimensions, float)
    matrix = np.eye(dimensions + 1)
    matrix[:dimensions, :dimensions] = linear
    matrix[:dimensions, dimensions] = np.array(translation, float) + centre - linear @ centre
    return matrix


def _euler(numbers: list[float]) -> tuple[Matrix, list[float]]:
    turns = []
    for axis, angle in enumerate(numbers[:3]):
        turn = np.eye(3)
        a, b = [i for i in range(3) if i != axis]
        turn[a, a] = turn[b, b] = math.cos(angle)
        turn[b, a] = math.sin(angle) * (-1 if axis == 1 else 1)
        turn[a, b] = -turn[b, a]
        turns.append(turn)
    return turns[2] @ turns[0] @ turns[1], _exactly(numbers, 6)[3:]


def _versor(numbers: list[float]) -> Matrix:
    """Return the rotation of a unit quaternion's vector part."""
    x, y, z = numbers[:3]
    w = math.sqrt(1 - (x * x + y * y + z * z))
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _affine(numbers: list[float]) -> tuple[Matrix, list[float]]:
    return np.reshape(_exactly(numbers, 12)[:9], (3, 3)), numbers[9:]


def _similar(numbers: list[float]) -> tuple[Matrix, list[float]]:
    return _exactly(numbers, 7)[6] * _versor(numbers), numbers[3:6]


def _exactly(numbers: list[float], count: int) -> list[float]:
    if len(numbers) != count:
        raise ValueError(f"{count} numbers expected")
    return numbers


def _turn(angle: float) -> Matrix:
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])


_Matrices = dict[str, Callable[[list[float]], tuple[Matrix, list[float]]]]
_SPATIAL: _Matrices = {
    "AffineTransform": _affine,
    "MatrixOffsetTransformBase": _affine,
    "Euler3DTransform": _euler,
    "VersorRigid3DTransform": lambda numbers: (_versor(_exactly(numbers, 6)), numbers[3:]),
    "Similarity3DTransform": _similar,
    "TranslationTransform": lambda numbers: (np.eye(3), _exactly(numbers, 3)),
    "IdentityTransform": lambda _: (np.eye(3), [0.0, 0.0, 0.0]),
}
_PLANAR: _Matrices = {
    **dict.fromkeys(
        ("AffineTransform", "MatrixOffsetTransformBase"),
        lambda numbers: (np.reshape(_exactly(numbers, 6)[:4], (2, 2)), numbers[4:]),
    ),
    **dict.fromkeys(
        ("Euler2DTransform", "Rigid2DTransform"),
        lambda numbers: (_turn(_exactly(numbers, 3)[0]), numbers[1:]),
    ),
    "Similarity2DTransform": lambda numbers: (
        _exactly(numbers, 4)[0] * _turn(numbers[1]),
        numbers[2:],
    ),
    "TranslationTransform": lambda numbers: (np.eye(2), _exactly(numbers, 2)),
    "IdentityTransform": lambda _: (np.eye(2), [0.0, 0.0]),
}
