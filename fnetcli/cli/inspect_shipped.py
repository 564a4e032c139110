"""`fnet inspect --list`: the weights that ship with fnet."""

from __future__ import annotations

from pathlib import Path

from fnetcli.cli.console import Console
from fnetcli.cli.inspect_files import require_json, write_json
from fnetcli.runs.batch import EXIT_DONE
from fnetcli.runs.protect import Inputs


def list_weights(console: Console, json_file: Path | None) -> int:
    """Print name, model, modalities trained on, size and hash of each; return the exit code."""
    from fnetcli.checkpoints.shipped import DEFAULT_NAME, MEDICAL_NAME, shipped_weights
    from fnetcli.inspection.shipped import shipped_cards

    require_json(json_file, None, Inputs(list(shipped_weights().values())))
    cards = shipped_cards()
    for card in cards:
        defaults = {DEFAULT_NAME: " (default)", MEDICAL_NAME: " (default for CT, MRI, PET, SPECT)"}
        mark = defaults.get(card.name, "")
        trained = ", ".join(card.trained_for) or "unknown pairs"
        console.result(f"{card.name}{mark}: model {card.model}, trained for {trained}")
        console.result(f"    {card.size / 1e6:.2f} MB, sha256 {card.sha256}")
    write_json(json_file, {"weights": [card.record() for card in cards]})
    return EXIT_DONE
