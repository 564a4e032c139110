"""Any camera's numbers in, the right grey levels out: `fnet fuse` on files of every depth."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest
import rasterio
import tifffile
import torch
from numpy.typing import NDArray

from fnetcli.checkpoints.loading import load_weights
from tests.cli.command import fnet, tiny_weights
from tests.cli.test_batch import records
from tests.drawn_pictures import smooth_noise, write
from tests.networks import at_work

pytestmark = [  # of GDAL's, about files that are no maps and its own code
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),
]

Numbers = NDArray[Any]
HEIGHT, WIDTH = 24, 32
KELVIN = 29315  # hundredths: 20 degrees Celsius


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return tiny_weights(tmp_path)


def thermal(seed: int = 1, low: int = KELVIN, high: int = KELVIN + 1500) -> NDArray[np.uint16]:
    """Return radiometric counts: a narrow band far above zero."""
    unit = smooth_noise(HEIGHT, WIDTH, seed) / 255
    return (low + unit * (high - low)).astype(np.uint16)


def tiff(path: Path, values: Numbers, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, values, metadata=None, **options)
    return path


def fuse(tmp_path: Path, vis: Path, ir: Path, *options: object) -> tuple[Numbers, dict[str, Any]]:
    """Fuse, and return the picture and its record."""
    arguments = ["--vis", vis, "--ir", ir, "-o", tmp_path / "out"]
    result = fnet("fuse", *arguments, "--weights", tmp_path / "tiny.safetensors", *options)
    assert result.exit_code == 0, result.output
    (path,) = result.stdout.splitlines()
    return read(Path(path)), records(tmp_path / "out")[-1] | {"stderr": result.stderr}


def read(path: Path) -> Numbers:
    """Read with GDAL: (H, W) or (H, W, channels)."""
    with rasterio.open(path) as file:
        values: Numbers = np.moveaxis(file.read(), 0, -1).squeeze()
    return values


def unit_parts(tmp_path: Path, name: str) -> Numbers:
    return tifffile.imread(tmp_path / "out" / f"unique_{name}" / "a.tif")


def expected_part(weights: Path, unit: Numbers) -> Numbers:
    """Return the unique part of a thermal image in [0, 1], by the network itself."""
    network = at_work(load_weights(weights).network)
    x = torch.from_numpy(unit.astype(np.float32))[None, None]
    part: Numbers = network.reconstruct_u(network.encode_u(x))[0, 0].numpy()
    return part


class TestThermal:
    @pytest.fixture
    def vis(self, tmp_path: Path) -> Path:
        return write(tmp_path / "vis" / "a.png", smooth_noise(HEIGHT, WIDTH, 9, 3))

    @pytest.mark.parametrize(
        "kind", ["uint16", "int16", "uint32", "int32", "float16", "float32", "float64"]
    )
    def test_counts_are_stretched(
        self, tmp_path: Path, weights: Path, vis: Path, kind: str
    ) -> None:
        counts = thermal(low=2000, high=3800).astype(kind)
        _, record = fuse(tmp_path, vis, tiff(tmp_path / "a.tif", counts), "--maps", "float")
        low, high = np.percentile(counts.astype(np.float64), (0.1, 99.9))
        assert record["ranges"]["ir"]["low"] == pytest.approx(low)
        assert record["ranges"]["ir"]["high"] == pytest.approx(high)
        unit = np.clip((counts.astype(np.float64) - low) / (high - low), 0, 1)
        np.testing.assert_allclose(
            unit_parts(tmp_path, "ir"), expected_part(weights, unit), atol=1e-5
        )

    @pytest.mark.parametrize(
        ("options", "low", "high"),
        [
            (["--stretch", "5,95"], "5", "95"),
            (["--stretch", "ir=5,95"], "5", "95"),
            (["--stretch", "minmax"], "0", "100"),
            (["--stretch", "none"], 0, 65535),
            (["--range", f"ir={KELVIN},{KELVIN + 2000}"], KELVIN, KELVIN + 2000),
            (["--range", "ir=-10.5,1e5"], -10.5, 1e5),
            (["--bits", "ir=15"], 0, 32767),
        ],
    )
    def test_the_user_decides(
        self,
        tmp_path: Path,
        weights: Path,
        vis: Path,
        options: list[str],
        low: str | float,
        high: str | float,
    ) -> None:
        counts = thermal()
        _, record = fuse(
            tmp_path, vis, tiff(tmp_path / "a.tif", counts), *options, "--maps", "float"
        )
        limits = [np.percentile(counts, float(x)) if isinstance(x, str) else x for x in (low, high)]
        used = record["ranges"]["ir"]
        assert [used["low"], used["high"]] == pytest.approx(limits)
        unit = np.clip((counts - limits[0]) / (limits[1] - limits[0]), 0, 1)
        np.testing.assert_allclose(
            unit_parts(tmp_path, "ir"), expected_part(weights, unit), atol=1e-4
        )

    def test_black_hot(self, tmp_path: Path, weights: Path, vis: Path) -> None:
        picture = smooth_noise(HEIGHT, WIDTH, 4)
        ir = write(tmp_path / "ir.png", picture)
        fuse(tmp_path, vis, ir, "--invert", "ir", "--maps", "float")
        expected = expected_part(weights, 1 - picture / 255)
        np.testing.assert_allclose(unit_parts(tmp_path, "ir"), expected, atol=1e-5)

    @pytest.mark.usefixtures("weights")
    def test_a_few_hot_pixels_make_one_range_too(self, tmp_path: Path) -> None:
        for i in range(3):
            frame = np.full((HEIGHT * 4, WIDTH * 4), KELVIN, np.uint16)
            frame[5, 5 : 7 + i] = KELVIN + 1000 * (i + 1)  # fewer than one in a thousand
            tiff(tmp_path / "ir" / f"{i}.tif", frame)
            write(tmp_path / "vis" / f"{i}.png", smooth_noise(HEIGHT * 4, WIDTH * 4, 3))
        folders = ["--vis", tmp_path / "vis", "--ir", tmp_path / "ir", "-o", tmp_path / "out"]
        result = fnet(
            *("fuse", *folders, "--weights", tmp_path / "tiny.safetensors"),
            *("--stretch-scope", "folder"),
        )
        assert result.exit_code == 0
        ranges = [one["ranges"]["ir"] for one in records(tmp_path / "out")]
        assert ranges == [{"low": KELVIN, "high": KELVIN + 3000, "invalid": 0}] * 3

    @pytest.mark.usefixtures("weights")
    def test_a_sequence_does_not_flicker(self, tmp_path: Path) -> None:
        """A warm object crosses a still scene: with one range the still part stays the same."""
        scene = thermal(2, KELVIN, KELVIN + 400)
        still = np.s_[:, 20:]
        for i in range(10):
            frame = scene.copy()
            frame[8:14, 2 * i : 2 * i + 4] += 2500 + 200 * i  # into the scene, hotter and hotter
            tiff(tmp_path / "ir" / f"{i}.tif", frame)
            write(tmp_path / "vis" / f"{i}.png", smooth_noise(HEIGHT, WIDTH, 3))
        folders = ["--vis", tmp_path / "vis", "--ir", tmp_path / "ir"]
        spreads = {}
        for scope in ("image", "folder"):
            out = tmp_path / scope
            result = fnet(
                *("fuse", *folders, "-o", out, "--weights", tmp_path / "tiny.safetensors"),
                *("--stretch-scope", scope, "--stretch", "minmax", "--maps", "float"),
            )
            assert result.exit_code == 0, result.output
            parts = [tifffile.imread(out / "unique_ir" / f"{i}.tif")[still] for i in range(8)]
            means = [255 * float(part.mean()) for part in parts]
            spreads[scope] = max(means) - min(means)
            ranges = [tuple(one["ranges"]["ir"].values()) for one in records(out)]
            assert (len(set(ranges)) == 1) == (scope == "folder")
        assert spreads["folder"] < 1 < spreads["image"] * 10
        assert spreads["folder"] < spreads["image"] / 5
        assert "become black to white in all images" in result.stderr


class TestVisible:
    @pytest.fixture
    def ir(self, tmp_path: Path) -> Path:
        return write(tmp_path / "ir.png", smooth_noise(HEIGHT, WIDTH, 5))

    def picture(self, bits: int) -> NDArray[np.uint16]:
        unit = smooth_noise(HEIGHT, WIDTH, 6, 3) / 255
        levels: NDArray[np.uint16] = np.rint(unit * (2**bits - 1)).astype(np.uint16)
        return levels

    @pytest.mark.usefixtures("weights")
    @pytest.mark.parametrize("bits", [10, 12, 16])
    def test_bits_in_use_are_found(self, tmp_path: Path, ir: Path, bits: int) -> None:
        picture = self.picture(bits)
        picture[0, 0] = 2**bits - 1
        vis = tiff(tmp_path / "a.tif", picture, photometric="rgb")
        fused, record = fuse(tmp_path, vis, ir)
        assert record["ranges"]["vis"]["high"] == 2**bits - 1
        assert (f"taken as {bits} bits" in record["stderr"]) == (bits < 16)
        assert fused.dtype == np.uint16
        assert fused.shape == (HEIGHT, WIDTH, 3)
        eight, _ = fuse(
            tmp_path, write(tmp_path / "b.png", (picture >> (bits - 8)).astype(np.uint8)), ir
        )
        assert np.abs(fused / 257 - eight).mean() < 2

    @pytest.mark.usefixtures("weights")
    def test_the_user_knows_better(self, tmp_path: Path, ir: Path) -> None:
        vis = tiff(tmp_path / "a.tif", self.picture(12), photometric="rgb")
        _, record = fuse(tmp_path, vis, ir, "--bits", "vis=16")
        assert record["ranges"]["vis"]["high"] == 65535
        assert "taken as" not in record["stderr"]

    @pytest.mark.usefixtures("weights")
    def test_the_folder_decides_on_bits(self, tmp_path: Path) -> None:
        for i, bits in enumerate((12, 12, 16)):
            picture = self.picture(bits)
            tiff(tmp_path / "vis" / f"{i}.tif", picture, photometric="rgb")
            write(tmp_path / "ir" / f"{i}.png", smooth_noise(HEIGHT, WIDTH, i))
        arguments = ["--vis", tmp_path / "vis", "--ir", tmp_path / "ir", "-o", tmp_path / "out"]
        fnet("fuse", *arguments, "--weights", tmp_path / "tiny.safetensors")
        assert {one["ranges"]["vis"]["high"] for one in records(tmp_path / "out")} == {65535}

    @pytest.mark.usefixtures("weights")
    def test_sixteen_bit_colour_png_keeps_all_its_bits(self, tmp_path: Path, ir: Path) -> None:
        picture = self.picture(16)
        path = tmp_path / "a.png"
        with rasterio.open(
            path, "w", driver="PNG", height=HEIGHT, width=WIDTH, count=3, dtype="uint16"
        ) as file:
            file.write(np.moveaxis(picture, -1, 0))
        fused, _ = fuse(tmp_path, path, ir)
        assert fused.dtype == np.uint16
        is_inside = ((fused > 0) & (fused < 65535)).all(-1)
        moved = fused.astype(int) - picture
        assert np.ptp(moved[is_inside], axis=-1).max() <= 1  # luminance alone, to one 65535th


class TestOutput:
    @pytest.fixture
    def pair(self, tmp_path: Path, weights: Path) -> tuple[Path, Path]:
        assert weights.is_file()
        return (
            write(tmp_path / "a.png", smooth_noise(HEIGHT, WIDTH, 6, 3)),
            write(tmp_path / "b.png", smooth_noise(HEIGHT, WIDTH, 7)),
        )

    @pytest.mark.parametrize(
        ("options", "suffix", "kind"),
        [
            ([], ".png", "uint8"),
            (["--depth", "16"], ".png", "uint16"),
            (["--depth", "float"], ".tif", "float32"),
            (["--format", "tiff"], ".tif", "uint8"),
            (["--format", "tiff", "--depth", "16"], ".tif", "uint16"),
            (["--format", "jpeg"], ".jpg", "uint8"),
            (["--format", "webp"], ".webp", "uint8"),
        ],
    )
    def test_depth_and_format(
        self, tmp_path: Path, pair: tuple[Path, Path], options: list[str], suffix: str, kind: str
    ) -> None:
        plain, _ = fuse(tmp_path, *pair)
        fused, record = fuse(tmp_path, *pair, *options)
        assert record["outputs"]["fused"] == f"fused/a{suffix}"
        assert fused.dtype == kind
        white = {"uint8": 255, "uint16": 65535, "float32": 1}[kind]
        deviation = np.abs(fused.astype(float) / white * 255 - plain)
        assert deviation.mean() < 2.5 if suffix == ".jpg" else deviation.max() <= 0.51

    @pytest.mark.parametrize("name", ["x.tif", "x.TIFF", "x.jpeg", "x.webp", "x.png"])
    def test_the_name_decides_for_one_pair(
        self, tmp_path: Path, pair: tuple[Path, Path], name: str
    ) -> None:
        arguments = ["--vis", pair[0], "--ir", pair[1], "-o", tmp_path / name]
        result = fnet("fuse", *arguments, "--weights", tmp_path / "tiny.safetensors")
        assert result.exit_code == 0, result.output
        kinds = {"PNG": ".png", "TIFF": ".tif .tiff", "JPEG": ".jpg .jpeg", "WEBP": ".webp"}
        with PIL.Image.open(tmp_path / name) as picture:
            assert Path(name).suffix.lower() in kinds[str(picture.format)].split()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--depth", "16", "--format", "jpeg"], "use TIFF"),
            (["--depth", "float", "--format", "png"], "use TIFF"),
            (["--format", "jpeg", "-o", "x.png"], "no other --format"),
            (["--report", "-o", "x.png"], "give a folder with --report"),
            (["--bits", "vis=0"], "from 1 to 32"),
            (["--bits", "12"], "--bits vis=VALUE"),
            (["--range", "ir=5,1"], "the lower first"),
            (["--stretch", "0,101"], "from 0 to 100"),
            (["--range", "ir=0,1", "--bits", "ir=12"], "leave one out"),
            (["--invert", "mri"], "use ir or vis"),
            (["--page", "0"], "--page 0"),
        ],
    )
    def test_contradictions(
        self, tmp_path: Path, pair: tuple[Path, Path], options: list[str], message: str
    ) -> None:
        out = () if "-o" in options else ("-o", tmp_path / "out")
        arguments = ["--vis", pair[0], "--ir", pair[1], *out, *options]
        result = fnet("fuse", *arguments, "--weights", tmp_path / "tiny.safetensors")
        assert result.exit_code == 2
        assert message in result.stderr
        assert not (tmp_path / "out").exists()

    def test_sixteen_bit_maps_and_alpha(self, tmp_path: Path, pair: tuple[Path, Path]) -> None:
        colour = smooth_noise(HEIGHT, WIDTH, 6, 3)
        alpha = np.full((HEIGHT, WIDTH, 1), 100, np.uint8)
        vis = write(tmp_path / "rgba.png", np.concatenate((colour, alpha), -1))
        fused, _ = fuse(tmp_path, vis, pair[1], "--depth", "16")
        assert fused.shape == (HEIGHT, WIDTH, 4)
        assert (fused[..., 3] == 100 * 257).all()
        fused, record = fuse(tmp_path, vis, pair[1], "--format", "jpeg")
        assert fused.shape == (HEIGHT, WIDTH, 3)
        assert "jpeg cannot hold transparency" in record["stderr"]

    def test_orientation_is_applied_once(self, tmp_path: Path, pair: tuple[Path, Path]) -> None:
        sideways = PIL.Image.fromarray(smooth_noise(WIDTH, HEIGHT, 6, 3))
        exif = PIL.Image.Exif()
        exif[0x0112] = 6
        sideways.save(tmp_path / "s.png", exif=exif)
        fused, _ = fuse(tmp_path, tmp_path / "s.png", pair[1])
        assert fused.shape == (HEIGHT, WIDTH, 3)
        with PIL.Image.open(tmp_path / "out" / "fused" / "s.png") as picture:
            assert not picture.getexif()

    def test_colour_profile_is_said_and_kept(self, tmp_path: Path, pair: tuple[Path, Path]) -> None:
        picture = PIL.Image.fromarray(smooth_noise(HEIGHT, WIDTH, 6, 3))
        profile = swapped_profile()
        picture.save(tmp_path / "p.png", icc_profile=profile)
        _, record = fuse(tmp_path, tmp_path / "p.png", pair[1])
        assert "not sRGB" in record["stderr"]
        with PIL.Image.open(tmp_path / "out" / "fused" / "p.png") as written:
            assert written.info["icc_profile"] == profile

    def test_flir_jpeg_is_said(self, tmp_path: Path, pair: tuple[Path, Path]) -> None:
        buffer = io.BytesIO()
        PIL.Image.fromarray(smooth_noise(HEIGHT, WIDTH, 7)).save(buffer, "JPEG")
        plain = buffer.getvalue()
        segment = b"FLIR\0\1\0\0" + bytes(64)
        flir = plain[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + plain[2:]
        (tmp_path / "f.jpg").write_bytes(flir)
        _, record = fuse(tmp_path, pair[0], tmp_path / "f.jpg", "--ir-rendered")
        assert "ir: " in record["stderr"]
        assert "rendered picture" in record["stderr"]


def swapped_profile() -> bytes:
    """Return a colour profile that is not sRGB: its red and green primaries are exchanged."""
    content = bytearray(PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes())
    red, green = content.index(b"rXYZ"), content.index(b"gXYZ")
    content[red : red + 4], content[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(content)


class TestNoData:
    @pytest.fixture
    def vis(self, tmp_path: Path, weights: Path) -> Path:
        assert weights.is_file()
        return write(tmp_path / "a.png", smooth_noise(HEIGHT, WIDTH, 6, 3))

    def kelvin(self) -> NDArray[np.float32]:
        return (thermal() / 100).astype(np.float32)

    def test_holes_are_counted_filled_and_said(self, tmp_path: Path, vis: Path) -> None:
        holes = self.kelvin()
        holes[3, 4:8] = np.nan
        holes[10, 10] = np.inf
        ir = tiff(tmp_path / "ir.tif", holes)
        fused, record = fuse(tmp_path, vis, ir)
        assert record["ranges"]["ir"]["invalid"] == 5
        assert "5 pixels (0.7 %) are NaN, infinite or nodata" in record["stderr"]
        assert fused.shape == (HEIGHT, WIDTH, 3)  # a PNG cannot say "no data"
        whole, _ = fuse(tmp_path, vis, tiff(tmp_path / "ir.tif", self.kelvin()))
        assert np.abs(fused.astype(int) - whole).max() < 60

    @pytest.mark.parametrize("depth", ["8", "16", "float"])
    def test_they_come_out_as_nodata_where_the_file_can_say_so(
        self, tmp_path: Path, vis: Path, depth: str
    ) -> None:
        holes = self.kelvin()
        holes[3, 4:8] = np.nan
        ir = tiff(tmp_path / "ir.tif", holes)
        options = ["--format", "tiff", "--depth", depth, "--maps", "float"]
        fuse(tmp_path, vis, ir, *options)
        for path in ("fused/a.tif", "unique_ir/a.tif", "common/a.tif"):
            with rasterio.open(tmp_path / "out" / path) as file:
                assert file.nodata is not None
                mask = file.read_masks(1)
            assert (mask == 0).sum() == 4, path
            assert (mask[3, 4:8] == 0).all()

    def test_nodata_of_a_geotiff(self, tmp_path: Path, vis: Path) -> None:
        path, counts = tmp_path / "ir.tif", thermal()
        counts[:, :5] = 7
        profile = {"driver": "GTiff", "height": HEIGHT, "width": WIDTH, "count": 1}
        transform = rasterio.transform.from_origin(500000, 4100000, 0.5, 0.5)
        with rasterio.open(
            path, "w", **profile, dtype="uint16", nodata=7, crs="EPSG:32633", transform=transform
        ) as file:
            file.write(counts, 1)
        fused, record = fuse(tmp_path, vis, path, "--maps", "float")
        assert record["outputs"]["fused"] == "fused/a.tif"
        assert "can say where they lie" in record["stderr"]
        assert record["ranges"]["ir"]["invalid"] == 5 * HEIGHT
        assert record["ranges"]["ir"]["low"] > KELVIN
        assert fused.dtype == np.uint8
        for name in ("fused", "unique_ir", "unique_vis", "common"):
            with rasterio.open(tmp_path / "out" / name / "a.tif") as file:
                assert file.crs.to_epsg() == 32633
                assert file.transform == transform
                assert (file.read_masks(1) == 0).sum() == 5 * HEIGHT
        with rasterio.open(tmp_path / "out" / "fused" / "a.tif") as file:
            assert file.nodata == 7

    def test_transparent_thermal_pixels_do_not_count(self, tmp_path: Path, vis: Path) -> None:
        counts = thermal()
        alpha = np.full_like(counts, 65535)
        counts[:, :5], alpha[:, :5] = 0, 0
        both = np.stack([counts, alpha], -1)
        path = tiff(
            tmp_path / "ir.tif", both, photometric="minisblack", extrasamples=["unassalpha"]
        )
        _, record = fuse(tmp_path, vis, path)
        assert record["ranges"]["ir"]["low"] > KELVIN

    def test_transparency_and_nodata_agree(self, tmp_path: Path, vis: Path) -> None:
        colour = iio.imread(vis)
        rgba = np.concatenate((colour, np.full((HEIGHT, WIDTH, 1), 255, np.uint8)), -1)
        write(tmp_path / "rgba" / "a.png", rgba)
        holes = self.kelvin()
        holes[3, 4:8] = np.nan
        ir = tiff(tmp_path / "ir.tif", holes)
        for kind, suffix in (("tiff", "tif"), ("png", "png")):
            fuse(tmp_path, tmp_path / "rgba" / "a.png", ir, "--format", kind)
            with rasterio.open(tmp_path / "out" / "fused" / f"a.{suffix}") as file:
                assert file.nodata is None
                mask = file.dataset_mask()
            assert (mask == 0).sum() == 4
            assert (mask[3, 4:8] == 0).all()

    @pytest.mark.parametrize("compress", ["NONE", "DEFLATE", "LZW", "JPEG"])
    def test_a_mask_inside_a_file_counts(self, tmp_path: Path, vis: Path, compress: str) -> None:
        """GDAL's internal masks, as orthophotos have them, JPEG-compressed ones too."""
        counts = thermal()
        counts[:, :5] = 0
        values = np.rint((counts - KELVIN) / 6.0).clip(0, 255) if compress == "JPEG" else counts
        kind = "uint8" if compress == "JPEG" else "uint16"
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(
                tmp_path / "ir.tif", "w", driver="GTiff", height=HEIGHT, width=WIDTH, count=1,
                dtype=kind, compress=compress,
            ) as file,
        ):  # fmt: skip
            file.write(values.astype(kind), 1)
            file.write_mask(counts > 0)
        options = ["--format", "tiff", "--maps", "float"]
        _, record = fuse(tmp_path, vis, tmp_path / "ir.tif", *options)
        assert record["ranges"]["ir"]["invalid"] == 5 * HEIGHT
        assert compress == "JPEG" or record["ranges"]["ir"]["low"] > KELVIN
        for name in ("fused", "common"):
            with rasterio.open(tmp_path / "out" / name / "a.tif") as file:
                mask = file.read_masks(1)
            assert (mask == 0).sum() == 5 * HEIGHT
            assert (mask[:, :5] == 0).all()

    def test_the_kept_grid_gives_the_place(self, tmp_path: Path, vis: Path) -> None:
        path = tmp_path / "ir.tif"
        transform = rasterio.transform.from_origin(0, 0, 2, 2)
        with rasterio.open(
            path, "w", driver="GTiff", height=HEIGHT // 2, width=WIDTH // 2, count=1,
            dtype="uint8", crs="EPSG:4326", transform=transform,
        ) as file:  # fmt: skip
            file.write(smooth_noise(HEIGHT // 2, WIDTH // 2, 3), 1)
        fuse(tmp_path, vis, path, "--resize", "ir")
        with rasterio.open(tmp_path / "out" / "fused" / "a.tif") as file:
            assert file.transform == transform
        _, record = fuse(tmp_path, vis, path, "--resize", "vis")
        assert "georeference of the resized image is lost" in record["stderr"]
        with rasterio.open(tmp_path / "out" / "fused" / "a.tif") as file:
            assert file.crs is None

    def test_pictures_of_different_places_are_said(self, tmp_path: Path, vis: Path) -> None:
        assert vis.is_file()
        images = {}
        for name, west in (("vis", 0), ("ir", 50)):
            images[name] = tmp_path / f"{name}.tif"
            with rasterio.open(
                images[name], "w", driver="GTiff", height=HEIGHT, width=WIDTH, count=1,
                dtype="uint8", crs="EPSG:32633",
                transform=rasterio.transform.from_origin(west, 0, 2, 2),
            ) as file:  # fmt: skip
                file.write(smooth_noise(HEIGHT, WIDTH, 3), 1)
        _, record = fuse(tmp_path, images["vis"], images["ir"])
        assert "different places on the map" in record["stderr"]
        shutil.copy(images["vis"], tmp_path / "same.tif")
        _, record = fuse(tmp_path, images["vis"], tmp_path / "same.tif")
        assert "different places" not in record["stderr"]

    @pytest.mark.parametrize(
        ("value", "message"),
        [(np.nan, "no pixel holds data"), (293.5, "all pixels are equal (293.5)")],
    )
    def test_nothing_to_see(self, tmp_path: Path, vis: Path, value: float, message: str) -> None:
        nothing = np.full((HEIGHT, WIDTH), value, np.float32)
        fused, record = fuse(tmp_path, vis, tiff(tmp_path / "ir.tif", nothing))
        assert message in record["stderr"]
        black, _ = fuse(tmp_path, vis, write(tmp_path / "k.png", np.zeros((HEIGHT, WIDTH), "u1")))
        np.testing.assert_array_equal(fused, black)

    def test_records_stay_json(self, tmp_path: Path, vis: Path) -> None:
        """No NaN stands in the manifest, which other programs could not read."""
        fuse(tmp_path, vis, tiff(tmp_path / "ir.tif", np.full((HEIGHT, WIDTH), np.nan, "f4")))
        text = (tmp_path / "out" / "manifest.jsonl").read_text()

        def refuse(name: str) -> None:
            raise AssertionError(name)

        json.loads(text, parse_constant=refuse)


class TestPages:
    @pytest.fixture
    def images(self, tmp_path: Path, weights: Path) -> list[Any]:
        vis = write(tmp_path / "vis" / "a.png", smooth_noise(HEIGHT, WIDTH, 6, 3))
        frames = np.stack([thermal(seed) for seed in range(3)])
        ir = tiff(tmp_path / "ir" / "a.tif", frames, photometric="minisblack")
        return ["--vis", vis, "--ir", ir, "-o", tmp_path / "out", "--weights", weights]

    def test_an_error_names_the_option(self, images: list[Any]) -> None:
        result = fnet("fuse", *images)
        assert result.exit_code == 1
        assert "a.tif: 3 pages" in result.stderr
        assert "--page N" in result.stderr

    def test_page_by_page(self, tmp_path: Path, images: list[Any]) -> None:
        pictures = []
        for page in ("1", "ir=2", "3"):
            assert fnet("fuse", *images, "--page", page).exit_code == 0
            pictures.append(iio.imread(tmp_path / "out" / "fused" / "a.png"))
        assert not (pictures[0] == pictures[1]).all()
        assert fnet("fuse", *images, "--page", "4").exit_code == 1
        assert fnet("fuse", *images, "--page", "vis=2").exit_code == 1

    def test_size_is_limited_before_decoding(self, images: list[Any]) -> None:
        result = fnet("fuse", *images, "--page", "1", "--max-pixels", "0.0005")
        assert result.exit_code == 1
        assert "--max-pixels" in result.stderr
        for number in ("inf", "nan", "1e400"):
            assert fnet("fuse", *images, "--max-pixels", number).exit_code == 2
