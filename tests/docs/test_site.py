"""The documentation as files and as a site: links lead somewhere, generated pages are current, the build is clean."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(p for d in ("docs", "formats", "models") for p in ROOT.glob(f"{d}/**/*.md"))]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
ASSET = re.compile(
    r"<(?:script|img|iframe|link rel=\"?(?:stylesheet|icon|preload))[^>]*(?:src|href)=\"?(https?:)?//[^>]*>"
)


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """docs/reference.py."""
    spec = importlib.util.spec_from_file_location("reference_pages", ROOT / "docs/reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["cli.md", "api.md"])
def test_reference_pages_say_what_the_code_says(reference: ModuleType, page: str) -> None:
    assert (ROOT / "docs" / page).read_text("utf-8") == reference.PAGES[page](), "run: python docs/reference.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_files_lead_to_files(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    links = [link for link in LINK.findall(text) if not re.match(r"\w+:", link)]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_site_builds_without_warnings_and_fetches_nothing(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="needs the extra docs")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    built = {page.relative_to(tmp_path).as_posix(): page.read_text("utf-8") for page in tmp_path.rglob("*.html")}
    assert {"index.html", "docs/why.html", "docs/cli.html", "formats/container.html"} <= built.keys()
    assert "What it makes up" in built["docs/why.html"]
    assert {name: found[0] for name, text in built.items() if (found := ASSET.search(text))} == {}
