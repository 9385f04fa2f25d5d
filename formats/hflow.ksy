meta:
  id: hflow
  title: hflow image, format version 1
  file-extension: hfc
  license: MIT
  ks-version: "0.11"
  endian: le
doc: |
  The layout of container.md, which is normative: this schema opens a file in the tools of kaitai.io. It takes any
  intact file apart and refuses some malformed ones; the checks of checksums, of varints in their shortest form and of
  the order of explicit sections are left to the document. What is in the data of a section is entropy-coded.
seq:
  - id: signature
    contents: [0xeb, 0x68, 0x66]
  - id: flags
    type: flags
  - id: width
    type: u2
    valid:
      min: 1
  - id: height
    type: u2
    valid:
      min: 1
  - id: bundle
    type: u1
    doc: Number of the model bundle that decodes the file.
  - id: fingerprint
    type: u1
    doc: First byte of the bundle's SHA-256.
  - id: rate
    type: u1
    doc: "0: no continuous stream; else 1 + rate level."
  - id: settings
    type: settings
  - id: index_checksum
    type: u2
    doc: CRC-16 over the decoded indices.
  - id: compact
    type: compact
    if: not flags.explicit
  - id: explicit
    type: explicit
    if: flags.explicit
  - id: crc
    type: u2
    doc: CRC-16 (0x1021, initial value 0xFFFF) over everything before it. It ends the file.
instances:
  num_chunks:
    value: "settings.m == 0 or settings.mask == mask::none ? 0 : flags.chunked ? 5 : 1"
types:
  flags:
    seq:
      - id: reserved
        type: b1
        valid: false
      - id: cut
        type: b1
      - id: explicit
        type: b1
      - id: chunked
        type: b1
      - id: version
        type: b4
        valid: 1
  settings:
    seq:
      - id: profile
        type: b2
        enum: profile
        valid:
          in-enum: true
      - id: mask
        type: b3
        enum: mask
        valid:
          in-enum: true
      - id: m
        type: b3
        doc: Sub-quantizers.
  compact:
    seq:
      - id: continuous
        type: data
        if: _root.rate > 0
      - id: mask
        type: data
        if: _root.settings.mask == mask::coded
      - id: index_chunks
        type: data
        repeat: expr
        repeat-expr: _root.num_chunks
  explicit:
    seq:
      - id: num_sections
        type: varint
        valid:
          expr: _.value <= 1024
      - id: sections
        type: section
        repeat: expr
        repeat-expr: num_sections.value
  section:
    seq:
      - id: critical
        type: b1
      - id: id
        type: b7
        enum: kind
      - id: content
        type: data
  data:
    seq:
      - id: len_body
        type: varint
      - id: body
        size: len_body.value
  varint:
    doc: Unsigned LEB128 of at most 5 bytes.
    seq:
      - id: groups
        type: group
        repeat: until
        repeat-until: not _.more or groups.size == 5
    instances:
      value:
        value: |
          groups[0].low
          + (groups.size > 1 ? groups[1].low * 0x80 : 0)
          + (groups.size > 2 ? groups[2].low * 0x4000 : 0)
          + (groups.size > 3 ? groups[3].low * 0x200000 : 0)
          + (groups.size > 4 ? groups[4].low * 0x10000000 : 0)
    types:
      group:
        seq:
          - id: more
            type: b1
          - id: low
            type: b7
enums:
  profile:
    0: hybrid
    1: pq
    2: adacode
  mask:
    0: none
    1: one_16
    2: one_9
    3: one_4
    4: one_2
    5: all
    7: coded
  kind:
    1: continuous
    2: mask
    3: index
    4: weights
    5: lq
    6: frame
    7: metadata
    8: enhancement
