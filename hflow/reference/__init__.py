"""A second decoder of the index path, written from `formats/*.md` and not from the codec's code.

Bytes of a file in, indices out, in integers only, with numpy and the standard library. It is slow and says each thing
once, in the words of the documents, so that the two can be read side by side; what both decoders agree on is the
format. Of the package it uses the container's parser and the error classes.
"""

from hflow.reference.decode import Indices, decode, read

__all__ = ["Indices", "decode", "read"]
