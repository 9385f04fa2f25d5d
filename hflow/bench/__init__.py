"""Measuring: quality at real file sizes, and what each part of the codec contributes. See docs/results.md."""
