"""`.hfc` bytes <-> a typed object. Needs neither torch nor weights; formats/container.md is the specification."""

from hflow.container.model import Container, Kind, MaskSchedule, Profile, Section, Settings
from hflow.container.parse import parse, parse_cut, parse_unchecked, sniff
from hflow.container.write import overhead, serialize

__all__ = [
    "Container",
    "Kind",
    "MaskSchedule",
    "Profile",
    "Section",
    "Settings",
    "overhead",
    "parse",
    "parse_cut",
    "parse_unchecked",
    "serialize",
    "sniff",
]
