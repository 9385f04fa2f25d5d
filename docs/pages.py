"""A hook of mkdocs: the site has the layout of the repository, so that links between files work in both.

mkdocs takes pages from one folder; here README.md, formats/ and the bundles' cards come along with docs/.
"""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
TAKEN = (
    "*.md", "LICENSE", "models/**/*.md", "formats/**/*.md", "formats/hflow.*",
    *(f"docs/**/*.{suffix}" for suffix in ("md", "png", "webp", "svg", "css", "html", "json")),
)  # fmt: skip


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The repository's pages and pictures, and what the theme brings."""
    found = sorted({path for pattern in TAKEN for path in ROOT.glob(pattern)})
    ours = [File(str(path.relative_to(ROOT)), str(ROOT), config.site_dir, config.use_directory_urls) for path in found]
    docs = Path(config.docs_dir)
    return Files([*ours, *(f for f in files if docs not in Path(f.abs_src_path or "/").parents)])
