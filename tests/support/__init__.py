"""Helpers of the tests: servers, images and keys made for them."""
