"""`fnet inspect` for papers: two networks side by side, inverse fusion, warnings first."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fnetcli.checkpoints.loading import load_weights, save_weights
from fnetcli.models.fnet import IFNET
from fnetcli.models.fnet.config import FNetConfig, IFNetConfig
from fnetcli.models.fnet.network import FNet, IFNet
from fnetcli.models.table import INVERSES
from fnetcli.models.torch_arrays import at_rest
from tests import small_cddfuse
from tests.cli.command import error_line, fnet, leave_plots_out, tiny_weights
from tests.drawn_pictures import smooth_noise, write
from tests.networks import resting

HEIGHT, WIDTH = 20, 30
LABELS = [("u", "unique to ir"), ("v", "unique to vis"), ("z", "common")]
COMPARED = [
    *("fused.png", "histograms_u.png", "histograms_v.png", "histograms_z.png"),
    *("report.html", "sparsity.png"),
]


@pytest.fixture(autouse=True)
def plain_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FNET_NATIVE", "0")


@pytest.fixture
def pair(tmp_path: Path) -> list[Any]:
    """Two pictures, weights tiny.safetensors, an l1 twin soft.safetensors, and an inverse."""
    tiny_weights(tmp_path)
    torch.manual_seed(0)
    soft = FNetConfig(atoms=4, kernel_size=3, iterations=2, threshold="soft")
    save_weights(tmp_path / "soft.safetensors", resting(FNet(soft)), {})
    inverse = IFNetConfig(atoms=4, kernel_size=3, iterations=1)
    owner = {
        "name": "tiny.safetensors",
        "sha256": load_weights(tmp_path / "tiny.safetensors").sha256,
    }
    at = at_rest(IFNET, inverse, IFNet(inverse))
    save_weights(tmp_path / "inverse.safetensors", at, {"belongs_to": owner})
    small_cddfuse.save(tmp_path).replace(tmp_path / "cddfuse.safetensors")
    write(tmp_path / "in" / "a.png", smooth_noise(HEIGHT, WIDTH, 1, 3))
    write(tmp_path / "in" / "b.png", smooth_noise(HEIGHT, WIDTH, 2))
    return ["--vis", tmp_path / "in" / "a.png", "--ir", tmp_path / "in" / "b.png"]


class TestTwoNetworks:
    def test_side_by_side(
        self, tmp_path: Path, pair: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Numbers of the last iteration are those that each network has by itself."""
        names = ["tiny", "soft"]
        weights = [w for name in names for w in ("--weights", tmp_path / f"{name}.safetensors")]
        out, numbers = tmp_path / "two", tmp_path / "numbers.json"
        result = fnet("inspect", *pair, *weights, "-o", out, "--json", numbers)
        assert result.exit_code == 0, result.output
        assert sorted(path.name for path in out.iterdir()) == COMPARED
        record = json.loads(numbers.read_text())
        assert [*record["networks"]] == names
        leave_plots_out(monkeypatch)
        for name in names:
            alone = tmp_path / f"{name}.json"
            given = ["--weights", tmp_path / f"{name}.safetensors", "-o", tmp_path / name]
            assert fnet("inspect", *pair, *given, "--json", alone, "--no-codes").exit_code == 0
            codes = json.loads(alone.read_text())["codes"]
            for letter, steps in record["networks"][name]["codes"].items():
                assert [step["k"] for step in steps] == [0, 1, 2]
                assert steps[-1]["nearly_zero"] == codes[letter]["nearly_zero_after"]
                assert [step["theta"] for step in steps] == codes[letter]["theta"]
                for step in steps:
                    assert step["exactly_zero"] <= step["nearly_zero"]
                    assert step["mean_magnitude"] <= step["largest_magnitude"]
        soft = record["networks"]["soft"]["codes"]["u"][-1]
        assert soft["exactly_zero"] > record["networks"]["tiny"]["codes"]["u"][-1]["exactly_zero"]
        assert "u: unique to ir, after the threshold" in result.stdout
        assert re.search(r"^soft, k = 2 ", result.stdout, re.MULTILINE)
        page = (out / "report.html").read_text()
        assert "tiny.safetensors: sigmoidal threshold" in page
        assert "soft.safetensors: soft threshold" in page
        alts = re.findall(r'alt="(.*?)"', page)
        assert alts[:5] == ["thermal infrared", "visible", "tiny", "soft", "difference"]
        assert alts[5:] == [
            "How sparse the codes are, and how large",
            *(f"{letter}: {what}, values after each threshold" for letter, what in LABELS),
        ]
        largest = record["networks"]["soft"]["codes"]["z"][-1]["largest_magnitude"]
        assert f"<td>{largest:.3f}</td></tr>" in page

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--weights", "{t}/tiny.safetensors"], "given twice; name two different networks"),
            (
                ["--weights", "{t}/soft.safetensors", "--weights", "fnet"],
                "3 networks, but two can be compared",
            ),
            (["--weights", "{t}/cddfuse.safetensors"], "of a model 'cddfuse', which has no codes"),
            (["--weights", "{t}/soft.safetensors", "--iterations"], "--iterations: does not apply"),
            (["--weights", "{t}/soft.safetensors", "--no-codes"], "--no-codes: does not apply"),
            (
                ["--weights", "{t}/soft.safetensors", "--inverse", "{t}/inverse.safetensors"],
                "--inverse: does not apply to two networks",
            ),
            (["--weights", "{t}/none.pth"], "none.pth: no such file"),
        ],
    )
    def test_mistakes(
        self, tmp_path: Path, pair: list[Any], options: list[str], message: str
    ) -> None:
        given = [option.replace("{t}", str(tmp_path)) for option in options]
        tiny = ["--weights", tmp_path / "tiny.safetensors"]
        result = fnet("inspect", *pair, *tiny, *given, "-o", tmp_path / "out")
        assert result.exit_code == 2, result.output
        assert message in error_line(result.stderr)
        assert not (tmp_path / "out").exists()

    def test_without_a_pair(self, tmp_path: Path, pair: list[Any]) -> None:
        del pair
        names = ("tiny", "soft")
        weights = [w for name in names for w in ("--weights", tmp_path / f"{name}.safetensors")]
        result = fnet("inspect", *weights)
        assert result.exit_code == 2
        assert "two networks are compared on a pair" in error_line(result.stderr)

    def test_a_result_among_the_inputs(self, tmp_path: Path, pair: list[Any]) -> None:
        weights = [tmp_path / "sparsity.png", tmp_path / "soft.safetensors"]
        (tmp_path / "tiny.safetensors").rename(weights[0])
        named = [w for one in weights for w in ("--weights", one)]
        result = fnet("inspect", *pair, *named, "-o", tmp_path)
        assert result.exit_code == 2
        assert "sparsity.png: is an input" in error_line(result.stderr)


class TestInverse:
    @pytest.mark.usefixtures("without_plots")
    def test_recovers_from_the_fused_picture(self, tmp_path: Path, pair: list[Any]) -> None:
        weights = ["--weights", tmp_path / "tiny.safetensors"]
        inverse = ["--inverse", tmp_path / "inverse.safetensors"]
        out, numbers = tmp_path / "out", tmp_path / "numbers.json"
        result = fnet("inspect", *pair, *weights, *inverse, "-o", out, "--json", numbers)
        assert result.exit_code == 0, result.output
        assert "not trained beside" not in result.stderr
        assert (out / "inverse.png").is_file()
        with np.load(out / "features.npz") as arrays:
            parts = [arrays[name] for name in ("unique_first", "unique_second", "common")]
            found = [arrays[f"recovered_{place}"] for place in ("first", "second")]
        network = load_weights(tmp_path / "inverse.safetensors", INVERSES).network
        module = network.at_work()
        assert isinstance(module, IFNet)
        fused = torch.from_numpy(parts[0] + parts[1] + parts[2])[None, None]
        with torch.no_grad():
            expected = module.recover(fused)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other[0, 0].numpy(), atol=1e-5)
        recovered = json.loads(numbers.read_text())["recovered"]
        assert [*recovered] == ["ir", "vis"]
        assert recovered["ir"]["root_mean_square_error"] > 0
        page = (out / "report.html").read_text()
        assert "Recovered from the fused picture alone" in page

    @pytest.mark.usefixtures("without_plots")
    def test_an_inverse_of_other_weights(self, tmp_path: Path, pair: list[Any]) -> None:
        """It is used, but the first thing on the page is that it shows little."""
        given = ["--weights", tmp_path / "soft.safetensors", "--no-codes", "-o", tmp_path / "out"]
        result = fnet("inspect", *pair, *given, "--inverse", tmp_path / "inverse.safetensors")
        assert result.exit_code == 0, result.output
        assert "warning: inverse.safetensors: was not trained beside soft" in result.stderr
        page = (tmp_path / "out" / "report.html").read_text()
        texts = re.findall(r"<li>(.*?)</li>", page.split("<header>")[1].split("</header>")[0])
        warnings = [text for text in texts if text.startswith("<b>Warning:</b>")]
        assert any("was not trained beside" in text for text in warnings)
        ranges = next(i for i, text in enumerate(texts) if "black to white" in text)
        assert max(map(texts.index, warnings)) < ranges

    @pytest.mark.parametrize(
        ("file", "code", "message"),
        [
            ("none.safetensors", 2, "none.safetensors: no such file"),
            ("tiny.safetensors", 1, "weights of fnet, but an inverse is needed"),
            ("in/a.png", 1, "a.png: "),
        ],
    )
    def test_mistakes(
        self, tmp_path: Path, pair: list[Any], file: str, code: int, message: str
    ) -> None:
        given = ["--weights", tmp_path / "tiny.safetensors", "-o", tmp_path / "out"]
        result = fnet("inspect", *pair, *given, "--inverse", tmp_path / file)
        assert result.exit_code == code, result.output
        assert message in error_line(result.stderr)
        assert not (tmp_path / "out").exists()

    def test_only_with_a_pair(self, tmp_path: Path, pair: list[Any]) -> None:
        del pair
        given = ["--inverse", tmp_path / "inverse.safetensors"]
        result = fnet("inspect", tmp_path / "tiny.safetensors", *given)
        assert result.exit_code == 2
        assert "--inverse: applies only to a pair" in error_line(result.stderr)

    def test_an_inverse_is_no_network_to_inspect(self, tmp_path: Path, pair: list[Any]) -> None:
        del pair
        result = fnet("inspect", tmp_path / "inverse.safetensors")
        assert result.exit_code == 1
        assert "give it to fnet inspect --inverse" in error_line(result.stderr)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.usefixtures("without_plots")
def test_misaligned_pictures_are_the_first_thing_on_the_page(tmp_path: Path, count: int) -> None:
    tiny_weights(tmp_path)
    torch.manual_seed(0)
    soft = FNetConfig(atoms=4, kernel_size=3, iterations=2, threshold="soft")
    save_weights(tmp_path / "soft.safetensors", resting(FNet(soft)), {})
    scene = smooth_noise(128, 160, 3)
    random = np.random.default_rng(0)
    for _ in range(60):  # edges to match
        top, left = random.integers(100), random.integers(130)
        scene[top : top + 20, left : left + 16] = random.integers(255)
    write(tmp_path / "in" / "a.png", scene[:100, :120])
    write(tmp_path / "in" / "b.png", scene[12:112, 15:135])
    images = ["--vis", tmp_path / "in" / "a.png", "--ir", tmp_path / "in" / "b.png"]
    names = ["tiny.safetensors", "soft.safetensors"][:count]
    weights = [w for name in names for w in ("--weights", tmp_path / name)]
    codes = ["--no-codes"] if count == 1 else []
    result = fnet("inspect", *images, *weights, *codes, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "warning: the images are not aligned" in result.stderr
    page = (tmp_path / "out" / "report.html").read_text()
    first = re.findall(r"<li>(.*?)</li>", page.split('aria-label="warnings"')[1])[0]
    assert first.startswith("<b>Warning:</b> the images are not aligned")


@pytest.mark.usefixtures("without_plots")
def test_one_number_for_what_is_clipped(tmp_path: Path, pair: list[Any]) -> None:
    """The desk starts with the text that the table has."""
    given = ["--weights", tmp_path / "tiny.safetensors", "--no-codes", "-o", tmp_path / "out"]
    assert fnet("inspect", *pair, *given).exit_code == 0
    page = (tmp_path / "out" / "report.html").read_text()
    rows = re.search(r"fused pixels clipped</th><td>(.*?)</td>", page)
    assert rows is not None
    assert json.loads(re.search(r'"clipped": ?("[^"]*")', page)[1]) == rows[1]  # type: ignore[index]


def test_weights_at_work() -> None:
    """An IFNet runs tile by tile in the engine: a map for each source, as the module has it."""
    config = IFNetConfig(atoms=4, kernel_size=3, iterations=2)
    module = IFNet(config)
    network = at_rest(IFNET, config, module)
    assert network.config.reach == 6
    assert dict(network.spec.shapes(config)).keys() == network.arrays.keys()
    convolutions = [one for one in network.arrays.values() if one.ndim == 4]
    assert network.config.multiply_adds == sum(one.size for one in convolutions)
    assert isinstance(network.at_work(), IFNet)
