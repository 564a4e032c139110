"""What the texts of options mean, and what is said of those that mean nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given as law
from hypothesis import strategies as st

from fnetcli.cli.options.files import GivenPairing, GivenReading
from fnetcli.cli.options.images import GivenImages
from fnetcli.cli.options.scaling import GivenScaling
from fnetcli.cli.options.values import BOTH, per_modality
from fnetcli.errors import UsageError
from fnetcli.formats import ReadOptions
from fnetcli.imaging.intensity import DEFAULT_STRETCH, ScalingOptions

PAIR = ("ir", "vis")
PLAIN = ScalingOptions()
NO_RANGES = (
    *("1", "1,", ",1", ",", "1,2,3", "2,1", "1,1", "a,b", "1;2"),
    *("nan,1", "0,nan", "0,inf", "-inf,0", "0,1e400", "0,0x10"),
)
VALUES = st.text("ab 012,._-ä", min_size=1)


def refused(text: str) -> pytest.RaisesExc[UsageError]:
    """Expect an error that says exactly this."""
    return pytest.raises(UsageError, match=f"^{re.escape(text)}$")


def scale(
    bits: str | None = None,
    ranges: str | None = None,
    stretch: str | None = None,
    invert: str | None = None,
) -> tuple[ScalingOptions, ScalingOptions]:
    """Return the scaling of ir and vis; several values are separated by spaces."""

    def split(text: str | None) -> list[str] | None:
        return None if text is None else text.split(" ")

    return GivenScaling(split(bits), split(ranges), split(stretch), split(invert)).options(PAIR)


def test_modalities_that_are_given() -> None:
    images = {"vis": Path("v"), "ir": None, "mri": Path("m")}
    assert GivenImages.of(images).given == {"vis": Path("v"), "mri": Path("m")}
    assert GivenImages.of({}).given == {}


class TestPerModality:
    def test_nothing_is_nothing(self) -> None:
        for has_default in (False, True):
            assert per_modality("--x", None, PAIR, has_default=has_default) == {}
            assert per_modality("--x", [], PAIR, has_default=has_default) == {}

    @law(VALUES, VALUES)
    def test_values_by_modality(self, first: str, second: str) -> None:
        texts = [f"vis={second}", f"ir={first}"]
        for has_default in (False, True):
            found = per_modality("--x", texts, PAIR, has_default=has_default)
            assert found == {"ir": first, "vis": second}

    @law(VALUES)
    def test_a_value_alone_holds_for_both(self, value: str) -> None:
        found = per_modality("--x", [value, "ir=1"], PAIR, has_default=True)
        assert found == {BOTH: value, "ir": "1"}

    def test_a_value_may_hold_the_mark(self) -> None:
        assert per_modality("--suffix", ["ir=a=b"], PAIR) == {"ir": "a=b"}

    @pytest.mark.parametrize(
        "text", ["", "3", "ir", "=3", "ir=", "mri=3", "IR=3", " ir=3", "x=y=z"]
    )
    def test_what_it_does_not_take(self, text: str) -> None:
        with refused(f"--x {text}: give --x ir=VALUE or --x vis=VALUE"):
            per_modality("--x", ["vis=1", text], PAIR)

    @pytest.mark.parametrize("text", ["=3", "ir=", "mri=3", "IR=3"])
    def test_what_it_does_not_take_either(self, text: str) -> None:
        with refused(f"--x {text}: give --x ir=VALUE or --x vis=VALUE or --x VALUE"):
            per_modality("--x", [text], PAIR, has_default=True)

    @pytest.mark.parametrize("texts", [["ir=1", "ir=2"], ["ir=1", "vis=1", "ir=1"], ["1", "1"]])
    def test_twice_is_once_too_often(self, texts: list[str]) -> None:
        with refused(f"--x {texts[-1]}: given twice; leave one out"):
            per_modality("--x", texts, PAIR, has_default=True)


class TestScaling:
    def test_nothing_said_is_the_default(self) -> None:
        assert scale() == (PLAIN, PLAIN)
        assert PLAIN.stretch == DEFAULT_STRETCH == (0.1, 99.9)

    def test_bits(self) -> None:
        assert scale(bits="vis=12") == (PLAIN, ScalingOptions(bits=12))
        assert scale(bits="vis=12 ir=1") == (ScalingOptions(bits=1), ScalingOptions(bits=12))

    @law(st.integers(1, 32))
    def test_1_to_32_bits(self, bits: int) -> None:
        assert scale(bits=f"ir={bits}")[0].bits == bits

    @pytest.mark.parametrize(
        "text", ["0", "33", "-1", "12.0", "1e1", "twelve", "²", "+8", "9" * 5000]
    )
    def test_no_bits(self, text: str) -> None:
        with refused(f"--bits vis={text}: give a number from 1 to 32"):
            scale(bits=f"vis={text}")

    @law(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300))
    def test_ranges(self, one: float, other: float) -> None:
        low, high = sorted((one, other))
        if low == high:
            with pytest.raises(UsageError):
                scale(ranges=f"ir={low!r},{high!r}")
        else:
            assert scale(ranges=f"ir={low!r},{high!r}")[0] == ScalingOptions(limits=(low, high))

    @pytest.mark.parametrize("text", NO_RANGES)
    def test_no_ranges(self, text: str) -> None:
        with refused(f"--range ir={text}: give two numbers, the lower first, as LO,HI"):
            scale(ranges=f"ir={text}")

    @pytest.mark.parametrize(
        ("text", "stretch"),
        [
            ("1,99", (1, 99)),
            ("0,100", (0, 100)),
            ("minmax", (0, 100)),
            ("none", None),
            ("0.5,50", (0.5, 50)),
        ],
    )
    def test_stretches(self, text: str, stretch: tuple[float, float] | None) -> None:
        of_both = ScalingOptions(stretch=stretch)
        of_one = ScalingOptions(stretch=stretch, stretches_all=True)
        assert scale(stretch=text) == (of_both, of_both)
        assert scale(stretch=f"vis={text}") == (PLAIN, of_one)
        assert scale(stretch=f"5,95 ir={text}") == (of_one, ScalingOptions(stretch=(5, 95)))

    @pytest.mark.parametrize("text", ["-1,50", "50,100.1", "-5,101"])
    def test_stretches_beyond_all_pixels(self, text: str) -> None:
        for shown in (text, f"ir={text}"):
            with refused(f"--stretch {shown}: give percentiles from 0 to 100, minmax or none"):
                scale(stretch=shown)

    @pytest.mark.parametrize("text", ["99,1", "5,5", "1", "all", "1,99,1", "nan,99", "MINMAX"])
    def test_no_stretches(self, text: str) -> None:
        for shown in (text, f"ir={text}"):
            with refused(f"--stretch {shown}: give two numbers, the lower first, as LO,HI"):
                scale(stretch=shown)

    def test_an_empty_stretch_is_none_of_these(self) -> None:
        with pytest.raises(UsageError, match="--stretch : give two numbers"):
            GivenScaling(stretch=[""]).options(PAIR)

    def test_inversion(self) -> None:
        inverted = ScalingOptions(is_inverted=True)
        assert scale(invert="ir") == (inverted, PLAIN)
        assert scale(invert="ir vis ir") == (inverted, inverted)
        assert scale(ranges="ir=1,2", invert="ir")[0] == ScalingOptions((1, 2), is_inverted=True)
        with refused("--invert mri: not one of the two images; use ir or vis"):
            scale(invert="vis mri")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"bits": "ir=8", "ranges": "ir=1,2"}, "--bits and --range: both say how ir is"),
            ({"bits": "vis=8", "stretch": "vis=1,2"}, "--bits and --stretch: both say how vis is"),
            (
                {"ranges": "ir=1,2", "stretch": "ir=none"},
                "--range and --stretch: both say how ir is",
            ),
        ],
    )
    def test_two_rules_for_one_image(self, options: dict[str, str], message: str) -> None:
        with refused(f"{message} scaled; leave one out"):
            scale(**options)

    def test_rules_for_different_images_and_a_default_go_together(self) -> None:
        ir, vis = scale(bits="vis=12", ranges="ir=5,6", stretch="1,99")
        assert ir == ScalingOptions(limits=(5, 6), stretch=(1, 99))
        assert vis == ScalingOptions(bits=12, stretch=(1, 99))


class TestReading:
    def test_pages(self) -> None:
        def pages(*texts: str) -> list[int | None]:
            return [one.page for one in GivenReading(list(texts)).options(PAIR)]

        assert pages() == [None, None]
        assert pages("3") == [3, 3]
        assert pages("vis=2") == [None, 2]
        assert pages("vis=2", "7") == [7, 2]

    def test_no_page_option(self) -> None:
        limit = ReadOptions(None, 500_000_000)
        assert GivenReading().options(PAIR) == (limit, limit)

    @pytest.mark.parametrize("text", ["0", "-1", "first", "1.5", "", "²", "1000001", "9" * 5000])
    def test_no_pages(self, text: str) -> None:
        with refused(f"--page {text}: give a number from 1 to 1000000"):
            GivenReading([text]).options(PAIR)
        if text:
            with refused(f"--page {text}: give a number from 1 to 1000000"):
                GivenReading([f"ir={text}"]).options(PAIR)

    @pytest.mark.parametrize(
        ("megapixels", "pixels"), [(0.000001, 1), (0.3, 300_000), (500, 500_000_000)]
    )
    def test_megapixels(self, megapixels: float, pixels: int) -> None:
        assert [one.pixel_limit for one in GivenReading(max_pixels=megapixels).options(PAIR)] == [
            pixels
        ] * 2


class TestPairs:
    @staticmethod
    def folders(root: Path) -> dict[str, Path]:
        for name in ("vis/1_RGB.png", "vis/1.png", "vis/day/2.png", "ir/1_T.png", "ir/day/2.png"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch()
        return {"vis": root / "vis", "ir": root / "ir"}

    def test_folders_in_the_order_of_the_network(self, tmp_path: Path) -> None:
        images = self.folders(tmp_path)
        modalities, pairing = GivenPairing(None, True, None).find(images, GivenReading())
        assert modalities == ("ir", "vis")
        assert pairing.roots == (tmp_path / "ir", tmp_path / "vis")
        assert [case.name for case in pairing.cases] == ["day/2"]
        assert GivenPairing(None, False, None).find(images, GivenReading())[1].cases == []

    @pytest.mark.parametrize("suffixes", [["ir=_T"], ["ir=_T", "vis=_RGB"], ["vis=_RGB", "ir=_T"]])
    def test_suffixes_belong_to_their_modality(self, suffixes: list[str], tmp_path: Path) -> None:
        _, pairing = GivenPairing(None, False, suffixes).find(
            self.folders(tmp_path), GivenReading()
        )
        (case,) = pairing.cases
        assert case.name == "1"
        assert case.first == tmp_path / "ir" / "1_T.png"
        assert case.second.name == ("1.png" if len(suffixes) == 1 else "1_RGB.png")

    def test_a_suffix_for_nobody(self, tmp_path: Path) -> None:
        for text in ("_T", "mri=_T", "ir="):
            with refused(f"--suffix {text}: give --suffix ir=VALUE or --suffix vis=VALUE"):
                GivenPairing(None, False, [text]).find(self.folders(tmp_path), GivenReading())

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            ([], "no image given; "),
            (["vis"], "only --vis given; "),
            (["vis", "mri"], "--vis + --mri"),
        ],
    )
    def test_images_that_are_no_pair(self, names: list[str], message: str, tmp_path: Path) -> None:
        images = dict.fromkeys(names, tmp_path)
        with pytest.raises(UsageError, match="give exactly two that belong") as caught:
            GivenPairing(None, False, None).find(images, GivenReading())
        assert str(caught.value).startswith(message)

    def test_a_list(self, tmp_path: Path) -> None:
        path = tmp_path / "pairs.csv"
        path.write_text("ct,mri\na.png,b.png\n", encoding="utf-8")
        modalities, pairing = GivenPairing(path, False, None).find({}, GivenReading())
        assert modalities == ("mri", "ct")
        assert pairing.source == "list"
        assert pairing.cases[0].first == tmp_path / "b.png"

    def test_a_list_and_images(self, tmp_path: Path) -> None:
        images = {"vis": tmp_path, "ir": tmp_path}
        with refused("--ir and --pairs: the list names the files; leave one out"):
            GivenPairing(tmp_path / "pairs.csv", False, None).find(images, GivenReading())

    def test_a_list_and_suffixes(self, tmp_path: Path) -> None:
        with refused("--suffix and --pairs: the list names the files; leave one out"):
            GivenPairing(tmp_path / "pairs.csv", False, ["ir=_T"]).find({}, GivenReading())
