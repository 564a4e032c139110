"""The configuration refuses what makes no network."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import Any

import pytest

from fnetcli.models.uaafusion.config import UAAFusionConfig


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stages": 0}, "stages must be at least 1, not 0"),
        ({"stages": 2.0}, "stages must be a whole number, not 2.0"),
        ({"stages": True}, "stages must be a whole number, not True"),
        ({"channels": 5}, "channels must be even, not 5"),
        ({"classes": 1}, "classes must be at least 2"),
        ({"path_steps": 0}, "path_steps must be at least 1"),
        ({"data_step": 1}, "data_step must be true or false, not 1"),
        ({"attention": "RMS"}, "attention must be rms or raw, not 'RMS'"),
        ({"path_rule": "left"}, "path_rule must be midpoint or right"),
        ({"scores": []}, "scores must be softmax or sigmoid"),
        ({"segmentation": "large"}, "segmentation must be small or mobilenet"),
        ({"classes": 3, "class_names": ["a", "b"]}, "class_names are 2 for 3 classes"),
        ({"classes": 2, "class_names": ["a", "a"]}, "class_names must differ"),
        ({"classes": 2, "class_names": "ab"}, "class_names must be a list of words"),
    ],
)
def test_impossible_values(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UAAFusionConfig(**values)


def test_through_json() -> None:
    config = UAAFusionConfig(classes=2, class_names=("nothing", "road"))
    assert UAAFusionConfig(**json.loads(json.dumps(dataclasses.asdict(config)))) == config


def test_starts_without_torch() -> None:
    code = "import sys, fnetcli.models.uaafusion.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
