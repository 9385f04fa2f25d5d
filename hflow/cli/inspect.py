"""`hflow inspect`: what a .hfc file says of itself. Needs neither weights nor torch."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hflow import bundles, masks
from hflow.cli import batch, options
from hflow.cli.errors import report
from hflow.container import Container, Kind, parse
from hflow.errors import BundleError, HflowError
from hflow.text import from_text

if TYPE_CHECKING:
    from rich.table import Table

TOKEN = 16  # pixels per side of a token's cell


@click.command("inspect")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=options.FILES)
@click.option("--json", "as_json", is_flag=True, help="One JSON object; a list for several files.")
def command(files: tuple[Path, ...], as_json: bool) -> None:
    """Show size, settings and where the bytes of .hfc files go."""
    found, codes = [], []
    for path in files:
        try:
            data = from_text(batch.read(path))
            found.append({"file": str(path), **describe(parse(data), len(data))})
        except HflowError as error:
            codes.append(report(error, path))
    if as_json and found:
        click.echo(json.dumps(found if len(files) > 1 else found[0], indent=2))
    elif found:
        from rich.console import Console

        console = Console(highlight=False)
        for about in found:
            click.echo(about["file"])
            console.print(_table(about))
    click.get_current_context().exit(codes[0] if codes else 0)


def describe(file: Container, size: int) -> dict[str, Any]:
    """Everything about a parsed file of `size` bytes, as JSON values."""
    rows, cols = -(-file.height // TOKEN), -(-file.width // TOKEN)
    mask, m = file.settings.mask.label, file.settings.m
    return {
        "version": file.version,
        "width": file.width,
        "height": file.height,
        "bytes": size,
        "bpp": 8 * size / (file.width * file.height),
        "bundle": {"number": file.bundle, "name": _bundle_name(file), "fingerprint": f"{file.fingerprint:02x}"},
        "profile": file.settings.profile.name.lower(),
        "rate": file.settings.rate,
        "m": m,
        "mask": mask,
        "chunked": file.chunked,
        "index_checksum": f"{file.index_checksum:04x}",
        "tokens": {
            "grid": [rows, cols],
            "sent": None if mask == "coded" else m * masks.count(rows, cols, mask),
            "all": m * rows * cols,
        },
        "sections": [
            {"kind": s.kind, "name": _section_name(s.kind), "bytes": len(s.data), "share": len(s.data) / size}
            for s in file.sections
        ],
        "overhead": size - sum(len(s.data) for s in file.sections),
    }


def _section_name(kind: int) -> str:
    return Kind(kind).name.lower() if kind in set(Kind) else f"section {kind}"


def _bundle_name(file: Container) -> str | None:
    with suppress(BundleError):
        for bundle in bundles.listing():
            if bundle.number == file.bundle and bundle.sha256.startswith(f"{file.fingerprint:02x}"):
                return bundle.name
    return None


def _table(about: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    for justify in ("left", "right", "right"):
        table.add_column(justify=justify)
    bundle, tokens = about["bundle"], about["tokens"]
    name = f"{bundle['name']} ({bundle['number']})" if bundle["name"] else f"{bundle['number']} (not installed)"
    sent = "coded" if tokens["sent"] is None else f"{tokens['sent']:,}"
    for label, value in {
        "size": f"{about['width']} x {about['height']}",
        "version": about["version"],
        "bundle": name,
        "fingerprint": bundle["fingerprint"],
        "profile": about["profile"],
        "rate": about["rate"] or "none",
        "M": about["m"],
        "mask": about["mask"],
        "tokens sent": f"{sent} of {tokens['all']:,}",
    }.items():
        table.add_row(label, str(value))
    table.add_section()
    for section in about["sections"]:
        table.add_row(section["name"], f"{section['bytes']:,} bytes", f"{section['share']:.1%}")
    table.add_row("overhead", f"{about['overhead']:,} bytes", f"{about['overhead'] / about['bytes']:.1%}")
    table.add_row("total", f"{about['bytes']:,} bytes", f"{about['bpp']:.5f} bpp")
    return table
