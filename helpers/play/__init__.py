"""Figures to play with: in a page, JupyterLab and Colab they move; elsewhere they are still pictures."""

from .digit import digit
from .steps import steps, walk
from .threshold import threshold

__all__ = ["digit", "steps", "threshold", "walk"]
