"""The data wing: image data sets by name, all as one type."""

from .cache import cache_folder
from .cifar import CIFAR10
from .dataset import Images, class_index, resize
from .load import NAMES, load, load_once

__all__ = ["CIFAR10", "NAMES", "Images", "cache_folder", "class_index", "load", "load_once", "resize"]
