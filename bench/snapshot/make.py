"""Run the cases, keep what they write; run them again over what older code has written."""

from __future__ import annotations

import fnmatch
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.snapshot.cases import CASES, INPUTS, Case
from bench.snapshot.contents import PAGES, Place, compare_files
from bench.snapshot.inputs import MAKERS, MissingInputError, Sources
from fnetcli.text import number_of

INDEX = "snapshot.json"
LONGEST = 900  # seconds that one command may take
# One thread, so that the number of cores decides nothing; some cases set more.
FIXED = {
    "OMP_NUM_THREADS": "1",
    "COLUMNS": "100",
    "LC_ALL": "C.UTF-8",
    "NO_COLOR": "1",
    "TERM": "dumb",
    "TZ": "UTC",
}
CLEARED = ("FNET_", "FORCE_COLOR", "TERMINAL_WIDTH", "PYTHONDONTWRITE", "PYTHONWARNINGS")
FIRST_PAIR = {name: f"{INPUTS}/drawn/pairs/{name}/0.png" for name in ("vis", "ir")}
WARM_UP = ("fuse", "--vis", FIRST_PAIR["vis"], "--ir", FIRST_PAIR["ir"], "-o", "out")

Record = dict[str, Any]


class SnapshotError(Exception):
    """The user asked for what cannot be done; the message says why."""


# --- processes ------------------------------------------------------------------------------------


def code_folder() -> Path:
    """Return the folder whose fnetcli this process would import, without importing it."""
    found = importlib.util.find_spec("fnetcli")
    if found is None or found.origin is None:
        raise SnapshotError("fnetcli: cannot be imported; run this from the root of a checkout")
    return Path(found.origin).resolve().parents[1]


def describe_code(folder: Path) -> Record:
    """Say which code ran: its commit, and a hash over the sources, which holds changes too."""
    digest = hashlib.sha256()
    for path in sorted((folder / "fnetcli").rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    found = subprocess.run(  # noqa: S603
        ["git", "-C", str(folder), "rev-parse", "HEAD"],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    return {"commit": found.stdout.strip() or None, "sources_sha256": digest.hexdigest()}


@dataclass(frozen=True)
class Caches:
    """Folders of what commands keep for the next one: compiled loops and scores; bytecode.

    PYTHONPYCACHEPREFIX is honoured if it is set.
    """

    kept: Path
    bytecode: Path


def run_command(
    words: Sequence[str], folder: Path, caches: Caches, extra: Mapping[str, str]
) -> Any:
    """Run one `fnet` in a folder; return the process that has ended, its output as bytes."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(CLEARED)}
    path = os.pathsep.join([str(code_folder()), *filter(None, [kept.get("PYTHONPATH")])])
    environment = {**kept, **FIXED, "PYTHONPATH": path, **extra}
    environment["XDG_CACHE_HOME"] = str(caches.kept)
    environment.setdefault("PYTHONPYCACHEPREFIX", str(caches.bytecode))  # else torch takes seconds
    return subprocess.run(  # noqa: S603
        [sys.executable, "-m", "fnetcli", *words],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=LONGEST,
        check=False,
    )


# --- make -----------------------------------------------------------------------------------------


def make(folder: Path, sources: Sources, only: Sequence[str] = (), jobs: int = 1) -> Record:
    """Make a snapshot in a folder that is new or empty; return its index.

    The index is written after every case. A folder that holds a snapshot of the same code is gone
    on with: only the cases that are missing there, or have other commands by now, are run.
    """
    cases = _chosen(only)
    index = _begun(folder, list(only))
    folder = folder.resolve()
    names = {"drawn"}.union(*(one.inputs for one in cases))
    missing = _make_inputs(folder / "inputs", names, sources)
    index["inputs"] = _digests(folder / "inputs")
    index["left_out"] = {
        one.name: missing[name] for one in cases for name in sorted(one.inputs) if name in missing
    }
    wanted = [one for one in cases if one.name not in index["left_out"]]
    chosen = [one for one in wanted if not _is_made(one, index["cases"].get(one.name))]
    _run_cases(folder, chosen, index, jobs)
    if describe_code(code_folder())["sources_sha256"] != index["code"]["sources_sha256"]:
        (folder / INDEX).unlink()
        raise SnapshotError("the code has changed meanwhile; make the snapshot anew")
    return index


def _begun(folder: Path, only: list[str]) -> Record:
    """Return the index that a folder holds, or an empty one for a new folder."""
    code = describe_code(code_folder())
    if (folder / INDEX).is_file():
        index = read_index(folder)
        if index["code"]["sources_sha256"] != code["sources_sha256"]:
            raise SnapshotError(f"{folder}: a snapshot of other code; choose another folder")
        if index["root"] != str(folder.resolve()):
            raise SnapshotError(f"{folder}: was made in another place; choose another folder")
        return index | {"only": only if index["only"] else []}
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SnapshotError(f"{folder}: not empty; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "format": 1,
        "root": str(folder.resolve()),
        "code": code,
        "python": platform.python_version(),
        "machine": platform.platform(),
        "only": only,
        "seconds": 0.0,
        "cases": {},
    }


def _is_made(case: Case, record: Record | None) -> bool:
    if record is None or record["environment"] != case.environment:
        return False
    return [tuple(step["command"]) for step in record["steps"]] == [*case.steps]


def _run_cases(folder: Path, cases: Sequence[Case], index: Record, jobs: int) -> None:
    """Run them; the index is whole after every one."""
    before, started = index["seconds"], time.monotonic()
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(jobs) as pool:
        caches = Caches(Path(name) / "cache", Path(name) / "bytecode")
        if any(one.environment.get("FNET_NATIVE") != "0" for one in cases):
            _warm_up(folder, caches)
        futures = [pool.submit(_run_case, folder, one, caches) for one in cases]
        for future in as_completed(futures):
            one, record = future.result()
            index["cases"][one] = record
            index["seconds"] = round(before + time.monotonic() - started, 1)
            _write_index(folder, index)
    _write_index(folder, index)


def _write_index(folder: Path, index: Record) -> None:
    order = [one.name for one in CASES if one.name in index["cases"]]
    index["cases"] = {name: index["cases"][name] for name in order}
    part = folder / f"{INDEX}.part"
    part.write_text(json.dumps(index, indent=1), encoding="utf-8")
    part.replace(folder / INDEX)


def _chosen(only: Sequence[str]) -> list[Case]:
    """Return the cases whose names match one of the patterns; all without any."""
    for pattern in only:
        if not any(fnmatch.fnmatchcase(one.name, pattern) for one in CASES):
            raise SnapshotError(f"{pattern}: no such case; `list` prints them")
    return [
        one
        for one in CASES
        if not only or any(fnmatch.fnmatchcase(one.name, pattern) for pattern in only)
    ]


def _make_inputs(folder: Path, names: Iterable[str], sources: Sources) -> dict[str, str]:
    """Make the inputs that are not there; return those that are not at hand, and why."""
    missing = {}
    for name in sorted(names):
        if (folder / name).is_dir():
            continue
        part = folder / f"{name}.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        try:
            MAKERS[name](part, sources)
        except MissingInputError as error:
            missing[name] = str(error)
            shutil.rmtree(part)
        else:
            part.rename(folder / name)
    return missing


def _warm_up(folder: Path, caches: Caches) -> None:
    """Let `fnet` compile what it keeps, so that no case says that it does."""
    place = folder / "cases" / "warm-up" / "files"
    place.mkdir(parents=True)
    run_command(WARM_UP, place, caches, {})
    shutil.rmtree(place.parent)


def _run_case(folder: Path, case: Case, warm: Caches) -> tuple[str, Record]:
    place = folder / "cases" / case.name
    files = place / "files"
    shutil.rmtree(place, ignore_errors=True)  # of a run that was stopped
    files.mkdir(parents=True)
    steps = []
    with tempfile.TemporaryDirectory() as name:  # scores that another case kept are not used
        caches = Caches(Path(name) / "cache", warm.bytecode)
        if warm.kept.is_dir():
            shutil.copytree(warm.kept, caches.kept)
        for number, words in enumerate(case.steps, 1):
            started = time.monotonic()
            done = run_command(words, files, caches, case.environment)
            (place / f"{number}.stdout").write_bytes(done.stdout)
            (place / f"{number}.stderr").write_bytes(done.stderr)
            seconds = round(time.monotonic() - started, 1)
            steps.append({"command": words, "exit_code": done.returncode, "seconds": seconds})
    codes = ", ".join(str(step["exit_code"]) for step in steps)
    total = sum(step["seconds"] for step in steps)
    print(f"{case.name}: exit code {codes}, {total:.1f} s", flush=True)
    return case.name, {
        "environment": case.environment,
        "steps": steps,
        "files": _digests(place),
    }


def _digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read_index(folder: Path) -> Record:
    """Return the index of a snapshot."""
    try:
        index: Record = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SnapshotError(f"{folder / INDEX}: cannot be read ({error}); no snapshot") from None
    return index


# --- resume ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Resumed:
    """What the present code did to one case of an older snapshot."""

    name: str
    skipped: int
    problems: tuple[str, ...]


def resumable(snapshot: Path, index: Record) -> list[str]:
    """Return the cases that end with a `fnet fuse` into a folder that went well."""
    found = []
    for name, record in index["cases"].items():
        last = record["steps"][-1]
        words = last["command"]
        if (
            last["exit_code"] == 0
            and words[0] == "fuse"
            and not {"--existing", "--dry-run"} & {*words}
            and (snapshot / "cases" / name / "files" / _out(words) / "manifest.jsonl").is_file()
        ):
            found.append(name)
    return found


def resume(snapshot: Path, only: Sequence[str] = (), jobs: int = 1) -> list[Resumed]:
    """Run the last command of such cases over copies of what they wrote; all must be skipped."""
    index = read_index(snapshot)
    names = [
        name
        for name in resumable(snapshot, index)
        if not only or any(fnmatch.fnmatchcase(name, pattern) for pattern in only)
    ]
    if not names:
        raise SnapshotError(f"{snapshot}: no case that can be gone on with")
    with tempfile.TemporaryDirectory() as text, ThreadPoolExecutor(jobs) as pool:
        work = Path(text).resolve()
        shutil.copytree(snapshot / "inputs", work / "inputs")
        caches = Caches(work / "cache", work / "bytecode")

        def again(name: str) -> Resumed:
            return _resume_case(snapshot, index, name, work, caches)

        return list(pool.map(again, names))


def _out(words: Sequence[str]) -> str:
    return words[words.index("-o") + 1]


def _resume_case(snapshot: Path, index: Record, name: str, work: Path, caches: Caches) -> Resumed:
    record = index["cases"][name]
    words = record["steps"][-1]["command"]
    old, new = snapshot / "cases" / name / "files", work / "cases" / name / "files"
    shutil.copytree(old, new)
    account = f"{_out(words)}/run.json"
    (new / account).unlink(missing_ok=True)  # what is there afterwards is of this run
    done = run_command(words, new, caches, record["environment"])
    problems = []
    if done.returncode != 0:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        problems.append(f"exit code {done.returncode}: {' '.join(last)}")
    skipped, cases = _totals(new / account)
    if skipped != cases or not cases:
        problems.append(f"only {skipped} of {number_of(cases, 'case')} skipped")
    accounts = {account, *(after for word, after in pairwise(words) if word == "--json")}
    problems += _changed(Place(old, index["root"]), Place(new, str(work)), accounts)
    shutil.rmtree(new.parent)
    return Resumed(name, skipped, tuple(problems))


def _totals(path: Path) -> tuple[int, int]:
    """Return how many cases a run skipped, and how many it had; zeros where it does not say."""
    try:
        totals = json.loads(path.read_text(encoding="utf-8"))["totals"]
        return totals["skipped"], totals["cases"]
    except (OSError, ValueError, KeyError):
        return 0, 0


def _changed(old: Place, new: Place, accounts: Collection[str]) -> list[str]:
    """Say what is no longer as it was: all but the accounts of the run and its page."""
    before, after = _digests(old.folder), _digests(new.folder)
    found = [f"{name}: written or removed" for name in sorted(before.keys() ^ after.keys())]
    for name in sorted(before.keys() & after.keys()):
        if before[name] != after[name] and name not in accounts and not name.endswith(PAGES):
            found += [f"{name}: {one.text}" for one in compare_files(name, old, new)]
    return found
