"""Files that say how one picture lies in another: our JSON, ITK text, OpenCV YAML and JSON.

| file | what it maps |
|---|---|
| ours | points of the picture named under "from" to points of that under "to" |
| OpenCV, 3x3 or 2x3 | the moving picture to the reference, as `cv2.warpPerspective` takes it |
| OpenCV, stereo | camera 1 is the reference's, camera 2 the other one's; x2 = R x1 + T |
| ITK, two-dimensional | points of the reference to points of the moving picture |

All are in pixels, 0 at the centre of the first one. Of a stereo calibration, T is left out: things
are taken to be far away. Nothing is run or constructed that a file names.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fnetcli.errors import ReadError
from fnetcli.files.durable import atomic_write
from fnetcli.files.guarded import FileKind, read_bytes
from fnetcli.formats.transforms import Refused, parse_planar
from fnetcli.imaging.planar import COEFFICIENTS, Lens, Matrix, Size, Transform, normalised
from fnetcli.modalities import BY_NAME
from fnetcli.text import number_of

FORMAT = "fnet transform 1"
TRANSFORM = FileKind(
    "a transform",
    16 << 20,
    "name a JSON file of fnet, an ITK transform in text, or a YAML or JSON file of OpenCV",
    ReadError,
)
MAX_STRETCH, MAX_SIDE = 100.0, 1 << 20
NUMBERS = re.compile(  # of a matrix in OpenCV's YAML
    r"^[ \t]*([\w.-]+)[ \t]*:[ \t]*(?:!!opencv-matrix)?[ \t]*\r?\n"
    r"\s*rows:[ \t]*(\d{1,3})\s+cols:[ \t]*(\d{1,3})\s+(?:dt:[ \t]*\S+\s+)?data:\s*\[([^\]]*)\]",
    re.MULTILINE | re.ASCII,
)
PLAIN = re.compile(  # a number or a list of them
    r"^([\w.-]+)[ \t]*:[ \t]*(?:\[([^\]]*)\]|([-+.\deE]+))[ \t]*\r?$", re.MULTILINE | re.ASCII
)
CAMERA_WORDS = ("m", "k", "mtx", "cameramatrix", "intrinsics", "intrinsicmatrix")
LENS_WORDS = ("d", "dist", "distcoeff", "distcoeffs", "distortion", "distortioncoefficients")
SIDES = (("1", "left", "l"), ("2", "right", "r"))
HOMOGRAPHY_WORDS = ("h", "homography", "matrix", "transform", "warpmatrix", "affine")
ROTATION_WORDS = ("r", "rotation", "rotationmatrix")
FISHEYE = re.compile(r"fisheye|equidistant|omnidir", re.IGNORECASE)


def write_planar(
    path: Path, transform: Transform, kind: str | None, evidence: Mapping[str, Any] | None
) -> None:
    """Write a transform of named pictures of known sizes, whole or not at all.

    `evidence` is what speaks for it, for people. Raise what `atomic_write` raises.
    """
    sides = {}
    for i, side in enumerate(("from", "to")):
        lens = transform.lenses[i]
        sides[side] = {
            **({} if transform.names is None else {"modality": transform.names[i]}),
            **({} if transform.sizes is None else {"size": [*transform.sizes[i]]}),
            **({} if lens is None else {"lens": _lens_record(lens)}),
        }
    content = {
        "format": FORMAT,
        **({} if kind is None else {"kind": kind}),
        **sides,
        "matrix": transform.matrix.tolist(),
        **({} if evidence is None else {"registration": dict(evidence)}),
    }
    text = json.dumps(content, indent=1)
    atomic_write(path, lambda file: file.write(f"{text}\n".encode()))


def _lens_record(lens: Lens) -> dict[str, Any]:
    return {"camera": lens.camera.tolist(), "distortion": [*lens.coefficients]}


def read_planar(path: Path) -> Transform:
    """Read a transform of pictures, from the moving one to the reference.

    Names and sizes are None where the file has none. Raise ReadError for all else, UsageError if
    there is no such file.
    """
    content = read_bytes(path, TRANSFORM)
    try:
        found = _parse(content)
        _require_sense(found)
    except Refused as refused:
        raise ReadError(f"{path}: {refused}") from None
    except (ValueError, TypeError, IndexError, KeyError, OverflowError, RecursionError):
        raise ReadError(
            f"{path}: not a readable transform (its numbers are damaged); write it again"
        ) from None
    except np.linalg.LinAlgError:
        raise ReadError(f"{path}: its transform cannot be inverted; write it again") from None
    return found


def _parse(content: bytes) -> Transform:
    text = content.decode("utf-8", "replace").removeprefix("\ufeff")
    if content.startswith(b"#Insight Transform File"):
        return Transform(parse_planar(content)).inverse
    if text.lstrip().startswith("{"):
        known = _json(text)
        return _ours(known) if "format" in known else _opencv(text, dict(_from_json(known)))
    if text.lstrip().startswith(("%YAML", "---")) or NUMBERS.search(text):
        return _opencv(text, dict(_from_yaml(text)))
    raise Refused("not a transform; " + TRANSFORM.todo)


def _json(text: str) -> dict[str, Any]:
    try:
        known = json.loads(text)
    except json.JSONDecodeError as error:
        raise Refused(
            f"not readable as JSON (line {error.lineno}: {error.msg}); write it again"
        ) from None
    if not isinstance(known, dict):
        raise Refused("not a transform; " + TRANSFORM.todo)
    return known


def _require_sense(transform: Transform) -> None:
    """Raise Refused for a matrix that no two cameras beside each other have."""
    matrix = transform.matrix
    if not np.isfinite(matrix).all():
        raise Refused("its matrix holds numbers that are not finite; write it again")
    stretches = np.linalg.svd(matrix[:2, :2], compute_uv=False)
    least, most = float(stretches.min()), float(stretches.max())
    if least <= 1e-6 * most or abs(float(np.linalg.det(matrix))) < 1e-12:
        raise Refused("its transform cannot be inverted; write it again")
    if least * MAX_STRETCH < 1 or most > MAX_STRETCH:
        raise Refused(
            f"its transform stretches by {least:.3g} to {most:.3g}, which no two cameras do; write "
            "it again, in pixels"
        )


# --- ours -----------------------------------------------------------------------------------------


def _ours(known: Mapping[str, Any]) -> Transform:
    if known["format"] != FORMAT:
        raise Refused(f"its format is {str(known['format'])[:40]!r}, not {FORMAT!r}; save it again")
    sides = [known["from"], known["to"]]
    if not all(isinstance(side, dict) for side in sides):
        raise TypeError("no mapping")
    names = [side.get("modality") for side in sides]
    if any(name is not None and name not in BY_NAME for name in names):
        raise Refused(
            f"its modalities are {names[0]!r} and {names[1]!r}, which are not known; correct them"
        )
    own, other = (_size(side.get("size")) for side in sides)
    lenses = [_our_lens(side.get("lens")) for side in sides]
    return Transform(
        _matrix(known["matrix"]),
        None if None in names or names[0] == names[1] else (names[0], names[1]),
        None if own is None or other is None else (own, other),
        (lenses[0], lenses[1]),
    )


def _size(given: Any) -> Size | None:
    if given is None:
        return None
    width, height = (int(number) for number in given)
    if not (0 < width < MAX_SIDE and 0 < height < MAX_SIDE):
        raise ValueError("no size")
    return width, height


def _our_lens(given: Any) -> Lens | None:
    return None if given is None else _lens(_matrix(given["camera"]), given["distortion"])


def _matrix(numbers: Any) -> Matrix:
    """Return 3x3, of 3x3 or 2x3 numbers."""
    matrix = np.array(numbers, np.float64)
    if matrix.shape == (2, 3):
        matrix = np.vstack([matrix, (0.0, 0, 1)])
    if matrix.shape != (3, 3):
        raise ValueError("not 3x3")
    if not matrix[2, 2] or not np.isfinite(matrix).all():
        raise Refused("its matrix cannot be used: its last number is 0 or one is not finite")
    return normalised(matrix)


def _lens(camera: Matrix, coefficients: Any) -> Lens | None:
    numbers = [float(number) for number in np.array(coefficients, np.float64).ravel()]
    if len(numbers) == 14 and not any(numbers[12:]):
        numbers = numbers[:12]
    if len(numbers) not in COEFFICIENTS:
        raise Refused(
            f"{number_of(len(numbers), 'distortion coefficient')}; OpenCV's 4, 5, 8 or 12 are "
            "understood, without a tilted sensor"
        )
    if not all(map(math.isfinite, numbers)) or not (camera[0, 0] > 0 and camera[1, 1] > 0):
        raise Refused("its camera matrix or distortion makes no sense; calibrate again")
    return Lens(camera, tuple(numbers)) if any(numbers) else None


# --- OpenCV ---------------------------------------------------------------------------------------


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _from_yaml(text: str) -> Iterator[tuple[str, Any]]:
    for found in PLAIN.finditer(text):
        name, several, one = found.groups()
        try:
            yield _key(name), [float(it) for it in (several or one).split(",")]
        except ValueError:
            continue  # words
    for found in NUMBERS.finditer(text):
        name, rows, columns, data = found.groups()
        numbers = [float(it) for it in data.split(",")]
        yield _key(name), np.reshape(numbers, (int(rows), int(columns)))


def _from_json(known: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in known.items():
        if isinstance(value, dict) and {"rows", "cols", "data"} <= {*value}:
            yield _key(name), np.reshape(value["data"], (int(value["rows"]), int(value["cols"])))
        elif isinstance(value, list | int | float) and not isinstance(value, bool):
            try:
                yield _key(name), np.array(value, np.float64)
            except ValueError:
                continue  # words


def _opencv(text: str, known: Mapping[str, Any]) -> Transform:
    if FISHEYE.search(text):
        raise Refused(
            "a calibration of fisheye lenses, which is not understood; calibrate with the usual "
            "model of OpenCV (calibrateCamera)"
        )
    cameras = [_named(known, CAMERA_WORDS, side) for side in SIDES]
    distortions = [_named(known, LENS_WORDS, side) for side in SIDES]
    lenses: tuple[Lens | None, Lens | None] = (None, None)
    matrix = _homography(known)
    sizes = _sizes(known)
    if cameras[0] is not None and cameras[1] is not None:
        first, second = _matrix(cameras[0]), _matrix(cameras[1])
        none = np.zeros(4)
        lenses = (
            _lens(second, none if distortions[1] is None else distortions[1]),
            _lens(first, none if distortions[0] is None else distortions[0]),
        )
        turn = next((known[word] for word in ROTATION_WORDS if word in known), None)
        if matrix is None and turn is not None:
            back = _rotation(turn).T  # x2 = R x1
            matrix = normalised(np.asarray(first @ back @ np.linalg.inv(second)))
    elif any(one is not None for one in cameras):
        raise Refused(
            "holds one camera, but a transform needs two (M1, D1, M2, D2) and how they stand to "
            "each other (R); put both files of a stereo calibration into one"
        )
    if matrix is None:
        raise Refused(
            "holds neither a homography (H, 3x3) nor a stereo calibration (M1, D1, M2, D2, R); "
            + TRANSFORM.todo
        )
    return Transform(matrix, None, sizes, lenses)


def _rotation(numbers: Any) -> Matrix:
    """Return a rotation of a matrix or a vector of Rodrigues."""
    turn = np.array(numbers, np.float64)
    if turn.size == 3:
        x, y, z = turn.ravel()
        angle = math.sqrt(x * x + y * y + z * z)
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        if angle == 0:
            return np.eye(3)
        one, two = math.sin(angle) / angle, (1 - math.cos(angle)) / angle**2
        return np.asarray(np.eye(3) + one * cross + two * (cross @ cross))
    if turn.shape != (3, 3) or not np.allclose(turn @ turn.T, np.eye(3), atol=1e-3):
        raise Refused("its R is not a rotation; calibrate again")
    return turn


def _named(known: Mapping[str, Any], words: tuple[str, ...], side: tuple[str, ...]) -> Any:
    return next((known[word + end] for word in words for end in side if word + end in known), None)


def _homography(known: Mapping[str, Any]) -> Matrix | None:
    """Return the matrix that is named as one, or the only one that could be."""
    fitting = {name: value for name, value in known.items() if np.shape(value) in {(3, 3), (2, 3)}}
    named = [fitting[word] for word in HOMOGRAPHY_WORDS if word in fitting]
    if named:
        return _matrix(named[0])
    return _matrix(next(iter(fitting.values()))) if len(fitting) == 1 else None


def _sizes(known: Mapping[str, Any]) -> tuple[Size, Size] | None:
    """Return the size of a calibration's pictures, which is one for both."""
    for name in ("imagesize", "size"):
        if name in known and np.size(known[name]) == 2:
            size = _size(np.ravel(known[name]))
            return None if size is None else (size, size)
    width, height = known.get("imagewidth"), known.get("imageheight")
    if width is None or height is None:
        return None
    size = _size((*np.ravel(width), *np.ravel(height)))
    return None if size is None else (size, size)
