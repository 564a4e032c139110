"""`fnet inspect` of a model that has no inspector of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from fnetcli.checkpoints.loading import load_weights, save_weights
from fnetcli.engine import Engine, Wanted
from tests import tiny_models
from tests.cli.command import feature_arrays, fnet, inspected, record
from tests.cli.test_batch import errors
from tests.drawn_pictures import smooth_noise, write
from tests.reports.test_inspect_page import Written
from tests.tiny_models import BARE, MAPS, TINY

HEIGHT, WIDTH, CHANNELS = 20, 30, 4
COMMON_FILES = {"differences.png", "features.npz", "histograms.png", "report.html"}
TINY_FILES = COMMON_FILES | {"features.png", "maps.png", "feature_activity.png"}


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_models.register(monkeypatch)


@pytest.fixture
def images(tmp_path: Path) -> list[object]:
    write(tmp_path / "in" / "a.png", smooth_noise(HEIGHT, WIDTH, 1, 3))
    write(tmp_path / "in" / "b.png", smooth_noise(HEIGHT, WIDTH, 2))
    return ["--vis", tmp_path / "in" / "a.png", "--ir", tmp_path / "in" / "b.png"]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return tiny_models.save(tmp_path, TINY, CHANNELS, trained={"pairs": 3})


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    return tiny_models.save(tmp_path, BARE, CHANNELS)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


class TestPair:
    def test_files(self, tmp_path: Path, images: list[object], tiny: Path) -> None:
        result = inspected(*images, "--weights", tiny, "-o", tmp_path / "o")
        assert files(tmp_path / "o") == TINY_FILES
        for name in files(tmp_path / "o"):
            assert f"{tmp_path / 'o' / name}: " in result.stdout
        for name in ("maps.png", "differences.png", "histograms.png", "feature_activity.png"):
            assert iio.imread(tmp_path / "o" / name).ndim == 3

    @pytest.mark.usefixtures("without_plots")
    def test_what_the_network_made(self, tmp_path: Path, images: list[object], tiny: Path) -> None:
        inspected(*images, "--weights", tiny, "-o", tmp_path / "o")
        found = feature_arrays(tmp_path / "o")
        energies = {"activity_energy", "activity_energy_map"}
        assert found.keys() == {"fused", *MAPS, "activity", *energies}
        first = (iio.imread(tmp_path / "in" / "b.png") / 255).astype(np.float32)
        rgb = iio.imread(tmp_path / "in" / "a.png") / 255
        second = (rgb @ np.array([0.299, 0.587, 0.114])).astype(np.float32)
        wanted = Wanted(maps=True, features=True)
        engine = Engine(load_weights(tiny).network)
        expected = engine.run(first[None], second[None], wanted)
        np.testing.assert_allclose(found["fused"], expected.fused[0], atol=1e-6)
        for name in MAPS:
            np.testing.assert_allclose(found[name], expected.maps[name][0], atol=1e-6)
        activity = expected.features["activity"][0].astype(np.float32)
        np.testing.assert_allclose(found["activity"], activity, atol=1e-2)
        np.testing.assert_allclose(
            found["activity_energy_map"], (activity**2).sum(axis=0), rtol=1e-2, atol=1e-4
        )

    @pytest.mark.usefixtures("without_plots")
    def test_numbers(self, tmp_path: Path, images: list[object], tiny: Path) -> None:
        inspected(*images, "--weights", tiny, "-o", tmp_path / "o", "--json", tmp_path / "n.json")
        numbers, found = record(tmp_path / "n.json"), feature_arrays(tmp_path / "o")
        assert numbers["model"] == "tiny"
        assert numbers["modalities"] == ["ir", "vis"]
        assert numbers["size"] == [HEIGHT, WIDTH]
        assert numbers["sources"].keys() == {"ir", "vis"}
        assert numbers["parts"] == {}
        assert numbers["maps"].keys() == {"weight_ir", "weight_vis", "detail"}
        weight = numbers["maps"]["weight_ir"]
        assert weight["lowest"] == pytest.approx(found["weight_first"].min())
        assert weight["mean"] == pytest.approx(found["weight_first"].mean(), rel=1e-5)
        luminance = iio.imread(tmp_path / "in" / "b.png").astype(np.float32) / 255
        difference = found["fused"] - luminance
        assert numbers["fused"]["difference_ir"] == pytest.approx(
            np.sqrt((difference**2).mean()), rel=1e-4
        )
        activity = numbers["features"]["activity"]
        assert activity["channels"] == CHANNELS
        assert activity["energy"] == pytest.approx(found["activity_energy"].sum(), rel=1e-5)
        outside = (found["fused"] < 0) | (found["fused"] > 1)
        assert numbers["clipped"] == pytest.approx(outside.mean())
        assert {"misalignment", "said", "notices", "weights"} <= numbers.keys()

    @pytest.mark.usefixtures("without_plots")
    def test_the_terminal(self, tmp_path: Path, images: list[object], tiny: Path) -> None:
        lines = inspected(*images, "--weights", tiny, "-o", tmp_path / "o").stdout.splitlines()
        for title in ("sources: ", "fused: ", "maps: ", "features: ", "fused pixels clipped: "):
            assert any(line.startswith(title) for line in lines)
        assert not any(line.startswith("parts: ") for line in lines)
        (row,) = (line.split() for line in lines if line.startswith("weight_vis"))
        assert len(row) == 4
        shown = [line for line in lines if str(tmp_path) not in line]
        assert max(map(len, shown)) <= 80

    def test_the_page(self, tmp_path: Path, images: list[object], tiny: Path) -> None:
        inspected(*images, "--weights", tiny, "-o", tmp_path / "o")
        page, found = Written(tmp_path / "o" / "report.html"), feature_arrays(tmp_path / "o")
        shown = ["weight_ir", "weight_vis", "detail", "difference_ir", "difference_vis"]
        assert list(page.data["maps"]) == ["first", "second", "fused", *shown]
        assert page.data["parts"] == []
        assert np.abs(page.map("fused") - found["fused"]).max() < 1e-4
        assert np.abs(page.map("weight_vis") - found["weight_second"]).max() < 1e-4
        difference = page.map("fused") - page.map("first")
        assert np.abs(page.map("difference_ir") - difference).max() < 3e-4
        signed = {name for name, facts in page.data["maps"].items() if facts["signed"]}
        assert signed >= {"detail", "difference_ir"}
        assert not signed & {"weight_ir", "weight_vis"}
        for words in (
            "weight of thermal infrared",
            "fused \u2212 visible",
            "Tiny: weighs two images",
        ):
            assert words in page.text
        for absent in ("Mixing desk", "Atoms", "FNet", "residual"):
            assert absent not in page.text
        assert f"--weights {tiny}" in page.data["command"]

    @pytest.mark.usefixtures("without_plots")
    def test_without_features_kept(self, tmp_path: Path, images: list[object], tiny: Path) -> None:
        inspected(*images, "--weights", tiny, "-o", tmp_path / "o", "--no-codes")
        assert "activity" not in feature_arrays(tmp_path / "o")
        assert "activity_energy" in feature_arrays(tmp_path / "o")
        assert files(tmp_path / "o") == TINY_FILES

    def test_a_model_that_shows_nothing(
        self, tmp_path: Path, images: list[object], bare: Path
    ) -> None:
        result = inspected(*images, "--weights", bare, "-o", tmp_path / "o")
        assert files(tmp_path / "o") == COMMON_FILES
        assert feature_arrays(tmp_path / "o").keys() == {"fused"}
        assert "maps: " not in result.stdout
        page = Written(tmp_path / "o" / "report.html")
        assert page.links == ["#compare", "#separated", "#plots", "#numbers"]

    @pytest.mark.usefixtures("without_plots")
    def test_features_too_large_for_memory(
        self, tmp_path: Path, images: list[object], tiny: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inspected(*images, "--weights", tiny, "-o", tmp_path / "in_memory")
        monkeypatch.setattr("fnetcli.files.scratch.MAX_IN_MEMORY", 0)
        inspected(*images, "--weights", tiny, "-o", tmp_path / "o")
        for name, array in feature_arrays(tmp_path / "in_memory").items():
            assert np.array_equal(feature_arrays(tmp_path / "o")[name], array)
        assert files(tmp_path / "o") == TINY_FILES

    @pytest.mark.usefixtures("without_plots")
    def test_values_beyond_float16(self, tmp_path: Path, images: list[object], tiny: Path) -> None:
        network = load_weights(tiny).network
        changed = {name: array.copy() for name, array in network.arrays.items()}
        changed["encode.weight"] *= 1e7
        odd = tmp_path / "odd.safetensors"
        save_weights(odd, replace(network, arrays=changed), {})
        result = inspected(*images, "--weights", odd, "-o", tmp_path / "o")
        assert "feature activity: " in result.stderr
        assert "are beyond 65504" in result.stderr
        assert np.isfinite(feature_arrays(tmp_path / "o")["activity"]).all()

    def test_iterations_are_refused(self, tmp_path: Path, images: list[object], tiny: Path) -> None:
        result = fnet("inspect", *images, "--weights", tiny, "--iterations", "-o", tmp_path / "o")
        assert result.exit_code == 2
        (line,) = errors(result.stderr)
        assert line.startswith("error: --iterations: the weights are of a model 'tiny', ")
        assert not (tmp_path / "o").exists()

    @pytest.mark.parametrize("name", ["maps.png", "feature_activity.png"])
    def test_its_files_are_protected(
        self, tmp_path: Path, images: list[object], tiny: Path, name: str
    ) -> None:
        place = tmp_path / "o" / name
        given = [*images, "--weights", tiny, "-o", tmp_path / "o"]
        result = fnet("inspect", *given, "--json", place)
        assert "is the name of another kind of file" in result.stderr
        place.mkdir(parents=True)
        result = fnet("inspect", *given)
        assert f"{place}: is a folder, but a result has this name" in result.stderr
        assert files(tmp_path / "o") == {name}


class TestWeights:
    def test_facts(self, tmp_path: Path, tiny: Path) -> None:
        result = inspected(tiny, "--json", tmp_path / "facts.json")
        facts = record(tmp_path / "facts.json")
        loaded = load_weights(tiny)
        assert (facts["name"], facts["layout"], facts["model"]) == (tiny.name, "tiny", "tiny")
        assert facts["sha256"] == loaded.sha256
        assert facts["config"] == {"channels": CHANNELS}
        assert list(facts["parameters"]) == ["encode", "weigh", "paint"]
        assert facts["parameters"]["encode"] == 2 * CHANNELS * 9 + CHANNELS
        assert sum(facts["parameters"].values()) == facts["parameter_count"]
        assert facts["multiply_adds"] is None
        assert facts["reach"] is None
        assert facts["trained"] == {"pairs": 3}
        assert facts["runs_here"] == "torch"
        assert "model" not in facts["other_metadata"]
        printed = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
        assert printed["model"] == "tiny"
        assert printed["network"] == f"channels {CHANNELS}"
        assert printed["reach"] == "the whole image"
        assert printed["multiply-adds"] == "unknown"
        assert "theta_k" not in result.stdout

    def test_there_is_nothing_to_draw(self, tmp_path: Path, bare: Path) -> None:
        result = fnet("inspect", bare, "-o", tmp_path / "o")
        assert result.exit_code == 2
        (line,) = errors(result.stderr)
        words = "weights of 'bare' have no pictures to draw; leave it out"
        assert line == f"error: -o {tmp_path / 'o'}: {words}"
        assert not (tmp_path / "o").exists()
        assert inspected(bare).stdout.startswith("name           bare.safetensors\n")
