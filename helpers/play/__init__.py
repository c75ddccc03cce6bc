"""Figures to play with: in a page, JupyterLab and Colab they move; elsewhere they are still pictures."""

from .threshold import threshold

__all__ = ["threshold"]
