"""`hflow` without the seconds of its start: `python forks.py FOLDER` puts a command of that name into FOLDER.

Each call is handed, with its arguments and open files, to a fork of this process, which has torch and the bundle.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path

COMMAND = """#!{python} -IS
import json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({path!r})
socket.send_fds(server, [json.dumps([os.getcwd(), sys.argv[1:]]).encode()], [0, 1, 2])
sys.exit(server.recv(1)[0])
"""
WRITING = ("encode", "decode", "truncate")


def serve(listener: socket.socket) -> None:
    """Answers calls until the process is ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    while True:
        caller, _ = listener.accept()
        message, files, _, _ = socket.recv_fds(caller, 1 << 16, 3)
        if os.fork() == 0:
            for number, file in enumerate(files):
                os.dup2(file, number)
            folder, args = json.loads(message)
            os.chdir(folder)
            caller.send(bytes([run(args)]))
            os._exit(0)
        for file in files:
            os.close(file)
        caller.close()


def run(args: list[str]) -> int:
    """The command line's exit code. Commands may overwrite: pages list alternatives one below the other."""
    from hflow.cli import main

    if args and args[0] in WRITING and "--skip-existing" not in args:
        args = [*args, "--force"]
    try:
        main(args, prog_name="hflow")
    except SystemExit as done:
        return int(done.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def warm() -> None:
    """Loads what most commands would load."""
    from hflow import bundles
    from hflow.nets.bundle import load

    load(bundles.default())


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    path = str(folder / "socket")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    (folder / "hflow").write_text(COMMAND.format(python=sys.executable, path=path))
    (folder / "hflow").chmod(0o755)
    warm()
    print("ready", flush=True)
    serve(listener)
