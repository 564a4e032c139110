"""Where two images are aligned: registration, transforms, and what is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from fnetcli.cli.options.group import OptionGroup
from fnetcli.errors import ConfigError, PairError, ReadError, UsageError

if TYPE_CHECKING:
    from fnetcli.imaging.planar import Transform
    from fnetcli.pictures.place import PlaceOptions

PANEL = "Two cameras: registration"


class RegisterChoice(StrEnum):
    """The kind of transform that is looked for."""

    none = "none"
    translation = "translation"
    rigid = "rigid"
    similarity = "similarity"
    affine = "affine"
    homography = "homography"


class RegisterScopeChoice(StrEnum):
    """What one transform is estimated over."""

    pair = "pair"
    folder = "folder"


class FallbackChoice(StrEnum):
    """What happens to a pair whose registration is not trusted."""

    fail = "fail"
    none = "none"


class ViewChoice(StrEnum):
    """What is kept of the reference."""

    reference = "reference"
    common = "common"


@dataclass(frozen=True)
class GivenRegistration(OptionGroup):
    """How one image is registered to the other."""

    register: Annotated[
        RegisterChoice | None,
        typer.Option(
            "--register",
            help="Estimate how the two images are aligned, and warp one onto the other; "
            "sizes may differ. Volumes: none or rigid. Default: none; with --flir, "
            "translation.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    register_scope: Annotated[
        RegisterScopeChoice,
        typer.Option(
            "--register-scope",
            help="Estimate a transform for each pair, or one for all: two cameras that are fixed "
            "to each other.",
            rich_help_panel=PANEL,
        ),
    ] = RegisterScopeChoice.pair
    register_fallback: Annotated[
        FallbackChoice,
        typer.Option(
            "--register-fallback",
            help="What happens if a registration is not trusted: the pair fails, or is fused as "
            "it is, with a warning (none).",
            rich_help_panel=PANEL,
        ),
    ] = FallbackChoice.fail
    transform: Annotated[
        Path | None,
        typer.Option(
            "--transform",
            metavar="FILE",
            help="A known transform: a file of --save-transform, an ITK text file, or YAML or JSON "
            "of OpenCV (a homography, or a stereo calibration with lenses). With --register, the "
            "search starts there. Volumes: ITK text, from points of the reference to points of "
            "the other volume.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference",
            metavar="MODALITY|finest",
            help="The image whose pixels are kept; the other one is warped. Default: vis; with "
            "--flir, the one with more pixels. Volumes: the MRI, else the CT, or the finest grid.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None

    @classmethod
    def of_words(cls, words: Mapping[str, str]) -> Self:
        """Return the options of a recipe, named without their dashes. Raise ConfigError."""
        choices: dict[str, Callable[[str], object]] = {
            "register": RegisterChoice,
            "register-scope": RegisterScopeChoice,
            "register-fallback": FallbackChoice,
            "transform": Path,
            "reference": str,
        }
        found: dict[str, Any] = {}
        for name, word in words.items():
            if name not in choices:
                raise ConfigError(
                    f"[registration] {name}: unknown; known keys: {', '.join(choices)}"
                )
            try:
                found[name.replace("-", "_")] = choices[name](word)
            except ValueError:
                kinds = ", ".join(map(str, list(choices[name])))  # type: ignore[call-overload]
                raise ConfigError(
                    f"[registration] {name} = {word!r}; must be one of {kinds}"
                ) from None
        return cls(**found)

    @property
    def paths(self) -> list[Path]:
        """The file that is read, if any."""
        return [] if self.transform is None else [self.transform]

    @property
    def is_rigid(self) -> bool:
        """Whether a rigid transform is asked for."""
        return self.register is RegisterChoice.rigid

    def given(self) -> dict[str, object]:
        """Return the given options with their values."""
        return {
            "--register": self.register,
            "--register-scope": self.register_scope is not RegisterScopeChoice.pair,
            "--register-fallback": self.register_fallback is not FallbackChoice.fail,
            "--transform": self.transform,
            "--reference": self.reference,
        }

    def words(self) -> dict[str, str | None]:
        """Return the options as they were given; None: not given."""
        fallback, scope = self.register_fallback, self.register_scope
        return {
            "--register": None if self.register is None else self.register.value,
            "--register-scope": None if scope is RegisterScopeChoice.pair else scope.value,
            "--register-fallback": None if fallback is FallbackChoice.fail else fallback.value,
            "--transform": None if self.transform is None else str(self.transform),
            "--reference": self.reference,
        }

    def require_for_volumes(self) -> None:
        """Raise UsageError if an option does not apply to volumes."""
        kind = self.register
        if kind not in (None, RegisterChoice.none, RegisterChoice.rigid):
            raise UsageError(f"--register {kind}: volumes are registered by a rigid transform only")
        for option in ("--register-scope", "--register-fallback"):
            if self.given()[option]:
                raise UsageError(
                    f"{option}: applies only to pictures, but volumes (DICOM, NIfTI) are fused; "
                    "leave it out"
                )

    def place(
        self, resize: str | None, view: GivenView | None = None, *, of_camera: bool
    ) -> PlaceOptions:
        """Return how two pictures are aligned. Raise UsageError, ReadError.

        `of_camera`: both are of one camera's file. `resize` is what was given for --resize. Without
        `view`, what both see is kept.
        """
        from fnetcli.imaging.planar import KINDS
        from fnetcli.pictures.place import CAMERA_KIND, PlaceOptions

        is_usual = self.register is None and of_camera
        kind = next((kind for kind in KINDS if kind == self.register), None)
        kind = CAMERA_KIND if is_usual else kind
        shown = GivenView() if view is None else view
        is_active = bool(of_camera or kind or self.transform)
        self._require_something(shown, is_active=is_active)
        if resize is not None and is_active:
            self._require_one_size(of_camera=of_camera)
        for option in ("--register-scope", "--register-fallback"):
            if self.given()[option] and kind is None:
                raise UsageError(f"{option}: needs --register; add a kind of transform")
        if shown.save_transform is not None and kind is None:
            raise UsageError("--save-transform: needs --register; add a kind of transform")
        found = PlaceOptions(
            register=kind,
            scope=self.register_scope.value,
            transform=self._read(),
            camera=of_camera,
            reference=self.reference,
            view=None if shown.view is None else shown.view.value,
            falls_back=self.register_fallback is FallbackChoice.none,
            is_optional=is_usual,
        )
        return found.of_common_view() if view is None else found

    def of_film(self, resize: str | None, view: GivenView, *, of_camera: bool) -> PlaceOptions:
        """Return how the two pictures of every frame are aligned: one transform for all.

        A camera's own alignment is refined only on request. Raise UsageError, ReadError.
        """
        known = replace(self, register=self.register or RegisterChoice.none)
        return replace(known.place(resize, view, of_camera=of_camera), scope="folder")

    def _require_something(self, view: GivenView, *, is_active: bool) -> None:
        given = {"--reference": self.reference, "--view": view.view}
        for option, value in given.items():
            if value and not is_active:
                raise UsageError(
                    f"{option}: applies to pictures that are registered (--register, --transform, "
                    "--flir); leave it out, or keep one size with --resize"
                )

    def _require_one_size(self, *, of_camera: bool) -> None:
        if not of_camera:
            raise UsageError(
                "--resize: sizes may differ where images are registered; leave it out, and choose "
                "the image whose pixels are kept with --reference"
            )
        if self.reference is not None:
            raise UsageError(
                "--resize and --reference: both name whose pixels are kept; leave one out"
            )

    def _read(self) -> Transform | None:
        from fnetcli.formats.planar_transforms import read_planar

        if self.transform is None:
            return None
        try:
            return read_planar(self.transform)
        except (UsageError, ReadError) as error:
            raise type(error)(f"--transform {error}") from None


@dataclass(frozen=True)
class GivenView(OptionGroup):
    """What is kept of the reference, and where a transform is saved."""

    view: Annotated[
        ViewChoice | None,
        typer.Option(
            "--view",
            help="Keep the whole reference, which passes through unfused where the other image "
            "shows nothing, or only the common view of both. Default: reference; with --flir, "
            "common.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    save_transform: Annotated[
        Path | None,
        typer.Option(
            "--save-transform",
            metavar="FILE",
            help="Write the transform of one pair, or of --register-scope folder, as JSON for "
            "--transform.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None

    def given(self) -> dict[str, object]:
        """Return the given options with their values."""
        return {"--view": self.view, "--save-transform": self.save_transform}

    def saved(self, place: PlaceOptions, count: int) -> PlaceOptions:
        """Return options that find the transform to save before the first pair is fused.

        Raise UsageError if there would be several.
        """
        if self.save_transform is None or place.scope == "folder":
            return place
        if count > 1:
            raise UsageError(
                f"--save-transform: {count} pairs have a transform each; add --register-scope "
                "folder for one of all"
            )
        return replace(place, scope="folder")

    def save(self, place: PlaceOptions | None, tell: Callable[[str], None]) -> None:
        """Write the transform that was found. Raise FnetError if there is none, or OutputError."""
        from fnetcli.formats.planar_transforms import write_planar

        if self.save_transform is None or place is None:
            return
        if place.transform is None or place.found is None:
            raise PairError(f"--save-transform: there is none to save; {'; '.join(place.remarks)}")
        evidence = place.found.record()
        kind, _ = evidence.pop("kind"), evidence.pop("matrix")
        write_planar(self.save_transform, place.transform, kind, evidence)
        tell(f"transform: {self.save_transform}")
