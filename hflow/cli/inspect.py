"""`hflow inspect`: what a .hfc file says of itself. Needs neither weights nor torch."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hflow import bundles, masks
from hflow.cli import batch, options
from hflow.cli.errors import as_error, report
from hflow.cli.streams import echo, line
from hflow.container import Container, Kind, Section, metadata, parse
from hflow.errors import BundleError
from hflow.text import from_text

if TYPE_CHECKING:
    from rich.table import Table

TOKEN = 16  # pixels per side of a token's cell


@click.command("inspect")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=options.FILES)
@click.option("--json", "as_json", is_flag=True, help="One JSON object; a list for several files.")
@click.option("--map", "picture", type=options.FILES, metavar="PNG", help="Paint bits per region, and tokens as dots.")
@options.device
@options.force
def command(files: tuple[Path, ...], as_json: bool, picture: Path | None, device: str, force: bool) -> None:
    """Show size, settings and where the bytes of .hfc files go.

    In a --map cells are brighter the more bits they took. Dots are tokens: green if sent and guessed right by the
    predictor, red if sent and guessed wrong, blue if filled in.
    """
    if picture and len(files) > 1:
        raise click.UsageError("--map takes one file.")
    found, codes = [], []
    for path in files:
        try:
            data = from_text(batch.read(path))
            found.append({"file": str(path), **describe(parse(data), len(data))})
            if picture:
                found[-1] |= write_map(data, picture, device, force)
        except Exception as error:
            codes.append(report(as_error(error), path, picture))
    if as_json and found:
        echo(json.dumps(found if len(files) > 1 else found[0], indent=2))
    elif found:
        from rich.console import Console

        console = Console(highlight=False, markup=False)
        for about in found:
            line(about["file"])
            console.print(_table(about))
    click.get_current_context().exit(codes[0] if codes else 0)


def write_map(data: bytes, target: Path, device: str, force: bool) -> dict[str, Any]:
    """Paints where the bits go; returns the sums behind it."""
    from hflow.cli.pictures import pack
    from hflow.codec.spending import paint, spending
    from hflow.output import check_output, save_atomic

    check_output(target, force)
    spent = spending(data, device=device)
    save_atomic(target, pack(paint(spent), "PNG", target)[0], force)
    about = {"cell_bits": {"mean": float(spent.per_cell().mean()), "most": float(spent.per_cell().max())}}
    if spent.sent is None or spent.right is None:
        return about
    sent, right = int(spent.sent.sum()), int(spent.right.sum())
    return about | {"guessed": {"right": right, "wrong": sent - right, "filled_in": spent.sent.size - sent}}


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
            {"kind": s.kind, "name": _section_name(s), "bytes": len(s.data), "share": len(s.data) / size}
            for s in file.sections
        ],
        "overhead": size - sum(len(s.data) for s in file.sections),
    }


def _section_name(section: Section) -> str:
    if section.kind not in set(Kind):
        return f"section {section.kind}"
    about = metadata.name(section) if section.kind == Kind.METADATA else None
    return Kind(section.kind).name.lower() + (f" ({about})" if about else "")


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
    if "cell_bits" in about:
        table.add_row("bits per cell", f"{about['cell_bits']['mean']:.1f}", f"at most {about['cell_bits']['most']:.0f}")
    if "guessed" in about:
        n = about["guessed"]
        table.add_row("tokens", f"{n['right']:,} guessed, {n['wrong']:,} not", f"{n['filled_in']:,} filled in")
    table.add_section()
    for section in about["sections"]:
        table.add_row(section["name"], f"{section['bytes']:,} bytes", f"{section['share']:.1%}")
    table.add_row("overhead", f"{about['overhead']:,} bytes", f"{about['overhead'] / about['bytes']:.1%}")
    table.add_row("total", f"{about['bytes']:,} bytes", f"{about['bpp']:.5f} bpp")
    return table
