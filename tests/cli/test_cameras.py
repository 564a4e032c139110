"""Files of thermal cameras through the command line: both images out of one file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile

from fnetcli.formats import ReadOptions
from fnetcli.inputs.pairing import Case
from fnetcli.pictures.place import PlaceOptions
from fnetcli.pictures.prepare import PrepareOptions, read_case
from tests import flir_files as made
from tests.cli.command import fnet, tiny_weights
from tests.flir_files import (
    ALIGNMENT,
    CAMERA,
    COUNTS,
    PICTURE,
    RATIO,
    records,
    seen,
    temperatures,
)
from tests.paths import SHARED

SAMPLE = SHARED / "data" / "flir" / "flir_example.jpg"


def without(*kinds: int) -> dict[int, bytes]:
    return {kind: data for kind, data in records().items() if kind not in kinds}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return tiny_weights(tmp_path)


@pytest.fixture
def flir(tmp_path: Path) -> Path:
    path = tmp_path / "IR_0001.jpg"
    path.write_bytes(made.flir_jpeg(records()))
    return path


def fuse(weights: Path, out: Path, *arguments: object) -> list[dict[str, Any]]:
    """Run `fnet fuse`; return the records of the manifest."""
    result = fnet("fuse", "--weights", weights, "-o", out, *arguments)
    assert result.exit_code == 0, result.stderr
    lines = (out / "manifest.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def refused(weights: Path, out: Path, *arguments: object) -> str:
    """Run `fnet fuse`, which must fail; return its error, one line."""
    result = fnet("fuse", "--weights", weights, "-o", out, *arguments)
    assert result.exit_code != 0
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, result.stderr
    assert any(mark in errors[0] for mark in (";", "give "))
    return errors[0]


class TestOneFile:
    def test_both_images_come_out_of_it(self, tmp_path: Path, flir: Path, weights: Path) -> None:
        out = tmp_path / "out"
        (record,) = fuse(weights, out, "--flir", flir)
        assert record["inputs"]["ir"]["size"] == "24x32"
        assert record["inputs"]["vis"]["size"] == "60x80"
        low, high = record["ranges"]["ir"]["low"], record["ranges"]["ir"]["high"]
        assert 14 < low < 16
        assert 38 < high < 41
        assert record["alignment"]["source"] == "factory"
        assert record["alignment"]["reference"] == "vis"
        left, top, width, height = record["alignment"]["window"]
        # 60x80 / 1.25 is 48x64 at (6 + 4, 8 - 6): whole pixels here.
        assert (left, top, width, height) == (10, 2, 48, 64)
        with PIL.Image.open(out / "fused" / "IR_0001.png") as fused:
            assert (fused.size, fused.mode) == ((48, 64), "RGB")
        assert "factory alignment" in record["said"][0]

    def test_warm_things_lie_on_what_is_seen(self, flir: Path) -> None:
        for keep in (None, "ir", "vis"):
            prepared = read_case(Case("a", flir, flir), both(keep))
            centres = [centre(one[0]) for one in prepared.luminances]
            assert prepared.luminances[0].shape == prepared.luminances[1].shape
            np.testing.assert_allclose(centres[0], centres[1], atol=0.2)

    def test_thermal_grid_on_request(self, tmp_path: Path, flir: Path, weights: Path) -> None:
        (record,) = fuse(weights, tmp_path / "out", "--flir", flir, "--resize", "ir")
        assert record["alignment"]["reference"] == "ir"
        assert record["alignment"]["window"] == [0, 0, 24, 32]
        with PIL.Image.open(tmp_path / "out" / "fused" / "IR_0001.png") as fused:
            assert fused.size == (24, 32)

    def test_view_that_leaves_the_visible_picture_is_cropped(
        self, tmp_path: Path, weights: Path
    ) -> None:
        path = tmp_path / "a.jpg"
        path.write_bytes(made.flir_jpeg(records(alignment=made.alignment(RATIO, 20, 0))))
        (record,) = fuse(weights, tmp_path / "out", "--flir", path)
        assert record["alignment"]["window"] == [26, 8, 34, 64]

    def test_rendered_picture_on_request(self, tmp_path: Path, flir: Path, weights: Path) -> None:
        (record,) = fuse(weights, tmp_path / "out", "--flir", flir, "--ir-rendered")
        assert record["ranges"]["ir"] == {"low": 0, "high": 255, "invalid": 0}
        assert record["alignment"]["window"] == [10, 2, 48, 64]

    def test_rendered_picture_where_counts_are_damaged(self, tmp_path: Path, weights: Path) -> None:
        path = tmp_path / "a.jpg"
        path.write_bytes(made.flir_jpeg(records(counts=b"\7\7" + bytes(90))))
        assert "--ir-rendered" in refused(weights, tmp_path / "o", "--flir", path)
        (record,) = fuse(weights, tmp_path / "out", "--flir", path, "--ir-rendered")
        assert record["alignment"]["window"] == [10, 2, 48, 64]

    def test_range_in_degrees(self, tmp_path: Path, flir: Path, weights: Path) -> None:
        (record,) = fuse(weights, tmp_path / "out", "--flir", flir, "--range", "ir=20,35C")
        assert record["ranges"]["ir"]["low"] == pytest.approx(20)
        assert record["ranges"]["ir"]["high"] == pytest.approx(35)

    def test_assumed_alignment_is_a_warning(self, tmp_path: Path, weights: Path) -> None:
        path = tmp_path / "a.jpg"
        path.write_bytes(made.flir_jpeg(without(ALIGNMENT)))
        (record,) = fuse(weights, tmp_path / "out", "--flir", path)
        assert any(
            "does not say how the two pictures are aligned" in one for one in record["notices"]
        )
        assert record["alignment"]["source"] == "assumed"

    def test_turned_picture_is_a_warning(self, tmp_path: Path, weights: Path) -> None:
        content = made.flir_jpeg(records())
        exif = PIL.Image.Exif()
        exif[0x0112] = 6
        payload = exif.tobytes()
        path = tmp_path / "a.jpg"
        path.write_bytes(made.with_segments(content, [payload]))
        (record,) = fuse(weights, tmp_path / "out", "--flir", path)
        assert any("orientation tag" in one for one in record["notices"])

    def test_place_and_names_stay_behind(self, tmp_path: Path, flir: Path, weights: Path) -> None:
        secret = b"Lat 47.123456 Model 42"
        block = made.block({**records(), 0x2B: secret})
        flir.write_bytes(made.with_segments(made.rendering(), made.chunks(block)))
        fuse(weights, tmp_path / "out", "--flir", flir)
        for path in (tmp_path / "out").rglob("*"):
            if path.is_file():
                assert b"47.123456" not in path.read_bytes()
                assert b"Model 42" not in path.read_bytes()


class TestFolders:
    def test_files_and_frames(self, tmp_path: Path, flir: Path, weights: Path) -> None:
        folder = tmp_path / "camera"
        folder.mkdir()
        flir.rename(folder / flir.name)
        (folder / "photo.jpg").write_bytes(made.rendering())
        frames = [made.block(records(counts=frame)) for frame in two_frames()]
        (folder / "walk.seq").write_bytes(b"".join(frames))
        out = tmp_path / "out"
        result = fnet("fuse", "--weights", weights, "--flir", folder, "-o", out)
        assert result.exit_code == 0, result.stderr
        assert "photo.jpg" in result.stderr
        names = sorted(str(p.relative_to(out / "fused")) for p in (out / "fused").rglob("*.png"))
        assert names == ["IR_0001.png", "walk/0001.png", "walk/0002.png"]
        lines = (out / "manifest.jsonl").read_text().splitlines()
        highs = {one["case"]: one["ranges"]["ir"]["high"] for one in map(json.loads, lines)}
        assert highs["walk/0001"] < 31
        assert highs["walk/0002"] > 46
        again = fnet("fuse", "--weights", weights, "--flir", folder, "-o", out)
        assert "3 skipped" in again.stderr

    def test_one_range_for_all_frames(self, tmp_path: Path, weights: Path) -> None:
        frames = [made.block(records(counts=frame)) for frame in two_frames()]
        path = tmp_path / "walk.seq"
        path.write_bytes(b"".join(frames))
        found = fuse(weights, tmp_path / "out", "--flir", path, "--stretch-scope", "folder")
        ranges = [one["ranges"]["ir"] for one in found]
        assert ranges[0] == ranges[1]
        assert ranges[0]["high"] > 46

    def test_one_frame(self, tmp_path: Path, weights: Path) -> None:
        path = tmp_path / "walk.seq"
        path.write_bytes(made.block(records()) * 3)
        (record,) = fuse(weights, tmp_path / "out", "--flir", path, "--page", 2)
        assert record["case"] == "walk"

    def test_failures_do_not_stop_the_others(
        self, tmp_path: Path, flir: Path, weights: Path
    ) -> None:
        folder = tmp_path / "camera"
        folder.mkdir()
        (folder / "a.jpg").write_bytes(made.flir_jpeg(without(PICTURE)))
        (folder / "b.jpg").write_bytes(flir.read_bytes())
        (folder / "c.jpg").write_bytes(made.flir_jpeg(without(COUNTS)))
        result = fnet("fuse", "--weights", weights, "--flir", folder, "-o", tmp_path / "out")
        assert result.exit_code == 1
        assert "1 fused, 0 skipped, 2 failed" in result.stderr
        assert f"{folder / 'a.jpg'}: it holds no visible picture" in result.stderr
        assert f"{folder / 'c.jpg'}: its thermal data hold no counts" in result.stderr

    def test_no_such_files(self, tmp_path: Path, weights: Path) -> None:
        (tmp_path / "photos").mkdir()
        (tmp_path / "photos" / "a.jpg").write_bytes(made.rendering())
        text = refused(weights, tmp_path / "out", "--flir", tmp_path / "photos")
        assert "no file in it holds thermal data" in text
        assert "no such file" in refused(weights, tmp_path / "out", "--flir", tmp_path / "none")
        PIL.Image.fromarray(seen()).save(tmp_path / "photo.png")
        text = refused(weights, tmp_path / "out", "--flir", tmp_path / "photo.png")
        assert "photo.png: it holds no thermal data" in text


class TestWithAnotherCamera:
    def test_numbers_and_not_the_rendering(self, tmp_path: Path, flir: Path, weights: Path) -> None:
        photo = tmp_path / "photo.png"
        PIL.Image.fromarray(seen()[:32, :24]).save(photo)
        (record,) = fuse(weights, tmp_path / "out", "--vis", photo, "--ir", flir)
        assert 38 < record["ranges"]["ir"]["high"] < 41
        assert "alignment" not in record
        (record,) = fuse(weights, tmp_path / "o2", "--vis", photo, "--ir", flir, "--ir-rendered")
        assert record["ranges"]["ir"]["high"] == 255
        assert any("rendered picture is used" in one for one in record["notices"])

    def test_no_picture_is_needed(self, tmp_path: Path, weights: Path) -> None:
        photo, thermal = tmp_path / "photo.png", tmp_path / "t.fff"
        PIL.Image.fromarray(seen()[:32, :24]).save(photo)
        thermal.write_bytes(made.block(without(PICTURE, ALIGNMENT), "<"))
        (record,) = fuse(weights, tmp_path / "out", "--vis", photo, "--ir", thermal)
        assert 38 < record["ranges"]["ir"]["high"] < 41

    def test_counts_are_no_temperatures(self, tmp_path: Path, weights: Path) -> None:
        photo, thermal = tmp_path / "photo.png", tmp_path / "t.jpg"
        PIL.Image.fromarray(seen()[:32, :24]).save(photo)
        thermal.write_bytes(made.flir_jpeg(without(CAMERA)))
        pair = ("--vis", photo, "--ir", thermal)
        (record,) = fuse(weights, tmp_path / "out", *pair)
        assert record["ranges"]["ir"]["high"] > 1000
        assert any("are not temperatures" in one for one in record["notices"])
        text = refused(weights, tmp_path / "o2", *pair, "--range", "ir=20,35C")
        assert "not known to be temperatures" in text


class TestOtherMakers:
    def dji(self, folder: Path) -> Path:
        exif = PIL.Image.Exif()
        exif[0x010F] = "DJI"
        counts = bytes(60_000)
        segment = b"\xff\xe3" + (len(counts) + 2).to_bytes(2, "big") + counts
        content = made.with_segments(made.rendering(), [exif.tobytes()])
        path = folder / "DJI_0001_T.JPG"
        path.write_bytes(content[:2] + segment + content[2:])
        return path

    def test_dji(self, tmp_path: Path, weights: Path) -> None:
        photo, thermal = tmp_path / "photo.png", self.dji(tmp_path)
        PIL.Image.fromarray(seen()[:32, :24]).save(photo)
        (record,) = fuse(weights, tmp_path / "out", "--vis", photo, "--ir", thermal)
        assert record["ranges"]["ir"]["high"] == 255
        assert any("need DJI's own library" in one for one in record["notices"])

    def test_dji_is_no_flir(self, tmp_path: Path, weights: Path) -> None:
        text = refused(weights, tmp_path / "out", "--flir", self.dji(tmp_path))
        assert "no thermal data of a FLIR camera" in text


class TestTiff:
    def xmp(self, gain: str) -> bytes:
        return (
            b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description '
            + f'Camera:TlinearGain="{gain}"/></x:xmpmeta>'.encode()
        )

    @pytest.mark.parametrize("gain", ["0.01", "0.04"])
    def test_kelvin_per_count(self, tmp_path: Path, weights: Path, gain: str) -> None:
        photo, thermal = tmp_path / "photo.png", tmp_path / "t.tif"
        PIL.Image.fromarray(seen()[:32, :24]).save(photo)
        counts = np.rint((temperatures() + 273.15) / float(gain)).astype(np.uint16)
        xmp = self.xmp(gain)
        tifffile.imwrite(thermal, counts, extratags=[(700, 1, len(xmp), xmp, True)])
        pair = ("--vis", photo, "--ir", thermal)
        (record,) = fuse(weights, tmp_path / "out", *pair, "--range", "ir=20,35C")
        low, high = record["ranges"]["ir"]["low"], record["ranges"]["ir"]["high"]
        assert low * float(gain) - 273.15 == pytest.approx(20)
        assert high * float(gain) - 273.15 == pytest.approx(35)
        shown = fnet("inspect", thermal).stdout
        assert f"temperatures   {temperatures().min():.1f} to {temperatures().max():.1f}" in shown

    def test_without_it_they_are_counts(self, tmp_path: Path, weights: Path) -> None:
        photo, thermal = tmp_path / "photo.png", tmp_path / "t.tif"
        PIL.Image.fromarray(seen()[:32, :24]).save(photo)
        tifffile.imwrite(thermal, made.counts_of(temperatures()))
        text = refused(
            weights, tmp_path / "o", "--vis", photo, "--ir", thermal, "--range", "ir=20,35C"
        )
        assert "not known to be temperatures" in text


class TestRaw:
    @pytest.mark.parametrize(("order", "suffix"), [("<", "raw"), (">", "y16")])
    def test_size_is_given(self, tmp_path: Path, weights: Path, order: str, suffix: str) -> None:
        counts = made.counts_of(temperatures())
        photo, thermal = tmp_path / "photo.png", tmp_path / f"t.{suffix}"
        PIL.Image.fromarray(seen()[:32, :24]).save(photo)
        thermal.write_bytes(counts.astype(f"{order}u2").tobytes())
        pair = ("--vis", photo, "--ir", thermal)
        (record,) = fuse(weights, tmp_path / "out", *pair, "--raw-size", "24x32")
        low, high = np.percentile(counts, (0.1, 99.9))
        assert record["ranges"]["ir"]["low"] == pytest.approx(low)
        assert record["ranges"]["ir"]["high"] == pytest.approx(high)
        assert any("big-endian" in one for one in record["notices"]) == (order == ">")
        assert "--raw-size" in refused(weights, tmp_path / "o2", *pair)

    @pytest.mark.parametrize(
        ("size", "why"),
        [
            ("24x31", "--raw-size 24x32"),
            ("24x40", "ends early"),
            ("25x31", "1,550 bytes, but the file has 1,536"),
            ("24", "width and height"),
            ("0x5", "width and height"),
        ],
    )
    def test_sizes_that_do_not_fit(
        self, tmp_path: Path, weights: Path, size: str, why: str
    ) -> None:
        photo, thermal = tmp_path / "photo.png", tmp_path / "t.raw"
        PIL.Image.fromarray(seen()[:32, :24]).save(photo)
        thermal.write_bytes(made.counts_of(temperatures()).tobytes())
        text = refused(weights, tmp_path / "o", "--vis", photo, "--ir", thermal, "--raw-size", size)
        assert why in text

    def test_frames(self, tmp_path: Path) -> None:
        thermal = tmp_path / "t.raw"
        counts = made.counts_of(temperatures())
        thermal.write_bytes(counts.tobytes() + (counts + 9).tobytes())
        shown = fnet("inspect", thermal, "--raw-size", "24x32", "--page", 2)
        assert f"range          {counts.min() + 9} to {counts.max() + 9}" in shown.stdout
        failed = fnet("inspect", thermal, "--raw-size", "24x32")
        assert "2 frames" in failed.stderr
        failed = fnet("inspect", thermal, "--raw-size", "24x32", "--page", 3)
        assert "no frame 3" in failed.stderr


class TestOptions:
    @pytest.mark.parametrize(
        ("more", "why"),
        [
            (["--vis", "a.png"], "--vis and --flir"),
            (["--pairs", "a.csv"], "--pairs and --flir"),
            (["--suffix", "ir=_T"], "--suffix and --flir"),
            (["--layout", "pairs"], "--layout and --flir"),
            (["--page", "ir=2"], "--page with --flir"),
            (["--range", "vis=20,40C"], "only ir images hold temperatures"),
            (["--range", "ir=40,20C"], "the lower first"),
            (["--window", "ct=soft"], "--window"),
        ],
    )
    def test_that_do_not_go_together(
        self, tmp_path: Path, flir: Path, weights: Path, more: list[str], why: str
    ) -> None:
        result = fnet("fuse", "--weights", weights, "--flir", flir, "-o", tmp_path / "o", *more)
        assert result.exit_code == 2
        assert why in result.stderr

    def test_ir_rendered_needs_ir(self, tmp_path: Path, weights: Path) -> None:
        for name in ("a.png", "b.png"):
            PIL.Image.fromarray(seen()).save(tmp_path / name)
        pair = ("--vis", tmp_path / "a.png", "--nir", tmp_path / "b.png")
        assert "no ir image" in refused(weights, tmp_path / "o", *pair, "--ir-rendered")

    def test_results_do_not_replace_the_file(self, flir: Path, weights: Path) -> None:
        before = flir.read_bytes()
        assert "input" in refused(weights, flir, "--flir", flir)
        assert flir.read_bytes() == before


class TestOtherCommands:
    def test_inspect_file(self, tmp_path: Path, flir: Path) -> None:
        facts = tmp_path / "facts.json"
        shown = fnet("inspect", flir, "--json", facts)
        assert shown.exit_code == 0, shown.stderr
        low, high = temperatures().min(), temperatures().max()
        assert f"temperatures   {low:.1f} to {high:.1f} °C" in shown.stdout
        assert "emissivity 0.9" in shown.stdout
        assert "a visible picture of 60x80" in shown.stdout
        record = json.loads(facts.read_text())
        assert record["celsius"][0] == pytest.approx(low, abs=0.02)
        assert "24x32" in fnet("inspect", flir, "--ir-rendered").stdout

    @pytest.mark.usefixtures("without_plots")
    def test_inspect_pair(self, tmp_path: Path, flir: Path, weights: Path) -> None:
        out = tmp_path / "look"
        shown = fnet("inspect", "--flir", flir, "--weights", weights, "-o", out, "--no-codes")
        assert shown.exit_code == 0, shown.stderr
        assert "°C become black to white" in shown.stderr
        assert "factory alignment" in shown.stderr
        assert f"--flir {flir}" in (out / "report.html").read_text()

    def test_eval(self, tmp_path: Path, flir: Path, weights: Path) -> None:
        fuse(weights, tmp_path / "out", "--flir", flir)
        scores = tmp_path / "scores.json"
        arguments = ("--flir", flir, "--fused", f"ours={tmp_path / 'out' / 'fused'}")
        result = fnet("eval", *arguments, "--metrics", "EN,SSIM", "--no-cache", "--json", scores)
        assert result.exit_code == 0, result.stderr
        assert "ours" in scores.read_text()

    def test_eval_of_frames(self, tmp_path: Path, weights: Path) -> None:
        path, scores = tmp_path / "walk.seq", tmp_path / "scores.csv"
        path.write_bytes(b"".join(made.block(records(counts=frame)) for frame in two_frames()))
        fuse(weights, tmp_path / "out", "--flir", path)
        arguments = ("--flir", path, "--fused", f"ours={tmp_path / 'out' / 'fused'}")
        result = fnet("eval", *arguments, "--metrics", "MI", "--no-cache", "--csv", scores)
        assert result.exit_code == 0, result.stderr
        assert "walk/0001" in scores.read_text()
        assert "walk/0002" in scores.read_text()

    @pytest.mark.skipif(not SAMPLE.is_file(), reason="no sample of a camera here")
    def test_sample(self, tmp_path: Path, weights: Path) -> None:
        (record,) = fuse(weights, tmp_path / "out", "--flir", SAMPLE, "--register", "none")
        assert record["alignment"]["window"] == [83, 78, 342, 456]
        (record,) = fuse(weights, tmp_path / "refined", "--flir", SAMPLE)  # by parallax of a cup
        assert record["alignment"]["source"] == "registration"
        assert record["alignment"]["window"][0] == pytest.approx(83 + 15, abs=2)


def two_frames() -> list[bytes]:
    """Return the counts of a thing that grows warmer, from 30 to 50 degrees."""
    return [made.plain_counts(made.counts_of(temperatures(most=most))) for most in (30, 50)]


def both(keep: str | None) -> PrepareOptions:
    return PrepareOptions(
        ("ir", "vis"),
        reading=(ReadOptions(layer="thermal"), ReadOptions(layer="visible")),
        resize_to=keep,
        place=PlaceOptions(camera=True),
    )


def centre(levels: Any) -> Any:
    """Return the centre of what is bright, (x, y)."""
    weight = np.clip(levels - np.percentile(levels, 60), 0, None) ** 2
    y, x = np.mgrid[: levels.shape[0], : levels.shape[1]]
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()
