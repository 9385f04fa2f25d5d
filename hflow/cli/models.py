"""`hflow models`: the installed model bundles. Needs neither weights nor torch."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import click

from hflow import bundles
from hflow.cli.errors import report
from hflow.cli.streams import echo, line, shown
from hflow.errors import BundleError

COLUMNS = ("name", "number", "fingerprint", "bytes", "licence", "path")


@click.command("models")
@click.option("--verify", is_flag=True, help="Read the weights and compare their SHA-256.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def command(verify: bool, as_json: bool) -> None:
    """List the installed model bundles; new files are made with the default one."""
    found = [describe(b, verify) for b in bundles.listing()]
    if as_json:
        echo(json.dumps(found, indent=2))
    elif found:
        echo(table(found))
    else:
        line("no model bundle is installed; searched: " + ", ".join(map(str, bundles.folders())))
    damaged = [b for b in found if b.get("intact") is False]
    codes = [report(BundleError(f"{b['path']}: the weights are not the ones that bundle.json names")) for b in damaged]
    click.get_current_context().exit(codes[0] if codes else 0)


def describe(bundle: bundles.Bundle, verify: bool) -> dict[str, Any]:
    """A bundle as JSON values; `intact` only if its weights are to be verified."""
    weights = bundles.weights_file(bundle.path)
    about = {
        "name": bundle.name,
        "number": bundle.number,
        "fingerprint": bundle.sha256[:2],  # as files carry it
        "sha256": bundle.sha256,
        "bytes": weights.stat().st_size if os.path.isfile(weights) else None,
        "licence": bundle.licence,
        "path": str(bundle.path),
        "default": bundle.path == bundles.default(),
    }
    return {**about, "intact": _hash(bundle.path) == bundle.sha256} if verify else about


def table(found: list[dict[str, Any]]) -> str:
    """Aligned lines, a bundle each."""
    rows = [list(COLUMNS)]
    for b in found:
        size = "missing" if b["bytes"] is None else f"{b['bytes']:,}"
        name = b["name"] + " (default)" * b["default"]
        rows.append([name, str(b["number"]), b["fingerprint"], size, b["licence"], b["path"]])
        if "intact" in b:
            rows[-1].append("intact" if b["intact"] else "DAMAGED")
    if "intact" in found[0]:
        rows[0].append("weights")
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(shown(text.rstrip()) for text in lines)


def _hash(folder: Path) -> str | None:
    try:
        return hashlib.sha256(bundles.weights(folder)).hexdigest()
    except (OSError, ValueError):
        return None
