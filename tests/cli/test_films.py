"""Films through the command line: read by PyAV, fused, written in pieces and joined."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import imageio.v3 as iio
import numpy as np
import pytest
import tifffile

from fnetcli.films import run
from fnetcli.films.sequences import film_sequence
from fnetcli.formats import ReadOptions
from fnetcli.formats.film import codecs
from tests import flir_files, small_cddfuse, tiny_models
from tests.cli.command import error_line, fnet, tiny_weights
from tests.drawn_films import (
    COUNTS,
    GREY,
    H264,
    HEIGHT,
    MPEG4,
    RGB,
    WIDTH,
    Coded,
    even,
    flat,
    read_back,
    sound_of,
    thermal,
    visible,
    write_film,
)
from tests.tiny_models import BARE

DARK, BRIGHT = 30, 220  # levels of flat frames


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return tiny_weights(tmp_path)


@pytest.fixture
def mean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of a network whose result is nearly the mean of both images."""
    tiny_models.register(monkeypatch)
    return tiny_models.save(tmp_path, BARE)


@pytest.fixture
def vis(tmp_path: Path) -> Path:
    return write_film(tmp_path / "vis.mp4", [visible(i) for i in range(12)], sound="aac")


@pytest.fixture
def ir(tmp_path: Path) -> Path:
    return write_film(tmp_path / "ir.mkv", [thermal(i) for i in range(12)], coded=COUNTS)


def fuse(*arguments: object) -> str:
    """Run `fnet fuse`; return what it printed to stderr."""
    result = fnet("fuse", *arguments)
    assert result.exit_code == 0, result.output
    return result.stderr


def refused(*arguments: object) -> str:
    """Run `fnet fuse`, which must fail with one line; return it."""
    result = fnet("fuse", *arguments)
    assert result.exit_code in {1, 2}, result.output
    line = error_line(result.stderr)
    assert "; " in line or "--" in line
    return line


def bright_frames(path: Path) -> list[int]:
    """Return 1 for every frame in which the infrared frame was bright, else 0."""
    levels = [float(frame.mean()) for frame in read_back(path)[1]]
    middle = (DARK + BRIGHT) / 2
    return [int(level > middle) for level in levels]


class TestFilms:
    @pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".mov"])
    def test_two_films_become_one(
        self, tmp_path: Path, weights: Path, vis: Path, ir: Path, suffix: str
    ) -> None:
        out = tmp_path / f"fused{suffix}"
        said = fuse("--vis", vis, "--ir", ir, "-o", out, "--weights", weights)
        times, frames = read_back(out)
        np.testing.assert_allclose(times, [float(time) for time in even(12)], atol=1e-3)
        assert frames[0].shape == (HEIGHT, WIDTH, 3)
        assert sound_of(out) is not None
        assert "12 frames of 32x24 fused" in said
        assert not list(tmp_path.glob("*.parts"))

    def test_sound_is_copied_or_coded_anew(self, tmp_path: Path, weights: Path, ir: Path) -> None:
        frames = [visible(i) for i in range(12)]
        plain = write_film(
            tmp_path / "camera.avi", frames, unit=Fraction(1, 25), coded=MPEG4, sound="pcm_s16le"
        )
        for suffix, codec in ((".avi", "pcm_s16le"), (".mkv", "pcm_s16le"), (".mp4", "aac"),
                              (".webm", "opus")):  # fmt: skip
            out = tmp_path / f"fused{suffix}"
            fuse("--vis", plain, "--ir", ir, "-o", out, "--weights", weights)
            found = sound_of(out)
            assert found is not None
            assert found[0] == codec
            assert found[1] == pytest.approx(0, abs=0.07)
            assert found[2] == pytest.approx(0.48, abs=0.15)

    def test_variable_rate_is_kept(self, tmp_path: Path, weights: Path, ir: Path) -> None:
        times = [Fraction(ms, 1000) for ms in (0, 40, 90, 100, 210, 300)]
        vis = write_film(tmp_path / "vis.mkv", [visible(i) for i in range(6)], times)
        for suffix in (".mp4", ".mkv"):
            out = tmp_path / f"fused{suffix}"
            fuse("--vis", vis, "--ir", ir, "-o", out, "--weights", weights)
            np.testing.assert_allclose(read_back(out)[0], [float(time) for time in times])

    def test_even_rate_on_request_and_in_avi(self, tmp_path: Path, weights: Path, ir: Path) -> None:
        times = [Fraction(ms, 1000) for ms in (0, 40, 90, 100, 210, 300)]
        vis = write_film(tmp_path / "vis.mkv", [visible(i) for i in range(6)], times)
        fuse("--vis", vis, "--ir", ir, "-o", tmp_path / "a.mp4", "--out-rate", "10", "--weights",
             weights)  # fmt: skip
        np.testing.assert_allclose(read_back(tmp_path / "a.mp4")[0], [0, 0.1, 0.2, 0.3])
        fuse("--vis", vis, "--ir", ir, "-o", tmp_path / "a.avi", "--weights", weights)
        steps = np.diff(read_back(tmp_path / "a.avi")[0])
        np.testing.assert_allclose(steps, steps[0])

    def test_colours_are_those_of_the_visible_film(self, tmp_path: Path, mean: Path) -> None:
        red = np.full((HEIGHT, WIDTH, 3), (200, 60, 60), np.uint8)
        for name, coded in (("a.mp4", H264), ("a.mkv", RGB)):
            vis = write_film(tmp_path / name, [red] * 4, coded=coded)
            grey = write_film(tmp_path / "grey.mkv", flat([102] * 4), coded=GREY)  # as bright
            out = tmp_path / f"fused{Path(name).suffix}"
            fuse("--vis", vis, "--ir", grey, "-o", out, "--weights", mean)
            colour = read_back(out)[1][2].reshape(-1, 3).mean(axis=0)
            chroma = colour - colour @ (0.299, 0.587, 0.114)
            np.testing.assert_allclose(chroma, [98, -42, -42], atol=4)

    def test_odd_sizes(self, tmp_path: Path, weights: Path) -> None:
        vis = write_film(tmp_path / "v.mkv", [visible()[:23, :31]] * 3, coded=RGB)
        ir = write_film(tmp_path / "i.mkv", [thermal()[:23, :31]] * 3, coded=COUNTS)
        fuse("--vis", vis, "--ir", ir, "-o", tmp_path / "f.mp4", "--weights", weights)
        assert read_back(tmp_path / "f.mp4")[1][0].shape == (22, 30, 3)
        fuse("--vis", vis, "--ir", ir, "-o", tmp_path / "f.mkv", "--weights", weights, "--codec",
             "ffv1")  # fmt: skip
        assert read_back(tmp_path / "f.mkv")[1][0].shape == (23, 31, 3)

    @pytest.mark.parametrize("codec", ["h265", "av1", "vp9", "mpeg4", "mjpeg", "ffv1"])
    def test_codecs(self, tmp_path: Path, weights: Path, codec: str) -> None:
        frames = [np.tile(visible(i), (3, 2, 1)) for i in range(3)]
        vis = write_film(tmp_path / "v.mkv", frames)
        ir = write_film(tmp_path / "i.mkv", [np.tile(thermal(), (3, 2))] * 3, coded=COUNTS)
        out = tmp_path / "f.mkv"
        fuse("--vis", vis, "--ir", ir, "-o", out, "--weights", weights, "--codec", codec,
             *([] if codec == "ffv1" else ["--quality", "low"]))  # fmt: skip
        assert len(read_back(out)[1]) == 3
        shown = fnet("inspect", out)
        assert f", 3 frames, {'hevc' if codec == 'h265' else codec} " in shown.stdout
        fuse("--vis", out, "--ir", ir, "-o", tmp_path / "again.mkv", "--weights", weights)
        assert len(read_back(tmp_path / "again.mkv")[1]) == 3

    @pytest.mark.parametrize(
        "coded", [("prores_ks", "yuv422p10le"), ("mpeg2video", "yuv420p"), ("libvpx", "yuv420p")]
    )
    def test_codecs_that_are_only_read(self, tmp_path: Path, weights: Path, coded: Coded) -> None:
        vis = write_film(tmp_path / "v.mkv", [np.tile(visible(i), (3, 2, 1)) for i in range(3)],
                         coded=coded, unit=Fraction(1, 25))  # fmt: skip
        ir = write_film(tmp_path / "i.mkv", [np.tile(thermal(), (3, 2))] * 3, coded=COUNTS)
        out = tmp_path / "f.mkv"
        fuse("--vis", vis, "--ir", ir, "-o", out, "--weights", weights)
        assert len(read_back(out)[1]) == 3

    def test_pieces_of_every_codec_are_joined(
        self, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(run, "PIECE_FRAMES", 2)
        frames = [np.tile(visible(5 * i), (3, 2, 1)) for i in range(5)]
        vis = write_film(tmp_path / "v.mkv", frames)
        ir = write_film(tmp_path / "i.mkv", [np.tile(thermal(), (3, 2))] * 5, coded=COUNTS)
        for name, one in codecs.CONTAINERS.items():
            for codec in one.codecs:
                out = tmp_path / f"{codec}{name}"
                fuse("--vis", vis, "--ir", ir, "-o", out, "--weights", weights, "--codec", codec)
                times, shown = read_back(out)
                np.testing.assert_allclose(times, [i / 25 for i in range(5)], atol=1e-3)
                for i in range(4):  # what moves has moved
                    assert np.abs(shown[i].astype(int) - shown[i + 1]).max() > 20

    @pytest.mark.parametrize("make", ["cddfuse", "bare"])
    def test_other_networks(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vis: Path, ir: Path, make: str
    ) -> None:
        if make == "bare":
            tiny_models.register(monkeypatch)
            path = tiny_models.save(tmp_path, BARE)
        else:
            path = small_cddfuse.save(tmp_path)
        fuse("--vis", vis, "--ir", ir, "-o", tmp_path / "f.mp4", "--weights", path, "--every", 6)
        assert len(read_back(tmp_path / "f.mp4")[1]) == 2


class TestTime:
    def test_nearest_frame_of_a_slower_film(self, tmp_path: Path, mean: Path) -> None:
        vis = write_film(tmp_path / "v.mkv", flat([DARK] * 10), coded=GREY)
        levels = [0, 255, 0, 255]  # at 0, 0.1, 0.2, 0.3 s
        ir = write_film(tmp_path / "i.mkv", flat(levels), even(4, 10), coded=GREY)
        out = tmp_path / "f.mkv"
        fuse("--vis", vis, "--ir", ir, "-o", out, "--codec", "ffv1", "--weights", mean)
        grey = [int(frame.mean() > 60) for frame in read_back(out)[1]]
        # 0, 40 | 80, 120 | 160, 200, 240 | 280, 320, 360 ms
        assert grey == [0, 0, 1, 1, 0, 0, 0, 1, 1, 1]

    def test_offset(self, tmp_path: Path, mean: Path) -> None:
        vis = write_film(tmp_path / "v.mkv", flat([0] * 10), coded=GREY)
        levels = [255 * (i == 3) for i in range(10)]
        ir = write_film(tmp_path / "i.mkv", flat(levels), coded=GREY)
        for offset, place, count in ((0, 3, 10), (80, 3, 8), (-80, 1, 8)):
            out = tmp_path / f"f{offset}.mkv"
            fuse("--vis", vis, "--ir", ir, "-o", out, "--codec", "ffv1", "--weights", mean,
                 f"--offset-ms={offset}")  # fmt: skip
            grey = [frame.mean() for frame in read_back(out)[1]]
            assert len(grey) == count
            assert int(np.argmax(grey)) == place  # 80: the film begins 2 frames later

    def test_part_of_a_film(self, tmp_path: Path, weights: Path, vis: Path, ir: Path) -> None:
        out = tmp_path / "f.mkv"
        fuse("--vis", vis, "--ir", ir, "-o", out, "--weights", weights, "--start", "80ms",
             "--end", "0:00.4", "--every", 2)  # fmt: skip
        np.testing.assert_allclose(read_back(out)[0], [0, 0.08, 0.16, 0.24])
        whole, part = sound_of(vis), sound_of(out)
        assert whole is not None
        assert part is not None
        assert part[0] == whole[0]
        assert part[2] < whole[2] - 0.1

    def test_other_lengths(self, tmp_path: Path, weights: Path, vis: Path) -> None:
        ir = write_film(tmp_path / "i.mkv", [thermal()] * 5, coded=COUNTS)
        out = tmp_path / "f.mp4"
        said = fuse("--vis", vis, "--ir", ir, "-o", out, "--weights", weights)
        assert "warning: ir lasts 0.20 s, vis 0.48 s: only the time that both show" in said
        assert len(read_back(out)[1]) == 5
        result = fnet("fuse", "--vis", vis, "--ir", ir, "-o", out, "--weights", weights, "--strict")
        assert result.exit_code == 1

    def test_gap_is_told(self, tmp_path: Path, weights: Path, vis: Path) -> None:
        times = [Fraction(i, 25) for i in (0, 1, 2, 9, 10, 11)]
        ir = write_film(tmp_path / "i.mkv", [thermal()] * 6, times, coded=COUNTS)
        said = fuse("--vis", vis, "--ir", ir, "-o", tmp_path / "f.mp4", "--weights", weights)
        assert "has no frame near 0.20 s: one that is 120 ms away is used" in said

    def test_rate_instead_of_time_stamps(self, tmp_path: Path, weights: Path, vis: Path) -> None:
        ir = write_film(tmp_path / "i.mkv", [thermal()] * 6, even(6, 100), coded=COUNTS)
        out = tmp_path / "f.mp4"
        fuse("--vis", vis, "--ir", ir, "-o", out, "--weights", weights, "--frame-rate",
             "ir=25/2")  # fmt: skip
        assert len(read_back(out)[1]) == 12


def flir_frame(index: int, **records: bytes) -> bytes:
    """Return a frame of a SEQ that takes five a second."""
    camera = flir_files.camera(taken=1_500_000_000_000 + 200 * index)
    return flir_files.block(flir_files.records(camera=camera, **records))


class TestSequences:
    def test_folders_of_frames(self, tmp_path: Path, mean: Path) -> None:
        for i in (1, 2, 10):  # in the order of numbers, not of letters
            for side, level in (("v", 0), ("i", 255 * (i == 10))):
                (tmp_path / side).mkdir(exist_ok=True)
                iio.imwrite(tmp_path / side / f"frame{i}.png", flat([level])[0])
        out = tmp_path / "f.mkv"
        said = fuse("--vis", tmp_path / "v", "--ir", tmp_path / "i", "-o", out, "--codec", "ffv1",
                    "--weights", mean)  # fmt: skip
        assert "have no times, so they are taken to be 25 frames per second (--frame-rate)" in said
        times, frames = read_back(out)
        np.testing.assert_allclose(times, [0, 0.04, 0.08])
        assert [int(frame.mean() > 60) for frame in frames] == [0, 0, 1]

    def test_times_in_names(self, tmp_path: Path, weights: Path) -> None:
        for name in ("20240131_120000.000", "20240131_120000.250", "20240131_120001.000"):
            for side in ("v", "i"):
                (tmp_path / side).mkdir(exist_ok=True)
                iio.imwrite(tmp_path / side / f"{name}.png", flat([99])[0])
        out = tmp_path / "f.mp4"
        fuse("--vis", tmp_path / "v", "--ir", tmp_path / "i", "-o", out, "--weights", weights)
        np.testing.assert_allclose(read_back(out)[0], [0, 0.25, 1], atol=1e-4)

    def test_folders_are_pairs_without_a_film(self, tmp_path: Path, weights: Path) -> None:
        for side in ("v", "i"):
            (tmp_path / side).mkdir()
            iio.imwrite(tmp_path / side / "1.png", flat([99])[0])
        two = ("--vis", tmp_path / "v", "--ir", tmp_path / "i", "--weights", weights)
        fuse(*two, "-o", tmp_path / "out")
        assert (tmp_path / "out" / "fused" / "1.png").is_file()
        fuse(*two, "-o", tmp_path / "out", "--sequence")
        assert (tmp_path / "out" / "fused" / "v.mp4").is_file()

    def test_pages_and_a_film(self, tmp_path: Path, mean: Path) -> None:
        levels = [7000, 7000, 9000, 7000]
        with tifffile.TiffWriter(tmp_path / "i.tif") as file:
            for frame in flat(levels, np.uint16):
                frame[0, 0] = 9000
                frame[0, 1] = 7000
                file.write(frame)
        vis = write_film(tmp_path / "v.mkv", flat([0] * 4), coded=GREY)
        out = tmp_path / "f.mkv"
        fuse("--vis", vis, "--ir", tmp_path / "i.tif", "-o", out, "--codec", "ffv1", "--weights",
             mean)  # fmt: skip
        assert [int(frame.mean() > 60) for frame in read_back(out)[1]] == [0, 0, 1, 0]

    def test_flir_sequence(self, tmp_path: Path, weights: Path) -> None:
        frames = [flir_files.block(flir_files.records()) for _ in range(3)]
        (tmp_path / "walk.seq").write_bytes(b"".join(frames))
        out = tmp_path / "f.mp4"
        fuse("--flir", tmp_path / "walk.seq", "-o", out, "--weights", weights, "--frame-rate", 9,
             "--range", "ir=15,40C")  # fmt: skip
        times, arrays = read_back(out)
        np.testing.assert_allclose(times, [0, 1 / 9, 2 / 9], atol=1e-4)
        assert arrays[0].shape == (64, 48, 3)

    def test_flir_sequence_by_its_clock(self, tmp_path: Path, weights: Path) -> None:
        milliseconds = [1_500_000_000_900, 1_500_000_001_020, 1_500_000_001_300]
        frames = [
            flir_files.block(flir_files.records(camera=flir_files.camera(taken=one, rate=30)))
            for one in milliseconds
        ]
        walk = tmp_path / "walk.seq"
        walk.write_bytes(b"".join(frames))
        out = tmp_path / "f.mp4"
        said = fuse("--flir", walk, "-o", out, "--weights", weights, "--range", "ir=15,40C")
        np.testing.assert_allclose(read_back(out)[0], [0, 0.12, 0.4], atol=1e-4)
        assert "are taken to be" not in said
        told = fnet("inspect", walk, "--json", tmp_path / "facts.json")
        low, high = flir_files.temperatures().min(), flir_files.temperatures().max()
        assert "3 frames, 24x32, 5 frames per second, 0.40 s" in told.stdout
        assert f"temperatures: {low:.1f} to {high:.1f} °C in 3 frames" in told.stdout
        assert json.loads((tmp_path / "facts.json").read_text())["seconds"] == 0.4
        assert "temperatures" in fnet("inspect", walk, "--page", 2).stdout

    @pytest.mark.parametrize(
        ("taken", "rate", "step"), [((5000, 5000, 6000), 30, 1 / 30), ((0, 0, 0), 0, 1 / 25)]
    )
    def test_flir_sequence_whose_clock_stands(
        self, tmp_path: Path, weights: Path, taken: tuple[int, ...], rate: int, step: float
    ) -> None:
        frames = [
            flir_files.block(flir_files.records(camera=flir_files.camera(taken=one, rate=rate)))
            for one in taken
        ]
        (tmp_path / "walk.seq").write_bytes(b"".join(frames))
        out = tmp_path / "f.mp4"
        said = fuse("--flir", tmp_path / "walk.seq", "-o", out, "--weights", weights)
        np.testing.assert_allclose(read_back(out)[0], [0, step, 2 * step], atol=1e-4)
        assert ("are taken to be 25 frames per second" in said) == (not rate)

    def test_flir_sequence_whose_frames_are_stored_in_different_ways(
        self, tmp_path: Path, weights: Path
    ) -> None:
        """Byte orders, codings and places of the records may change from frame to frame."""
        counts = flir_files.counts_of(flir_files.temperatures())
        stored = [
            flir_files.png_counts(counts),
            flir_files.png_counts(counts, ">", is_swapped=False),
            flir_files.plain_counts(counts),
            flir_files.plain_counts(counts, ">", ">"),
            flir_files.jpeg_ls_counts(counts),
        ]
        blocks = [
            flir_files.block(
                flir_files.records(counts=one, camera=flir_files.camera(order)),
                order=order,
                name=b"AFF\0" if i == 1 else b"FFF\0",
                version=100 + i,
            )
            for i, (one, order) in enumerate(zip(stored, "<><><", strict=True))
        ]
        blocks[3] = flir_files.block({0x2B: b"FFF\0" * 9, **flir_files.records(counts=stored[3])})
        walk, out = tmp_path / "walk.csq", tmp_path / "f.mkv"
        walk.write_bytes((b"\0" * 5).join(blocks))
        fuse("--flir", walk, "-o", out, "--weights", weights, "--range", "ir=15,40C", "--codec",
             "ffv1")  # fmt: skip
        frames = read_back(out)[1]
        assert len(frames) == 5
        assert all((frame == frames[0]).all() for frame in frames)

    @pytest.mark.parametrize("left", [-600, 0x50, 0x30])  # of the last frame: in counts, directory
    def test_flir_sequence_that_is_cut_off(self, tmp_path: Path, weights: Path, left: int) -> None:
        blocks = [
            flir_frame(
                i, counts=flir_files.plain_counts(flir_files.counts_of(flir_files.temperatures()))
            )
            for i in range(4)
        ]
        walk, out = tmp_path / "walk.seq", tmp_path / "f.mkv"
        walk.write_bytes(b"".join(blocks[:3]) + blocks[3][:left])
        said = fuse("--flir", walk, "-o", out, "--weights", weights, "--range", "ir=15,40C")
        np.testing.assert_allclose(read_back(out)[0], [0, 0.2, 0.4], atol=1e-3)
        assert "damaged in 1 place, the first after 0.60 s (frame 4: " in said
        told = fnet("inspect", walk)
        assert "4 frames, 24x32, 5 frames per second, 0.60 s" in told.stdout
        assert "°C in 3 frames" in told.stdout
        assert "frame 4: " in told.stderr
        result = fnet("fuse", "--flir", walk, "-o", tmp_path / "out", "--weights", weights)
        assert "3 fused, 0 skipped, 1 failed" in result.stderr

    def test_flir_sequence_with_a_damaged_directory(self, tmp_path: Path, weights: Path) -> None:
        """A frame whose directory seems to lie beyond the file does not end the recording."""
        blocks = [flir_frame(i) for i in range(4)]
        blocks[1] = blocks[1][:0x18] + b"\x7f\xff\xff\0" + blocks[1][0x1C:]
        walk, out = tmp_path / "walk.seq", tmp_path / "f.mkv"
        walk.write_bytes(b"".join(blocks))
        said = fuse("--flir", walk, "-o", out, "--weights", weights)
        np.testing.assert_allclose(read_back(out)[0], [0, 0.4, 0.6], atol=1e-3)
        assert "damaged in 1 place, the first after 0.20 s (frame 2: its thermal data" in said
        result = fnet("fuse", "--flir", walk, "-o", tmp_path / "out", "--weights", weights)
        assert "3 fused, 0 skipped, 1 failed" in result.stderr
        assert f"{walk}: its thermal data are damaged" in result.stderr

    @pytest.mark.parametrize("lost", [1, 2, 3])
    @pytest.mark.parametrize("given", [(), ("--every", 2), ("--stretch-scope", "moving")])
    def test_flir_sequence_with_damaged_counts(
        self, tmp_path: Path, weights: Path, lost: int, given: tuple[object, ...]
    ) -> None:
        counts = flir_files.jpeg_ls_counts(flir_files.counts_of(flir_files.temperatures()))
        damaged = counts[:0x50] + b"\xff" * (len(counts) - 0x50)
        blocks = [flir_frame(i, counts=damaged if i + 1 == lost else counts) for i in range(3)]
        walk, out = tmp_path / "walk.csq", tmp_path / "f.mkv"
        walk.write_bytes(b"".join(blocks))
        said = fuse("--flir", walk, "-o", out, "--weights", weights, *given)
        assert (
            f"damaged in 1 place, the first after {(lost - 1) / 5:.2f} s (frame {lost}: not a "
            "readable FFF): there" in said
        )
        assert len(read_back(out)[0]) in ({1, 2} if "--every" in given else {2, 3})
        told = fnet("inspect", walk)
        assert "3 frames, 24x32, 5 frames per second, 0.40 s" in told.stdout, told.output
        assert "°C in 2 frames" in told.stdout
        assert f"frame {lost}: not a readable FFF" in told.stderr

    def test_flir_sequence_whose_first_frame_is_damaged(
        self, tmp_path: Path, weights: Path
    ) -> None:
        blocks = [flir_frame(i) for i in range(4)]
        blocks[0] = blocks[0][:0x18] + b"\x7f\xff\xff\0" + blocks[0][0x1C:]
        walk, out = tmp_path / "walk.seq", tmp_path / "f.mkv"
        walk.write_bytes(b"".join(blocks))
        said = fuse("--flir", walk, "-o", out, "--weights", weights)
        assert len(read_back(out)[0]) == 3
        assert "damaged in 1 place, the first after 0.00 s (frame 1: its thermal data" in said
        assert "°C in 3 frames" in fnet("inspect", walk).stdout

    def test_flir_sequence_without_a_frame_that_can_be_read(
        self, tmp_path: Path, weights: Path
    ) -> None:
        counts = flir_files.jpeg_ls_counts(flir_files.counts_of(flir_files.temperatures()))
        damaged = counts[:0x50] + b"\xff" * (len(counts) - 0x50)
        walk = tmp_path / "walk.csq"
        walk.write_bytes(flir_files.block(flir_files.records(counts=damaged)) * 3)
        line = refused("--flir", walk, "-o", tmp_path / "f.mkv", "--weights", weights)
        assert f"{walk}: not a readable FFF; copy or export" in line
        assert f"{walk}: not a readable FFF" in error_line(fnet("inspect", walk).stderr)

    @pytest.mark.parametrize("lost", [0, 2])
    def test_pictures_that_cannot_be_read(
        self, tmp_path: Path, weights: Path, vis: Path, lost: int
    ) -> None:
        """As in a film, neighbours are shown; in a folder, and in a file of several pages."""
        (tmp_path / "ir").mkdir()
        for i in range(4):
            iio.imwrite(tmp_path / "ir" / f"{i}.png", thermal(i))
        whole = (tmp_path / "ir" / f"{lost}.png").read_bytes()
        (tmp_path / "ir" / f"{lost}.png").write_bytes(whole[: len(whole) // 2])
        given = ("--vis", vis, "-o", tmp_path / "f.mkv", "--weights", weights, "--frame-rate",
                 "ir=10")  # fmt: skip
        said = fuse(*given, "--ir", tmp_path / "ir")
        assert f"damaged in 1 place, the first after {lost / 10:.2f} s ({lost}.png: not" in said
        with tifffile.TiffWriter(tmp_path / "i.tif") as file:
            for i in range(4):
                file.write(thermal(i), compression="zlib", metadata=None)
        with tifffile.TiffFile(tmp_path / "i.tif") as opened:
            place = opened.pages[lost].dataoffsets[0]
        content = bytearray((tmp_path / "i.tif").read_bytes())
        content[place : place + 8] = b"\xff" * 8
        (tmp_path / "i.tif").write_bytes(content)
        said = fuse(*given, "--ir", tmp_path / "i.tif")
        assert f"the first after {lost / 10:.2f} s (frame {lost + 1}: " in said

    def test_flir_sequence_with_a_closed_shutter(self, tmp_path: Path, weights: Path) -> None:
        """The camera measures its own shutter now and then: one flat, warm frame."""
        open_, closed = (
            flir_files.block(flir_files.records(counts=flir_files.plain_counts(one)))
            for one in (
                flir_files.counts_of(flir_files.temperatures()),
                np.full(flir_files.THERMAL, 60000, np.uint16),
            )
        )
        shown = {}
        for name, frames in {"whole": [open_] * 25, "shutter": [*[open_] * 24, closed]}.items():
            walk = tmp_path / f"{name}.seq"
            walk.write_bytes(b"".join(frames))
            out = tmp_path / f"{name}.mkv"
            said = fuse("--flir", walk, "-o", out, "--weights", weights, "--codec", "ffv1")
            shown[name] = read_back(out)[1]
            assert ("leaves them out" in said) == (name == "shutter")
        assert (shown["whole"][3] == shown["shutter"][3]).all()

    def test_flir_sequence_that_changes(self, tmp_path: Path, weights: Path) -> None:
        records = flir_files.records()
        wider = flir_files.picture(np.tile(flir_files.seen(), (2, 2, 1)), "PNG")
        bare = {kind: one for kind, one in records.items() if kind != flir_files.CAMERA}
        for other, words in {
            "size": (records | {flir_files.PICTURE: wider}, "but a film has one size; end before"),
            "constants": (bare, "frame 3 are not temperatures, or those of the first are not"),
        }.values():
            frames = [flir_files.block(one) for one in (records, records, other)]
            walk = tmp_path / "walk.seq"
            walk.write_bytes(b"".join(frames))
            line = refused("--flir", walk, "-o", tmp_path / "f.mp4", "--weights", weights)
            assert words in line


class TestRanges:
    def test_deep_film_is_the_same_as_pictures(
        self, tmp_path: Path, weights: Path, ir: Path
    ) -> None:
        grey = [visible(i)[..., 0] for i in range(3)]
        vis = write_film(tmp_path / "v.mkv", grey, coded=GREY)
        span = ("--range", "ir=7000,8700", "--weights", weights, "--depth", 16)
        fuse("--vis", vis, "--ir", ir, "-o", tmp_path / "f.mkv", "--gray", *span)
        iio.imwrite(tmp_path / "v.png", grey[2])
        tifffile.imwrite(tmp_path / "i.tif", thermal(2))
        picture = tmp_path / "f.png"
        fuse("--vis", tmp_path / "v.png", "--ir", tmp_path / "i.tif", "-o", picture, *span)
        film = read_back(tmp_path / "f.mkv")[1][2]
        assert film.dtype == np.uint16
        np.testing.assert_array_equal(film, iio.imread(picture))

    @pytest.mark.parametrize("bits", [10, 12, 16])
    def test_bits_of_thermal_films(self, tmp_path: Path, bits: int) -> None:
        counts = [np.minimum(thermal(i) - 6900, 2**bits - 1).astype(np.uint16) for i in range(2)]
        path = tmp_path / "i.mkv"
        with av.open(str(path), "w") as film:
            stream = film.add_stream("ffv1", rate=25)
            assert isinstance(stream, av.VideoStream)
            stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, f"gray{bits}le"
            for i, one in enumerate(counts):
                frame = av.VideoFrame.from_ndarray(one, format=f"gray{bits}le")
                frame.pts = i
                film.mux(stream.encode(frame))
            film.mux(stream.encode(None))
        result = fnet("inspect", path)
        assert f"numbers: {min(map(np.min, counts))} to {max(map(np.max, counts))}" in result.stdout
        images = [one.read() for one in film_sequence(path, ReadOptions()).frames(Fraction(0), 1)]
        for image, one in zip(images, counts, strict=True):
            np.testing.assert_array_equal(image.pixels[0, ..., 0], one)
            assert image.bits == (None if bits == 16 else bits)

    @pytest.mark.parametrize("scope", [None, "moving", "image"])
    def test_what_does_not_move_does_not_flicker(self, tmp_path: Path, scope: str | None) -> None:
        """Something hot comes in: only ranges of single frames make the rest darker at once."""
        hot = [7100, 7100, 7100, 9500, 9500, 7100, 9500, 9500]
        ir = write_film(tmp_path / "i.mkv", [thermal(20, one) for one in hot], coded=COUNTS)
        vis = write_film(tmp_path / "v.mkv", [visible(20)[..., 1]] * len(hot), coded=GREY)
        out = tmp_path / "f.mkv"
        fuse("--vis", vis, "--ir", ir, "-o", out, "--codec", "ffv1", "--gray",
             *(["--stretch-scope", scope] if scope else []))  # fmt: skip
        static = [float(frame[:, :12].mean()) for frame in read_back(out)[1]]
        widest = max(abs(one - other) for one, other in pairwise(static))
        if scope == "image":
            assert widest > 1.5
        else:
            assert widest <= 1

    def test_range_is_told_and_leaves_out_a_shutter(
        self, tmp_path: Path, weights: Path, vis: Path
    ) -> None:
        frames = [thermal(i % 20) for i in range(40)]
        frames[7] = np.full((HEIGHT, WIDTH), 20_000, np.uint16)
        ir = write_film(tmp_path / "i.mkv", frames, coded=COUNTS)
        said = fuse("--vis", vis, "--ir", ir, "-o", tmp_path / "f.mp4", "--weights", weights)
        assert "the range of frames 8 has nothing in common" in said
        assert "to 8600 become black to white in the whole film" in said

    def test_pictures_have_no_moving_range(self, tmp_path: Path, weights: Path) -> None:
        for name in ("a", "b"):
            iio.imwrite(tmp_path / f"{name}.png", flat([9])[0])
        two = ("--vis", tmp_path / "a.png", "--ir", tmp_path / "b.png", "--weights", weights)
        line = refused(*two, "--stretch-scope", "moving")
        assert "--stretch-scope moving: applies only to films" in line


KILLED = """
import os, signal, sys
from fnetcli.films.pieces import Pieces
finish = Pieces.finish
def killed(self, progress):
    finish(self, progress)
    os.kill(os.getpid(), signal.SIGKILL)
Pieces.finish = killed
from fnetcli.cli.app import app
app()
"""


class TestKilledRuns:
    @pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal here")
    @pytest.mark.parametrize("scope", ["folder", "moving"])
    def test_the_same_command_goes_on(self, tmp_path: Path, weights: Path, scope: str) -> None:
        count = 60  # a piece has 50
        vis = write_film(tmp_path / "v.mp4", [visible(i % 28) for i in range(count)], sound="aac")
        hot = [thermal(i % 28, 8000 + 20 * i) for i in range(count)]
        ir = write_film(tmp_path / "i.mkv", hot, coded=COUNTS)
        out, whole = tmp_path / "f.mkv", tmp_path / "whole.mkv"
        command = ["fuse", "--vis", vis, "--ir", ir, "--weights", weights, "--codec", "ffv1",
                   "--stretch-scope", scope]  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", KILLED, *map(str, command), "-o", str(out)],
            env=os.environ,
            capture_output=True,
            check=False,
        )
        assert done.returncode == -signal.SIGKILL
        assert not out.exists()
        assert (tmp_path / "f.mkv.parts" / "00001.nut").is_file()
        said = fuse(*command[1:], "-o", out)
        assert "50 frames are done already; continuing from there" in said
        assert not (tmp_path / "f.mkv.parts").exists()
        fuse(*command[1:], "-o", whole)
        assert out.read_bytes() == whole.read_bytes()
        assert len(read_back(out)[1]) == count

    def test_pieces_of_another_film(
        self, tmp_path: Path, weights: Path, vis: Path, ir: Path
    ) -> None:
        folder = tmp_path / "f.mp4.parts"
        folder.mkdir()
        (folder / "film.json").write_text('{"inputs": {}}')
        (folder / "00001.nut").write_bytes(b"of another film")
        (folder / "00001.json").write_text("{}")
        said = fuse("--vis", vis, "--ir", ir, "-o", tmp_path / "f.mp4", "--weights", weights)
        assert "were made from other files or options; starting from the beginning" in said
        assert len(read_back(tmp_path / "f.mp4")[1]) == 12

    def test_folder_of_somebody_else(
        self, tmp_path: Path, weights: Path, vis: Path, ir: Path
    ) -> None:
        folder = tmp_path / "f.mp4.parts"
        folder.mkdir()
        (folder / "diary.txt").write_text("mine")
        line = refused("--vis", vis, "--ir", ir, "-o", tmp_path / "f.mp4", "--weights", weights)
        assert "holds diary.txt" in line
        assert (folder / "diary.txt").read_text() == "mine"

    def test_existing_films(self, tmp_path: Path, weights: Path, vis: Path, ir: Path) -> None:
        out = tmp_path / "f.mp4"
        command = ("--vis", vis, "--ir", ir, "-o", out, "--weights", weights)
        fuse(*command)
        assert "already made from these files with these options; skipped" in fuse(*command)
        assert "frames of 32x24 fused" in fuse(*command, "--existing", "overwrite")
        assert "frames of 32x24 fused" in fuse(*command, "--gray")
        assert "exists" in refused(*command, "--existing", "error")

    def test_dry_run_and_summary(self, tmp_path: Path, weights: Path, vis: Path, ir: Path) -> None:
        out = tmp_path / "f.mp4"
        command = ("--vis", vis, "--ir", ir, "-o", out, "--weights", weights)
        assert "would be fused into 12 frames; nothing was written" in fuse(*command, "--dry-run")
        assert not out.exists()
        result = fnet("fuse", *command, "--json", "-")
        assert result.exit_code == 0, result.output
        summary = json.loads(result.stdout)
        assert summary["frames"] == 12
        assert summary["seconds"] == pytest.approx(0.48)
        assert summary["options"]["codec"] == "h264"


class TestDamage:
    def test_film_that_ends_early(self, tmp_path: Path, weights: Path, vis: Path) -> None:
        noise = np.random.default_rng(0)
        frames = [noise.integers(7000, 8000, (HEIGHT, WIDTH)).astype(np.uint16) for _ in range(40)]
        whole = write_film(tmp_path / "whole.mkv", frames, coded=COUNTS).read_bytes()
        (tmp_path / "i.mkv").write_bytes(whole[: len(whole) // 5])
        said = fuse("--vis", vis, "--ir", tmp_path / "i.mkv", "-o", tmp_path / "f.mp4", "--weights",
                    weights)  # fmt: skip
        assert "but claims 1.60 s: it is damaged or not complete" in said

    def test_damage_in_the_middle(self, tmp_path: Path, weights: Path, vis: Path) -> None:
        path = write_film(tmp_path / "i.mkv", [thermal(i) for i in range(12)], coded=COUNTS)
        with av.open(str(path)) as film:
            packets = [(one.pos, one.size) for one in film.demux(video=0) if one.size]
        content = bytearray(path.read_bytes())
        place, size = packets[5]
        assert place is not None
        middle = place + size // 2
        content[middle : middle + 40] = b"\xff" * 40
        path.write_bytes(content)
        out = tmp_path / "f.mp4"
        said = fuse("--vis", vis, "--ir", path, "-o", out, "--weights", weights)
        assert "damaged in 1 place, the first after 0." in said
        assert len(read_back(out)[1]) == 12

    @pytest.mark.parametrize("kind", ["cut", "text", "playlist", "empty", "sound", "missing"])
    def test_what_is_no_film(
        self, tmp_path: Path, weights: Path, vis: Path, ir: Path, kind: str
    ) -> None:
        path = tmp_path / "bad.mp4"
        content = vis.read_bytes()
        if kind == "cut":
            path.write_bytes(content[: len(content) // 2])
        elif kind == "text":
            path.write_text("no film at all\n" * 100)
        elif kind == "playlist":  # names another file
            path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{vis.name}\n")
        elif kind == "empty":
            path.touch()
        elif kind == "sound":
            _write_sound(path)
        line = refused("--vis", path, "--ir", ir, "-o", tmp_path / "f.mp4", "--weights", weights)
        words = {
            "cut": "not a",
            "text": "not a readable film",
            "playlist": "not a readable film",
            "empty": "the file is empty",
            "sound": "holds no video, only audio",
            "missing": "no such file",
        }
        assert str(path) in line
        assert words[kind] in line

    def test_size_that_changes_or_is_too_large(
        self, tmp_path: Path, weights: Path, vis: Path, ir: Path
    ) -> None:
        line = refused("--vis", vis, "--ir", ir, "-o", tmp_path / "f.mp4", "--weights", weights,
                       "--max-pixels", "0.0001")  # fmt: skip
        assert "more than the limit" in line

    def test_turned_film(self, tmp_path: Path, mean: Path) -> None:
        vis = write_film(tmp_path / "v.mp4", [visible()] * 3)
        content = bytearray(vis.read_bytes())
        place = content.index(b"tkhd") + 4 + 4 + 4 * 5 + 8 + 8  # ISO/IEC 14496-12, 8.3.2
        one = (1 << 16).to_bytes(4, "big")
        minus, zero = (-(1 << 16)).to_bytes(4, "big", signed=True), bytes(4)
        quarter = [zero, one, zero, minus, zero, zero, zero, zero, (1 << 30).to_bytes(4, "big")]
        content[place : place + 36] = b"".join(quarter)  # clockwise
        vis.write_bytes(content)
        upright = np.rot90(thermal(), -1)
        ir = write_film(tmp_path / "i.mkv", [np.ascontiguousarray(upright)] * 3, coded=COUNTS)
        fuse("--vis", vis, "--ir", ir, "-o", tmp_path / "f.mp4", "--weights", mean)
        frame = read_back(tmp_path / "f.mp4")[1][0]
        assert frame.shape == (WIDTH, HEIGHT, 3)
        red = frame[..., 0].astype(int) - frame[..., 1]
        assert red[:4, 8:16].mean() > red[8:, :].mean() + 30  # top: the left side before


def _write_sound(path: Path) -> None:
    with av.open(str(path), "w") as film:
        track = film.add_stream("aac", rate=16_000)
        track.layout = "mono"
        silence = np.zeros((1, 1024), np.float32)
        tone = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
        tone.sample_rate, tone.pts = 16_000, 0
        film.mux(track.encode(tone))
        film.mux(track.encode(None))


class TestOptions:
    @pytest.mark.parametrize(
        ("given", "words"),
        [
            (
                ["--codec", "ffv1"],
                "--codec ffv1: .mp4 files are written with h264, h265, av1, mpeg4",
            ),
            (["--codec", "h265"], "h265 needs sides of at least 64 pixels"),
            (["--depth", "16"], "--depth 16: h264 in .mp4 holds 8 bits"),
            (["--depth", "float"], "--depth float: applies only to pictures"),
            (["--start", "soon"], "--start soon: give a time as 90s, 1:30"),
            (["--end", "-1"], "--end -1: give a time"),
            (["--start", "3", "--end", "2"], "--end 2: not after the start"),
            (["--start", "1:00:00"], "no two frames are at the same time"),
            (["--offset-ms", "nan"], "--offset-ms nan: give a number"),
            (["--offset-ms", "9000"], "no two frames are at the same time"),
            (["--every", "2", "--out-rate", "5"], "--every and --out-rate"),
            (["--every", "9" * 14], "--every 99999999999999: give a whole number from 1 to 10000"),
            (["--out-rate", "0"], "--out-rate 0: give frames per second"),
            (["--out-rate", "1/0"], "--out-rate 1/0: give frames per second"),
            (["--frame-rate", "pet=9"], "--frame-rate pet=9: give"),
            (["--frame-rate", "ir=fast"], "--frame-rate fast: give frames per second"),
            (["--page", "2"], "--page: applies only to pictures, but a film is made"),
            (["--maps", "preview"], "--maps: applies only to pictures"),
            (["--report"], "--report: applies only to pictures"),
            (["--band", "ir=1"], "--band: applies only to pictures, but"),
            (["--prefix", "ir=a"], "--prefix: applies only to two folders"),
            (["--window", "vis=soft"], "--window: applies only to volumes"),
        ],
    )
    def test_refused(
        self, tmp_path: Path, weights: Path, vis: Path, ir: Path, given: list[str], words: str
    ) -> None:
        out = tmp_path / "f.mp4"
        line = refused("--vis", vis, "--ir", ir, "-o", out, "--weights", weights, *given)
        assert words in line
        assert not out.exists()

    def test_lossless_has_no_quality(
        self, tmp_path: Path, weights: Path, vis: Path, ir: Path
    ) -> None:
        line = refused("--vis", vis, "--ir", ir, "-o", tmp_path / "f.mkv", "--weights", weights,
                       "--codec", "ffv1", "--quality", "low")  # fmt: skip
        assert "--quality low: ffv1 loses nothing; leave it out" in line

    @pytest.mark.parametrize(
        ("out", "words"),
        [
            ("f.flv", "films are written as .mp4"),
            ("f.png", "a film is made; give a name that ends in .mp4"),
            ("vis.mp4", "is an input"),
            ("vis.mp4/f.mp4", "vis.mp4 is a file, not a folder; choose another path"),
        ],
    )
    def test_refused_names(
        self, tmp_path: Path, weights: Path, vis: Path, ir: Path, out: str, words: str
    ) -> None:
        line = refused("--vis", vis, "--ir", ir, "-o", tmp_path / out, "--weights", weights)
        assert words in line

    def test_a_film_with_itself(self, tmp_path: Path, weights: Path, vis: Path) -> None:
        line = refused("--vis", vis, "--ir", vis, "-o", tmp_path / "f.mp4", "--weights", weights)
        assert "both sides are the same file, which would be fused with itself; give two" in line

    def test_one_picture_is_no_sequence(self, tmp_path: Path, weights: Path, vis: Path) -> None:
        iio.imwrite(tmp_path / "a.png", flat([9])[0])
        (tmp_path / "none").mkdir()
        for path, words in ((tmp_path / "a.png", "one picture"), (tmp_path / "none", "holds no")):
            line = refused("--vis", vis, "--ir", path, "-o", tmp_path / "f.mp4", "--weights",
                           weights)  # fmt: skip
            assert words in line

    def test_other_sizes(self, tmp_path: Path, weights: Path, vis: Path) -> None:
        small = [thermal()[::2, ::2]] * 12
        parts = tmp_path / "f.mp4.parts"
        ir = write_film(tmp_path / "i.mkv", small, coded=COUNTS)
        command = ("--vis", vis, "--ir", ir, "-o", tmp_path / "f.mp4", "--weights", weights)
        assert "at 0.000 s: sizes differ: ir is 16x12, vis is 32x24" in refused(*command)
        assert not parts.exists()
        fuse(*command, "--resize", "vis")

    def test_options_of_films_for_pictures(self, tmp_path: Path, weights: Path) -> None:
        for name in ("a", "b"):
            iio.imwrite(tmp_path / f"{name}.png", flat([9])[0])
        for option in (["--every", 2], ["--codec", "h264"], ["--start", "1"], ["--out-rate", 5]):
            line = refused("--vis", tmp_path / "a.png", "--ir", tmp_path / "b.png", "-o",
                           tmp_path / "out", "--weights", weights, *option)  # fmt: skip
            assert "applies only to films" in line

    def test_without_pyav(
        self, tmp_path: Path, weights: Path, vis: Path, ir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "av", None)
        line = refused("--vis", vis, "--ir", ir, "-o", tmp_path / "f.mp4", "--weights", weights)
        assert line.endswith("which is not installed; pip install 'fnetcli[video]'")

    def test_without_the_encoder(
        self, tmp_path: Path, weights: Path, vis: Path, ir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lacking = replace(codecs.CODECS["h264"], encoder="libnowhere")
        monkeypatch.setitem(codecs.CODECS, "h264", lacking)
        line = refused("--vis", vis, "--ir", ir, "-o", tmp_path / "f.mp4", "--weights", weights)
        assert "--codec h264: this PyAV has no encoder libnowhere; choose another" in line


class TestInspect:
    def test_a_film(self, tmp_path: Path, vis: Path, ir: Path) -> None:
        result = fnet("inspect", ir)
        assert result.exit_code == 0, result.output
        first, second = result.stdout.splitlines()
        assert "film, 0.48 s, 32x24, 25 frames per second, 12 frames, ffv1 gray16le" in first
        assert "numbers: 7000 to 8600 in 10 frames, grey, uint16" in second
        result = fnet("inspect", vis, "--json", tmp_path / "v.json")
        assert "sound aac" in result.stdout
        assert json.loads((tmp_path / "v.json").read_text())["frames"] == 12
        line = error_line(fnet("inspect", vis, "--page", 2).stderr)
        assert "--page: applies only to pictures, but a film is inspected" in line
