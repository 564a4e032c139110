"""Results as a BIDS derivative: where they are, and what describes the data set.

Brain Imaging Data Structure 1.10, "BIDS Derivatives": names keep the entities of the file whose
grid is kept, and ``desc`` says what they are; the inheritance principle lets a file at the root
describe all of one ``desc``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

from fnetcli.errors import UsageError
from fnetcli.files.guarded import FileKind, read_text
from fnetcli.inputs.bids import DESCRIPTION, SUBJECT, BidsName, read_name, stem_of, subjects_place
from fnetcli.inputs.pairing import Pairing
from fnetcli.modalities import in_words

VERSION = "1.10.0"  # of BIDS, that these names follow
PROGRAM = "fnet"
DATASET = FileKind("the description of a data set", 1 << 20, "mend it")
# What validators do not know: the records of a run, previews, transforms. Folders have no slash at
# their end: bids-validator 3.0 does not match them with one.
NOT_BIDS = ("manifest.jsonl", "run.json", "parts", "sub-*/figures", "*_xfm.tfm")
IGNORE = ".bidsignore"
PATTERNS = FileKind("a list of patterns", 1 << 20, "mend it")


# --- names ----------------------------------------------------------------------------------------


def named_after(pairing: Pairing, side: int) -> Pairing:
    """Return the cases with the names of the files whose grids are kept: results have them, too.

    `side` is 0 or 1: the first or the second modality is the reference.
    """
    cases = [
        replace(case, name=stem_of((case.first, case.second)[side]) or case.name)
        for case in pairing.cases
    ]
    return replace(pairing, cases=cases)


def require_apart(
    references: Iterable[Path], modality: str, paths: Callable[[Path], Iterable[Path]]
) -> None:
    """Raise UsageError if results of two references have one path.

    Some entities of a reference are replaced by those of the results. `paths` returns all results
    of a reference.
    """
    known = dict[Path, Path]()
    for reference in references:
        for path in paths(reference):
            other = known.setdefault(path, reference)
            if other != reference:
                _refuse_both(other, reference, modality)


def _refuse_both(one: Path, other: Path, modality: str) -> NoReturn:
    name, second = (_place_and_name(path)[1] for path in (one, other))
    keys = sorted(name.differing(second, frozenset()))
    if not keys:
        raise UsageError(
            f"{one} and {other}: two references of one name; rename or remove one of them"
        )
    rule = BidsName({key: name.entities.get(key, "") for key in keys}, name.suffix)
    raise UsageError(
        f"{one} and {other}: differ only in {' and '.join(keys)}, so that their results have the "
        f"same names; choose one with --entity, such as {modality}={rule}, and fuse the other into "
        "another folder"
    )


def result_path(out: Path, reference: Path, description: str, ending: str = ".nii.gz") -> Path:
    """Return sub-01/anat/sub-01_desc-fused_T1w.nii.gz, beside which the others of a case are."""
    place, name = _place_and_name(reference)
    return out / place.parent / f"{described(name, description)}{ending}"


def figure_path(out: Path, reference: Path, description: str) -> Path:
    """Return sub-01/figures/sub-01_desc-preview_T1w.png."""
    place, name = _place_and_name(reference)
    return out / place.parts[0] / "figures" / f"{described(name, description)}.png"


def transform_path(out: Path, reference: Path, moving: str, kept: str) -> Path:
    """Return sub-01/anat/sub-01_from-ct_to-mri_mode-image_xfm.tfm, of two modalities."""
    place, name = _place_and_name(reference)
    entities = {**_without_description(name), "from": moving, "to": kept, "mode": "image"}
    return out / place.parent / f"{BidsName(entities, 'xfm')}.tfm"


def described(name: BidsName, description: str) -> BidsName:
    """Return a name whose last entity is ``desc``; a result "unique_mri" is "uniqueMri"."""
    first, *others = description.split("_")
    label = first + "".join(part.capitalize() for part in others)
    return replace(name, entities={**_without_description(name), "desc": label})


def _without_description(name: BidsName) -> dict[str, str]:
    return {key: label for key, label in name.entities.items() if key != "desc"}


def _place_and_name(reference: Path) -> tuple[Path, BidsName]:
    name = read_name(stem_of(reference) or "")
    if name is None or SUBJECT not in name.entities:
        raise UsageError(f"{reference}: not a BIDS name; leave --layout bids out")
    return subjects_place(reference), name


# --- the data set ---------------------------------------------------------------------------------


def dataset_files(
    out: Path,
    pairing: Pairing,
    modalities: tuple[str, str],
    method: str,
    sha256: str | None,
    suffix: str,
    results: Mapping[str, str],
    *,
    has_others: bool = False,
) -> dict[str, bytes]:
    """Return the files at the root of the derivative, by name.

    `method` says what fused, `sha256` is the hash of its weights, `suffix` is that of the
    reference, `results` says what each result is. If the folder `has_others`, results of other
    cases, their makers and sources stay in the description. Raise UsageError if the folder holds
    another data set, or a source's description is damaged.
    """
    before = _own_description(out)
    roots = list({os.path.realpath(root): root for root in pairing.roots}.values())
    known = [_description(root) for root in roots]
    words = f"{in_words(modalities)} fused by {method}"
    hashed = f"; SHA-256 of the weights: {sha256}" if sha256 else ""
    maker = {"Name": PROGRAM, "Version": version("fnetcli"), "Description": words + hashed}
    of = " and ".join(name for one in known if isinstance(name := one.get("Name"), str) and name)
    sources = [
        {
            "URL": _relative_url(root, out),
            **({"DOI": doi} if isinstance(doi := one.get("DatasetDOI"), str) else {}),
        }
        for root, one in zip(roots, known, strict=True)
    ]
    makers = [one for one in _listed(before, "GeneratedBy") if has_others or not _is_fnet(one)]
    earlier = _listed(before, "SourceDatasets") if has_others else []
    description = {
        **before,
        "Name": f"{of}: {words}" if of else words,
        "BIDSVersion": VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [maker, *(one for one in makers if one != maker)],
        "SourceDatasets": [*sources, *(one for one in earlier if one not in sources)],
    }
    files = {DESCRIPTION: _json(description), IGNORE: _patterns(out)}
    are_raw = all(one.get("DatasetType") != "derivative" for one in known)
    for result, sentence in results.items():
        name = described(BidsName({}, suffix), result)
        of_skull = {"SkullStripped": False} if are_raw else {}  # otherwise unknown
        files[f"{name}.json"] = _json({"Description": sentence, **of_skull})
    return files


def _patterns(out: Path) -> bytes:
    """Return what validators ignore: lines that are there already, and ours. Raise UsageError."""
    path = out / IGNORE
    lines = read_text(path, PATTERNS, "utf-8-sig").splitlines() if path.exists() else []
    return "".join(f"{line}\n" for line in dict.fromkeys((*lines, *NOT_BIDS))).encode()


def _relative_url(path: Path, base: Path) -> str:
    relative = os.path.relpath(os.path.realpath(path), os.path.realpath(base))
    return quote(os.fsencode(Path(relative).as_posix()))  # names need not be text


def _own_description(out: Path) -> dict[str, Any]:
    """Return a folder's description. Raise UsageError if fnet has not made its data set."""
    known = _description(out)
    if known and not any(_is_fnet(one) for one in _listed(known, "GeneratedBy")):
        raise UsageError(
            f"-o {out}: holds a data set that fnet has not made; choose another folder"
        )
    return known


def _listed(description: Mapping[str, Any], key: str) -> list[Any]:
    value = description.get(key)
    return value if isinstance(value, list) else []


def _is_fnet(maker: object) -> bool:
    return isinstance(maker, dict) and maker.get("Name") == PROGRAM


def _description(root: Path) -> dict[str, Any]:
    """Return a data set's description; nothing if it has none. Raise UsageError."""
    path = root / DESCRIPTION
    if not path.exists():
        return {}
    try:
        content = json.loads(read_text(path, DATASET, "utf-8-sig"))
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise UsageError(f"{path}: not a JSON object, as BIDS requires; mend it")
    return content


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=2, ensure_ascii=False).encode(errors="replace") + b"\n"
