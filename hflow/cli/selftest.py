"""`hflow selftest`: whether this machine decodes as the format says."""

from __future__ import annotations

import json
import time
from dataclasses import asdict

import click

from hflow.cli import options
from hflow.cli.streams import echo, line


@click.command("selftest")
@options.device
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(device: str, as_json: bool) -> None:
    """Decode the format's conformance files and tell what came out as it should.

    Exit code 0: everything did. 1: something did not.
    """
    from hflow import selftest
    from hflow.nets.bundle import pick_device

    device, start = pick_device(device), time.monotonic()
    indices, errors = selftest.run(device)
    seconds = time.monotonic() - start
    wrong = [r for r in (*indices, *errors) if r.wrong]
    largest = max((r.difference for r in indices if r.difference is not None), default=None)
    exact, refused = sum(r.exact for r in indices), sum(r.wrong is None for r in errors)
    if as_json:
        about = {
            "device": device,
            "indices": {"exact": exact, "of": len(indices)},
            "errors": {"as_expected": refused, "of": len(errors)},
            "pixels": {"largest_difference": largest, "tolerance": selftest.TOLERANCE},
            "wrong": [asdict(r) for r in wrong],
            "seconds": round(seconds, 2),
        }
        echo(json.dumps(about, indent=2))
    else:
        echo(f"indices  {exact}/{len(indices)} exact")
        echo(f"errors   {refused}/{len(errors)} as expected")
        echo(f"pixels   largest difference {'-' if largest is None else f'{largest:.2f}'} of 255")
        for result in wrong:
            line(f"{result.file}: {result.wrong}")
        echo(f"{'failed' if wrong else 'passed'} on {device} in {seconds:.1f} s")
    click.get_current_context().exit(1 if wrong else 0)
