"""The reason why one picture has no value of one metric."""

from __future__ import annotations


class Unmeasurable(Exception):  # noqa: N818 - a fact about a picture, not an error of the program
    """This picture has no value of this metric; the text says why. No number stands in for it."""
