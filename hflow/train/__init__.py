"""Training: data, losses and the staged recipes. Needs the extra `train`; nothing in encode or decode imports it."""
