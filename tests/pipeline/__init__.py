"""Tests of the pipeline as a whole, with a program in place of QEMU that boots no guest."""
