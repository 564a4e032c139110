"""`fnet inspect` of an image or a volume: what the file contains, as fnet reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fnetcli.cli.console import Console, leaving_at_once
from fnetcli.cli.inspect_files import write_json
from fnetcli.cli.options.cameras import GivenCamera
from fnetcli.cli.options.files import GivenReading
from fnetcli.cli.options.volumes import GivenVolume
from fnetcli.errors import UsageError
from fnetcli.runs.batch import EXIT_DONE

MAX_DIGITS = 6  # of the number of a volume


def inspect_image(
    console: Console,
    path: Path,
    json_file: Path | None,
    given_reading: GivenReading,
    camera: GivenCamera,
    given_volume: GivenVolume,
) -> int:
    """Print what an image or volume contains, and how each modality would scale it."""
    page, bands = _only("--page", given_reading.page), _only("--band", given_reading.band)
    reading = camera.applied_to_image(given_reading.of_image(page, bands))
    choice = _only("--series", given_volume.series)
    number = _only("--volume", given_volume.volume)
    if number is not None and not (number.isdecimal() and len(number) <= MAX_DIGITS):
        raise UsageError(f"--volume {number}: not a number; give 1 or more")
    with leaving_at_once():
        from fnetcli.formats.volumes import VolumeOptions, is_volume
        from fnetcli.inspection.image_facts import image_facts, volume_facts
        from fnetcli.inspection.sequence_facts import is_sequence, sequence_facts
        from fnetcli.reports.inspection_text import image_lines

    if not path.exists():
        raise UsageError(f"{path}: no such file or folder; check the path")
    if is_volume(path):
        for option, given in (("--page", page), ("--band", bands)):
            if given is not None:
                raise UsageError(
                    f"{option}: applies only to pictures, but a volume is inspected; leave it out"
                )
        wanted = VolumeOptions(choice, None if number is None else int(number), reading.pixel_limit)
        facts = volume_facts(path, wanted)
    else:
        for option, value in (("--series", choice), ("--volume", number)):
            if value is not None:
                raise UsageError(f"{option}: applies only to volumes (DICOM, NIfTI); leave it out")
        if page is None and is_sequence(path):
            found = sequence_facts(path, reading)
            return _tell(console, found.lines(), found.notices, found.record(), json_file)
        facts = image_facts(path, reading)
    return _tell(console, image_lines(facts), facts.notices, facts.record(), json_file)


def _tell(
    console: Console,
    lines: Sequence[str],
    notices: Sequence[str],
    record: dict[str, Any],
    json_file: Path | None,
) -> int:
    for line in lines:
        console.result(line)
    for notice in notices:
        console.warning(notice)
    write_json(json_file, record)
    return EXIT_DONE


def _only(option: str, values: list[str] | None) -> str | None:
    """Return the only value, without the modality that `fnet fuse` expects in front of it."""
    from fnetcli.modalities import MODALITIES

    if values is None or not values:
        return None
    if len(values) > 1:
        raise UsageError(
            f"{option}: given {len(values)} times, but one image is inspected; give it once"
        )
    name, mark, rest = values[0].partition("=")
    return rest if mark and name in MODALITIES else values[0]
