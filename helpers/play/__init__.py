"""Figures to play with: in a page, JupyterLab and Colab they move; elsewhere they are still pictures."""

from .digit import digit
from .threshold import threshold

__all__ = ["digit", "threshold"]
