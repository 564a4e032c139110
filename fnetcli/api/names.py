"""What the names in a call mean: modalities, files that belong together, parts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fnetcli.errors import UsageError
from fnetcli.formats import ReadOptions
from fnetcli.imaging.intensity import ScalingOptions
from fnetcli.inputs.bids import read_rule
from fnetcli.inputs.layout import AskedKind, read_layout
from fnetcli.inputs.lists import pair_list, pair_rows
from fnetcli.inputs.names import name_rules
from fnetcli.inputs.pairing import Pairing, PairingOptions, pair_paths
from fnetcli.modalities import MODALITIES, VOLUMETRIC, network_order
from fnetcli.products import Products

Pair = tuple[str, str]
Reading = tuple[ReadOptions, ReadOptions]
PairSource = str | Path | Iterable[Mapping[str, str | Path]]  # a CSV file, or its rows


@dataclass(frozen=True)
class Names:
    """What was given of the files' names."""

    is_recursive: bool = False
    prefixes: Mapping[str, str] = field(default_factory=dict)
    suffixes: Mapping[str, str] = field(default_factory=dict)
    match: Mapping[str, str] = field(default_factory=dict)
    nearest_time: float | None = None


@dataclass(frozen=True)
class Laid:
    """What was given of the folders' layout."""

    layout: AskedKind = "auto"
    name: str | None = None
    entities: Mapping[str, str] = field(default_factory=dict)


def two_modalities(images: Mapping[str, object]) -> Pair:
    """Return the two modalities in the network's order. Raise UsageError."""
    unknown = images.keys() - {*MODALITIES}
    if unknown:
        raise UsageError(f"{min(unknown)}: not a modality; use {', '.join(MODALITIES)}")
    return network_order(list(images))


def paired_pictures(
    images: Mapping[str, str | Path],
    pairs: PairSource | None,
    named: Names,
    reading: Callable[[Pair], Reading],
) -> tuple[Pair, Pairing]:
    """Return the modalities in the network's order, and the cases. Raise UsageError."""

    def tells_apart(modalities: Pair) -> bool:
        one, other = reading(modalities)
        return one != other and all(each.page is not None or each.bands for each in (one, other))

    if pairs is not None:
        if images or named != Names():
            raise UsageError("pairs: names the files; leave out images, and what names them")
        if isinstance(pairs, str | Path):
            return pair_list(Path(pairs), takes_same_file=tells_apart)
        return pair_rows(pairs, takes_same_file=tells_apart)
    modalities = first, second = two_modalities(images)
    for given in (named.prefixes, named.suffixes, named.match):
        require_known(given, modalities)
    options = PairingOptions(
        named.is_recursive,
        name_rules(modalities, named.prefixes, named.suffixes, named.match),
        None if named.nearest_time is None else round(named.nearest_time * 1e9),
        modalities,
        tells_apart(modalities),
    )
    return modalities, pair_paths(Path(images[first]), Path(images[second]), options)


def paired_volumes(
    files: Mapping[str, Path],
    pairs: PairSource | None,
    named: Names,
    laid: Laid,
) -> tuple[Pair, Pairing, list[str]]:
    """Return the modalities in the network's order, the cases, and how they were found."""
    if pairs is not None:
        if laid != Laid():
            raise UsageError("pairs: names the cases; leave layout, name and entities out")
        modalities, pairing = paired_pictures(
            files, pairs, named, lambda _: (ReadOptions(), ReadOptions())
        )
        _require_volumetric(modalities)
        return modalities, pairing, []
    modalities = first, second = two_modalities(files)
    _require_volumetric(modalities)
    for given in (named.prefixes, named.suffixes, named.match, laid.entities):
        require_known(given, modalities)
    options = PairingOptions(
        named.is_recursive,
        name_rules(modalities, named.prefixes, named.suffixes, named.match),
        modalities=modalities,
    )
    rules = None
    if laid.layout == "bids":
        if options.has_rules or laid.name is not None or laid.entities.keys() != {*modalities}:
            raise UsageError(
                f"layout bids: takes entities of {first} and {second}, and no other names"
            )
        rules = (
            read_rule(f"entities of {first}", laid.entities[first]),
            read_rule(f"entities of {second}", laid.entities[second]),
        )
    elif laid.entities:
        raise UsageError("entities: go with layout='bids'; add it")
    found = read_layout(files[first], files[second], laid.layout, laid.name, options, rules)
    if found.kind == "pairs":
        raise UsageError(f"{found.sentence}, not volumes; use fuse_folder")
    return modalities, found.pairing, [found.sentence, *found.pairing.notices]


def _require_volumetric(modalities: Pair) -> None:
    if not {*modalities} <= {*VOLUMETRIC}:
        first, second = modalities
        raise UsageError(f"{first} and {second}: come as pictures only; use fuse_folder")


def require_choices(**given: tuple[object, Collection[str]]) -> None:
    """Raise UsageError if an argument, (value, choices) by name, is not one of its choices."""
    for name, (value, choices) in given.items():
        if value not in choices:
            raise UsageError(f"{name}: {value!r}; use one of {', '.join(choices)}")


def require_known(given: Mapping[str, object], modalities: Pair) -> None:
    """Raise UsageError if a name is not one of the two modalities."""
    for name in given.keys() - {*modalities}:
        raise UsageError(f"{name}: not one of the two images, {' and '.join(modalities)}")


def scaling_of_both(
    scaling: Mapping[str, ScalingOptions] | None, modalities: Pair
) -> tuple[ScalingOptions, ScalingOptions]:
    """Return the scaling of each image. Raise UsageError for another image."""
    chosen = scaling or {}
    unused = chosen.keys() - {*modalities}
    first, second = modalities
    if unused:
        raise UsageError(
            f"scaling of {min(unused)}: not one of the two images, {first} and {second}"
        )
    return chosen.get(first, ScalingOptions()), chosen.get(second, ScalingOptions())


def gains_by_role(
    gains: Mapping[str, float] | None, products: Products, modalities: Pair
) -> dict[str, float]:
    """Return gains by role. Raise UsageError for a part that the network does not have."""
    wanted, roles = dict(gains or {}), products.shown_parts(modalities)
    for name in wanted.keys() - roles.keys() if roles else ():
        raise UsageError(f"gain of {name}: not one of the parts, {', '.join(roles)}")
    return {roles.get(name, name): gain for name, gain in wanted.items()}
