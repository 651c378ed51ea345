"""Freehold tells an enterprise whether to rent a language model or to own one, and proves it."""

__version__ = "0.1.0"
