"""`fnet inspect` of CDDFuse: base and detail features of a pair, and what a weights file holds."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from fnetcli.checkpoints.loading import load_weights
from fnetcli.engine import Engine, Wanted
from fnetcli.models.cddfuse.network import CDDFuse
from tests.cli.command import Arrays, feature_arrays, fnet, inspected, record
from tests.cli.test_batch import errors
from tests.drawn_pictures import smooth_noise, write
from tests.reports.test_inspect_page import Written
from tests.small_cddfuse import NAMES, SMALL, save

HEIGHT, WIDTH = 24, 30
PICTURES = {"base.png", "detail.png", "agreement.png", "differences.png", "histograms.png"}
FILES = {"features.npz", "report.html", *PICTURES, *(f"feature_{name}.png" for name in NAMES)}


@pytest.fixture
def images(tmp_path: Path) -> list[object]:
    vis = write(tmp_path / "in" / "a.png", smooth_noise(HEIGHT, WIDTH, 1, 3))
    ir = write(tmp_path / "in" / "b.png", smooth_noise(HEIGHT, WIDTH, 2))
    return ["--vis", vis, "--ir", ir]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return save(tmp_path, trained={"pairs": 3})


def features_of(images: list[object], weights: Path) -> Arrays:
    grey = iio.imread(str(images[1])) @ np.array([0.299, 0.587, 0.114])
    first, second = (
        np.asarray(one[None] / 255, np.float32) for one in (iio.imread(str(images[3])), grey)
    )
    engine = Engine(load_weights(weights).network)
    found = engine.run(first, second, Wanted(features=True)).features
    return {name: one[0].astype(np.float64) for name, one in found.items()}


class TestPair:
    def test_files(self, tmp_path: Path, images: list[object], weights: Path) -> None:
        result = inspected(*images, "--weights", weights, "-o", tmp_path / "o")
        assert {path.name for path in (tmp_path / "o").iterdir()} == FILES
        for name in FILES:
            assert f"{tmp_path / 'o' / name}: " in result.stdout
        for name in PICTURES:
            assert iio.imread(tmp_path / "o" / name).ndim == 3
        found = feature_arrays(tmp_path / "o")
        shared = {"fused", "base_correlation", "detail_correlation"}
        energies = {f"{name}_{what}" for name in NAMES for what in ("energy", "energy_map")}
        assert found.keys() == {*NAMES, *shared, *energies}
        for name, feature in features_of(images, weights).items():
            np.testing.assert_allclose(found[name], feature, atol=1e-2)

    @pytest.mark.usefixtures("without_plots")
    def test_numbers(self, tmp_path: Path, images: list[object], weights: Path) -> None:
        inspected(
            *images, "--weights", weights, "-o", tmp_path / "o", "--json", tmp_path / "n.json"
        )
        numbers, found = record(tmp_path / "n.json"), feature_arrays(tmp_path / "o")
        assert numbers["model"] == "cddfuse"
        features = features_of(images, weights)
        decomposition = numbers["decomposition"]
        means = {}
        for kind in ("base", "detail"):
            expected = [
                np.corrcoef(one.ravel(), other.ravel())[0, 1]
                for one, other in zip(
                    features[f"{kind}_first"], features[f"{kind}_second"], strict=True
                )
            ]
            of = decomposition["agreement"][kind]
            np.testing.assert_allclose(of["per_channel"], expected, atol=1e-3)
            np.testing.assert_allclose(found[f"{kind}_correlation"], of["per_channel"], atol=1e-6)
            means[kind] = np.mean(expected)
            assert of["mean"] == pytest.approx(means[kind], abs=1e-3)
            norms = [
                np.sqrt((features[f"{kind}_{place}"] ** 2).sum(axis=0)).ravel()
                for place in ("first", "second")
            ]
            assert of["of_norms"] == pytest.approx(np.corrcoef(*norms)[0, 1], abs=1e-3)
            for modality, norm in zip(("ir", "vis"), norms, strict=True):
                of_one = decomposition["features"][f"{kind}_{modality}"]
                assert of_one["mean_norm"] == pytest.approx(norm.mean(), rel=1e-2)
                assert of_one["roughness"] > 0
        assert decomposition["loss"] == pytest.approx(
            means["detail"] ** 2 / (1.01 + means["base"]), rel=1e-2
        )
        assert numbers["features"].keys() == {
            *("base_ir", "base_vis", "detail_ir", "detail_vis"),
        }

    @pytest.mark.usefixtures("without_plots")
    def test_the_terminal(self, tmp_path: Path, images: list[object], weights: Path) -> None:
        lines = inspected(*images, "--weights", weights, "-o", tmp_path / "o").stdout.splitlines()
        for start in (
            "correlation of ir and vis: ",
            "features: mean L2 norm",
            "decomposition loss",
        ):
            assert any(line.startswith(start) for line in lines)
        rows = [line.split() for line in lines if line.startswith(("base ", "detail "))]
        assert [len(row) for row in rows] == [5, 5]
        assert max(len(line) for line in lines if str(tmp_path) not in line) <= 80

    def test_the_page(self, tmp_path: Path, images: list[object], weights: Path) -> None:
        inspected(*images, "--weights", weights, "-o", tmp_path / "o")
        page = Written(tmp_path / "o" / "report.html")
        assert list(page.data["codes"]) == list(NAMES)
        assert page.data["parts"] == []
        for words in (
            "Base and detail features",
            "BaseFuse(base of thermal infrared + base of visible)",
            "base of visible",
            "detail of thermal infrared",
            "correlation of detail features",
            "decomposition loss",
            "Correlation of both sources, channel by channel",
        ):
            assert words in page.text
        for absent in ("Mixing desk", "Atoms", "FNet", "--gain"):
            assert absent not in page.text

    @pytest.mark.usefixtures("without_plots")
    def test_without_features_kept(
        self, tmp_path: Path, images: list[object], weights: Path
    ) -> None:
        inspected(*images, "--weights", weights, "-o", tmp_path / "o", "--no-codes")
        found = feature_arrays(tmp_path / "o")
        assert not found.keys() & set(NAMES)
        assert {"base_first_energy", "detail_correlation"} <= found.keys()

    @pytest.mark.usefixtures("without_plots")
    def test_features_on_the_disk_give_the_same(
        self,
        tmp_path: Path,
        images: list[object],
        weights: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        inspected(*images, "--weights", weights, "-o", tmp_path / "in_memory")
        monkeypatch.setattr("fnetcli.files.scratch.MAX_IN_MEMORY", 0)
        inspected(*images, "--weights", weights, "-o", tmp_path / "o")
        for name, array in feature_arrays(tmp_path / "in_memory").items():
            assert np.array_equal(feature_arrays(tmp_path / "o")[name], array)

    def test_constant_images(self, tmp_path: Path, weights: Path) -> None:
        """Where nothing varies there is no correlation."""
        for name in ("a.png", "b.png"):
            write(tmp_path / name, np.zeros((1, 1), np.uint8))
        pair = ["--vis", tmp_path / "a.png", "--ir", tmp_path / "b.png", "--range", "ir=0,255"]
        inspected(*pair, "--weights", weights, "-o", tmp_path / "o",
             "--json", tmp_path / "n.json")  # fmt: skip
        agreement = record(tmp_path / "n.json")["decomposition"]["agreement"]["base"]
        assert agreement["per_channel"] == [None] * SMALL.dim
        assert agreement["mean"] == 0
        assert np.isnan(feature_arrays(tmp_path / "o")["base_correlation"]).all()

    def test_iterations_are_refused(
        self, tmp_path: Path, images: list[object], weights: Path
    ) -> None:
        result = fnet("inspect", *images, "--weights", weights, "--iterations",
                      "-o", tmp_path / "o")  # fmt: skip
        assert result.exit_code == 2
        (line,) = errors(result.stderr)
        assert line.startswith("error: --iterations: the weights are of a model 'cddfuse', ")

    def test_a_result_that_is_not_finite_names_the_weights(
        self, tmp_path: Path, images: list[object]
    ) -> None:
        def damage(module: CDDFuse) -> None:
            module.decoder.output.weight.fill_(1e38)

        result = fnet("inspect", *images, "--weights", save(tmp_path, damage),
                      "-o", tmp_path / "o")  # fmt: skip
        assert result.exit_code == 1
        (line,) = errors(result.stderr)
        assert line.endswith(
            "weights small.safetensors: the network's result is not finite; check the weights"
        )
        assert not (tmp_path / "o").exists()


class TestWeights:
    def test_facts(self, tmp_path: Path, weights: Path) -> None:
        result = inspected(weights, "--json", tmp_path / "facts.json")
        facts = record(tmp_path / "facts.json")
        network = load_weights(weights).network
        assert facts["model"] == "cddfuse"
        assert facts["config"]["skip"] == "second"
        groups = ("shallow", "base", "detail", "base_fusion", "detail_fusion", "decoder")
        assert tuple(facts["parameters"]) == groups
        assert sum(facts["parameters"].values()) == facts["parameter_count"]
        assert facts["parameter_count"] == SMALL.parameter_count
        assert facts["multiply_adds"] == SMALL.multiply_adds
        assert facts["reach"] is None
        assert facts["trained"] == {"pairs": 3}
        assert facts["temperatures"] == {
            name: [4.0, 4.0] for name in ("shallow 0", "base", "base_fusion", "decoder 0")
        }
        assert list(facts["conditions"]) == ["detail 0", "detail_fusion 0"]
        shuffle = network.arrays["encoder.detail.0.shuffle.weight"][:, :, 0, 0]
        assert facts["conditions"]["detail 0"] == pytest.approx(np.linalg.cond(shuffle), rel=1e-3)
        assert "model" not in facts["other_metadata"]
        lines = result.stdout.splitlines()
        assert any(line.split() == ["t", "base", "4.0000", "4.0000"] for line in lines)
        assert any(line.startswith("conditions ") for line in lines)

    def test_pictures(self, tmp_path: Path, weights: Path) -> None:
        result = inspected(weights, "-o", tmp_path / "o")
        names = {"temperatures.png", "kernels.png"}
        assert {path.name for path in (tmp_path / "o").iterdir()} == names
        for name in names:
            assert f"{tmp_path / 'o' / name}: " in result.stdout
            assert iio.imread(tmp_path / "o" / name).ndim == 3
