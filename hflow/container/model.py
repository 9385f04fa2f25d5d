"""What a `.hfc` file says, as plain values. Which tokens a mask schedule sends is the codec's business."""

from dataclasses import dataclass
from enum import IntEnum

SIGNATURE = b"\xebhf"
VERSION = 1
CHUNKED = 0x10
EXPLICIT = 0x20
CUT = 0x40
RESERVED = 0x80
HEADER_SIZE = 14
CRC_SIZE = 2
STAGES = 5  # quincunx stages, hence index chunks of a chunked file
MAX_SECTIONS = 1024


class MaskSchedule(IntEnum):
    """Which tokens are sent; the value is the one in the settings byte (6 is reserved)."""

    NONE = 0
    ONE_16 = 1
    ONE_9 = 2
    ONE_4 = 3
    ONE_2 = 4
    ALL = 5
    CODED = 7  # a mask section says which

    @property
    def label(self) -> str:
        """The name users see: none, 1_16, 1_9, 1_4, 1_2, all or coded."""
        return self.name.lower().replace("one_", "1_")


class Profile(IntEnum):
    """Which published system the file follows; the value is the one in the settings byte (3 is reserved)."""

    HYBRID = 0
    PQ = 1
    ADACODE = 2


class Kind(IntEnum):
    """The section ids that have a meaning; every other id in 0..127 is reserved."""

    CONTINUOUS = 1
    MASK = 2
    INDEX = 3
    WEIGHTS = 4
    LQ = 5
    FRAME = 6
    METADATA = 7
    ENHANCEMENT = 8


STANDARD = (Kind.CONTINUOUS, Kind.MASK, Kind.INDEX)  # what the settings imply
CODED = (*STANDARD, Kind.ENHANCEMENT)  # what indices are decoded from; critical


@dataclass(frozen=True)
class Settings:
    """What was coded, and how.

    rate: 0 for no continuous stream, else the rate index 1..255. m: sub-quantizers, 0..7.
    """

    rate: int
    m: int
    mask: MaskSchedule
    profile: Profile


@dataclass(frozen=True)
class Section:
    """One section. kind: id 0..127 (see `Kind`). critical: a decoder that does not know it must refuse the file."""

    kind: int
    data: bytes
    critical: bool = True


@dataclass(frozen=True)
class Container:
    """A whole file.

    width, height: pixels, 1..65535. bundle: number of the model bundle, 0..255. fingerprint: first byte of its
    SHA-256, 0..255. index_checksum: 0..65535, opaque here. chunked: index stages lie in one chunk each, else all in
    one. sections: the standard ones that the settings imply, in their order, with any others in between, but
    enhancements behind them. cut: the entropy-coded ones may end before their last symbol.
    """

    width: int
    height: int
    bundle: int
    fingerprint: int
    settings: Settings
    index_checksum: int
    chunked: bool
    sections: tuple[Section, ...]
    cut: bool = False
    version: int = VERSION

    @property
    def continuous(self) -> bytes | None:
        """The continuous stream, None if the file has none."""
        return self._first(Kind.CONTINUOUS)

    @property
    def mask_data(self) -> bytes | None:
        """The coded mask, None if the mask follows a schedule."""
        return self._first(Kind.MASK)

    @property
    def index_chunks(self) -> tuple[bytes, ...]:
        """The index streams: none, one, or one per stage (an empty stage is b"")."""
        return tuple(s.data for s in self.sections if s.kind == Kind.INDEX)

    @property
    def enhancements(self) -> tuple[bytes, ...]:
        """The enhancement layers, from coarse to fine."""
        return tuple(s.data for s in self.sections if s.kind == Kind.ENHANCEMENT)

    @property
    def extra(self) -> tuple[Section, ...]:
        """The sections that the settings do not imply."""
        return tuple(s for s in self.sections if s.kind not in STANDARD)

    def _first(self, kind: Kind) -> bytes | None:
        return next((s.data for s in self.sections if s.kind == kind), None)


def implied_kinds(settings: Settings, chunked: bool) -> tuple[int, ...]:
    """The ids of the standard sections of a file with these settings, in file order."""
    kinds: list[int] = []
    if settings.rate > 0:
        kinds.append(Kind.CONTINUOUS)
    if settings.mask == MaskSchedule.CODED:
        kinds.append(Kind.MASK)
    if settings.m > 0 and settings.mask != MaskSchedule.NONE:
        kinds += [Kind.INDEX] * (STAGES if chunked else 1)
    return tuple(kinds)


def misplaced(settings: Settings, kinds: tuple[int, ...]) -> bool:
    """Whether there is an enhancement among sections of these kinds that nothing, or not all of it, stands before."""
    first = kinds.index(Kind.ENHANCEMENT) if Kind.ENHANCEMENT in kinds else len(kinds)
    return first < len(kinds) and (settings.rate == 0 or any(k in STANDARD for k in kinds[first:]))
