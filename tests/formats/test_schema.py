"""formats/hflow.ksy, compiled, takes files apart as the package does.

The compiler comes from npm: npm install --prefix build --no-save kaitai-struct-compiler@0.11.0 js-yaml
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hflow.container import Container, Section, parse, serialize
from hflow.container.model import EXPLICIT
from hflow.selftest import folder

ROOT = Path(__file__).parents[2]
COMPILE = """
const load = name => require(process.argv[2] + "/node_modules/" + name);
const schema = load("js-yaml").load(require("fs").readFileSync(process.argv[3], "utf8"));
load("kaitai-struct-compiler").compile("python", schema, null, false).then(
    files => console.log(Object.values(files)[0]),
    error => { console.error(String(error)); process.exit(1); });
"""


@pytest.fixture(scope="module")
def read() -> Callable[[bytes], Any]:
    """Bytes to the object that the compiled schema makes of them."""
    pytest.importorskip("kaitaistruct")
    if not shutil.which("node") or not (ROOT / "build/node_modules/kaitai-struct-compiler").is_dir():
        pytest.skip("needs node, and kaitai-struct-compiler and js-yaml in build/ (see the top of this file)")
    command = ["node", "-", str(ROOT / "build"), str(ROOT / "formats/hflow.ksy")]
    done = subprocess.run(command, input=COMPILE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    names: dict[str, Any] = {}
    exec(done.stdout, names)
    return names["Hflow"].from_bytes


def sections_of(found: Any) -> tuple[Section, ...]:
    if found.flags.explicit:
        return tuple(Section(int(s.id), s.content.body, s.critical) for s in found.explicit.sections)
    compact = found.compact
    one = [Section(1, compact.continuous.body)] if found.rate else []
    two = [Section(2, compact.mask.body)] if found.settings.mask == 7 else []
    return tuple(one + two + [Section(3, chunk.body) for chunk in compact.index_chunks])


def agree(found: Any, want: Container, data: bytes) -> None:
    for name in ("width", "height", "bundle", "fingerprint", "index_checksum"):
        assert getattr(found, name) == getattr(want, name)
    s = want.settings
    assert (found.rate, found.settings.m) == (s.rate, s.m)
    assert (int(found.settings.mask), int(found.settings.profile)) == (s.mask, s.profile)
    flags = found.flags
    assert (flags.chunked, flags.explicit, flags.cut) == (want.chunked, bool(data[3] & EXPLICIT), want.cut)
    assert sections_of(found) == want.sections
    assert found.crc == int.from_bytes(data[-2:], "little")
    assert found._io.is_eof()


def test_conformance_files(read: Callable[[bytes], Any]) -> None:
    files = sorted((folder() / "decoded").iterdir())
    assert files
    for path in files:
        data = path.read_bytes()
        agree(read(data), parse(data), data)


def test_long_sections(read: Callable[[bytes], Any]) -> None:
    """Lengths of one to four bytes."""
    file = parse((folder() / "decoded/1x1_continuous.hfc").read_bytes())
    for size in (0, 127, 128, 2**14 - 1, 2**14, 2**21):
        want = Container(**{**vars(file), "sections": (Section(1, bytes(size)),)})
        agree(read(serialize(want)), want, serialize(want))


def test_what_the_schema_refuses(read: Callable[[bytes], Any]) -> None:
    names = ["foreign", "version_0", "version_2", "reserved_flag", "width_0", "height_0", "mask_6", "profile_3"]
    names += ["too_many_sections", "truncated_in_header", "truncated_in_section", "truncated_by_one", "huge_length"]
    listed = {e["file"] for e in json.loads((folder() / "manifest.json").read_text("utf-8"))["refused"]}
    for name in names:
        assert f"{name}.hfc" in listed
        with pytest.raises(Exception, match=r"validation|EOF|requested|unexpected|not match|bytes"):
            read((folder() / "refused" / f"{name}.hfc").read_bytes())
