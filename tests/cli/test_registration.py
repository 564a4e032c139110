"""Pictures that are not aligned, through the command line."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from fnetcli.imaging import planar
from fnetcli.models.fnet import shaped
from tests import flir_files as made
from tests import tiny_models
from tests.cli.command import error_line, fnet, tiny_weights
from tests.drawn_scenes import around, other_modality, scene, turned, two_views

SIZE, OTHER = (120, 160), (100, 150)  # of the visible and the infrared picture
TRUE = around(OTHER, turned(0.9, 2), (6.0, 9.0))  # infrared to visible
Matrix = NDArray[np.float64]
BACK: Matrix = np.asarray(np.linalg.inv(TRUE), np.float64)


def save(path: Path, luminance: NDArray[Any], *, color: bool = False) -> Path:
    levels = np.rint(255 * np.clip(luminance, 0, 1)).astype(np.uint8)
    if color:
        levels = np.stack([levels, levels // 2 + 40, 255 - levels], axis=-1)
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(levels).save(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of two cameras: three scenes seen by both, and tiny weights."""
    made = tmp_path_factory.mktemp("cameras")
    for i in range(3):
        visible, thermal, _ = two_views(TRUE, SIZE, OTHER, seed=3 + i)
        save(made / "vis" / f"{i}.png", visible.luminance, color=True)
        save(made / "ir" / f"{i}.png", thermal.luminance)
    tiny_weights(made)
    return made


def pair(folder: Path, number: int = 0) -> tuple[object, ...]:
    return "--vis", folder / "vis" / f"{number}.png", "--ir", folder / "ir" / f"{number}.png"


def both(folder: Path) -> tuple[object, ...]:
    return "--vis", folder / "vis", "--ir", folder / "ir"


def fuse(folder: Path, out: Path, *arguments: object) -> list[dict[str, Any]]:
    """Run `fnet fuse`; return the records of the manifest, by case."""
    result = fnet("fuse", "--weights", folder / "tiny.safetensors", "-o", out, *arguments)
    assert result.exit_code == 0, result.stderr
    lines = (out / "manifest.jsonl").read_text().splitlines()
    return sorted(map(json.loads, lines), key=lambda record: str(record["case"]))


def refused(folder: Path, out: Path, *arguments: object) -> str:
    """Run `fnet fuse`, which must fail; return its error, one line."""
    result = fnet("fuse", "--weights", folder / "tiny.safetensors", "-o", out, *arguments)
    assert result.exit_code != 0
    assert not list(out.rglob("*.png")) if out.is_dir() else True
    return error_line(result.stderr)


def error(record: dict[str, Any], true: Matrix = TRUE) -> float:
    """Return the mean distance of a recorded transform to the true one, in pixels."""
    points = planar.corners(OTHER) * 0.7 + np.array([OTHER[1], OTHER[0]]) * 0.15
    found = planar.apply(np.array(record["alignment"]["matrix"]), points)
    return float(np.hypot(*(found - planar.apply(true, points)).T).mean())


def picture(path: Path) -> NDArray[np.uint8]:
    with PIL.Image.open(path) as image:
        return np.asarray(image)


class TestOnePair:
    def test_estimate_warp_fuse(self, folder: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        (record,) = fuse(folder, out, *pair(folder), "--register", "similarity")
        placed = record["alignment"]
        assert (placed["from"], placed["to"], placed["source"]) == ("ir", "vis", "registration")
        assert placed["sizes"] == [[150, 100], [160, 120]]
        assert error(record) < 0.7
        evidence = placed["registration"]
        assert evidence["is_trusted"]
        assert evidence["score"] > evidence["chance"]
        assert evidence["inliers"] > evidence["inliers_by_chance"]
        assert len(evidence["residuals"]) == evidence["blocks"]
        assert any("similarity registration: scaled by 0.9" in one for one in record["said"])
        assert picture(out / "fused" / "0.png").shape == (120, 160, 3)

    def test_where_only_the_reference_looks_it_passes_through(
        self, folder: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        (record,) = fuse(folder, out, *pair(folder), "--register", "similarity")
        fused, visible = picture(out / "fused" / "0.png"), picture(folder / "vis" / "0.png")
        seen = planar.apply(np.linalg.inv(np.array(record["alignment"]["matrix"])), grid(SIZE))
        outside = (seen < -1).any(axis=-1) | (seen[..., 0] > 151) | (seen[..., 1] > 101)
        assert outside.mean() > 0.05
        assert np.abs(fused[outside].astype(int) - visible[outside]).max() <= 1
        assert (fused[~outside] != visible[~outside]).any()
        part = picture(out / "unique_ir" / "0.png")
        assert np.ptp(part[outside]) == 0

    def test_common_view(self, folder: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        (record,) = fuse(folder, out, *pair(folder), "--register", "similarity", "--view", "common")
        left, top, width, height = record["alignment"]["window"]
        assert picture(out / "fused" / "0.png").shape == (height, width, 3)
        edges = np.array([[left, top], [left + width - 1, top + height - 1]], float)
        seen = planar.apply(np.linalg.inv(np.array(record["alignment"]["matrix"])), edges)
        assert (seen > -0.51).all()
        assert (seen < (149.51, 99.51)).all()
        assert "is what both images show" in record["said"][0]

    def test_the_other_grid(self, folder: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        (record,) = fuse(
            folder, out, *pair(folder), "--register", "similarity", "--reference", "ir"
        )
        placed = record["alignment"]
        assert (placed["from"], placed["to"]) == ("vis", "ir")
        back = np.linalg.inv(np.array(placed["matrix"]))
        points = planar.corners(OTHER) * 0.7 + 20
        assert planar.apply(back, points) == pytest.approx(planar.apply(TRUE, points), abs=1.5)
        fused = picture(out / "fused" / "0.png")
        assert fused.shape == (100, 150, 3)

    def test_masks_follow(self, folder: Path, tmp_path: Path) -> None:
        levels = picture(folder / "ir" / "0.png").copy()
        levels[20:60, 30:80] = 0
        holes = tmp_path / "holes.png"
        PIL.Image.fromarray(levels).save(holes)
        out = tmp_path / "out"
        given = ("--vis", folder / "vis" / "0.png", "--ir", holes, "--nodata", "ir=0")
        (record,) = fuse(folder, out, *given, "--register", "similarity", "--format", "tiff")
        assert error(record) < 1
        centre = planar.apply(TRUE, np.array([[55.0, 40.0]]))[0].round().astype(int)
        fused = picture(out / "fused" / "0.tif")
        assert not fused[centre[1], centre[0]].any()
        assert fused[centre[1], centre[0] - 40].any()

    def test_the_same_command_skips_and_another_kind_does_not(
        self, folder: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        given = ("fuse", "--weights", folder / "tiny.safetensors", "-o", out, *pair(folder))
        assert fnet(*given, "--register", "affine").exit_code == 0
        assert "1 skipped" in fnet(*given, "--register", "affine").stderr
        assert "1 fused" in fnet(*given, "--register", "homography").stderr


class TestBelief:
    def unrelated(self, tmp_path: Path) -> tuple[object, ...]:
        vis = save(tmp_path / "a.png", scene(1)[:120, :160])
        ir = save(tmp_path / "b.png", other_modality(scene(2))[100:220, 100:260])
        return "--vis", vis, "--ir", ir

    def test_a_pair_that_lies_on_itself_is_not_moved(self, tmp_path: Path) -> None:
        visible, thermal, _ = two_views(np.eye(3), SIZE, SIZE)
        save(tmp_path / "vis" / "0.png", visible.luminance, color=True)
        save(tmp_path / "ir" / "0.png", thermal.luminance)
        tiny_weights(tmp_path)
        (record,) = fuse(tmp_path, tmp_path / "out", *pair(tmp_path), "--register", "affine")
        assert record["alignment"]["matrix"] == np.eye(3).tolist()
        assert record["alignment"]["registration"]["kept"]
        assert any("are already aligned" in one for one in record["said"])
        fuse(tmp_path, tmp_path / "plain", *pair(tmp_path))
        fused, plain = (picture(tmp_path / out / "fused" / "0.png") for out in ("out", "plain"))
        assert np.abs(fused.astype(int) - plain).max() <= 1  # rounding of the interpolation

    def test_unrelated_scenes_fail(self, folder: Path, tmp_path: Path) -> None:
        text = refused(folder, tmp_path / "o", *self.unrelated(tmp_path), "--register", "affine")
        assert "a.png" in text
        assert "could not be registered to vis" in text
        assert "--register-fallback none" in text

    def test_or_go_on_with_a_warning(self, folder: Path, tmp_path: Path) -> None:
        given = (*self.unrelated(tmp_path), "--register", "affine", "--register-fallback", "none")
        (record,) = fuse(folder, tmp_path / "out", *given)
        assert any("not trusted" in one for one in record["notices"])
        assert "alignment" not in record

    def test_fallback_still_needs_one_shape(self, folder: Path, tmp_path: Path) -> None:
        ir = save(tmp_path / "b.png", other_modality(scene(2))[100:220, 100:200])
        given = ("--vis", folder / "vis" / "0.png", "--ir", ir, "--register", "affine")
        text = refused(folder, tmp_path / "o", *given, "--register-fallback", "none")
        assert "aspect ratios differ" in text

    @pytest.mark.parametrize("content", ["black", "noise", "tiny"])
    def test_nothing_to_see(self, content: str, folder: Path, tmp_path: Path) -> None:
        values = {
            "black": np.zeros(OTHER),
            "noise": np.random.default_rng(1).random(OTHER),
            "tiny": np.zeros((9, 30)),
        }[content]
        ir = save(tmp_path / "ir.png", values)
        given = ("--vis", folder / "vis" / "0.png", "--ir", ir, "--register", "translation")
        assert "could not be registered" in refused(folder, tmp_path / "o", *given)


class TestOneRig:
    def test_one_transform_for_all(self, folder: Path, tmp_path: Path) -> None:
        given = (*both(folder), "--register", "similarity", "--register-scope", "folder")
        rig = tmp_path / "rig.json"
        records = fuse(folder, tmp_path / "out", *given, "--save-transform", rig)
        matrices = [record["alignment"]["matrix"] for record in records]
        assert matrices[0] == matrices[1] == matrices[2]
        assert error(records[0]) < 0.5
        assert records[0]["alignment"]["registration"]["frames"] == 3
        saved = json.loads(rig.read_text())
        assert (saved["from"], saved["to"]) == (
            {"modality": "ir", "size": [150, 100]},
            {"modality": "vis", "size": [160, 120]},
        )
        assert np.allclose(saved["matrix"], matrices[0])
        assert saved["registration"]["is_trusted"]
        applied = fuse(folder, tmp_path / "again", *both(folder), "--transform", rig)
        assert [record["alignment"]["source"] for record in applied] == ["file"] * 3
        for i in range(3):
            one = picture(tmp_path / "out" / "fused" / f"{i}.png")
            assert (one == picture(tmp_path / "again" / "fused" / f"{i}.png")).all()

    @pytest.mark.parametrize("pairs", [1, 3])
    def test_its_evidence_is_said_once(self, pairs: int, folder: Path, tmp_path: Path) -> None:
        rig = ("--register", "similarity", "--save-transform", tmp_path / "rig.json")
        given = pair(folder) if pairs == 1 else (*both(folder), "--register-scope", "folder")
        weights = ("--weights", folder / "tiny.safetensors")
        result = fnet("fuse", *weights, *given, *rig, "-o", tmp_path / "out")
        assert result.exit_code == 0, result.stderr
        assert result.stderr.count("similarity registration: ") == 1
        assert result.stderr.count("score ") == 1
        assert result.stderr.count("ir is warped onto vis, by registration") == pairs
        assert f"transform: {tmp_path / 'rig.json'}\n" in result.stderr

    def test_many_pairs_of_one_transform_are_warped_as_each_alone(
        self, folder: Path, tmp_path: Path
    ) -> None:
        """What a transform means is computed once for all pairs, and never for another one."""
        moved = np.array([[1.0, 0, 7], [0, 1, -4], [0, 0, 1]]) @ TRUE
        rigs = [
            ours(tmp_path / f"{i}.json", matrix) for i, matrix in enumerate((TRUE, moved, TRUE))
        ]
        alone = {}
        for i in range(3):
            for j, rig in enumerate(rigs):
                out = tmp_path / f"alone-{i}-{j}"
                fuse(folder, out, *pair(folder, i), "--transform", rig)
                alone[i, j] = picture(out / "fused" / f"{i}.png")
        for j, rig in enumerate(rigs):
            fuse(folder, tmp_path / f"all-{j}", *both(folder), "--transform", rig)
            for i in range(3):
                together = picture(tmp_path / f"all-{j}" / "fused" / f"{i}.png")
                assert (together == alone[i, j]).all()
        assert (alone[0, 0] != alone[0, 1]).any()

    def test_a_damaged_file_is_no_frame(self, folder: Path, tmp_path: Path) -> None:
        for side in ("vis", "ir"):
            (tmp_path / side).mkdir()
            for i in range(2):
                (tmp_path / side / f"{i}.png").write_bytes(
                    (folder / side / f"{i}.png").read_bytes()
                )
        (tmp_path / "ir" / "1.png").write_bytes(b"no picture")
        given = ("--weights", folder / "tiny.safetensors", "-o", tmp_path / "out")
        rig = ("--register", "similarity", "--register-scope", "folder")
        result = fnet("fuse", *given, "--vis", tmp_path / "vis", "--ir", tmp_path / "ir", *rig)
        assert "1 fused, 0 skipped, 1 failed" in result.stderr

    def test_frames_of_different_sizes(self, folder: Path, tmp_path: Path) -> None:
        for side in ("vis", "ir"):
            for i in range(2):
                with PIL.Image.open(folder / side / f"{i}.png") as image:
                    (tmp_path / side).mkdir(exist_ok=True)
                    image.crop((0, 0, 140 + 5 * i, 100)).save(tmp_path / side / f"{i}.png")
        given = ("--vis", tmp_path / "vis", "--ir", tmp_path / "ir", "--register", "affine")
        text = refused(folder, tmp_path / "out", *given, "--register-scope", "folder")
        assert "pairs of one size" in text

    def test_frames_that_show_nothing(self, folder: Path, tmp_path: Path) -> None:
        for side in ("vis", "ir"):
            save(tmp_path / side / "0.png", np.zeros(SIZE))
        given = ("--vis", tmp_path / "vis", "--ir", tmp_path / "ir", "--register", "affine")
        text = refused(folder, tmp_path / "out", *given, "--register-scope", "folder")
        assert "could not be registered" in text


class TestTransforms:
    def apply(self, folder: Path, out: Path, *arguments: object) -> dict[str, Any]:
        (record,) = fuse(folder, out, *pair(folder), *arguments)
        return record

    def test_one_way_or_the_other(self, folder: Path, tmp_path: Path) -> None:
        rig = ours(tmp_path / "rig.json", TRUE)
        back = ours(tmp_path / "back.json", BACK, ("vis", SIZE), ("ir", OTHER))
        one = self.apply(folder, tmp_path / "a", "--transform", rig)
        other = self.apply(folder, tmp_path / "b", "--transform", back)
        assert error(one) < 1e-6
        assert error(other) < 1e-6
        assert (picture(tmp_path / "a/fused/0.png") == picture(tmp_path / "b/fused/0.png")).all()

    def test_itk_and_opencv(self, folder: Path, tmp_path: Path) -> None:
        files = {
            "rig.txt": itk(BACK),
            "rig.yml": f"%YAML:1.0\n---\n{yaml_matrix('H', TRUE)}",
            "rig.json": json.dumps({"homography": TRUE.tolist()}),
        }
        for name, text in files.items():
            (tmp_path / name).write_text(text)
            out = tmp_path / f"out-{name}"
            assert error(self.apply(folder, out, "--transform", tmp_path / name)) < 1e-6

    def test_pictures_of_another_size(self, folder: Path, tmp_path: Path) -> None:
        rig = ours(tmp_path / "rig.json", doubled(TRUE), ("ir", (200, 300)), ("vis", (240, 320)))
        record = self.apply(folder, tmp_path / "out", "--transform", rig)
        assert error(record) < 1e-6

    def test_a_start_for_registration(self, folder: Path, tmp_path: Path) -> None:
        off = np.array([[1.0, 0, 3], [0, 1, -2], [0, 0, 1]]) @ TRUE
        rig = ours(tmp_path / "rig.json", off)
        given = ("--transform", rig, "--register", "translation")
        record = self.apply(folder, tmp_path / "out", *given)
        assert error(record) < 0.5
        assert np.allclose(np.array(record["alignment"]["matrix"])[:2, :2], TRUE[:2, :2])

    def test_lenses(self, folder: Path, tmp_path: Path) -> None:
        """A visible picture through a bent lens, and the calibration of both cameras."""
        camera = np.array([[150.0, 0, 79.5], [0, 150, 59.5], [0, 0, 1]])
        lens = planar.Lens(camera, (-0.3, 0.1, 0.002, -0.001))
        visible = np.asarray(picture(folder / "vis" / "0.png")[..., 0], np.float32)
        straight = lens.straight(grid(SIZE))
        bent = ndimage.map_coordinates(visible, np.moveaxis(straight[..., ::-1], -1, 0), order=1)
        vis = save(tmp_path / "bent.png", np.nan_to_num(bent) / 255)
        own = np.linalg.inv(TRUE) @ camera
        rig = tmp_path / "rig.yml"
        rig.write_text(
            "%YAML:1.0\n---\nimageSize: [160, 120]\n"
            + yaml_matrix("M1", camera)
            + yaml_matrix("D1", np.array([lens.coefficients]))
            + yaml_matrix("M2", own)
            + yaml_matrix("D2", np.zeros((1, 5)))
            + yaml_matrix("R", np.eye(3))
        )
        text = rig.read_text().replace("imageSize: [160, 120]\n", "")
        rig.write_text(text)
        given = ("--vis", vis, "--ir", folder / "ir" / "0.png", "--transform", rig)
        (record,) = fuse(folder, tmp_path / "out", *given, "--gray", "--gain", "unique_vis=0")
        assert record["alignment"]["lenses"][1]["distortion"] == [-0.3, 0.1, 0.002, -0.001]
        (refined,) = fuse(folder, tmp_path / "more", *given, "--register", "translation")
        assert np.allclose(refined["alignment"]["matrix"], record["alignment"]["matrix"], atol=0.5)

    def test_pixels_are_remapped_through_both_lenses(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The result is that of an infrared picture that was remapped before."""
        one, bends = np.array([[150.0, 0, 80], [0, 148, 58], [0, 0, 1]]), (-0.25, 0.08, 2e-3, -1e-3)
        two, others = np.array([[90.0, 0, 74], [0, 91, 51], [0, 0, 1]]), (0.12, -0.05, -1e-3, 2e-3)
        angle = np.radians(2)
        turn = np.array(
            [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
        )
        pixels = np.moveaxis(grid(SIZE), -1, 0)
        rays = (pixels - one[:2, 2, None, None]) / 150
        for _ in range(40):
            rays += (pixels - through(one, bends, rays)) / 150
        assert np.allclose(through(one, bends, rays), pixels, atol=1e-9)
        x, y, z = np.tensordot(turn, np.stack([*rays, np.ones(SIZE)]), 1)
        places = through(two, others, np.stack([x / z, y / z]))
        assert places.min() > 1
        assert (places.max(axis=(1, 2)) < (OTHER[1] - 2, OTHER[0] - 2)).all()
        infrared = picture(folder / "ir" / "0.png").astype(np.float32)
        remapped = ndimage.map_coordinates(infrared, places[::-1], order=3, mode="mirror")
        ir = save(tmp_path / "remapped.png", remapped / 255)
        rig = tmp_path / "rig.yml"
        rig.write_text(
            "%YAML:1.0\n---\n"
            + yaml_matrix("M1", one)
            + yaml_matrix("D1", np.array([bends]))
            + yaml_matrix("M2", two)
            + yaml_matrix("D2", np.array([others]))
            + yaml_matrix("R", turn)
        )
        tiny_models.register(monkeypatch)
        vis, mean = folder / "vis" / "0.png", tiny_models.save(tmp_path, tiny_models.BARE)
        given = ("--weights", mean, "--gray", "--vis", vis)
        now, before = tmp_path / "now.png", tmp_path / "before.png"
        for out, arguments in {
            now: ("--ir", folder / "ir" / "0.png", "--transform", rig),
            before: ("--ir", ir),
        }.items():
            result = fnet("fuse", *given, *arguments, "-o", out)
            assert result.exit_code == 0, result.stderr
        assert np.abs(picture(now).astype(int) - picture(before)).max() <= 2

    def test_registration_of_volumes_is_rigid(self, folder: Path, tmp_path: Path) -> None:
        for name in ("ct", "mri"):
            (tmp_path / f"{name}.nii").write_bytes(b"")
        given = ("--ct", tmp_path / "ct.nii", "--mri", tmp_path / "mri.nii")
        text = refused(folder, tmp_path / "out", *given, "--register", "affine")
        assert "--register affine: volumes are registered by a rigid transform only" in text


class TestCameraFiles:
    def file(self, path: Path) -> Path:
        """Write a FLIR file whose warm things lie (5, -3) pixels beside the factory's window."""
        size = (90, 120)
        factory = np.array([[4 / 3, 0, 16 + 1 / 6], [0, 4 / 3, 12 + 1 / 6], [0, 0, 1]])
        shift = np.array([[1.0, 0, 5], [0, 1, -3], [0, 0, 1]])
        visible, thermal, _ = two_views(shift @ factory, (144, 192), size, seed=4)
        levels = np.rint(255 * np.clip(visible.luminance, 0, 1)).astype(np.uint8)
        counts = (12000 + 6000 * thermal.luminance).astype(np.uint16)
        content = made.records(
            picture=made.picture(np.stack([levels] * 3, axis=-1), "PNG"),
            counts=made.plain_counts(counts),
            alignment=made.alignment(1.2),
        )
        path.write_bytes(made.flir_jpeg(content))
        return path

    def test_parallax_is_removed(self, folder: Path, tmp_path: Path) -> None:
        flir = self.file(tmp_path / "IR_1.jpg")
        (record,) = fuse(folder, tmp_path / "out", "--flir", flir, "--report")
        placed = record["alignment"]
        assert placed["source"] == "registration"
        assert placed["registration"]["kind"] == "translation"
        assert np.array(placed["matrix"])[:2, 2] == pytest.approx((21 + 1 / 6, 9 + 1 / 6), abs=0.5)
        assert placed["view"] == "common"
        page = (tmp_path / "out" / "index.html").read_text()
        assert "flicker" in page
        assert "data:image/webp" in page
        assert "translation registration" in page
        (plain,) = fuse(folder, tmp_path / "plain", "--flir", flir, "--register", "none")
        assert plain["alignment"]["source"] == "factory"
        assert np.array(plain["alignment"]["matrix"])[:2, 2] == pytest.approx(
            (16 + 1 / 6, 12 + 1 / 6)
        )

    def test_what_cannot_be_told_stays_as_the_factory_says(
        self, folder: Path, tmp_path: Path
    ) -> None:
        flir = tmp_path / "IR_1.jpg"
        flir.write_bytes(made.flir_jpeg(made.records()))
        (record,) = fuse(folder, tmp_path / "out", "--flir", flir)
        assert record["alignment"]["source"] == "factory"
        assert any("the factory alignment is used" in one for one in record["said"])
        assert not record["notices"]
        text = refused(folder, tmp_path / "o", "--flir", flir, "--register", "translation")
        assert "could not be registered" in text

    def test_resize_and_reference(self, folder: Path, tmp_path: Path) -> None:
        flir = self.file(tmp_path / "IR_1.jpg")
        given = ("--flir", flir, "--reference", "ir")
        (record,) = fuse(folder, tmp_path / "out", *given)
        assert record["alignment"]["to"] == "ir"
        assert picture(tmp_path / "out" / "fused" / "IR_1.png").shape[:2] == (90, 120)
        assert "both name whose pixels" in refused(folder, tmp_path / "o", *given, "--resize", "ir")


def test_films_have_one_transform(folder: Path, tmp_path: Path) -> None:
    film = tmp_path / "fused.mkv"
    given = ("--weights", folder / "tiny.safetensors", *both(folder), "-o", film)
    saved = tmp_path / "saved.json"
    result = fnet("fuse", *given, "--register", "affine", "--save-transform", saved)
    assert result.exit_code == 0, result.stderr
    assert "one transform for all frames" in result.stderr
    matrix = np.array(json.loads(saved.read_text())["matrix"])
    np.testing.assert_allclose(matrix[:2, :2], TRUE[:2, :2], atol=0.05)
    rig = ours(tmp_path / "rig.json", TRUE)
    result = fnet("fuse", *given, "--transform", rig, "--view", "common")
    assert result.exit_code == 0, result.stderr
    assert film.stat().st_size > 0


OPTIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "scope alone": (("--register-scope", "folder"), "--register-scope: needs --register"),
    "fallback alone": (("--register-fallback", "none"), "--register-fallback: needs --register"),
    "none to save": (("--save-transform", "x.json"), "--save-transform: needs --register"),
    "view alone": (("--view", "common"), "--view: applies to pictures that are registered"),
    "reference alone": (("--reference", "ir"), "--reference: applies to pictures that are regist"),
    "no such reference": (
        ("--register", "affine", "--reference", "nir"),
        "--reference nir: not one of the two images; use ir or vis",
    ),
    "resize": (("--register", "affine", "--resize", "ir"), "--resize: sizes may differ"),
    "interpolation": (("--interpolation", "linear", "--assume-aligned"), "--assume-aligned"),
    "no file": (("--transform", "none.json"), "--transform none.json: no such file"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_that_do_not_fit(name: str, folder: Path, tmp_path: Path) -> None:
    arguments, expected = OPTIONS[name]
    assert expected in refused(folder, tmp_path / "out", *pair(folder), *arguments)


def test_several_transforms_are_not_saved(folder: Path, tmp_path: Path) -> None:
    given = (*both(folder), "--register", "affine", "--save-transform", tmp_path / "rig.json")
    text = refused(folder, tmp_path / "out", *given)
    assert "3 pairs have a transform each; add --register-scope folder" in text


def test_a_transform_does_not_replace_an_input(folder: Path, tmp_path: Path) -> None:
    given = (*pair(folder), "--register", "affine", "--save-transform", folder / "vis" / "0.png")
    before = (folder / "vis" / "0.png").read_bytes()
    assert "is an input" in refused(folder, tmp_path / "out", *given)
    result = fnet("inspect", *given, "--weights", folder / "tiny.safetensors", "-o", tmp_path / "o")
    assert "is an input" in error_line(result.stderr)
    assert (folder / "vis" / "0.png").read_bytes() == before


ITK = "#Insight Transform File V1.0\nTransform: "
FILES: dict[str, tuple[str, str]] = {
    "nothing": ("", "not a transform"),
    "words": ("a file of words\n", "not a transform"),
    "broken JSON": ('{"format": ', "not readable as JSON"),
    "a list": ("[1, 2]", "not a transform"),
    "another version": ('{"format": "fnet transform 9"}', "save it again"),
    "no matrix": ('{"format": "fnet transform 1", "from": {}, "to": {}}', "damaged"),
    "words for numbers": (
        '{"format": "fnet transform 1", "from": {}, "to": {}, "matrix": [["a"]]}',
        "damaged",
    ),
    "a flat matrix": (json.dumps({"H": [[1, 0, 0], [1, 0, 0], [0, 0, 1]]}), "cannot be inverted"),
    "not finite": ('{"H": [[1, 0, NaN], [0, 1, 0], [0, 0, 1]]}', "not finite"),
    "last is 0": (json.dumps({"H": [[1, 0, 0], [0, 1, 0], [0, 0, 0]]}), "cannot be used"),
    "stretched": (json.dumps({"H": [[5000, 0, 0], [0, 5000, 0], [0, 0, 1]]}), "stretches by"),
    "no homography": ("%YAML:1.0\n---\nname: rig\n", "neither a homography"),
    "one camera": (
        json.dumps({"M1": [[100, 0, 50], [0, 100, 50], [0, 0, 1]], "D1": [0, 0, 0, 0]}),
        "holds one camera",
    ),
    "fisheye": (json.dumps({"model": "fisheye", "H": np.eye(3).tolist()}), "fisheye"),
    "odd lens": (
        json.dumps(
            {
                **{f"M{i}": [[100, 0, 50], [0, 100, 50], [0, 0, 1]] for i in (1, 2)},
                **{f"D{i}": [0.1] * 7 for i in (1, 2)},
                "R": np.eye(3).tolist(),
            }
        ),
        "7 distortion coefficients",
    ),
    "no rotation": (
        json.dumps(
            {
                **{f"M{i}": [[100, 0, 50], [0, 100, 50], [0, 0, 1]] for i in (1, 2)},
                "R": (2 * np.eye(3)).tolist(),
            }
        ),
        "its R is not a rotation",
    ),
    "of volumes": (
        ITK + "Euler3DTransform_double_3_3\nParameters: 0 0 0 0 0 0\nFixedParameters: 0 0 0\n",
        "three-dimensional",
    ),
    "damaged ITK": (
        ITK + "AffineTransform_double_2_2\nParameters: 1 0 0\n",
        "damaged",
    ),
    "bent ITK": (
        ITK + "BSplineTransform_double_2_2\nParameters: 1\n",
        "deformable",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_no_transform(name: str, folder: Path, tmp_path: Path) -> None:
    content, expected = FILES[name]
    path = tmp_path / "rig.json"
    path.write_text(content)
    text = refused(folder, tmp_path / "out", *pair(folder), "--transform", path)
    assert text.startswith(f"error: --transform {path}: ")
    assert expected in text


def test_transforms_that_do_not_fit_the_pair(folder: Path, tmp_path: Path) -> None:
    def text(name: str, *arguments: Any) -> str:
        path = ours(tmp_path / f"{name}.json", *arguments)
        return refused(folder, tmp_path / name, *pair(folder), "--transform", path)

    other = text("other", TRUE, ("nir", OTHER), ("vis", SIZE))
    assert "maps nir to vis, but the images are ir and vis" in other
    assert "another shape" in text("shape", TRUE, ("ir", (150, 150)), ("vis", SIZE))
    away = np.array([[1.0, 0, 900], [0, 1, 0], [0, 0, 1]])
    assert "leaves 0 pixels of vis" in text("away", away)


@pytest.mark.usefixtures("without_plots")
def test_inspect_shows_it(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = ("inspect", *pair(folder), "--weights", folder / "tiny.safetensors", "-o", out)
    given = (*given, "--register", "similarity", "--save-transform", tmp_path / "rig.json")
    result = fnet(*given, "--json", tmp_path / "found.json")
    assert result.exit_code == 0, result.stderr
    assert "similarity registration: scaled by 0.9" in result.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert error(found) < 0.7
    assert found["alignment"]["registration"]["is_trusted"]
    rig = json.loads((tmp_path / "rig.json").read_text())
    assert np.allclose(rig["matrix"], found["alignment"]["matrix"])
    page = (out / "report.html").read_text()
    assert "similarity registration" in page


def test_eval_sees_what_both_see(folder: Path, tmp_path: Path) -> None:
    given = (*both(folder), "--weights", folder / "tiny.safetensors", "--no-cache")
    result = fnet(
        *("eval", *given, "--metrics", "EN", "--json", tmp_path / "scores.json"),
        *("--register", "similarity", "--register-scope", "folder"),
    )
    assert result.exit_code == 0, result.stderr
    assert "one transform for all pairs" in result.stderr
    plain = fnet("eval", *given, "--metrics", "EN")
    assert plain.exit_code != 0
    assert "sizes differ" in plain.stderr


RECIPE = """
ema = 0.0
[network]
atoms = 4
kernel_size = 3
iterations = 2
[stage_1]
iterations = 0
[stage_2]
iterations = 1
batch = 1
crop = 32
"""


class TestTraining:
    @pytest.fixture(autouse=True)
    def eager(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shaped, "compile_threshold", lambda: None)

    def test_pairs_are_registered(self, folder: Path, tmp_path: Path) -> None:
        recipe = tmp_path / "tiny.toml"
        recipe.write_text(RECIPE)
        given = ("train", recipe, *both(folder), "-o", tmp_path / "run")
        plain = fnet(*given)
        assert plain.exit_code != 0
        assert "training pairs must be aligned and of one size" in plain.stderr
        result = fnet(*given, "--register", "similarity", "--register-scope", "folder")
        assert result.exit_code == 0, result.stderr
        assert "one transform for all pairs: similarity registration" in result.stderr
        kept = tomllib.loads((tmp_path / "run" / "recipe.toml").read_text())
        assert kept["registration"] == {"register": "similarity", "register-scope": "folder"}

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            ('registre = "affine"', "[registration] registre: unknown"),
            ('register = "bent"', "[registration] register = 'bent'; must be one of none, transl"),
        ],
    )
    def test_recipes_that_do_not_fit(
        self, words: str, expected: str, folder: Path, tmp_path: Path
    ) -> None:
        recipe = tmp_path / "tiny.toml"
        recipe.write_text(f"{RECIPE}[registration]\n{words}\n")
        result = fnet("train", recipe, *both(folder), "-o", tmp_path / "run")
        assert result.exit_code == 2
        assert expected in error_line(result.stderr)


# --- files ----------------------------------------------------------------------------------------


def grid(shape: tuple[int, int]) -> Matrix:
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(float)
    return np.stack([columns, rows], axis=-1)


def doubled(matrix: Matrix) -> Matrix:
    twice = planar.resizing((1, 1), (2, 2))
    return np.asarray(twice @ matrix @ np.linalg.inv(twice))


Side = tuple[str, tuple[int, int]]


def ours(
    path: Path, matrix: Matrix, first: Side = ("ir", OTHER), second: Side = ("vis", SIZE)
) -> Path:
    content = {
        "format": "fnet transform 1",
        "from": {"modality": first[0], "size": first[1][::-1]},
        "to": {"modality": second[0], "size": second[1][::-1]},
        "matrix": matrix.tolist(),
    }
    path.write_text(json.dumps(content))
    return path


def itk(matrix: Matrix) -> str:
    numbers = [*matrix[:2, :2].ravel(), *matrix[:2, 2]]
    return (
        "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_2_2\n"
        f"Parameters: {' '.join(f'{number:.17g}' for number in numbers)}\nFixedParameters: 0 0\n"
    )


def through(camera: Matrix, bends: tuple[float, ...], rays: NDArray[Any]) -> NDArray[Any]:
    """Return where OpenCV's model of a lens puts rays (2, H, W)."""
    k1, k2, p1, p2 = bends
    x, y = rays
    square = x * x + y * y
    factor = 1 + k1 * square + k2 * square**2
    across = x * factor + 2 * p1 * x * y + p2 * (square + 2 * x * x)
    down = y * factor + p1 * (square + 2 * y * y) + 2 * p2 * x * y
    return np.stack([camera[0, 0] * across + camera[0, 2], camera[1, 1] * down + camera[1, 2]])


def yaml_matrix(name: str, matrix: Matrix) -> str:
    rows, columns = matrix.shape
    numbers = ", ".join(f"{number:.16e}" for number in matrix.ravel())
    return (
        f"{name}: !!opencv-matrix\n   rows: {rows}\n   cols: {columns}\n   dt: d\n"
        f"   data: [ {numbers} ]\n"
    )
