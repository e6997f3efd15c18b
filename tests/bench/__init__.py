"""Ratios of vclaw's stages to the plain tools that do the same; run by `make bench`."""
