"""Encode and decode: each readable on one page, over the container, the entropy coder and a loaded bundle."""
