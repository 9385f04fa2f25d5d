"""The command line, with a stand-in for the codec."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

import hflow
from hflow.cli import main
from hflow.container import Container, MaskSchedule, Profile, Section, Settings, serialize
from hflow.errors import FormatError, TargetError


def a_file(width: int = 600, height: int = 400, mask: MaskSchedule = MaskSchedule.ONE_4) -> bytes:
    sections = [Section(1, b"x" * 500), Section(3, b"y" * 380)]
    if mask == MaskSchedule.CODED:
        sections.insert(1, Section(2, b"z" * 8))
    settings = Settings(rate=3, m=2, mask=mask, profile=Profile.HYBRID)
    return serialize(Container(width, height, 1, 0xA3, settings, 0x1234, False, tuple(sections)))


@pytest.fixture(autouse=True)
def codec(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """Replaces the codec; green pictures are beyond it. Returns what it is called with."""
    calls: list[dict] = []

    def encode(image, bpp=0.03, **options):
        calls.append({"size": image.size, "bpp": bpp, **options})
        if image.getpixel((0, 0)) == (0, 255, 0):
            raise TargetError("cannot be reached")
        return a_file(*image.size)

    def decode(data, **options):
        calls.append(options)
        if len(data) % 2:
            raise FormatError("damaged: indices do not match")
        return Image.new("RGB", (600, 400), "red")

    monkeypatch.setitem(vars(hflow), "encode", encode)
    monkeypatch.setitem(vars(hflow), "decode", decode)
    return calls


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def picture(name: str, colour: str = "red") -> None:
    Path(name).parent.mkdir(exist_ok=True)
    Image.new("RGB", (600, 400), colour).save(name)


def run(*args: str) -> Result:
    return CliRunner().invoke(main, args)


def python(code: str, **env: str) -> subprocess.CompletedProcess:
    root = str(Path(hflow.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": root, **env}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)


def test_encode_writes_beside_the_input_and_says_so(here: Path, codec: list[dict]) -> None:
    picture("in.png")
    result = run("encode", "in.png", "--bpp", "0.02", "--device", "cpu")
    assert result.exit_code == 0
    assert result.stdout == "in.png -> in.hfc  900 bytes  0.03000 bpp\n"
    assert Path("in.hfc").read_bytes() == a_file()
    options = {"bpp": 0.02, "roi": None, "masking": "auto", "metadata": (), "device": "cpu", "progress": None}
    options["progressive"] = False
    options |= {"effort": 0, "tune": "balanced", "time_limit": None}
    assert [{k: v for k, v in done.items() if k != "refining"} for done in codec] == [{"size": (600, 400), **options}]


def test_decode_writes_png_or_what_the_suffix_says(here: Path, codec: list[dict]) -> None:
    Path("in.hfc").write_bytes(a_file())
    assert run("decode", "in.hfc", "--fidelity", "0.5").stdout == "in.hfc -> in.png  600 x 400\n"
    assert run("decode", "in.hfc", "-o", "out.jpg").exit_code == 0
    assert [Image.open(name).format for name in ("in.png", "out.jpg")] == ["PNG", "JPEG"]
    assert [call["fidelity"] for call in codec] == [0.5, 1.0]


def test_output_may_be_a_folder(here: Path) -> None:
    for name in ("in/a.png", "in/b.jpg"):
        picture(name)
    Path("in/notes.txt").write_text("not an image")
    assert run("encode", "in", "-o", "out").exit_code == 0
    assert sorted(os.listdir("out")) == ["a.hfc", "b.hfc"]
    assert run("encode", "in/a.png", "-o", "new/").exit_code == 0
    assert run("decode", "out", "-o", "out").exit_code == 0
    assert sorted(os.listdir("out")) == ["a.hfc", "a.png", "b.hfc", "b.png"]


def test_existing_output_is_kept_without_force(here: Path, codec: list[dict]) -> None:
    picture("in.png")
    Path("in.hfc").write_text("old")
    result = run("encode", "in.png")
    assert result.exit_code == 7
    assert result.stderr.startswith("hflow: in.hfc: exists")
    assert result.stderr.count("\n") == 1
    assert codec == []  # found out before the work
    assert Path("in.hfc").read_text() == "old"
    assert run("encode", "in.png", "--force").exit_code == 0


def test_batch_does_the_rest_and_exits_with_the_first_failure(here: Path) -> None:
    picture("a.png")
    picture("green.png", "lime")
    Path("broken.png").write_text("no")
    picture("z.png")
    result = run("encode", "a.png", "green.png", "broken.png", "z.png")
    assert result.exit_code == TargetError.exit_code
    assert result.stderr.splitlines() == [
        "hflow: green.png: cannot be reached",
        "hflow: broken.png: not an image in a known format",
    ]
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["a.png", "z.png"]
    assert sorted(path.name for path in here.glob("*.hfc")) == ["a.hfc", "z.hfc"]


@pytest.mark.parametrize(
    "args", [("a.png", "a.jpg"), ("a.png", "a.png"), ("a.png", "in/a.png", "-o", "out"), ("a.png", "-o", "a.png")]
)
def test_colliding_outputs_are_refused_before_anything_is_done(
    here: Path, codec: list[dict], args: tuple[str, ...]
) -> None:
    for name in ("a.png", "a.jpg", "in/a.png"):
        picture(name)
    result = run("encode", *args, "--force")
    assert result.exit_code == 7
    assert "twice" in result.stderr or "is an input" in result.stderr
    assert codec == []


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["encode"], 2),
        (["encode", "in.png", "--bpp", "0"], 2),
        (["encode", "in.png", "--bpp", "nan"], 2),
        (["decode", "in.hfc", "--fidelity", "1.5"], 2),
        (["encode", "missing.png"], 3),
        (["encode", "empty"], 3),
        (["decode", "missing.hfc"], 3),
        (["inspect", "missing.hfc"], 3),
        (["decode", "in.png", "-o", "out.png"], 4),
        (["decode", "odd.hfc"], 4),
        (["inspect", "cut.hfc"], 4),
        (["decode", "in.hfc", "-o", "out.xyz"], 7),
        (["decode", "in.hfc", "-o", "missing/out.png"], 7),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_mistakes_have_a_line_and_a_code(here: Path, args: list[str], code: int) -> None:
    picture("in.png")
    Path("empty").mkdir()
    Path("in.hfc").write_bytes(a_file())
    Path("odd.hfc").write_bytes(a_file(mask=MaskSchedule.CODED))
    Path("cut.hfc").write_bytes(a_file()[:300])
    before = sorted(os.listdir())
    result = run(*args)
    assert result.exit_code == code
    assert code == 2 or (result.stderr.startswith("hflow: ") and result.stderr.count("\n") == 1)
    assert code == 2 or args[1] in result.stderr or args[-1] in result.stderr
    assert result.stdout == ""
    assert sorted(os.listdir()) == before


def test_debug_adds_the_traceback(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HFLOW_DEBUG", "1")
    assert "Traceback" in run("encode", "missing.png").stderr


def test_interruption_is_quiet(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> bytes:
        raise KeyboardInterrupt

    picture("in.png")
    monkeypatch.setitem(vars(hflow), "encode", interrupted)
    result = run("encode", "in.png")
    assert (result.exit_code, result.output) == (130, "")
    assert os.listdir() == ["in.png"]


def test_what_was_dropped_is_said_unless_quiet(here: Path) -> None:
    Image.new("RGBA", (600, 400)).save("in.png")
    assert run("encode", "in.png").stderr == "hflow: in.png: transparent pixels were put on white\n"
    assert run("encode", "in.png", "--force", "--quiet").output == ""


def test_inspect_json(here: Path) -> None:
    Path("in.hfc").write_bytes(a_file())
    about = json.loads(run("inspect", "in.hfc", "--json").stdout)
    sections = about.pop("sections")
    assert about == {
        "file": "in.hfc",
        "version": 1,
        "width": 600,
        "height": 400,
        "bytes": 900,
        "bpp": 0.03,
        "bundle": {"number": 1, "name": about["bundle"]["name"], "fingerprint": "a3"},
        "profile": "hybrid",
        "rate": 3,
        "m": 2,
        "mask": "1_4",
        "chunked": False,
        "index_checksum": "1234",
        "tokens": {"grid": [25, 38], "sent": 2 * 13 * 19, "all": 2 * 25 * 38},
        "overhead": 20,
    }
    assert [(s["name"], s["bytes"]) for s in sections] == [("continuous", 500), ("index", 380)]
    assert sum(s["bytes"] for s in sections) + about["overhead"] == about["bytes"]


def test_inspect_several_files_and_a_coded_mask(here: Path) -> None:
    Path("a.hfc").write_bytes(a_file())
    Path("b.hfc").write_bytes(a_file(mask=MaskSchedule.CODED))
    result = run("inspect", "a.hfc", "b.hfc", "missing.hfc", "--json")
    assert result.exit_code == 3
    assert [about["tokens"]["sent"] for about in json.loads(result.stdout)] == [494, None]


def test_inspect_names_an_installed_bundle(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("in.hfc").write_bytes(a_file())
    monkeypatch.setenv("HFLOW_MODELS", str(here))
    Path("test").mkdir()
    for sha256, name in (("a3" * 32, "test"), ("00" * 32, None)):
        Path("test/bundle.json").write_text(json.dumps({"name": "test", "number": 1, "sha256": sha256}))
        assert json.loads(run("inspect", "in.hfc", "--json").stdout)["bundle"]["name"] == name


def test_inspect_table_shows_where_the_bytes_go(here: Path) -> None:
    Path("in.hfc").write_bytes(a_file())
    text = run("inspect", "in.hfc").stdout
    for part in ("600 x 400", "1_4", "494 of 1,900", "500 bytes", "380 bytes", "20 bytes", "0.03000 bpp"):
        assert part in text


@pytest.mark.parametrize(
    "code",
    [
        "import hflow",
        "from hflow.cli import main; main(['--help'])",
        "from hflow.cli import main; main(['inspect', 'in.hfc'])",
        "from hflow.cli import main; main(['inspect', 'in.hfc', '--json'])",
    ],
)
def test_light_things_stay_light(here: Path, code: str) -> None:
    Path("in.hfc").write_bytes(a_file())
    done = python(
        f"import atexit, sys\natexit.register(lambda: print({{'torch', 'numpy', 'PIL'}} & set(sys.modules)))\n{code}"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "set()"


def test_unknown_attributes_are_attribute_errors() -> None:
    assert hflow.__version__
    with pytest.raises(AttributeError, match="transcode"):
        hflow.transcode  # noqa: B018
