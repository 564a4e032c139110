"""Kinds of files that people have, through the command line."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import rasterio
import SimpleITK as sitk  # noqa: N813 - as its users write it
import tifffile
from numpy.typing import NDArray

from fnetcli.formats import read_image
from tests.cli.command import fnet, tiny_weights
from tests.cli.test_batch import errors, records
from tests.drawn_pictures import smooth_noise, write
from tests.drawn_volumes import AXIAL, affine, nuclear, save_one, write_series
from tests.formats.files import avif, heic, jpeg2000, jpegxl, npy, table

HEIGHT, WIDTH = 24, 32
VIS = smooth_noise(HEIGHT, WIDTH, 1, 3)
# A thermal camera's counts, and degrees.
COUNTS = (28_900 + 8 * smooth_noise(HEIGHT, WIDTH, 2).astype(np.uint16)).astype(np.uint16)
DEGREES = np.round(COUNTS / 100.0 - 273.15, 2)


@pytest.fixture
def common(tmp_path: Path) -> list[Any]:
    return ["--weights", tiny_weights(tmp_path), "--maps", "none"]


def fused(root: Path, vis: Path, ir: Path, common: list[Any], *options: object) -> NDArray[Any]:
    out = root / f"out{len(list(root.glob('out*')))}"
    result = fnet("fuse", "--vis", vis, "--ir", ir, "-o", out, *common, *options)
    assert result.exit_code == 0, result.stderr
    return np.asarray(read_image(Path(result.stdout.strip())).pixels)


def as_tiff(path: Path, values: NDArray[Any]) -> Path:
    tifffile.imwrite(path, values, photometric="rgb" if values.ndim == 3 else "minisblack")
    return path


def put(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


SIZE = f"{WIDTH} {HEIGHT}".encode()
BIG = COUNTS.astype(">u2").tobytes()
FLOATS = DEGREES.astype(np.float32)
HEADERS = "File:;C:\\FLIR\\a.jpg;\n\nEmissivity:;0,95;\nReflected:;20,0 \u00b0C;\n\n"
INDEX = ",".join(["", *map(str, range(WIDTH))]) + "\n"
PANDAS = INDEX + "".join(
    f"{i}," + ",".join(f"{one:.2f}" for one in row) + "\n" for i, row in enumerate(DEGREES)
)
THERMAL: dict[str, tuple[str, bytes, NDArray[Any]]] = {
    "pgm of 16 bits": ("t.pgm", b"P5\n" + SIZE + b"\n65535\n" + BIG, COUNTS),
    "pgm with a comment": ("t.pgm", b"P5 # by hand\n" + SIZE + b" 30999\n" + BIG, COUNTS),
    "pgm in text": (
        "t.pgm",
        b"P2\n" + SIZE + b"\n65535\n" + b" ".join(b"%d" % one for one in COUNTS.ravel()),
        COUNTS,
    ),
    "pam": (
        "t.pam",
        b"P7\nWIDTH 32\nHEIGHT 24\nDEPTH 1\nMAXVAL 65535\nTUPLTYPE GRAYSCALE\nENDHDR\n" + BIG,
        COUNTS,
    ),
    "pfm": ("t.pfm", b"Pf\n" + SIZE + b"\n1.0\n" + FLOATS[::-1].astype(">f4").tobytes(), FLOATS),
    "npy of floats": ("t.npy", npy(FLOATS), FLOATS),
    "npy of counts": ("t.npy", npy(COUNTS.astype(">u2")), COUNTS),
    "npy by columns": ("t.npy", npy(np.asfortranarray(FLOATS)), FLOATS),
    "npy of one frame": ("t.npy", npy(FLOATS[None, :, :]), FLOATS),
    "csv of semicolons": ("t.csv", table(DEGREES, ";", "."), FLOATS),
    "csv with decimal commas": ("t.csv", table(DEGREES, ";", ","), FLOATS),
    "csv of tabs": ("t.csv", table(DEGREES, "\t", ","), FLOATS),
    "csv with header rows": ("t.csv", HEADERS.encode() + table(DEGREES), FLOATS),
    "csv of an old program": ("t.csv", HEADERS.encode("cp1252") + table(DEGREES), FLOATS),
    "csv in utf-16": ("t.csv", table(DEGREES, "\t").decode().encode("utf-16"), FLOATS),
    "csv with an index": ("t.csv", PANDAS.encode(), FLOATS),
    "csv with labels": (
        "t.csv",
        b"\r\n".join(b"row;" + line + b";" for line in table(DEGREES).splitlines()),
        FLOATS,
    ),
    "csv in quotes": (
        "t.csv",
        b"".join(b'"' + row + b'"\n' for row in table(DEGREES, '";"').splitlines()),
        FLOATS,
    ),
    "jpeg 2000": ("t.jp2", jpeg2000(COUNTS), COUNTS),
    "jpeg xl": ("t.jxl", jpegxl(COUNTS), COUNTS),
    "any name": ("thermal", b"P5\n" + SIZE + b"\n65535\n" + BIG, COUNTS),
}  # fmt: skip


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[np.dtype[Any], Any]:
    """Fused pictures of TIFFs with the thermal numbers, by their type."""
    root = tmp_path_factory.mktemp("tiff")
    common = ["--weights", tiny_weights(root), "--maps", "none"]
    vis = write(root / "v.png", VIS)
    return {
        values.dtype: fused(root, vis, as_tiff(root / "t.tif", values), common)
        for values in (COUNTS, FLOATS)
    }


class TestThermal:
    @pytest.mark.parametrize("name", THERMAL)
    def test_as_the_same_numbers_in_a_tiff(
        self,
        name: str,
        tmp_path: Path,
        common: list[Any],
        expected: dict[np.dtype[Any], Any],
    ) -> None:
        file, content, values = THERMAL[name]
        vis = write(tmp_path / "v.png", VIS)
        found = fused(tmp_path, vis, put(tmp_path / file, content), common)
        np.testing.assert_array_equal(found, expected[values.dtype])

    def test_in_folders(self, tmp_path: Path, common: list[Any]) -> None:
        pgm = THERMAL["pgm of 16 bits"][1]
        contents = {"csv": table(DEGREES), "npy": npy(FLOATS), "pgm": pgm}
        for i, (suffix, content) in enumerate(contents.items()):
            write(tmp_path / "vis" / f"{i}.png", VIS)
            (tmp_path / "ir").mkdir(exist_ok=True)
            put(tmp_path / "ir" / f"{i}.{suffix}", content)
        put(tmp_path / "vis" / "labels.csv", b"name,class\n0,cat\n")
        put(tmp_path / "ir" / "3.csv", table(DEGREES))
        options = ["--vis", tmp_path / "vis", "--ir", tmp_path / "ir", "-o", tmp_path / "out"]
        result = fnet("fuse", *options, *common)
        assert result.exit_code == 0, result.stderr
        assert "3 fused, 0 skipped, 0 failed, 1 unpaired" in result.stderr
        assert "labels.csv" not in result.stderr
        assert "3.csv" in result.stderr  # others of its kind have partners

    def test_beside_a_picture_of_the_same_name(self, tmp_path: Path, common: list[Any]) -> None:
        for folder in ("vis", "ir"):
            write(tmp_path / folder / "1.png", VIS)
            put(tmp_path / folder / "1.csv", b"x,y\n1,2\n")
            put(tmp_path / folder / "1.npy", npy(FLOATS))
        options = ["--vis", tmp_path / "vis", "--ir", tmp_path / "ir", "-o", tmp_path / "out"]
        result = fnet("fuse", *options, *common)
        assert result.exit_code == 0, result.stderr
        assert "4 files beside a picture of the same name are not read" in result.stderr
        assert records(tmp_path / "out")[0]["inputs"]["ir"]["path"] == "1.png"

    @pytest.mark.parametrize(
        ("name", "content", "said"),
        [
            ("a.csv", b"1;2;3\n4;5\n", "line 2 has 2 cells, the first of its numbers 3"),
            ("a.csv", b"1;2;3\n4;x;5\n", "line 2 holds 'x', not a number"),
            ("a.csv", b"1;2\n3;4\n\n5;6\n", "more than one table"),
            ("a.csv", b"1;2;3;4\n", "holds one row of numbers, not a picture"),
            ("a.csv", b"name,class\na,b\n", "not an image of a known format"),
            ("a.npy", npy(np.array([[{}]]), allow_pickle=True), "holds Python objects"),
            ("a.npy", npy(np.zeros((4, 4), complex)), "not the numbers of an image"),
            ("a.npy", npy(np.zeros(9)), "not a picture"),
            ("a.npy", npy(np.zeros((4, 5, 7))), "has 7 bands, neither grey nor RGB"),
            ("a.npy", npy(np.full((4, 4), 2**40)), "need more than 32 bits; save them as floats"),
            ("a.npy", npy(np.zeros((9, 9)))[:-1], "not a complete NumPy file"),
            ("a.npy", b"\x93NUMPY\x03\0" + bytes(99), "of an unknown version"),
            ("a.pgm", b"P5\n9 9\n255\n" + bytes(80), "not a complete PNM"),
            ("a.pgm", b"P5\n9 9\n99999\n" + bytes(999), "its header is damaged"),
            ("a.pgm", b"P2\n2 2\n9\n1 2 3 x\n", "text instead of numbers"),
            ("a.exr", b"\x76\x2f\x31\x01" + bytes(99), "an OpenEXR file, which is not read"),
            (
                "a.gz",
                b"\x1f\x8b" + bytes(99),
                "a gzip file, which is not read; unpack it; of a vol",
            ),
            ("a.heic", b"\0\0\0\x18ftypheic" + bytes(99), "its boxes are damaged"),
            ("a.heic", heic(VIS)[:-99], "not a"),
            (
                "a.heic",
                heic(VIS).replace(b"ftypheix", b"ftyphevc"),
                "an animation, not one picture",
            ),
        ],
    )
    def test_what_is_refused(
        self, name: str, content: bytes, said: str, tmp_path: Path, common: list[Any]
    ) -> None:
        vis = write(tmp_path / "v.png", VIS)
        path = put(tmp_path / name, content)
        result = fnet("fuse", "--vis", vis, "--ir", path, "-o", tmp_path / "o", *common)
        assert result.exit_code == 1
        (line,) = errors(result.stderr)
        assert line.startswith(f"error: {path}: ")
        assert said in line

    def test_a_pickle_is_not_loaded(self, tmp_path: Path, common: list[Any]) -> None:
        class Evil:
            def __reduce__(self) -> tuple[Any, ...]:
                return (Path.touch, (tmp_path / "touched",))

        path = put(tmp_path / "a.npy", npy(np.array([Evil()]), allow_pickle=True))
        vis = write(tmp_path / "v.png", VIS)
        result = fnet("fuse", "--vis", vis, "--ir", path, "-o", tmp_path / "o", *common)
        assert result.exit_code == 1
        assert not (tmp_path / "touched").exists()

    def test_cells_without_a_number_are_no_data(self, tmp_path: Path, common: list[Any]) -> None:
        rows = table(DEGREES).decode().splitlines()
        rows[3] = ";" + rows[3].partition(";")[2]
        path = put(tmp_path / "t.csv", "\n".join(rows).encode())
        vis = write(tmp_path / "v.png", VIS)
        result = fnet("fuse", "--vis", vis, "--ir", path, "-o", tmp_path / "o", *common)
        assert result.exit_code == 0, result.stderr
        assert "1 pixel (" in result.stderr

    def test_inspect_tells_what_was_passed_over(self, tmp_path: Path) -> None:
        path = put(tmp_path / "t.csv", HEADERS.encode() + table(DEGREES))
        result = fnet("inspect", path)
        assert result.exit_code == 0
        assert "5 rows of words before its numbers passed over" in result.stderr
        assert f"{WIDTH} x {HEIGHT}" in result.stdout or f"{WIDTH}x{HEIGHT}" in result.stdout


def by_gdal(path: Path, values: NDArray[Any], **options: Any) -> Path:
    planes = values if values.ndim == 3 else values[..., None]
    height, width, count = planes.shape
    with rasterio.open(
        path, "w", driver=options.pop("driver", "GTiff"), height=height, width=width, count=count,
        dtype=planes.dtype, transform=rasterio.Affine(1, 0, 5, 0, -1, 9), **options,
    ) as file:  # fmt: skip
        file.write(np.moveaxis(planes, 2, 0))
    return path


class TestVisible:
    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("a.jp2", jpeg2000(VIS)),
            ("a.j2k", jpeg2000(VIS, codecformat="j2k")),
            ("a.jxl", jpegxl(VIS)),
            ("a.avif", avif(VIS)),
            ("a.ppm", b"P6\n" + SIZE + b"\n255\n" + VIS.tobytes()),
            ("a.npy", npy(VIS)),
        ],
    )
    def test_as_png(self, name: str, content: bytes, tmp_path: Path, common: list[Any]) -> None:
        ir = as_tiff(tmp_path / "t.tif", COUNTS)
        found = fused(tmp_path, put(tmp_path / name, content), ir, common)
        expected = fused(tmp_path, write(tmp_path / "v.png", VIS), ir, common)
        np.testing.assert_array_equal(found, expected)

    @pytest.mark.parametrize("layout", [{}, {"tiled": True, "blockxsize": 16, "blockysize": 16}])
    @pytest.mark.parametrize(
        "options",
        [
            {"compress": "WEBP", "webp_lossless": True},
            {"compress": "LERC"},
            {"compress": "LERC_ZSTD"},
            {"compress": "LERC_DEFLATE"},
        ],
        ids=lambda options: options["compress"],
    )
    def test_compressed_by_gdal(
        self, options: dict[str, Any], layout: dict[str, Any], tmp_path: Path, common: list[Any]
    ) -> None:
        ir = as_tiff(tmp_path / "t.tif", COUNTS)
        path = by_gdal(tmp_path / "v.tif", VIS, photometric="RGB", **options, **layout)
        expected = by_gdal(tmp_path / "w.tif", VIS, photometric="RGB")
        np.testing.assert_array_equal(
            fused(tmp_path, path, ir, common), fused(tmp_path, expected, ir, common)
        )

    @pytest.mark.parametrize("order", ["LITTLE", "BIG"])
    @pytest.mark.parametrize("compress", ["LERC", "LERC_ZSTD"])
    @pytest.mark.parametrize("values", [COUNTS, FLOATS], ids=["counts", "degrees"])
    def test_thermal_in_lerc(
        self, values: NDArray[Any], compress: str, order: str, tmp_path: Path, common: list[Any]
    ) -> None:
        vis = write(tmp_path / "v.png", VIS)
        path = by_gdal(tmp_path / "t.tif", values, compress=compress, endianness=order)
        found = fused(tmp_path, vis, path, common)
        np.testing.assert_array_equal(
            found, fused(tmp_path, vis, by_gdal(tmp_path / "u.tif", values), common)
        )

    def test_holes_in_lerc(self, tmp_path: Path) -> None:
        values = FLOATS.copy()
        values[2:5, 3:9] = np.nan
        path = by_gdal(tmp_path / "t.tif", values, compress="LERC")
        np.testing.assert_array_equal(read_image(path).pixels[0, ..., 0], values)

    @pytest.mark.parametrize("driver", ["JP2OpenJPEG"])
    @pytest.mark.parametrize("values", [VIS, COUNTS], ids=["colour", "counts"])
    def test_jpeg_2000_by_gdal(self, values: NDArray[Any], driver: str, tmp_path: Path) -> None:
        path = by_gdal(tmp_path / "a.jp2", values, driver=driver, quality=100, reversible=True)
        found = read_image(path).pixels[0]
        np.testing.assert_array_equal(found, values.reshape(found.shape))

    @pytest.mark.parametrize("values", [VIS, VIS[..., 0], (VIS.astype(np.uint16) << 8)])
    def test_heic_is_nearly_as_png(
        self, values: NDArray[Any], tmp_path: Path, common: list[Any]
    ) -> None:
        found = read_image(put(tmp_path / "a.heic", heic(values))).pixels[0]
        assert found.dtype == values.dtype
        assert found.shape == (HEIGHT, WIDTH, 3 if values.ndim == 3 else 1)
        white = np.iinfo(values.dtype).max
        assert np.abs(found / white - values.reshape(found.shape) / white).max() <= 8 / 255
        ir = as_tiff(tmp_path / "t.tif", COUNTS)
        assert fused(tmp_path, tmp_path / "a.heic", ir, common).shape[1:3] == (HEIGHT, WIDTH)

    def test_opacity_in_heic(self, tmp_path: Path) -> None:
        opacity = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
        opacity[:, :16] = 0
        content = heic(np.concatenate([VIS, opacity], 2))
        image = read_image(put(tmp_path / "a.heic", content))
        assert image.alpha is not None
        assert np.abs(image.alpha[0] - opacity[..., 0] / 255).max() <= 0.05

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_heic_is_upright(self, orientation: int, tmp_path: Path) -> None:
        exif = PIL.Image.Exif()
        exif[0x112] = orientation
        content = heic(VIS, exif=exif.tobytes())
        found = read_image(put(tmp_path / "a.heic", content)).pixels[0].astype(int)
        picture = PIL.Image.fromarray(VIS)
        picture.getexif()[0x112] = orientation
        expected = np.asarray(PIL.ImageOps.exif_transpose(picture)).astype(int)
        assert np.abs(found - expected).max() <= 8

    def test_heic_without_a_decoder(
        self, tmp_path: Path, common: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "pillow_heif", None)
        vis = put(tmp_path / "a.heic", heic(VIS))
        ir = as_tiff(tmp_path / "t.tif", COUNTS)
        result = fnet("fuse", "--vis", vis, "--ir", ir, "-o", tmp_path / "o", *common)
        assert result.exit_code == 1
        (line,) = errors(result.stderr)
        assert "install fnetcli[heic], or convert it" in line

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_avif_by_pillow(self, orientation: int, tmp_path: Path) -> None:
        exif = PIL.Image.Exif()
        exif[0x112] = orientation
        path = tmp_path / "a.avif"
        PIL.Image.fromarray(VIS).save(path, quality=100, subsampling="4:4:4", exif=exif)
        stored = np.asarray(PIL.Image.open(path).convert("RGB")).astype(int)
        expected = {
            1: stored,
            2: stored[:, ::-1],
            3: stored[::-1, ::-1],
            4: stored[::-1],
            5: stored.swapaxes(0, 1),
            6: np.rot90(stored, -1),
            7: np.rot90(stored, 2).swapaxes(0, 1),
            8: np.rot90(stored, 1),
        }
        found = read_image(path).pixels[0].astype(int)
        assert np.abs(found - expected[orientation]).max() <= 1

    @pytest.mark.parametrize("kind", ["webp", "jpeg"])
    def test_no_library_speaks_on_the_terminal(self, kind: str, tmp_path: Path) -> None:
        """Of a process of its own: libtiff writes to the handle itself."""
        path = tmp_path / "v.tif"
        if kind == "webp":
            by_gdal(path, VIS, photometric="RGB", compress="WEBP", webp_lossless=True)
        else:
            PIL.Image.fromarray(VIS).save(path, compression="jpeg")
        content = bytearray(path.read_bytes())
        place = content.index(b"\xff\xc4") if kind == "jpeg" else content.index(b"WEBP") + 12
        content[place + 4 : place + 24] = b"\xff" * 20
        path.write_bytes(content)
        ir = as_tiff(tmp_path / "t.tif", COUNTS)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "fnetcli", "fuse", "--vis", path, "--ir", ir),
                *("-o", tmp_path / "o"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        lines = done.stderr.splitlines()
        assert sum(line.startswith("error: ") for line in lines) == 1
        assert all("JPEGLib" not in line and "WebPDecode" not in line for line in lines), lines
        assert len(lines) <= 4


# --- volumes --------------------------------------------------------------------------------------

CT_PLACE = affine(AXIAL, (5.0, 4.0, 4.0), (-40.0, 12.0, 7.0))
MRI_PLACE = affine(AXIAL, (4.0, 3.0, 3.0), (-42.0, 10.0, 5.0))


def stack(seed: int, shape: tuple[int, int, int]) -> NDArray[np.int16]:
    depth, height, width = shape
    planes = [smooth_noise(height, width, seed + i // 3) for i in range(depth)]
    return (np.stack(planes).astype(np.int16) * 4 - 200).astype(np.int16)


class TestVolumes:
    @pytest.fixture
    def study(self, tmp_path: Path) -> Path:
        write_series(tmp_path / "ct" / "A", stack(1, (6, 20, 22)), CT_PLACE, Modality="CT")
        write_series(tmp_path / "mri" / "A", stack(9, (8, 24, 26)), MRI_PLACE, Modality="MR")
        return tmp_path

    def as_kind(self, folder: Path, kind: str, path: Path) -> Path:
        """Write a series as another program does."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "zip":
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                for file in folder.iterdir():
                    archive.write(file, f"x/{file.name}")
            return path
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
        image = reader.Execute()
        if kind != "mgz":
            sitk.WriteImage(image, str(path), useCompression=kind in {"nrrd", "mha"})
            return path
        place = np.eye(4)
        place[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
        place[:3, 3] = image.GetOrigin()
        numbers = sitk.GetArrayFromImage(image).T.astype(np.int16)
        nib.save(nib.MGHImage(numbers, np.diag([-1, -1, 1, 1]) @ place), path)
        return path

    def fused(self, root: Path, ct: Path, mri: Path, *options: object) -> NDArray[Any]:
        out = root / f"out{len(list(root.glob('out*')))}"
        windows = ["--window", "ct=400,0", "--window", "mri=400,0", "--assume-aligned"]
        result = fnet(
            "fuse", "--ct", ct, "--mri", mri, "-o", out, *windows, *options,
            "--weights", tiny_weights(root), "--maps", "none",
        )  # fmt: skip
        assert result.exit_code == 0, result.stderr
        (path,) = result.stdout.splitlines()
        return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(path)))

    @pytest.mark.parametrize("kind", ["nrrd", "nhdr", "mha", "mhd", "mgz", "zip"])
    def test_as_the_dicom_series(self, kind: str, study: Path) -> None:
        ct, mri = study / "ct" / "A", study / "mri" / "A"
        expected = self.fused(study, ct, mri)
        file = self.as_kind(ct, kind, study / "k" / f"a.{kind}")
        np.testing.assert_allclose(self.fused(study, file, mri), expected, atol=1e-5)
        other = self.as_kind(mri, kind, study / "m" / f"a.{kind}")
        np.testing.assert_allclose(self.fused(study, ct, other), expected, atol=1e-5)

    def test_folders_of_cases(self, study: Path) -> None:
        for kind, case in (("nrrd", "A"), ("mha", "B"), ("zip", "C")):
            self.as_kind(study / "ct" / "A", kind, study / "cts" / f"{case}.{kind}")
            self.as_kind(study / "mri" / "A", "mha", study / "mris" / f"{case}.mha")
        options = ["--ct", study / "cts", "--mri", study / "mris", "-o", study / "out"]
        common = ["--weights", tiny_weights(study), "--maps", "none", "--window", "ct=400,0"]
        result = fnet("fuse", *options, *common)
        assert result.exit_code == 0, result.stderr
        assert "two folders of volumes: 3 cases by name" in result.stderr
        assert [Path(line).name for line in result.stdout.splitlines()] == [
            f"{case}.nii.gz" for case in "ABC"
        ]

    @pytest.mark.parametrize(("target", "suffix"), [("nrrd", ".nrrd"), ("mha", ".mha")])
    def test_results(self, target: str, suffix: str, study: Path) -> None:
        ct, mri = study / "ct" / "A", study / "mri" / "A"
        expected = self.fused(study, ct, mri)
        options = ["--to", target, "--maps", "float"]
        out = study / "results"
        arguments = [
            "fuse", "--ct", ct, "--mri", mri, "-o", out, *options, "--window", "ct=400,0",
            "--window", "mri=400,0", "--weights", tiny_weights(study), "--name", "A",
        ]  # fmt: skip
        result = fnet(*arguments)
        assert result.exit_code == 0, result.stderr
        image = sitk.ReadImage(str(out / "fused" / f"A{suffix}"))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), expected)
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(mri)))
        place = reader.Execute()
        np.testing.assert_allclose(image.GetOrigin(), place.GetOrigin(), atol=1e-6)
        np.testing.assert_allclose(image.GetSpacing(), place.GetSpacing(), atol=1e-6)
        np.testing.assert_allclose(image.GetDirection(), place.GetDirection(), atol=1e-6)
        assert (out / "unique_ct" / f"A{suffix}").is_file()
        assert "0 fused, 1 skipped" in fnet(*arguments).stderr

    def test_colours_as_results(self, study: Path) -> None:
        for target in ("nrrd", "mha"):
            result = fnet(
                "fuse", "--pet", study / "ct" / "A", "--mri", study / "mri" / "A", "--to", target,
                "--colormap", "hot", "-o", study / target, "--weights", tiny_weights(study),
                "--name", "A", "--maps", "none",
            )  # fmt: skip
            assert result.exit_code == 0, result.stderr
            image = sitk.ReadImage(str(study / target / "fused_color" / f"A.{target}"))
            assert image.GetNumberOfComponentsPerPixel() == 3

    def test_changed_data_beside_a_header_are_fused_anew(self, study: Path) -> None:
        file = self.as_kind(study / "ct" / "A", "mhd", study / "k" / "a.mhd")
        arguments = [
            "fuse", "--ct", file, "--mri", study / "mri" / "A", "-o", study / "out",
            "--window", "ct=400,0", "--weights", tiny_weights(study), "--maps", "none",
        ]  # fmt: skip
        assert "1 fused" in fnet(*arguments).stderr
        assert "0 fused, 1 skipped" in fnet(*arguments).stderr
        data = next(path for path in file.parent.iterdir() if path.suffix == ".raw")
        data.write_bytes(bytes(reversed(data.read_bytes())))
        assert "1 fused" in fnet(*arguments).stderr

    @pytest.mark.parametrize("kind", ["nrrd", "mha", "mgz", "zip"])
    def test_inspect(self, kind: str, study: Path) -> None:
        file = self.as_kind(study / "ct" / "A", kind, study / "k" / f"a.{kind}")
        result = fnet("inspect", file)
        assert result.exit_code == 0, result.stderr
        name = {"nrrd": "NRRD", "mha": "MetaImage", "mgz": "FreeSurfer", "zip": "DICOM"}[kind]
        assert name in result.stdout
        assert "4 x 4 x 5" in result.stdout.replace(".0", "")

    def test_no_dicom_of_other_kinds(self, study: Path) -> None:
        file = self.as_kind(study / "mri" / "A", "nrrd", study / "k" / "a.nrrd")
        result = fnet(
            "fuse", "--ct", study / "ct" / "A", "--mri", file, "--to", "dicom", "-o", study / "o"
        )
        assert result.exit_code == 2
        assert "--to dicom: the reference (mri) is not DICOM" in errors(result.stderr)[0]

    def test_zipped_dicom_becomes_dicom(self, study: Path) -> None:
        file = self.as_kind(study / "mri" / "A", "zip", study / "k" / "a.zip")
        result = fnet(
            "fuse", "--ct", study / "ct" / "A", "--mri", file, "--to", "dicom", "-o", study / "o",
            "--window", "ct=400,0", "--weights", tiny_weights(study), "--maps", "none",
        )  # fmt: skip
        assert result.exit_code == 0, result.stderr


class TestNuclear:
    def study(self, root: Path, *gone: str, **changed: Any) -> tuple[Path, Path]:
        header = nuclear(stack(3, (6, 20, 22)), CT_PLACE)
        for keyword in gone:
            if keyword in header:
                delattr(header, keyword)
        for keyword, value in changed.items():
            setattr(header, keyword, value)
        root.mkdir()
        write_series(root / "mri", stack(9, (8, 24, 26)), MRI_PLACE, Modality="MR")
        return save_one(header, root / "spect.dcm"), root / "mri"

    def run(self, root: Path, spect: Path, mri: Path) -> Any:
        return fnet(
            "fuse", "--spect", spect, "--mri", mri, "-o", root / "out", "--weights",
            tiny_weights(root), "--maps", "none", "--window", "spect=400,0", "--window",
            "mri=400,0", "--name", "A",
        )  # fmt: skip

    @pytest.mark.parametrize(
        "gone", [("SliceVector",), ("SliceVector", "FrameIncrementPointer")], ids="-".join
    )
    def test_without_a_slice_vector(self, gone: tuple[str, ...], tmp_path: Path) -> None:
        whole = self.run(tmp_path / "a", *self.study(tmp_path / "a"))
        result = self.run(tmp_path / "b", *self.study(tmp_path / "b", *gone))
        assert whole.exit_code == result.exit_code == 0, result.stderr
        one, other = (
            sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / name / "out/fused/A.nii.gz")))
            for name in ("a", "b")
        )
        np.testing.assert_array_equal(one, other)
        assert "its SliceVector is missing: slices are taken in the order" in result.stderr
        assert "SliceVector" not in whole.stderr

    @pytest.mark.parametrize(
        ("gone", "changed"),
        [
            (("SliceVector",), {"ImageType": ["ORIGINAL", "PRIMARY", "TOMO", "EMISSION"]}),
            (("SliceVector",), {"ImageType": ["ORIGINAL", "PRIMARY", "DYNAMIC", "EMISSION"]}),
            (("SliceVector", "SpacingBetweenSlices", "SliceThickness"), {}),
        ],
    )
    def test_what_is_no_stack_of_slices(
        self, gone: tuple[str, ...], changed: dict[str, Any], tmp_path: Path
    ) -> None:
        result = self.run(tmp_path / "a", *self.study(tmp_path / "a", *gone, **changed))
        assert result.exit_code == 1
        assert "SliceVector" in errors(result.stderr)[0]
