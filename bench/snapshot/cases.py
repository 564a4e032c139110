"""The commands of a snapshot. A step is one command line; IN stands for the folder of inputs."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field

INPUTS = "../../../inputs"  # from where a case runs
EAGER = {"TORCHDYNAMO_DISABLE": "1"}  # compiling takes longer than these runs of training

PAIRS = "--vis IN/drawn/pairs/vis --ir IN/drawn/pairs/ir"
ONE = "--vis IN/drawn/pairs/vis/0.png --ir IN/drawn/pairs/ir/0.png"
EXAMPLE = "--vis IN/example/vis.png --ir IN/example/ir.png"
DEEP = "--vis IN/drawn/deep/vis --ir IN/drawn/deep/ir"
NIFTI = "--ct IN/drawn/nifti/ct.nii.gz --mri IN/drawn/nifti/mri.nii.gz"
DICOM = "--ct IN/drawn/dicom/ct --mri IN/drawn/dicom/mri"
NESTED = "--vis IN/drawn/nested --ir IN/drawn/nested --suffix vis=_RGB --suffix ir=_T --recursive"
FIVE = "--vis IN/visir5/vis --ir IN/visir5/ir"
STS_MRI = "--ct IN/sts/CT --mri IN/sts/MR_T1"
STS_PET = "--pet IN/sts/PET --mri IN/sts/MR_T1"


@dataclass(frozen=True)
class Case:
    """Commands that run one after the other in a folder of their own."""

    name: str
    steps: tuple[tuple[str, ...], ...]
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def inputs(self) -> set[str]:
        """Names of the inputs that its commands read."""
        return {
            found
            for words in self.steps
            for word in words
            for found in re.findall(rf"{re.escape(INPUTS)}/(\w+)", word)
        }


def _case(name: str, *steps: str, **environment: str) -> Case:
    words = (tuple(shlex.split(step.replace("IN/", f"{INPUTS}/"))) for step in steps)
    return Case(name, tuple(words), environment)


def _fuse(name: str, *options: str, out: str = "out") -> Case:
    """Return one `fnet fuse` into a folder, or into files."""
    return _case(f"fuse-{name}", " ".join(("fuse", *options, "-o", out)))


FUSE = (
    _fuse("example", EXAMPLE),
    _fuse("float-features", EXAMPLE, "--maps float --features"),
    _fuse("pairs", PAIRS),
    _fuse("report", PAIRS, "--report"),
    _fuse("gain", PAIRS, "--gain unique_ir=1.3"),
    _fuse("gains", PAIRS, "--gain unique_ir=0.5 --gain common=0.9 --maps none --report"),
    _fuse("gray-none", PAIRS, "--gray --maps none"),
    _fuse("list", "--pairs IN/list/list.csv --report"),
    _fuse("nested", NESTED),
    _fuse("workers", PAIRS, "--workers 1 --verbose --json summary.json"),
    _fuse("quiet-json", PAIRS, "--quiet --json -"),
    _fuse("tiles", EXAMPLE, "--tile 96 --features --maps float"),
    _case("fuse-threads", f"fuse {EXAMPLE} -o out --maps float", OMP_NUM_THREADS="3"),
    _fuse("memory", EXAMPLE, "--max-memory 64M"),
    _fuse("bf16", ONE, "--precision bf16"),
    _fuse("partly", "--vis IN/drawn/partly/vis --ir IN/drawn/partly/ir --report --json -"),
    _fuse("strict", "--vis IN/drawn/partly/vis --ir IN/drawn/partly/ir --strict"),
    _fuse("fail-fast", "--vis IN/drawn/partly/vis --ir IN/drawn/partly/ir --fail-fast --workers 1"),
    _fuse("file-png", ONE, out="fused.png"),
    _fuse("file-jpg", ONE, "--maps float", out="sub/fused.jpg"),
    _fuse("file-tif", ONE, "--depth float --features --maps none", out="fused.tif"),
    _fuse("webp", ONE, "--format webp"),
    _fuse("jpeg", ONE, "--format jpeg"),
    _fuse("tiff", ONE, "--format tiff"),
    _fuse("depth-16", ONE, "--depth 16"),
    _fuse("depth-float", ONE, "--depth float"),
    _fuse("16-bit", DEEP),
    _fuse("16-bit-folder", DEEP, "--stretch-scope folder --report"),
    _fuse("16-bit-range", DEEP, "--range ir=29315,31315 --bits vis=12 --invert ir --depth 8"),
    _fuse("16-bit-stretch", DEEP, "--stretch ir=1,99 --stretch vis=minmax"),
    _fuse("16-bit-minmax", DEEP, "--stretch minmax --stretch-scope folder"),
    _fuse("float-ir", "--vis IN/drawn/odd/colours.png --ir IN/drawn/deep/float.tif"),
    _fuse("nan-ir", "--vis IN/drawn/odd/colours.png --ir IN/drawn/deep/nan.tif --format tiff"),
    _fuse("signed-ir", "--vis IN/drawn/odd/colours.png --ir IN/drawn/deep/signed.tif"),
    _fuse("float-vis", "--vis IN/drawn/deep/rgbfloat.tif --ir IN/drawn/deep/float.tif"),
    _fuse("alpha", "--vis IN/drawn/odd/alpha.png --ir IN/drawn/pairs/ir/0.png"),
    _fuse("palette", "--vis IN/drawn/odd/palette.png --ir IN/drawn/odd/colours.png"),
    _fuse("turned", "--vis IN/drawn/odd/turned.jpg --ir IN/drawn/pairs/ir/0.png"),
    _fuse("page", "--vis IN/drawn/pairs/vis/0.png --ir IN/drawn/odd/pages.tif --page ir=2"),
    _fuse("resize-ir", "--vis IN/drawn/pairs/vis/0.png --ir IN/drawn/sizes/small.png --resize ir"),
    _fuse("resize-vis", "--vis IN/drawn/sizes/small.png --ir IN/drawn/pairs/ir/0.png --resize ir"),
    _fuse("pet-slices", "--pet IN/drawn/pairs/vis --mri IN/drawn/pairs/ir"),
    _fuse("geotiff", "--vis IN/maps/vis.tif --ir IN/maps/ir.tif"),
    _fuse("authors", EXAMPLE, "--weights IN/authors/authors.pth --maps float"),
    _case(
        "fuse-dry-run", f"fuse {PAIRS} -o out --dry-run", f"fuse {PAIRS} -o out --dry-run --json -"
    ),
    _case(
        "fuse-again",
        f"fuse {PAIRS} -o out",
        f"fuse {PAIRS} -o out",
        f"fuse {PAIRS} -o out --dry-run",
        f"fuse {PAIRS} -o out --existing error",
        f"fuse {PAIRS} -o out --existing overwrite --maps none",
        f"fuse {PAIRS} -o out --gain common=0.9",
    ),
    _case("fuse-native-off", f"fuse {ONE} -o out", FNET_NATIVE="0"),
)

VOLUMES = (
    _fuse("nifti", NIFTI),
    _fuse("nifti-pet", "--pet IN/drawn/nifti/pet.nii.gz --mri IN/drawn/nifti/mri.nii.gz"),
    _fuse("nifti-pet-ct", "--pet IN/drawn/nifti/pet.nii.gz --ct IN/drawn/nifti/ct.nii.gz"),
    _fuse("nifti-reference", NIFTI, "--reference ct --axis coronal --interpolation cubic"),
    _fuse("nifti-window", NIFTI, "--window ct=bone --window mri=500,250 --name patient"),
    _fuse("nifti-transform", NIFTI, "--transform IN/drawn/move.tfm --to tiff"),
    _fuse(
        "nifti-four",
        "--ct IN/drawn/nifti/ct.nii.gz --mri IN/drawn/nifti/four.nii.gz --volume mri=2",
        "--assume-aligned --gain common=0.8 --maps none",
    ),
    _fuse("dicom", DICOM, "--to dicom --reference finest"),
    _fuse("dicom-series", DICOM, "--series ct=2 --reference ct --to png"),
    _fuse("dicom-nifti", "--ct IN/drawn/dicom/ct --mri IN/drawn/nifti/mri.nii.gz --invert mri"),
    _fuse("cases", "--ct IN/drawn/dicom --mri IN/drawn/dicom --layout cases"),
    _fuse("sts-mri-nifti", STS_MRI, "--to nifti"),
    _fuse("sts-mri-dicom", STS_MRI, "--to dicom"),
    _fuse("sts-mri-png", STS_MRI, "--to png"),
    _fuse("sts-pet-nifti", STS_PET, "--to nifti --colormap hot"),
    _fuse("sts-pet-dicom", STS_PET, "--to dicom --colormap hot"),
    _fuse("sts-pet-png", STS_PET, "--to png --colormap hot"),
    _fuse("sts-register", STS_MRI, "--register rigid --maps none"),
)

DATA = (
    _fuse("visir", "--vis IN/visir/vis --ir IN/visir/ir"),
    _fuse("visnir", "--vis IN/visnir/vis --nir IN/visnir/nir"),
    _fuse("ct-mri", "--ct IN/ct_mri/ct --mri IN/ct_mri/mri"),
    _fuse("pet-mri", "--pet IN/pet_mri/pet --mri IN/pet_mri/mri"),
    _fuse("spect-mri", "--spect IN/spect_mri/spect --mri IN/spect_mri/mri"),
)

EVAL = (
    _case(
        "eval-files",
        f"fuse {FIVE} -o out --maps none",
        f"fuse {FIVE} -o gray --maps none --gray --gain common=0.7",
        f"eval {FIVE} --fused out/fused --json -",
        f"eval {FIVE} --fused ours=out/fused --fused gray=gray/fused --json eval.json"
        " --csv eval.csv --markdown eval.md --latex eval.tex --html eval.html --report-cases 2",
        f"eval {FIVE} --fused out/fused --metrics all --convention standard --json all.json",
    ),
    _case(
        "eval-weights", f"eval {FIVE} --weights default --baselines --metrics all --json all.json"
    ),
    _case(
        "eval-authors",
        f"eval {FIVE} --weights default --weights old=IN/authors/authors.pth --json -",
    ),
    _case(
        "eval-drawn",
        f"eval {PAIRS} --weights default --baselines --json eval.json --csv eval.csv"
        " --markdown eval.md --latex eval.tex --html eval.html --metrics all",
        f"eval {PAIRS} --weights default --baselines --metrics all",
        f"eval {PAIRS} --baselines --csv - --no-cache --convention standard",
        f"eval {PAIRS} --baselines --markdown - --metrics EN,SD,SSIM --workers 1",
        f"eval {PAIRS} --baselines --latex -",
        f"eval {PAIRS} --fused IN/drawn/partly/vis --baselines --json - --all-cases",
    ),
    _case(
        "eval-list",
        "fuse --pairs IN/list/list.csv -o out",
        "eval --pairs IN/list/list.csv --fused out/fused --json -",
    ),
    _case(
        "eval-deep", f"eval {DEEP} --weights default --baselines --stretch-scope folder --json -"
    ),
    _case("eval-cost", "eval --weights default --baselines --cost 32x48 --json -"),
)

INSPECT = (
    _case("inspect-pair", f"inspect {EXAMPLE} -o out --json numbers.json"),
    _case("inspect-iterations", f"inspect {ONE} -o out --iterations --json -"),
    _case("inspect-text", f"inspect {ONE} -o out --no-codes"),
    _case("inspect-default", "inspect --json -", "inspect"),
    _case("inspect-weights", "inspect IN/authors/authors.pth -o out --json -"),
    _case(
        "inspect-pair-authors", f"inspect {ONE} --weights IN/authors/authors.pth -o out --json -"
    ),
    _case(
        "inspect-image",
        *(
            f"inspect IN/drawn/{name} --json -"
            for name in ("pairs/vis/0.png", "deep/ir/0.tif", "deep/nan.tif", "odd/palette.png")
        ),
        "inspect IN/drawn/deep/vis/1.tif",
        "inspect IN/drawn/odd/pages.tif --page 2 --json -",
    ),
    _case("inspect-geotiff", "inspect IN/maps/ir.tif --json -"),
    _case("inspect-dicom", "inspect IN/drawn/dicom/ct --json -", "inspect IN/drawn/dicom/mri"),
    _case("inspect-nifti", "inspect IN/drawn/nifti/mri.nii.gz --json -"),
    _case("inspect-volumes", f"inspect {NIFTI} --slice 5 -o out --json -"),
    _case("inspect-sts", "inspect IN/sts/CT --json -", "inspect IN/sts/PET --json -"),
    _case("inspect-sts-pair", f"inspect {STS_PET} -o out --json - --no-codes"),
)

TRAIN = (
    _case(
        "train",
        "train IN/drawn/recipes/tiny.toml -o run",
        "train IN/drawn/recipes/tiny.toml -o run",
        "train IN/drawn/recipes/longer.toml -o run --resume",
        **EAGER,
    ),
    _case(
        "train-folders",
        f"train IN/drawn/recipes/adam.toml {PAIRS} --validation IN/drawn/pairs",
        **EAGER,
    ),
)

_BAD_FUSE = {
    "missing-file": "--vis IN/drawn/none.png --ir IN/drawn/pairs/ir/0.png",
    "missing-weights": f"{ONE} --weights IN/drawn/none.safetensors",
    "wrong-sizes": "--vis IN/drawn/pairs/vis/0.png --ir IN/drawn/sizes/small.png",
    "wrong-ratio": "--vis IN/drawn/pairs/vis/0.png --ir IN/drawn/sizes/wide.png --resize vis",
    "unknown-pair": "--vis IN/drawn/pairs/vis/0.png --mri IN/drawn/pairs/ir/0.png",
    "one-image": "--vis IN/drawn/pairs/vis/0.png",
    "three-images": f"{ONE} --nir IN/drawn/pairs/ir/1.png",
    "folder-with-file": "--vis IN/drawn/pairs/vis --ir IN/drawn/pairs/ir/0.png",
    "no-pictures": "--vis IN/drawn/empty --ir IN/drawn/pairs/ir",
    "junk-picture": "--vis IN/drawn/partly/vis/1.png --ir IN/drawn/pairs/ir/1.png",
    "text-file": "--vis IN/drawn/notes.txt --ir IN/drawn/pairs/ir/1.png",
    "nan-weights": f"{ONE} --weights IN/drawn/weights/nan.safetensors",
    "short-weights": f"{ONE} --weights IN/drawn/weights/short.safetensors",
    "lacking-weights": f"{ONE} --weights IN/drawn/weights/lacking.safetensors",
    "junk-weights": f"{ONE} --weights IN/drawn/weights/junk.pth",
    "pickle-weights": f"{ONE} --weights IN/drawn/weights/pickle.pth",
    "device": f"{ONE} --device tpu",
    "tile": f"{ONE} --tile -3",
    "max-memory": f"{ONE} --max-memory much",
    "max-pixels": f"{ONE} --max-pixels 0.001",
    "range": f"{ONE} --range ir=9,3",
    "bits": f"{ONE} --bits vis=40",
    "stretch": f"{ONE} --stretch 90,10",
    "gain": f"{ONE} --gain unique_mri=2",
    "gain-value": f"{ONE} --gain common=nan",
    "resize-name": f"{ONE} --resize mri",
    "page": "--vis IN/drawn/pairs/vis/0.png --ir IN/drawn/odd/pages.tif --page ir=7",
    "format-depth": f"{ONE} --format jpeg --depth 16",
    "unknown-option": f"{ONE} --visible 3",
    "unknown-choice": f"{ONE} --maps all",
    "list-outside": "--pairs IN/drawn/lists/list.csv",
    "list-header": "--pairs IN/drawn/lists/wrong.csv",
    "list-gone": "--pairs IN/list/gone.csv",
    "list-twice": "--pairs IN/list/twice.csv",
    "list-and-image": "--pairs IN/list/list.csv --vis IN/drawn/pairs/vis",
    "volume-option": f"{ONE} --to dicom",
    "volume-report": f"{NIFTI} --report",
    "window": f"{NIFTI} --window ct=liver",
    "reference": f"{NIFTI} --reference pet",
    "colormap": f"{NIFTI} --colormap hot",
    "nifti-to-dicom": f"{NIFTI} --to dicom",
    "series": f"{DICOM} --series ct=99",
    "volume-number": f"{NIFTI} --volume mri=9",
    "transform": f"{NIFTI} --transform IN/drawn/notes.txt",
}
ERRORS = (
    *(_case(f"error-{name}", f"fuse {options} -o out") for name, options in _BAD_FUSE.items()),
    _case("error-out-suffix", f"fuse {ONE} -o fused.bmp"),
    _case("error-out-file", f"fuse {PAIRS} -o fused.png"),
    _case("error-command", "melt"),
    _case("error-eval-nothing", f"eval {PAIRS}"),
    _case("error-eval-metric", f"eval {PAIRS} --baselines --metrics MI,XYZ"),
    _case("error-eval-fused", f"eval {PAIRS} --fused IN/drawn/none"),
    _case("error-eval-two-stdout", f"eval {PAIRS} --baselines --json - --csv -"),
    _case("error-eval-nan", f"eval {PAIRS} --weights IN/drawn/weights/nan.safetensors --json -"),
    _case("error-inspect-missing", "inspect IN/drawn/none.png"),
    _case("error-inspect-text", "inspect IN/drawn/notes.txt"),
    _case("error-inspect-nan", "inspect IN/drawn/weights/nan.safetensors --json -"),
    _case("error-inspect-slice", f"inspect {NIFTI} --slice 99"),
    _case("error-train-key", "train IN/drawn/recipes/wrong.toml -o run"),
    _case("error-train-crop", "train IN/drawn/recipes/large.toml -o run"),
    _case("error-train-missing", "train IN/drawn/recipes/none.toml -o run"),
    _case("error-train-resume", "train IN/drawn/recipes/tiny.toml -o run --resume"),
)

HELP = (
    _case(
        "help",
        "--help",
        "--version",
        *(f"{command} --help" for command in ("fuse", "eval", "inspect", "train")),
    ),
)

# The long ones first: the short ones fill the gaps.
CASES = (*DATA, *VOLUMES, *EVAL, *INSPECT, *TRAIN, *FUSE, *ERRORS, *HELP)
