"""`python -m hflow`: the command line, where the script is not on the path."""

from hflow.cli import main

main(prog_name="hflow")
