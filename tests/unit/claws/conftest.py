"""The claw of the pipeline's tests: real but for its guest."""

from tests.pipeline.conftest import world

__all__ = ["world"]
