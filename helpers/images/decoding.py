"""One picture file to pixels: whatever a camera or an office program wrote, or one sentence on why not."""

import io
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # `opened` refuses what Pillow warns of

NUMBERS = 16  # the brightest grey that a mask of numbers, one a kind of defect, may have
FEW = 2**12  # a picture of 16 bits without a value as large as this was taken with fewer of them


class BrokenPicture(ValueError):
    """A file that is no picture, or a damaged one; the message says which."""


def picture(raw: bytes, size: int) -> np.ndarray:
    """Decode a file's bytes to (3, size, size) uint8: upright, in colour, the whole picture squeezed into a square.

    Grey becomes three equal channels, 16 bits become 8, transparent parts lie on white, CMYK is converted, the
    orientation that a camera noted is applied, and of an animation the first frame counts. BrokenPicture otherwise.
    """
    image = opened(raw)
    image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def exact(raw: bytes, size: int) -> np.ndarray:
    """Decode a file's bytes to (3, size, size) uint8, as `picture` does, but refuse one of another size."""
    image = opened(raw)
    if image.size != (size, size):
        raise BrokenPicture(f"has {image.size[0]} x {image.size[1]} pixels, not {size} x {size}")
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def mask(raw: bytes, size: int) -> np.ndarray:
    """Decode a mask file to (1, size, size) bool: True where at least half of the pixel is marked: above 127.

    In a mask of small numbers, such as 0 and 1, all above 0 is marked. In one of colours the brightest channel counts,
    and transparent parts are not marked. A defect too small for half a pixel keeps the one pixel it covers most, so a
    mask never becomes empty by its resizing.
    """
    values = np.asarray(opened(raw, white=255, ground="black")).max(-1)
    marked = Image.fromarray((values > (127 if values.max() > NUMBERS else 0)).astype(np.float32))
    share = np.asarray(marked.resize((size, size), Image.Resampling.BOX))
    return ((share > 0) & (share >= min(0.5, share.max()) - 1e-6))[None]


def opened(raw: bytes, white: int | None = None, ground: str = "white") -> Image.Image:
    """The decoded file as an upright RGB image on a ground of this colour; BrokenPicture where there is none.

    `white` is the brightest value of a picture with 16 bits a pixel, 65535 unless a camera used fewer of them. With
    None, one that seems to use fewer is refused: nobody could tell it from a dark one.
    """
    if not raw:
        raise BrokenPicture("is empty")
    try:
        image = Image.open(io.BytesIO(raw))
        if image.width * image.height > Image.MAX_IMAGE_PIXELS:  # of which Pillow only warns
            raise Image.DecompressionBombError
        image.load()
        return _rgb(ImageOps.exif_transpose(image), white, ground)
    except BrokenPicture:
        raise
    except UnidentifiedImageError as error:
        raise BrokenPicture("is not a picture") from error
    except Image.DecompressionBombError as error:
        raise BrokenPicture(f"has more than {Image.MAX_IMAGE_PIXELS:,} pixels") from error
    except Exception as error:  # Pillow's decoders raise many types on damaged bytes
        raise BrokenPicture("is damaged or truncated") from error


def brightest(path) -> int:
    """The largest value in a file with 16 bits a pixel; 0 for any other, with more, and for one that cannot be read."""
    try:
        with Image.open(path) as image:
            largest = int(np.asarray(image).max()) if image.mode.startswith("I") else 0
            return largest if largest <= 65535 else 0
    except Exception:  # whatever is wrong, `opened` says it
        return 0


def _rgb(image: Image.Image, white, ground) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits a pixel; a full 32-bit picture has no agreed white
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise BrokenPicture("has more than 16 bits a channel; save it with 8 or 16")
        if white is None and 0 < values.max() < FEW:
            raise BrokenPicture(f"uses at most {int(values.max()).bit_length()} of its 16 bits; save it with 8")
        values = values.clip(max=white or 65535) * 255 // (white or 65535)
        return Image.fromarray(values.astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise BrokenPicture("holds fractional numbers; save it with 8 or 16 bits a channel")
    if image.has_transparency_data:
        below = Image.new("RGBA", image.size, ground)
        return Image.alpha_composite(below, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")
