"""Print how well pictures of two cameras are registered.

    python -m bench.registration --data DIR [--pairs DIR] [--only PART ...] [--wrong 200]

DIR holds visir/ and visnir/, each with vis/, ir/ or nir/, and landmarks.json (case -> matched
points). `--pairs` is a folder of aligned pairs, vis/ and ir/. Parts: landmarks, seconds, planted,
aligned, wrong, empty. Every number is printed beside its mark; exit code 1 if one is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from scipy import ndimage

from fnetcli.formats import read_image
from fnetcli.imaging import planar
from fnetcli.imaging.color import luminance
from fnetcli.imaging.intensity import ScalingOptions, scale
from fnetcli.pictures.registration import Registration, View, register
from fnetcli.pictures.registration.fine import LEVELS, look
from fnetcli.reports.registered import side_by_side

Matrix = NDArray[np.float64]
GRID = 9
SEED = 16


@dataclass
class Marks:
    """The marks of a run, printed as they are known."""

    missed: list[str] = field(default_factory=list)

    def tell(self, name: str, value: str, mark: str, *, is_met: bool) -> None:
        """Print a value beside its mark."""
        print(f"{'ok  ' if is_met else 'MISS'} {name}: {value} (mark: {mark})", flush=True)
        if not is_met:
            self.missed.append(name)


@dataclass(frozen=True)
class Data:
    """Where the pictures are."""

    landmarks: Path
    pairs: Path
    wrong: int
    pictures: Path | None = None  # folder for checkerboards of pairs that are said to be aligned

    def landmark_pairs(self) -> Iterator[tuple[str, str, View, View, Matrix, Matrix]]:
        """Yield set, case, both views, and the points of both."""
        for name, other in (("visir", "ir"), ("visnir", "nir")):
            folder = self.landmarks / name
            for case, points in json.loads((folder / "landmarks.json").read_text()).items():
                views = [_view(next((folder / kind).glob(f"{case}.*"))) for kind in ("vis", other)]
                yield name, case, *views, np.array(points["vis"]), np.array(points[other])

    def aligned_pairs(self) -> Iterator[tuple[str, View, View]]:
        """Yield case and both views, visible first."""
        for path in sorted((self.pairs / "ir").iterdir()):
            yield path.stem, _view(self.pairs / "vis" / path.name), _view(path)


def _view(path: Path) -> View:
    image = read_image(path)
    scaled = scale(image, ScalingOptions().choose(image.stored_type, "vis", image.bits))
    unit = scaled.rows(slice(None))[0]
    grey = luminance(unit) if unit.shape[-1] == 3 else unit
    return View(np.ascontiguousarray(grey[..., 0]))


def _distance(first: Matrix, second: Matrix) -> float:
    return float(np.hypot(*(first - second).T).mean())


def landmarks(data: Data, marks: Marks) -> None:
    """Register pairs as cameras took them; compare the landmarks after the transform."""
    for name, case, vis, other, points, moving in data.landmark_pairs():
        found = register(vis, other, "affine")
        error = _distance(planar.apply(found.matrix, moving), points)
        before = _distance(moving, points)
        best = planar.apply(_fitted(moving, points), moving)
        over = error - _distance(best, points)
        evidence = f"score {found.score:.1f}, {found.inliers} of {found.blocks} blocks"
        if name == "visir":
            value, mark, is_met = f"{error:.2f} px", "2.0 px", error <= 2.0
        else:
            value = f"{over:.2f} px over the best affine, {error:.2f} px in all"
            mark, is_met = "1.5 px over it", over <= 1.5
        value += f", {before:.1f} before; {evidence}"
        marks.tell(case, value, f"{mark}, trusted", is_met=is_met and found.is_trusted)
        if not is_met:
            ours, theirs = (
                _evidence(vis, other, matrix) for matrix in (found.matrix, _fitted(moving, points))
            )
            print(
                f"     the sum of the blocks' correlations is {ours:.3f} under it, {theirs:.3f} "
                f"under the landmarks' own affine transform, which is {error:.2f} px away",
                flush=True,
            )


def _fitted(moving: Matrix, points: Matrix) -> Matrix:
    """Return the affine transform that fits landmarks best."""
    known = np.c_[moving, np.ones(len(moving))]
    matrix = np.eye(3)
    matrix[:2] = np.linalg.lstsq(known, points, rcond=None)[0].T
    return matrix


def _evidence(reference: View, moving: View, matrix: Matrix) -> float:
    """Return how well the edges of all blocks agree under a transform, at 640 pixels."""
    sight = look([(reference, moving)], matrix, LEVELS[2])
    reach = sight.blocks.reach
    return float(sight.blocks.correlations.sum(axis=0)[reach, reach])


def seconds(data: Data, marks: Marks) -> None:
    """Time a pair of 640x480."""
    for case, vis, other in data.aligned_pairs():
        if vis.shape == (480, 640):
            wall, worked = [], []
            for _ in range(3):
                start, busy = time.perf_counter(), time.process_time()
                register(vis, other, "affine")
                wall.append(time.perf_counter() - start)
                worked.append(time.process_time() - busy)
            value = f"{min(wall):.2f} s, {min(worked):.2f} s of one core"
            marks.tell(f"640x480 ({case})", value, "2 s", is_met=min(wall) <= 2)
            return


def _planted(shape: tuple[int, int], random: np.random.Generator) -> Matrix:
    """Return scale, turn, offset and a little perspective around a picture's centre."""
    height, width = shape
    size = np.exp(random.uniform(np.log(0.7), np.log(1.4)))
    turn = np.radians(random.uniform(-10, 10))
    right, down = random.uniform(-1, 1, 2) * (width / 3, height / 6)
    tilts = random.uniform(-0.01, 0.01, 2) * 2 / width  # 1 % of the size at the edges
    cos, sin = size * np.cos(turn), size * np.sin(turn)
    centre = np.array([[1, 0, (width - 1) / 2], [0, 1, (height - 1) / 2], [0, 0, 1]])
    step = np.array([[cos, -sin, right], [sin, cos, down], [*tilts, 1]])
    return np.asarray(centre @ step @ np.linalg.inv(centre))


def planted(data: Data, marks: Marks) -> None:
    """Displace the moving picture by a known transform, and compare two estimates."""
    random = np.random.default_rng(SEED)
    errors = []
    for case, vis, other in data.aligned_pairs():
        transform = _planted(other.shape, random)
        displaced = other.sampled(np.asarray(np.linalg.inv(transform), np.float64), other.shape)
        before, after = (
            register(vis, one, "homography", keeps_aligned=False) for one in (other, displaced)
        )
        expected = before.matrix @ np.linalg.inv(transform)
        points = _shared_grid(vis, expected, displaced)
        error = _distance(planar.apply(after.matrix, points), planar.apply(expected, points))
        errors.append(error)
        told = "trusted" if after.is_trusted else "refused"
        print(
            f"     {case}: {error:.2f} px, {told}, score {after.score:.1f}; "
            f"the pair itself {before.score:.1f}",
            flush=True,
        )
    good = sum(error < 1 for error in errors)
    mark = f"{round(0.9 * len(errors))}"
    is_met = good >= 0.9 * len(errors)
    marks.tell("planted, below 1 px", f"{good} of {len(errors)}", mark, is_met=is_met)


def _shared_grid(vis: View, matrix: Matrix, moving: View) -> Matrix:
    """Return a grid of points of the moving picture, as far as both show them."""
    rows, columns = np.nonzero(np.ones(moving.shape) if moving.valid is None else moving.valid)
    points = planar.apply(matrix, np.c_[columns, rows][::7].astype(float))
    height, width = vis.shape
    is_seen = ((points >= 0) & (points <= (width - 1, height - 1))).all(axis=1)
    seen = points[is_seen]
    low, high = seen.min(axis=0), seen.max(axis=0)
    across, along = (np.linspace(a, b, GRID) for a, b in zip(low, high, strict=True))
    grid: Matrix = np.stack(np.meshgrid(across, along), -1).reshape(-1, 2).astype(np.float64)
    back = planar.apply(np.asarray(np.linalg.inv(matrix), np.float64), grid)
    return back[_shows(moving, back)]


def _shows(view: View, points: Matrix) -> NDArray[np.bool_]:
    """Return which points lie on valid pixels of a picture."""
    columns, rows = np.rint(points).astype(int).T
    height, width = view.shape
    is_inside = (columns >= 0) & (rows >= 0) & (columns < width) & (rows < height)
    if view.valid is not None:
        is_inside[is_inside] = view.valid[rows[is_inside], columns[is_inside]]
    return np.asarray(is_inside)


def aligned(data: Data, marks: Marks) -> None:
    """Register pairs that are said to be aligned: most should hardly move."""
    moves = []
    for case, vis, other in data.aligned_pairs():
        found = register(vis, other, "affine")
        if data.pictures is not None and found.is_trusted:
            _draw(data.pictures / f"{case}.png", vis, other, found.matrix)
        height, width = other.shape
        across, along = np.linspace(0, width - 1, GRID), np.linspace(0, height - 1, GRID)
        grid = np.stack(np.meshgrid(across, along), -1).reshape(-1, 2).astype(np.float64)
        move = _distance(planar.apply(found.matrix, grid), grid)
        moves.append(move if found.is_trusted else 0.0)
        if move >= 0.5 or not found.is_trusted:
            print(f"     {case}: moves by {move:.2f} px; {found.sentence}", flush=True)
    still = sum(move < 0.5 for move in moves)
    marks.tell("aligned, below 0.5 px", f"{still} of {len(moves)}", "18", is_met=still >= 18)


def _draw(path: Path, vis: View, other: View, matrix: Matrix) -> None:
    """Write the pair as it is, and registered: edges of both in red and cyan."""
    path.parent.mkdir(parents=True, exist_ok=True)
    views = [
        other.sampled(np.asarray(np.linalg.inv(one)), vis.shape) for one in (np.eye(3), matrix)
    ]
    pictures = [np.stack([_edges(vis), *[_edges(one)] * 2], axis=-1) for one in views]
    side_by_side([PIL.Image.fromarray(one) for one in pictures]).save(path)


def _edges(view: View) -> NDArray[np.uint8]:
    strength = ndimage.gaussian_gradient_magnitude(view.luminance, 1.0)
    share = strength / max(1e-6, float(np.percentile(strength, 98)))
    return np.asarray(np.rint(255 * np.clip(share, 0, 1)), np.uint8)


def wrong(data: Data, marks: Marks) -> None:
    """Pair pictures of different scenes: nothing is to be trusted."""
    views = [(f"{case}", vis, ir) for _, case, vis, ir, _, _ in data.landmark_pairs()]
    views += list(data.aligned_pairs())
    random = np.random.default_rng(SEED)
    trusted, highest = 0, 0.0
    for i in range(data.wrong):
        first, second = random.choice(len(views), 2, replace=False)
        found = register(_small(views[first][1]), _small(views[second][2]), "affine")
        trusted += found.is_trusted
        highest = max(highest, found.score)
        if found.is_trusted or i % 20 == 19:
            told = f"{views[first][0]}, {views[second][0]}: " if found.is_trusted else ""
            print(f"     {told}{i + 1} tried, {trusted} trusted, highest {highest:.1f}", flush=True)
    value = f"{trusted} of {data.wrong} trusted, highest score {highest:.1f}"
    marks.tell("wrong pairings", value, "1 of 200", is_met=trusted <= data.wrong / 200)


def _small(view: View) -> View:
    return view.shrunk(min(1.0, 640 / view.longer_side))[0]


def empty(data: Data, marks: Marks) -> None:
    """Register black pictures and noise."""
    random = np.random.default_rng(SEED)
    _, vis, ir = next(data.aligned_pairs())
    black = View(np.zeros(ir.shape, np.float32))
    noise = View(random.random(ir.shape, np.float32))
    for name, pair in {
        "black infrared": (vis, black),
        "black visible": (black, ir),
        "two black": (black, black),
        "noise for infrared": (vis, noise),
        "two of noise": (View(random.random(ir.shape, np.float32)), noise),
    }.items():
        found: Registration = register(*pair, "affine")
        value = f"{'trusted' if found.is_trusted else 'refused'}, score {found.score:.1f}"
        marks.tell(name, value, "refused", is_met=not found.is_trusted)


PARTS: dict[str, Callable[[Data, Marks], None]] = {
    part.__name__: part for part in (landmarks, seconds, planted, aligned, empty, wrong)
}


def main() -> None:
    """Measure all parts, or those asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="pairs with landmarks")
    parser.add_argument("--pairs", type=Path, help="aligned pairs; default: DATA/../visir/val")
    parser.add_argument("--only", nargs="+", choices=[*PARTS], default=[*PARTS])
    parser.add_argument("--wrong", type=int, default=200, help="wrong pairings")
    parser.add_argument("--pictures", type=Path, help="folder for edges of aligned pairs")
    given = parser.parse_args()
    pairs = given.pairs or given.data.parent / "visir" / "val"
    data, marks = Data(given.data, pairs, given.wrong, given.pictures), Marks()
    for name in given.only:
        print(f"{name}:")
        PARTS[name](data, marks)
    if marks.missed:
        sys.exit(f"missed: {', '.join(marks.missed)}")


if __name__ == "__main__":
    main()
