"""Decide how two pictures are aligned, and put them on one grid.

They do as they are, or a transform says so: that of a camera's file, of a file of the user's, or
one that registration finds. A transform that registration does not trust is not used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fnetcli.errors import PairError, UsageError
from fnetcli.imaging.color import luminance
from fnetcli.imaging.image import Mask
from fnetcli.imaging.intensity import Scaled
from fnetcli.imaging.planar import Kind, Lens, Matrix, Size, Transform
from fnetcli.pictures.align import onto_one_grid
from fnetcli.pictures.warp import View, Window, cropped, onto_reference, scale_at_centre, size_of

if TYPE_CHECKING:
    from fnetcli.pictures.registration import Registration
    from fnetcli.pictures.registration import View as Seen

RegisterScope = Literal["pair", "folder"]
Modalities = tuple[str, str]

LONGEST_SIDE = 1920  # pixels of what registration sees
SHARPER = 1.0  # pixels of the other image per pixel from which it decides the grid
CAMERA_KIND: Kind = "translation"  # parallax, which a camera's own alignment cannot know


@dataclass(frozen=True)
class PlaceOptions:
    """What decides how two pictures are aligned.

    `register` is the kind of transform that is looked for, by pair or for all pairs together; then
    `transform` is where the search starts, else it is used as it is. `camera` uses what a camera's
    own file says; a registration that was not asked for (`is_optional`) or may be missed
    (`falls_back`) is left out if it is not trusted. `reference` is the modality whose pixels
    are kept.
    """

    register: Kind | None = None
    scope: RegisterScope = "pair"
    transform: Transform | None = None
    camera: bool = False
    reference: str | None = None
    view: View | None = None
    falls_back: bool = False
    is_optional: bool = False
    is_decided: bool = False  # for all pairs: `transform` is what is used
    found: Registration | None = None  # what speaks for it, if it was found by registration
    remarks: tuple[str, ...] = ()  # why it was not

    @property
    def is_active(self) -> bool:
        """Whether pictures are placed by a transform."""
        return self.register is not None or self.transform is not None or self.camera

    @property
    def needs_folder(self) -> bool:
        """Whether all pairs are needed before the first one is placed."""
        return self.register is not None and self.scope == "folder" and not self.is_decided

    @property
    def is_by_camera_alone(self) -> bool:
        """Whether only a camera's own file says how its pictures lie."""
        return self.camera and self.transform is None and self.register is None

    @property
    def kept_view(self) -> View:
        """What is kept of the reference: of a camera's file what both see, else all."""
        return self.view or ("common" if self.camera else "reference")

    def decided(self, placed: Placed) -> PlaceOptions:
        """Return the options that place the same pair in the same way, without an estimate."""
        return replace(
            self,
            transform=replace(placed.transform, names=(placed.moving, placed.reference)),
            reference=placed.reference,
            is_decided=True,
            found=placed.found,
        )

    def of_common_view(self) -> PlaceOptions:
        """Return the options that keep only what both cameras see: for scores and training."""
        return replace(self, view="common") if self.is_active else self

    def require_fitting(self, modalities: Modalities) -> None:
        """Raise UsageError if an option does not fit the two images."""
        if self.reference not in (None, *modalities):
            raise UsageError(
                f"--reference {self.reference}: not one of the two images; use "
                f"{' or '.join(modalities)}"
            )
        names = None if self.transform is None else self.transform.names
        if names is not None and {*names} != {*modalities}:
            raise UsageError(
                f"--transform: the file maps {names[0]} to {names[1]}, but the images are "
                f"{' and '.join(modalities)}; give the file of these two cameras"
            )

    def record(self) -> dict[str, Any]:
        """Return what was chosen, ready for JSON."""
        if not self.is_active:
            return {}
        chosen = {
            "register": self.register,
            "scope": self.scope,
            "reference": self.reference,
            "view": self.kept_view,
            "fallback": "none" if self.falls_back or self.is_optional else None,
            "transform": None if self.transform is None else transform_record(self.transform),
        }
        usual = {"register": None, "scope": "pair", "reference": None, "fallback": None}
        found = {name: one for name, one in chosen.items() if one != usual.get(name)}
        return {**({"aligned": "camera"} if self.camera else {}), "place": found}


def transform_record(transform: Transform) -> dict[str, Any]:
    """Return a transform, ready for JSON."""
    return {
        "matrix": [[round(float(number), 9) for number in row] for row in transform.matrix],
        **({} if transform.names is None else {"from": transform.names[0]}),
        **({} if transform.names is None else {"to": transform.names[1]}),
        **({} if transform.sizes is None else {"sizes": [[*size] for size in transform.sizes]}),
        **({"lenses": [_lens(one) for one in transform.lenses]} if transform.has_lenses else {}),
    }


def recorded_transform(record: Mapping[str, Any]) -> Transform:
    """Return the transform of a record. Raise KeyError, TypeError or ValueError."""
    lenses = [
        None
        if one is None
        else Lens(np.array(one["camera"], np.float64), tuple(map(float, one["distortion"])))
        for one in record.get("lenses", (None, None))
    ]
    matrix = np.array(record["matrix"], np.float64).reshape(3, 3)
    return Transform(matrix, lenses=(lenses[0], lenses[1]))


def _lens(lens: Lens | None) -> dict[str, Any] | None:
    if lens is None:
        return None
    return {"camera": lens.camera.tolist(), "distortion": [*lens.coefficients]}


@dataclass(frozen=True)
class Placed:
    """How two pictures came onto one grid, for the record.

    `transform` maps points of the moving picture to points of the reference, as they are in their
    files; `window` is the part of the reference that is kept.
    """

    transform: Transform
    source: str
    moving: str
    reference: str
    window: Window
    view: View
    notices: tuple[str, ...] = ()  # perhaps not wanted
    remarks: tuple[str, ...] = ()  # good to know
    found: Registration | None = None
    is_told: bool = False  # `found` is that of all pairs, and was told once

    @property
    def sentences(self) -> tuple[str, ...]:
        """What a user should know of where it comes from."""
        left, top, width, height = self.window
        words = {
            "factory": "by the factory alignment",
            "assumed": "by the assumed alignment",
            "file": "by the given transform",
            "registration": "by registration",
        }[self.source]
        if self.view == "common":
            where = (
                f"{self.reference}: the window of {width}x{height} pixels from ({left}, {top}) on "
                f"is what both images show, {words}"
            )
        else:
            where = f"{self.moving} is warped onto {self.reference}, {words}"
        if self.source in {"factory", "assumed"}:
            where += "; nearby objects may be displaced"
        evidence = [] if self.found is None or self.is_told else [self.found.sentence]
        return (where, *self.remarks, *evidence)

    def record(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        known = {
            "source": self.source,
            **transform_record(self.transform),
            "from": self.moving,
            "to": self.reference,
            "reference": self.reference,
            "view": self.view,
            "window": list(self.window),
        }
        if self.found is not None:
            known["registration"] = registration_record(self.found)
        return known


def registration_record(found: Registration) -> dict[str, Any]:
    """Return what speaks for a registration, ready for JSON."""
    known = found.record()
    return {name: known[name] for name in known if name != "matrix"}


@dataclass(frozen=True)
class OnOneGrid:
    """Two pictures on one grid; `has_data` is where each of them shows anything, None: all over."""

    scaled: tuple[Scaled, Scaled]
    placed: Placed | None = None
    has_data: tuple[Mask | None, Mask | None] = (None, None)
    notices: tuple[str, ...] = ()


def place(
    first: Scaled,
    second: Scaled,
    modalities: Modalities,
    options: PlaceOptions,
    resize_to: str | None = None,
) -> OnOneGrid:
    """Put two pictures on one grid. Raise PairError if they do not fit, or are not registered."""
    if not options.is_active or (options.is_by_camera_alone and first.image.alignment is None):
        return OnOneGrid(onto_one_grid(first, second, modalities, resize_to))
    pair = _arrange(first, second, modalities, options, resize_to)
    transform, found, remarks = pair.start, options.found, options.remarks
    if options.register is not None and not options.is_decided:
        transform, found, remarks = _decide(
            _estimate([_views(pair)], options.register), pair, options
        )
    warnings = remarks if options.falls_back else ()
    if transform is None:
        resized = onto_one_grid(first, second, modalities, resize_to or pair.names[1])
        return OnOneGrid(resized, notices=warnings)
    warped = onto_reference(
        pair.reference, pair.moving, transform, options.kept_view, pair.names[1]
    )
    placed = Placed(
        transform=transform,
        source="registration" if found is not None else pair.source,
        moving=pair.names[0],
        reference=pair.names[1],
        window=warped.window,
        view=options.kept_view,
        notices=(*pair.notices, *warnings),
        remarks=() if options.falls_back else remarks,
        found=found,
        is_told=options.is_decided,
    )
    on_grid, seen = (warped.moving, warped.reference), (warped.seen, None)
    if pair.is_first_kept:
        return OnOneGrid((on_grid[1], on_grid[0]), placed, (seen[1], seen[0]))
    return OnOneGrid(on_grid, placed, seen)


@dataclass(frozen=True)
class _Pair:
    """A moving picture and its reference, with their names, and what is known of their place."""

    moving: Scaled
    reference: Scaled
    names: Modalities  # moving, reference
    is_first_kept: bool
    start: Transform | None
    source: str
    notices: tuple[str, ...] = ()


def _arrange(
    first: Scaled,
    second: Scaled,
    modalities: Modalities,
    options: PlaceOptions,
    resize_to: str | None,
) -> _Pair:
    """Decide which picture is the reference, and find what is known. Raise PairError.

    It is the one that is asked for, else of a camera's file that with more pixels in the common
    view, else the second: the visible one.
    """
    keep = options.reference or resize_to
    is_first = keep == modalities[0]
    alignment = first.image.alignment if options.camera else None
    sizes = size_of(first.image.grid), size_of(second.image.grid)
    known, source, notices = options.transform, "file", tuple[str, ...]()
    if known is not None and known.names is None:  # then it is of the reference and the other
        known = replace(known, names=modalities[::-1] if is_first else modalities)
    elif known is None and alignment is not None:
        known = Transform(alignment.matrix, modalities, (sizes[0], alignment.size))
        source, notices = alignment.source, alignment.notices
    if known is not None:
        known = _resized(known.inverse if known.names != modalities else known, modalities, sizes)
        if keep is None and options.camera:
            is_first = scale_at_centre(known.to_reference, first.image.grid) < SHARPER
    if is_first:
        known = None if known is None else known.inverse
        return _Pair(second, first, modalities[::-1], is_first, known, source, notices)
    return _Pair(first, second, modalities, is_first, known, source, notices)


def _resized(known: Transform, names: Modalities, sizes: tuple[Size, Size]) -> Transform:
    """Return a transform for pictures of these sizes. Raise PairError."""
    try:
        return known.for_sizes(*sizes)
    except ValueError:
        was, now = (
            " and ".join(
                f"{name} of {width}x{height}"
                for name, (width, height) in zip(names, both, strict=True)
            )
            for both in (known.sizes or sizes, sizes)
        )
        raise PairError(
            f"the transform is one for {was}, but these are {now}: another shape; make one for "
            "them, with --register and --save-transform"
        ) from None


def as_they_are(reference: Scaled, moving: Scaled, window: Window) -> tuple[Scaled, Scaled]:
    """Return both pictures on a window of the reference's grid without a transform.

    The moving picture keeps its shape; its centre lies on the reference's, and it is as large.
    """
    width, height = size_of(reference.image.grid)
    wide, tall = size_of(moving.image.grid)
    size = min(width / wide, height / tall)
    matrix = np.diag([size, size, 1.0])
    matrix[:2, 2] = (width - 1 - size * (wide - 1)) / 2, (height - 1 - size * (tall - 1)) / 2
    found = onto_reference(reference, moving, Transform(matrix), "reference", "reference")
    return cropped(found.reference, window), cropped(found.moving, window)


# --- registration ---------------------------------------------------------------------------------


def estimate_over_frames(
    frames: Iterable[tuple[Scaled, Scaled]], modalities: Modalities, options: PlaceOptions
) -> PlaceOptions:
    """Return the options with one transform for all frames of a rig: `place` then uses it.

    Frames, (first, second), are looked at one after the other and not kept; a few dozen are enough.
    What the search starts from must be the same in all. Raise PairError if there is no frame, if
    they differ in size, or if the transform is not trusted.
    """
    if options.register is None:
        return options
    pairs: list[_Pair] = []
    views: list[_Views] = []
    for first, second in frames:
        pair = _arrange(first, second, modalities, options, None)
        if views and _sizes(pair) != views[0].sizes:
            raise PairError(
                f"one transform for all pairs needs pairs of one size, but {pair.names[0]} and "
                f"{pair.names[1]} are {_words(views[0].sizes)} in one and {_words(_sizes(pair))} "
                "in another; give them apart, or use --register-scope pair"
            )
        views.append(_views(pair))
        pairs = pairs or [pair]
    if not views:
        raise PairError("no pair can be read, so there is nothing to register; check the files")
    transform, found, remarks = _decide(_estimate(views, options.register), pairs[0], options)
    return replace(options, transform=transform, found=found, remarks=remarks, is_decided=True)


def _decide(
    estimate: Estimate, pair: _Pair, options: PlaceOptions
) -> tuple[Transform | None, Registration | None, tuple[str, ...]]:
    """Return the transform that is used, what speaks for it, and remarks. Raise PairError."""
    found, transform = estimate
    if found.is_trusted:
        return transform, found, ()
    moving, reference = pair.names
    if not (options.falls_back or options.is_optional):
        raise PairError(
            f"{moving} could not be registered to {reference}: {found.reason}; {found.evidence}; "
            "check that both show the same scene, give a known transform (--transform), or "
            "fuse them as they are (--register-fallback none)"
        )
    used = {"file": "the given transform", "factory": "the factory alignment"}.get(
        "" if pair.start is None else pair.source, "what both show as they are"
    )
    return pair.start, None, (f"{found.sentence}; {used} is used",)


Estimate = tuple["Registration", Transform]


@dataclass(frozen=True)
class _Views:
    """What registration sees of a pair: luminances of limited size, and the way back."""

    moving: Seen
    reference: Seen
    back: tuple[Matrix, Matrix]  # from pixels of the luminances to those of the pictures
    sizes: tuple[Size, Size]
    names: Modalities
    start: Transform | None


def _sizes(pair: _Pair) -> tuple[Size, Size]:
    return size_of(pair.moving.image.grid), size_of(pair.reference.image.grid)


def _words(sizes: tuple[Size, Size]) -> str:
    return " and ".join(f"{width}x{height}" for width, height in sizes)


def _estimate(frames: Sequence[_Views], kind: Kind) -> Estimate:
    """Register frames of one size."""
    from fnetcli.pictures.registration import register_frames  # scipy is slow to import

    one = frames[0]
    own, other = one.back
    matrix = None if one.start is None else np.linalg.inv(other) @ one.start.matrix @ own
    small = register_frames([(it.reference, it.moving) for it in frames], kind, matrix)
    found = small.enlarged(own, other, *(size[::-1] for size in one.sizes))
    lenses = (None, None) if one.start is None else one.start.lenses
    return found, Transform(found.matrix, one.names, one.sizes, lenses)


def _views(pair: _Pair) -> _Views:
    lenses = (None, None) if pair.start is None else pair.start.lenses
    moving, own = _view(pair.moving, lenses[0])
    reference, other = _view(pair.reference, lenses[1])
    return _Views(moving, reference, (own, other), _sizes(pair), pair.names, pair.start)


def _view(scaled: Scaled, lens: Lens | None) -> tuple[Seen, Matrix]:
    """Return a picture's luminance as a camera without distortion sees it, and the way back."""
    from fnetcli.pictures.registration import View as Seen

    _, height, width = scaled.image.grid.shape
    values = np.empty((height, width), np.float32)
    for band in scaled.image.grid.bands():
        unit = scaled.rows(band)[0]
        values[band] = (luminance(unit) if scaled.image.is_color else unit)[..., 0]
    seen = Seen(values, None if scaled.image.valid is None else scaled.image.valid[0])
    if lens is not None:
        seen = seen.seen_at(lens.bent)
    return seen.shrunk(min(1.0, LONGEST_SIDE / max(height, width)))
