"""Register the moving volume to the reference by mutual information.

A transform is a 4x4 matrix, in RAS+ millimetres, that maps a point of the reference to the same
point of the patient in the moving volume; `formats.transforms` reads and writes it as a file. Only
this module needs SimpleITK (`pip install 'fnetcli[register]'`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from fnetcli.errors import PairError, UsageError
from fnetcli.formats.transforms import FLIP
from fnetcli.imaging.color import luminance
from fnetcli.imaging.image import Grid, Image
from fnetcli.imaging.intensity import valid_pixels
from fnetcli.interruption import GivenUpError, require_wanted
from fnetcli.volumes.resample import Matrix, affine_of, overlap, resample, spacing

FINEST = 1.5  # mm; six parameters do not need finer voxels
MAX_VOXELS = 1 << 22  # of either volume, while registering
SHRINKING, SMOOTHING = (4, 2, 1), (4.0, 2.0, 0.0)  # per level; mm
HISTOGRAM_BINS = 50
SAMPLED, SEED = 0.2, 20_250_101  # share of the voxels that are compared, and which
STEP, MIN_STEP, STEPS = 2.0, 1e-4, 300
CLIP = (0.5, 99.5)  # percentiles; numbers beyond would take up the histogram
MIN_VOXELS = 4  # along every axis: ITK's smoothing needs as many
LARGE_SHIFT, LARGE_TURN = 15.0, 5.0  # mm, degrees: more than careful scanning leaves
MIN_OVERLAP = 0.05  # of the reference; below that the search starts from aligned centres


@dataclass(frozen=True)
class Registered:
    """A registration: its transform, and the mutual information (nats) before and after.

    `shift` (mm) is the translation of the reference's centre, `turn` (degrees) the rotation.
    """

    transform: Matrix
    before: float
    after: float
    shift: float
    turn: float
    notices: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """A sentence about the registration, for the user."""
        return (
            f"rigid registration: translated by {self.shift:.1f} mm and rotated by {self.turn:.1f} "
            f"degrees; mutual information {self.before:.3f} before, {self.after:.3f} after"
        )


def motion(transform: Matrix, centre: Matrix | None = None) -> tuple[float, float]:
    """Return by how many mm a rigid transform moves a point, and its rotation in degrees.

    `centre` is (x, y, z, 1), by default the scanner's.
    """
    point = np.array([0.0, 0, 0, 1]) if centre is None else centre
    cosine = (np.trace(transform[:3, :3]) - 1) / 2
    turn = math.degrees(math.acos(min(1.0, max(-1.0, float(cosine)))))
    return float(np.linalg.norm((transform @ point - point)[:3])), turn


# --- finding one ----------------------------------------------------------------------------------


def require_simpleitk() -> Any:
    """Return the SimpleITK module; raise UsageError if it is not installed."""
    try:
        import SimpleITK  # noqa: PLC0415 - large, and needed for this alone
    except ImportError:
        raise UsageError(
            "--register needs SimpleITK, which is not installed; "
            "pip install 'fnetcli[register]', or give a transform with --transform"
        ) from None
    return SimpleITK


def register(reference: Image, moving: Image) -> Registered:
    """Find the rigid transform that maximises the mutual information of two volumes.

    Mattes' mutual information on the same voxels for every run (one seed, one thread: the same
    volumes give the same transform), three levels of resolution, regular-step gradient descent.
    The search starts from the headers or, if the volumes then hardly overlap, from aligned centres.
    A result that does not increase the mutual information is discarded. Raise PairError if
    registration fails or a volume has no position, UsageError if SimpleITK is missing.
    """
    sitk = require_simpleitk()
    start, notices = _start(reference.grid, moving.grid)
    if min(*reference.grid.shape, *moving.grid.shape) < MIN_VOXELS:
        raise PairError(
            f"registration needs {MIN_VOXELS} voxels in every direction, but one volume has "
            "fewer; leave it out, or give a transform with --transform"
        )
    fixed, floating = _working(reference), _working(moving)
    transform = sitk.Euler3DTransform()
    centre = FLIP @ _centre(reference.grid)
    transform.SetCenter([float(value) for value in centre[:3]])
    shift = FLIP[:3, :3] @ start[:3, 3]
    transform.SetTranslation([float(value) for value in shift])
    method = _method(sitk, fixed, floating)
    images = _to_itk(sitk, fixed), _to_itk(sitk, floating)
    try:
        with _one_thread(sitk):
            before = _similarity(method, images, sitk.Euler3DTransform())
            at_start = _similarity(method, images, transform)
            method.SetInitialTransform(transform, inPlace=False)
            method.AddCommand(sitk.sitkIterationEvent, lambda: _stop_if_unwanted(method))
            found = method.Execute(*images)
            require_wanted()
            after = _similarity(method, images, found)
    except RuntimeError as error:
        raise PairError(
            f"registration failed ({_reason(error)}); check that both volumes show the same region,"
            " or give a transform with --transform"
        ) from None
    kept = _from_itk(found)
    if after <= max(before, at_start):
        kept, after = start if at_start > before else np.eye(4), max(before, at_start)
        notices += ("registration found nothing better than the positions in the headers",)
    moved, turned = motion(kept, _centre(reference.grid))
    if moved > LARGE_SHIFT or turned > LARGE_TURN:
        notices += (
            "the correction is large, and large corrections are often wrong: look at the result",
        )
    return Registered(kept, before, after, moved, turned, notices)


def _start(reference: Grid, moving: Grid) -> tuple[Matrix, tuple[str, ...]]:
    try:
        share = overlap(reference, moving)
    except PairError:
        affine_of(reference), affine_of(moving)  # refuse volumes without a position
        share = 0.0
    start = np.eye(4)
    if share >= MIN_OVERLAP:
        return start, ()
    start[:3, 3] = (_centre(moving) - _centre(reference))[:3]
    return start, ("the volumes hardly overlap by their headers: started from their centres",)


def _centre(grid: Grid) -> Matrix:
    middle = [(size - 1) / 2 for size in grid.shape]
    return np.asarray(affine_of(grid) @ [*middle, 1.0])


def _working(image: Image) -> Image:
    """Return a volume with voxels coarse enough for registration, and extreme values clipped."""
    volume = math.prod(image.grid.shape) * math.prod(spacing(image.grid))
    least = max(FINEST, (volume / MAX_VOXELS) ** (1 / 3))
    factors = [max(1.0, least / step) for step in spacing(image.grid)]
    shape = [max(1, round(n / k)) for n, k in zip(image.grid.shape, factors, strict=True)]
    way = np.diag([*factors, 1.0])
    way[:3, 3] = [  # the same centre
        (n - 1) / 2 - k * (m - 1) / 2
        for n, m, k in zip(image.grid.shape, shape, factors, strict=True)
    ]
    grid = Grid((shape[0], shape[1], shape[2]), affine_of(image.grid) @ way)
    coarse = resample(image, grid)
    valid = valid_pixels(coarse)
    grey = luminance(coarse.pixels) if coarse.is_color else coarse.pixels
    values = grey[..., 0].astype(np.float32)
    seen = values if valid is None else values[valid]
    if not seen.size or seen.min() == seen.max():
        raise PairError("registration needs contrast, but one volume is constant; leave it out")
    low, high = np.percentile(seen, CLIP)
    if low == high:
        low, high = seen.min(), seen.max()
    if valid is not None:  # the edge of filled holes must not look like an edge of the patient
        nearest = ndimage.distance_transform_edt(
            ~valid, return_distances=False, return_indices=True
        )
        values = values[tuple(nearest)]
    clipped = np.clip(values, low, high)[..., None]
    return Image(clipped.astype(np.float32), grid, valid=valid)


@contextmanager
def _one_thread(sitk: Any) -> Iterator[None]:
    """Make ITK sum in a fixed order; setting the threads of the method is not enough."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def _method(sitk: Any, fixed: Image, floating: Image) -> Any:
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetMetricAsMattesMutualInformation(HISTOGRAM_BINS)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(SAMPLED, SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(STEP, MIN_STEP, STEPS)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel(SHRINKING)
    method.SetSmoothingSigmasPerLevel(SMOOTHING)
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    if fixed.valid is not None:
        method.SetMetricFixedMask(_to_itk(sitk, fixed, fixed.valid.astype(np.uint8)))
    if floating.valid is not None:
        method.SetMetricMovingMask(_to_itk(sitk, floating, floating.valid.astype(np.uint8)))
    return method


def _stop_if_unwanted(method: Any) -> None:
    try:
        require_wanted()
    except GivenUpError:  # it cannot pass through ITK
        method.StopRegistration()


def _similarity(method: Any, images: tuple[Any, Any], transform: Any) -> float:
    """Return the mutual information under a transform, 0 if the volumes do not overlap."""
    method.SetInitialTransform(transform, inPlace=False)
    try:
        return -float(method.MetricEvaluate(*images))
    except RuntimeError:
        return 0.0


def _to_itk(sitk: Any, image: Image, values: Any = None) -> Any:
    """Return an ITK image, with index (column, row, slice) and LPS+ millimetres."""
    steps = spacing(image.grid)[::-1]
    affine = (FLIP @ affine_of(image.grid))[:3]
    made = sitk.GetImageFromArray(image.pixels[..., 0] if values is None else values)
    made.SetSpacing(steps)
    made.SetDirection((affine[:, [2, 1, 0]] / steps).ravel().tolist())
    made.SetOrigin(affine[:, 3].tolist())
    return made


def _from_itk(transform: Any) -> Matrix:
    """Return the RAS+ matrix of a linear ITK transform."""
    points = np.vstack([np.zeros(3), np.eye(3)])
    images = np.array([transform.TransformPoint(point.tolist()) for point in points])
    matrix = np.eye(4)
    matrix[:3, 3] = images[0]
    matrix[:3, :3] = (images[1:] - images[0]).T
    return np.asarray(FLIP @ matrix @ FLIP)


def _reason(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    words = re.sub(r"\(0x[0-9a-f]+\)", "", lines[-1]) if lines else type(error).__name__
    return words.strip()[:120]
