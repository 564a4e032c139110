"""The modalities that fnet knows, and which two belong together: one table for both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fnetcli.errors import UsageError

ORDINALS = ("first", "second")  # in the roles of parts, in place of a modality


@dataclass(frozen=True)
class Windows:
    """Windows of a scanner's numbers, in a unit: the default one, and named ones.

    Each is (width, centre): black is centre - width / 2, white centre + width / 2.
    """

    unit: str
    default: tuple[float, float]
    named: dict[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Modality:
    """Everything that differs between modalities.

    `name` is used for the option, for columns of lists and for result folders, `title` on pages,
    and `about` at the start of the option's help. `dicom` is the name in DICOM (0008,0060);
    modalities that DICOM knows may also be volumes.
    """

    name: str
    title: str
    about: str
    carries_color: bool = False  # its colours are meaningful; others are a palette
    fills_its_type: bool = False  # 16-bit pictures use a fixed range, and are not stretched
    is_thermal: bool = False  # cameras' files may hold temperatures beside a rendered picture
    is_emission: bool = False  # 0 means that nothing was measured
    dicom: str | None = None
    windows: Windows | None = None

    @property
    def is_volumetric(self) -> bool:
        """Whether it may also be a volume."""
        return self.dicom is not None


# Windows as in most viewers and textbooks (Radiopaedia, "Windowing (CT)": soft tissue of the
# abdomen 400, 40; brain 80, 40; stroke 40, 40; subdural 130 to 300, 50 to 100; bone 1800, 400;
# lungs 1500, -600; mediastinum 350, 50; liver 150, 30 to 60).
CT_WINDOWS = Windows(
    unit="HU",
    default=(400, 40),
    named={
        "soft": (400, 40),
        "brain": (80, 40),
        "stroke": (40, 40),
        "subdural": (240, 85),
        "bone": (1800, 400),
        "lung": (1500, -600),
        "mediastinum": (350, 50),
        "liver": (150, 60),
    },
)
TABLE = (
    Modality(
        "vis", "visible", "Visible light, colour or grey", carries_color=True, fills_its_type=True
    ),
    Modality("ir", "thermal infrared", "Thermal infrared", is_thermal=True),
    Modality("nir", "near infrared", "Near infrared"),
    Modality("ct", "CT", "CT", dicom="CT", windows=CT_WINDOWS),
    Modality("mri", "MRI", "MRI", dicom="MR"),
    Modality("mri2", "second MRI", "Another MRI, such as FLAIR beside T1", dicom="MR"),
    Modality(
        *("pet", "PET", "PET, colour kept"),
        carries_color=True,
        is_emission=True,
        dicom="PT",
        windows=Windows(unit="SUVbw", default=(10, 5)),
    ),
    Modality(
        "spect", "SPECT", "SPECT, colour kept", carries_color=True, is_emission=True, dicom="NM"
    ),
)

# (first, second) in the network's order: it was trained with infrared first, and in other pairs the
# structural image (nir, mri, else ct) is first.
PAIRS = (
    ("ir", "vis"),
    ("nir", "vis"),
    ("mri", "ct"),
    ("mri", "pet"),
    ("mri", "spect"),
    ("mri", "mri2"),
    ("ct", "pet"),
    ("ct", "spect"),
)

BY_NAME = {one.name: one for one in TABLE}
MODALITIES = tuple(BY_NAME)
VOLUMETRIC = tuple(one.name for one in TABLE if one.is_volumetric)


def partners(name: str) -> list[str]:
    """Return the modalities that go with this one, in the order of PAIRS."""
    return [other for pair in PAIRS if name in pair for other in pair if other != name]


def network_order(given: Sequence[str], prefix: str = "--") -> tuple[str, str]:
    """Return the two given modalities as (first, second); raise UsageError for any other choice.

    `prefix` is what the user writes before each name.
    """
    for pair in PAIRS:
        if sorted(pair) == sorted(given):
            return pair
    allowed = ", ".join(f"{second}+{first}" for first, second in PAIRS)
    count = {0: "no image given", 1: f"only {prefix}{given[0]} given" if given else ""}
    problem = count.get(len(given), f"{' + '.join(f'{prefix}{name}' for name in given)} given")
    raise UsageError(f"{problem}; give exactly two that belong together: {allowed}")


def in_words(modalities: tuple[str, str]) -> str:
    """Return "CT and MRI" for the first "mri" and the second "ct", as files describe a result."""
    first, second = modalities
    return f"{second.upper()} and {first.upper()}"


def shown_name(role: str, modalities: tuple[str, str]) -> str:
    """Return the name, as users know it, of a part or map of these two images.

    The modality replaces ``first`` or ``second`` at the end of a role: unique_first is unique_ir,
    weight_second is weight_vis. Other names do not change.
    """
    for ordinal, modality in zip(ORDINALS, modalities, strict=True):
        start, mark, end = role.rpartition("_")
        if end == ordinal:
            return f"{start}{mark}{modality}"
    return role
