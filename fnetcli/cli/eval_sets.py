"""The data sets that `fnet eval` scores: one, or several with names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fnetcli.cli.console import Console, Progress, tell_pairing
from fnetcli.cli.eval_makers import Makers
from fnetcli.cli.options.cameras import GivenCamera
from fnetcli.cli.options.files import GivenPairing, GivenReading
from fnetcli.cli.options.registration import GivenRegistration
from fnetcli.cli.options.scaling import GivenScaling, GivenSize
from fnetcli.errors import UsageError
from fnetcli.modalities import MODALITIES
from fnetcli.text import number_of, verb_of

if TYPE_CHECKING:
    from fnetcli.evaluation.entrants import Entrant
    from fnetcli.evaluation.fused_files import FoundMethods
    from fnetcli.evaluation.run import EvalJob
    from fnetcli.formats import ReadOptions
    from fnetcli.inputs.pairing import Pairing
    from fnetcli.metrics import Convention, Metric
    from fnetcli.pictures.prepare import PrepareOptions
    from fnetcli.pictures.survey import Scope

SHOWN_STRAYS = 20

BETWEEN = re.compile(r",(?=[^,=/\\]+=)")  # two entries of --set
HOW = "give --set NAME:vis=DIR,ir=DIR, and for fused images METHOD=DIR"


@dataclass(frozen=True)
class GivenSet:
    """A data set as given: two folders by modality, and the methods' folders, [NAME=]DIR.

    Without a name it is the only one.
    """

    name: str
    images: dict[str, Path]
    fused: Sequence[str] = field(default_factory=list)


def read_set(text: str) -> GivenSet:
    """Read ``NAME:vis=DIR,ir=DIR,METHOD=DIR``. Raise UsageError."""
    name, mark, rest = text.partition(":")
    if not mark or not name.strip() or "/" in name or "=" in name:
        raise UsageError(f"--set {text}: no name; {HOW}")
    images, fused = dict[str, Path](), list[str]()
    for entry in BETWEEN.split(rest):
        key, is_given, path = entry.partition("=")
        key = key.strip()
        if not (is_given and key and path):
            raise UsageError(f"--set {text}: {entry!r} is not KEY=DIR; {HOW}")
        if key not in MODALITIES:
            fused.append(f"{key}={path}")
        elif key in images:
            raise UsageError(f"--set {text}: {key} is given twice; leave one out")
        else:
            images[key] = Path(path)
    if len(images) != 2:
        raise UsageError(f"--set {text}: needs two images that belong together; {HOW}")
    return GivenSet(name.strip(), images, fused)


def read_sets(texts: Sequence[str], others: Mapping[str, object]) -> list[GivenSet]:
    """Read all sets; `others` are options that name images of one set. Raise UsageError."""
    for option, value in others.items():
        if value:
            raise UsageError(f"{option} and --set: a set names its own folders; leave one out")
    sets = [read_set(text) for text in texts]
    names = [one.name for one in sets]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"--set {name}: two data sets have this name; give them other names")
    return sets


def require_same_weights(found: Sequence[FoundSet]) -> None:
    """Raise UsageError if the default weights of a method differ between data sets."""
    first, *others = found
    origins = {one.method.name: one.method for one in first.entrants}
    for other in others:
        for entrant in other.entrants:
            here, there = entrant.method, origins[entrant.method.name]
            if here.kind == "weights" and here.origin != there.origin:
                raise UsageError(
                    f"--weights {here.name}: is {here.origin} for {other.name}, but "
                    f"{there.origin} for {first.name}; name the weights"
                )


def require_same_methods(methods: dict[str, list[str]]) -> None:
    """Raise UsageError if a data set lacks a method that another has."""
    (first, wanted), *others = methods.items()
    for name, found in others:
        for lacking, has, method in (
            *((name, first, one) for one in wanted if one not in found),
            *((first, name, one) for one in found if one not in wanted),
        ):
            raise UsageError(
                f"--set {lacking}: has no method {method!r}, but {has} has; add {method}=DIR, or "
                "leave the method out"
            )


@dataclass(frozen=True)
class FoundSet:
    """A data set whose files were found."""

    name: str
    modalities: tuple[str, str]
    pairing: Pairing
    entrants: tuple[Entrant, ...]
    prepare: PrepareOptions
    reading: ReadOptions  # of fused files

    @property
    def methods(self) -> list[str]:
        """The names of all methods."""
        return [entrant.method.name for entrant in self.entrants]

    @property
    def inputs(self) -> list[Path]:
        """All files that are read."""
        sources = [path for case in self.pairing.cases for path in (case.first, case.second)]
        fused = [path for one in self.entrants for path in getattr(one, "files", {}).values()]
        return [*sources, *fused]

    def case_name(self, case: str) -> str:
        """Return the name of a case among those of all sets."""
        return f"{self.name}/{case}" if self.name else case


@dataclass(frozen=True)
class Scoring:
    """What is the same for all data sets."""

    console: Console
    makers: Makers
    metrics: tuple[Metric, ...]
    convention: Convention
    of_methods: dict[str, str]
    pairing: GivenPairing
    camera: GivenCamera
    reading: GivenReading
    scaling: GivenScaling
    size: GivenSize
    registration: GivenRegistration
    stretch_scope: Scope
    workers: int

    def find(self, sets: Sequence[GivenSet]) -> list[FoundSet]:
        """Find the files of all data sets. Raise UsageError."""
        from fnetcli.inputs.pairing import together

        pairs = [self._pair(one) for one in sets]
        pairings = together([pairing for _, pairing in pairs])
        for pairing in pairings:
            tell_pairing(self.console, pairing)
            pairing.require_cases()
        return [
            self._found(given, modalities, pairing)
            for given, (modalities, _), pairing in zip(sets, pairs, pairings, strict=True)
        ]

    def _pair(self, given: GivenSet) -> tuple[tuple[str, str], Pairing]:
        """Return the modalities of a data set and its pairs."""
        if self.camera.flir is None:
            return self.pairing.find(given.images, self.reading)
        of_camera = self.camera.find(given.images, self.pairing, self.reading)
        return of_camera.modalities, of_camera.pairing

    def _found(self, given: GivenSet, modalities: tuple[str, str], found: Pairing) -> FoundSet:
        from fnetcli.evaluation.fused_files import fused_methods
        from fnetcli.pictures.prepare import PrepareOptions

        of_files = self.reading.options(modalities)
        prepare = PrepareOptions(
            modalities,
            self.scaling.options(modalities),
            self.camera.applied_to(of_files, modalities),
            self.size.resize,
            self.registration.place(self.size.resize, of_camera=self.camera.has_both),
        )
        has_frames = any(case.page is not None for case in found.cases)  # results in sub-folders
        is_deep = self.pairing.recursive or bool(self.pairing.match) or has_frames
        fused = fused_methods(found, given.fused, self.of_methods, is_recursive=is_deep)
        _tell_strays(self.console, fused)
        return FoundSet(
            name=given.name,
            modalities=modalities,
            pairing=found,
            entrants=(*fused.entrants, *self.makers.entrants(modalities)),
            prepare=prepare,
            reading=replace(of_files[1], bands=()),  # those are of the sources
        )

    def job(self, found: FoundSet) -> EvalJob:
        """Survey the sources of a data set; return what is to be scored."""
        from fnetcli.evaluation.run import EvalJob
        from fnetcli.pictures.survey import survey

        with Progress(None, "headers and ranges", self.console) as progress:
            surveyed = survey(
                found.pairing.cases,
                found.prepare,
                scope=self.stretch_scope,
                workers=self.workers,
                on_step=progress.step,
            )
        for notice in surveyed.notices:
            self.console.notice(notice)
        for warning in surveyed.warnings:
            self.console.warning(warning)
        return EvalJob(
            pairing=found.pairing,
            options=surveyed.options,
            entrants=found.entrants,
            metrics=self.metrics,
            convention=self.convention,
            reading=found.reading,
        )


def _tell_strays(console: Console, fused: FoundMethods) -> None:
    """Print which images belong to no case."""
    for name, strays in fused.strays.items():
        belong = verb_of(len(strays), "belongs", "belong")
        console.notice(f"{name}: {number_of(len(strays), 'image')} {belong} to no case")
        for stray in strays[:SHOWN_STRAYS]:
            console.detail(f"{name}: belongs to no case: {stray}")
