"""A run as one HTML page."""

from bench.page.page import page

__all__ = ["page"]
