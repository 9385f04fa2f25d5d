"""Integer arithmetic with one defined result, on which everything that decides an index is built.

A network is written once, as a function over an `ops` object and a tree of integer parameters:

- `reference.NumpyOps`: int64, slow and obvious; the oracle.
- `fast.TorchOps`: the same integers held in fp32 tensors, on CPU or CUDA; exact because every sum stays below 2^24.
- `twin.TwinOps`: the same rounding with straight-through gradients, for training.

Activations are 8-bit integers in fixed point; `formats/integer.md` defines each operation to the last rounding.
"""
