"""`hflow bench`: quality against other codecs, speed, and the measurements behind the design."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from hflow.cli import batch, options
from hflow.cli import effort as effort_options
from hflow.cli.streams import echo, shown
from hflow.codec.geometry import LEVELS
from hflow.errors import HflowError

FOLDER = click.argument("folder", type=options.FILES)
METRICS = click.option(
    "--metrics", type=options.FILES, help="Folder with perceptual.py and the LPIPS weights; without it no LPIPS."
)


class Several(click.ParamType):
    """Values separated by commas, as a sorted list with each of them once."""

    def __init__(self, name: str, one: click.ParamType) -> None:
        self.name, self.one = f"{name},{name},...", one

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[Any]:
        if isinstance(value, list):
            return value
        return sorted({self.one.convert(v.strip(), param, ctx) for v in value.split(",")})


TARGETS = Several("bpp", click.FloatRange(0, 1e6, min_open=True, max_open=True))
EFFORTS = Several("effort", click.IntRange(0, effort_options.HIGHEST))
BPP = click.option("--bpp", type=TARGETS, default="0.012,0.03,0.06", show_default=True, help="Targets.")


@click.group("bench")
def command() -> None:
    """Measure quality and speed (needs the extra `bench`: pip install "hflow[bench]")."""


@command.command("quality")
@FOLDER
@BPP
@METRICS
@click.option("--efforts", type=EFFORTS, default="0", show_default=True, help="Efforts of hflow, a row for each.")
@click.option("--peers", default="webp,avif,jxl,jp2,hevc,vvc", show_default=True, help="Codecs to compare, or `none`.")
@click.option("--limit", type=click.IntRange(1), help="Use the first N pictures.")
@click.option("--gallery", type=click.IntRange(0), default=3, show_default=True, help="Pictures on the HTML page.")
@click.option("-o", "--output", type=options.FILES, help="Folder for results.json, tables, plots, page, contact sheet.")
def quality(
    folder: Path, bpp: list[float], metrics: Path | None, efforts: list[int], peers: str, limit: int | None,
    gallery: int, output: Path | None,
) -> None:  # fmt: skip
    """Rate and distortion on the images of FOLDER, beside other codecs at equal bytes."""
    from rich.console import Console

    from hflow.bench import peers as known
    from hflow.bench import quality as bench
    from hflow.bench import report
    from hflow.bench.measure import Metrics

    names = [] if peers == "none" else [p for p in peers.split(",") if p]
    if unknown := [n for n in names if n not in known.ALL]:
        raise click.BadParameter(f"no codec {unknown[0]!r}; known: {', '.join(known.ALL)}", param_hint="--peers")
    if output:
        require("matplotlib")
    found, missing = known.available(names)
    console = Console(stderr=True)
    for line in missing:
        console.print(f"left out: {line}", markup=False, highlight=False)
    kept, middle, sheet = report.Gallery(gallery), bpp[(len(bpp) - 1) // 2], []

    def keep(codec: str, picture: str, target: float, x: Any) -> None:
        kept.keep(codec, picture, target, x)
        if codec == bench.named(efforts[0]) and target == middle:
            sheet.append(x)

    with progress() as say:
        plan = bench.Plan(folder, bpp, found, Metrics(metrics), limit, tuple(efforts))
        results = bench.run(plan, say, keep)
    Console().print(report.table(results))
    if output:
        write(output / "results.json", json.dumps(results, indent=1) + "\n")
        write(output / "results.md", report.markdown(results))
        write(output / "compare.html", report.page(results, kept))
        report.plot(results, output / "curves.svg")
        if sheet:
            report.sheet(sheet).save(output / "sheet.webp", quality=85, method=6)


@command.command("speed")
@click.argument("image", type=options.FILES)
@click.option("--bpp", type=float, default=0.03, show_default=True, callback=options.number(0, 1e6, open_low=True))
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@options.device
def speed(image: Path, bpp: float, repeats: int, as_json: bool, device: str) -> None:
    """Time per stage on IMAGE, warm and from a cold start, and the ratios to AVIF and to importing torch."""
    from rich.console import Console
    from rich.table import Table

    from hflow.bench import speed as bench
    from hflow.bench.measure import read

    found = bench.run(read(image), bpp, device, repeats)
    if as_json:
        echo(json.dumps(found, indent=1))
        return
    width, height = found["size"]
    title = (
        f"{found['bundle']}, {width}x{height}, {found['bpp']:.4f} bpp, {found['device']}, {found['threads']} threads"
    )
    table = Table("", "stage", "ms", title=title)
    for side in ("encode", "decode"):
        stages, peer = found[f"{side}_s"], found["avif"]
        for name, seconds in stages.items():
            table.add_row(side, name, f"{1000 * seconds:.1f}")
        total, other = sum(stages.values()), peer[f"{side}_s"]
        table.add_row(side, "all", f"{1000 * total:.1f}")
        table.add_row(side, peer["with"], f"{1000 * other:.1f}")
        table.add_row(side, "ratio to AVIF", f"{total / other:.2f}", end_section=True)
    for name, seconds in found["cold_s"].items():
        table.add_row("cold start", name, f"{1000 * seconds:.1f}")
    table.add_row("cold start", "all", f"{1000 * sum(found['cold_s'].values()):.1f}")
    table.add_row("cold start", "ratio to importing torch", f"{found['cold_to_torch']:.2f}")
    Console().print(table)


@command.command("batch")
@FOLDER
@click.option("--bpp", type=float, default=0.03, show_default=True, callback=options.number(0, 1e6, open_low=True))
@click.option("--limit", type=click.IntRange(2), default=100, show_default=True, help="Use the first N pictures.")
@click.option("--few", type=click.IntRange(1), default=20, show_default=True, help="Of them, each in a process.")
@click.option("-j", "--jobs", type=click.IntRange(1), metavar="N", help="Of the batch. [default: encode's]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def batches(folder: Path, bpp: float, limit: int, few: int, jobs: int | None, as_json: bool) -> None:
    """Encoding the images of FOLDER, at any depth, at once, in a loop over hflow.encode, and in a process each."""
    from hflow.bench import batch as bench
    from hflow.bench.measure import pictures

    paths = pictures(folder, deep=True)[:limit]
    found = bench.run(paths, bpp, min(few, len(paths)), jobs)
    if as_json:
        echo(json.dumps(found, indent=1))
        return
    for name, way in found["ways"].items():
        echo(f"{name:18} {way['images_per_s']:8.2f} images/s  {way['cpu_s_per_image']:6.3f} CPU s per image")
    echo(f"batch / loop               {found['batch_to_loop']:.2f}")
    echo(f"batch / process per image  {found['batch_to_process_per_image']:.2f}")
    echo(f"loop / process per image   {found['loop_to_process_per_image']:.2f}")
    echo(f"files                      {'the same' if found['same_files'] else 'DIFFERENT'}")


@command.command("ablation")
@FOLDER
@METRICS
@click.option("--level", type=click.IntRange(0, LEVELS - 1), default=44, show_default=True, help="Rate level.")
@click.option("-o", "--output", type=options.FILES, help="Markdown file to write.")
def ablation(folder: Path, metrics: Path | None, level: int, output: Path | None) -> None:
    """What each part of the codec contributes, on the images of FOLDER, as Markdown tables."""
    from hflow import bundles
    from hflow.bench.ablation import report
    from hflow.nets.bundle import load

    text = report(load(bundles.default()), folder, level, metrics)
    echo(text)
    if output:
        write(output, text)


@command.command("ladder")
@FOLDER
@BPP
@METRICS
@click.option("--limit", type=click.IntRange(1), default=12, show_default=True, help="Use the first N pictures.")
def ladder(folder: Path, bpp: list[float], metrics: Path | None, limit: int) -> None:
    """The same sizes spent with and without tokens: what a bundle's ladder is chosen from."""
    from rich.console import Console

    from hflow import bundles
    from hflow.bench.ladder import table
    from hflow.bench.measure import pictures
    from hflow.nets.bundle import load

    Console(width=110).print(table(load(bundles.default()), pictures(folder)[:limit], bpp, metrics))


@command.command("targets")
@FOLDER
@click.option("--bpp", type=TARGETS, default="0.01,0.02,0.03,0.05,0.08,0.12", show_default=True, help="Targets.")
@click.option("--bytes", "sizes", type=TARGETS, default="246,500,1000", show_default=True, help="Targets.")
@click.option("--limit", type=click.IntRange(1), help="Use the first N pictures.")
@click.option("-o", "--output", type=options.FILES, help="Markdown file to write.")
def targets(folder: Path, bpp: list[float], sizes: list[float], limit: int | None, output: Path | None) -> None:
    """How closely files come to the sizes asked for, on the images of FOLDER."""

    from hflow.bench.measure import pictures
    from hflow.bench.targets import report

    with progress() as say:
        text = report(pictures(folder)[:limit], bpp, [int(n) for n in sizes], say)
    echo(text)
    if output:
        write(output, text)


@command.command("prefixes")
@FOLDER
@METRICS
@click.option("--bpp", type=float, default=0.06, show_default=True, callback=options.number(0, 1e6, open_low=True))
@click.option("--limit", type=click.IntRange(1), help="Use the first N pictures.")
@click.option("-o", "--output", type=options.FILES, help="Folder for prefixes.md and prefixes.svg.")
def prefixes(folder: Path, metrics: Path | None, bpp: float, limit: int | None, output: Path | None) -> None:
    """What the beginnings of files are worth, beside truncated files and files encoded for the size."""

    from hflow.bench import prefixes as bench
    from hflow.bench.measure import Metrics, pictures

    if output:
        require("matplotlib")
    paths, shares = pictures(folder)[:limit], [n / 10 for n in range(1, 11)]
    with progress() as say:
        found, failed = bench.run(paths, bpp, shares, Metrics(metrics), say)
    text = bench.markdown(found, failed, bpp, len(paths))
    echo(text)
    if output:
        write(output / "prefixes.md", text)
        bench.plot(found, output / "prefixes.svg")


@command.command("masking")
@FOLDER
@METRICS
@click.option("--bpp", type=TARGETS, default="0.03,0.045,0.06,0.08", show_default=True, help="Targets.")
@click.option("--limit", type=click.IntRange(1), help="Use the first N pictures.")
@click.option("-o", "--output", type=options.FILES, help="Markdown file to write.")
def masking(folder: Path, metrics: Path | None, bpp: list[float], limit: int | None, output: Path | None) -> None:
    """Ways to choose the tokens that are sent, against uniform 1_4."""

    from hflow.bench import maskings as bench
    from hflow.bench.measure import Metrics, pictures

    paths = pictures(folder)[:limit]
    with progress() as say:
        text = bench.markdown(bench.run(paths, bpp, Metrics(metrics), say), len(paths))
    echo(text)
    if output:
        write(output, text)


@command.command("effort")
@FOLDER
@METRICS
@click.option("--bpp", type=TARGETS, default="0.015,0.03,0.06", show_default=True, help="Targets.")
@click.option("--efforts", type=EFFORTS, default="0,1,9", show_default=True, help="Efforts to look at.")
@effort_options.tune
@click.option("--limit", type=click.IntRange(1), help="Use the first N pictures.")
@click.option("--resume", type=options.FILES, help="JSON file that keeps what is measured; the next run goes on there.")
@click.option("-o", "--output", type=options.FILES, help="Markdown file to write.")
def effort(
    folder: Path, metrics: Path | None, bpp: list[float], efforts: list[int], tune: str, limit: int | None,
    resume: Path | None, output: Path | None,
) -> None:  # fmt: skip
    """What effort buys at equal size, on the images of FOLDER. Takes hours."""

    from hflow.bench import effort as bench
    from hflow.bench.measure import Metrics, pictures, read

    paths = pictures(folder)[:limit]
    area = sum(read(p)[..., 0].size for p in paths) / len(paths) / 1e6
    with progress() as say:
        found = bench.run(paths, bpp, efforts, tune, Metrics(metrics), say, resume)
    text = bench.markdown(found, area, tune)
    echo(text)
    if output:
        write(output, text)


@command.command("shapes")
@click.option("--shapes", type=Several("WxH", click.STRING), help="Shapes to measure. [default: squares and strips]")
@click.option("--operations", type=Several("name", click.STRING), help="Those to measure. [default: all]")
@click.option("--limit", type=click.IntRange(1), default=8000, show_default=True, help="Memory of a process, MB.")
@click.option("-o", "--output", type=options.FILES, help="Markdown file to write.")
def shapes(shapes: list[str] | None, operations: list[str] | None, limit: int, output: Path | None) -> None:
    """Peak memory and time of every operation by the picture's shape. Takes a quarter of an hour."""
    from hflow.bench import shapes as bench

    sizes = [bench.shape(text) for text in shapes or ()] or bench.SHAPES
    with progress() as say:
        text = bench.markdown(bench.run(sizes, bench.known(operations), limit, say), limit)
    echo(text)
    if output:
        write(output, text)


@command.command("messages")
@FOLDER
@click.option("--size", type=click.IntRange(1), default=200, show_default=True, help="Bytes.")
@click.option("--limit", type=click.IntRange(1), default=12, show_default=True, help="Use the first N pictures.")
@click.option("-o", "--output", type=options.FILES, required=True, help="Folder to write.")
def messages(folder: Path, size: int, limit: int, output: Path) -> None:
    """Crops of 256x256 pixels as text messages: a sheet and the texts."""
    from hflow.bench.measure import pictures
    from hflow.bench.messages import write as write_messages

    write_messages(pictures(folder)[:limit], size, output)


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """A line on the terminal that says what is under way."""
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status("") as status:
        yield lambda text: status.update(Text(shown(text)))


def require(module: str) -> None:
    """An error in one line where an optional package is missing."""
    from importlib.util import find_spec

    if find_spec(module) is None:
        raise HflowError(f'this needs {module}: pip install "hflow[bench]"')


def write(path: Path, text: str) -> None:
    """Writes a text file and the folders it lies in."""
    from hflow.output import save_atomic

    batch.folder(str(path.parent))
    save_atomic(path, text.encode(errors="backslashreplace"), True)
