"""Runs the conformance files through hflow.reference, which needs numpy alone: the proof for any machine with Python.

python formats/vectors/check.py [FILE.hfc ...]
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from hflow.errors import HflowError  # noqa: E402
from hflow.reference.decode import read  # noqa: E402


def main() -> int:
    about = json.loads((HERE / "manifest.json").read_text())
    wanted = {Path(name).name for name in sys.argv[1:]}
    exact, wrong = 0, []
    cases = [(kind, entry) for kind in ("decoded", "refused") for entry in about[kind]]
    for kind, entry in cases:
        if wanted and entry["file"] not in wanted:
            continue
        try:
            found = read((HERE / kind / entry["file"]).read_bytes(), HERE / entry["bundle"])
            got = [found.sha256 if found.checksum == found.stored else "FormatError"]
        except HflowError as error:
            got = [kind.__name__ for kind in type(error).__mro__]
        if entry.get("sha256", entry.get("error")) in got:
            exact += 1
        else:
            wrong.append(f"{kind}/{entry['file']}: {got[0]}")
    print("\n".join(wrong + [f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}"]))
    print(f"{exact} of {exact + len(wrong)} as they should be")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
