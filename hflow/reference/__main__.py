"""python -m hflow.reference FILE.hfc [--bundle DIR] [--json]: the shapes and the checksum of a file's indices."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from hflow.errors import FormatError, HflowError, InputError
from hflow.reference.decode import read


def main(arguments: list[str] | None = None) -> int:
    """The exit codes are those of `hflow`; a checksum that does not match is 4."""
    parser = argparse.ArgumentParser(prog="python -m hflow.reference", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--bundle", type=Path, metavar="DIR", help="the bundle's folder; default: the installed one")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    args = parser.parse_args(arguments)
    try:
        found = read(contents(args.file), args.bundle)
    except HflowError as error:
        print(f"hflow.reference: {args.file}: {error}", file=sys.stderr)
        return error.exit_code
    matches = found.checksum == found.stored
    about = {
        "file": str(args.file),
        "y": None if found.y is None else list(found.y.shape),
        "tokens": None if found.tokens is None else list(found.tokens.shape),
        "checksum": f"{found.checksum:04x}",
        "stored": f"{found.stored:04x}",
        "sha256": found.sha256,
        "matches": matches,
    }
    if args.json:
        print(json.dumps(about, indent=2))
    else:
        verdict = "matches the file" if matches else f"the file says {about['stored']}"
        print(f"{args.file}\ny         {shape(about['y'])}\ntokens    {shape(about['tokens'])}")
        print(f"checksum  {about['checksum']}, {verdict}\nsha256    {about['sha256']}")
    return 0 if matches else FormatError.exit_code


def contents(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})") from error


def shape(sizes: object) -> str:
    return " x ".join(map(str, sizes)) if isinstance(sizes, list) else "none"


if __name__ == "__main__":
    sys.exit(main())
