"""What the generated industrial pictures are made of: light on a relief, grain, the marks that damage leaves.

Lengths are in picture widths; x runs to the right and y down, both from 0 to 1. A surface is a height map and
a colour map; damage changes one of them, and the light shows it.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage


@dataclass
class Surface:
    """A relief to be lit: `height` (H, W) in picture widths, `colour` (H, W, 3) in 0..1."""

    height: np.ndarray
    colour: np.ndarray


def grid(size):
    """Return x and y, each (size, size): the centres of the pixels of the unit square."""
    middle = (np.arange(size) + 0.5) / size
    return np.meshgrid(middle, middle)


def turned(x, y, angle, centre=(0.5, 0.5)):
    """Return the points (x, y) as (u, v) in a frame at `centre` that is turned by `angle` radians."""
    x, y = x - centre[0], y - centre[1]
    return np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x


def inside(distance):
    """Return 1 where the signed distance (H, W) is negative and 0 elsewhere, with an edge one pixel wide."""
    return np.clip(0.5 - distance * distance.shape[0], 0, 1)


@lru_cache(maxsize=64)
def _rise(size, knots):
    """Return the weights (size, knots) that interpolate evenly spaced values smoothly at the pixels."""
    place = (np.arange(size) + 0.5) / size * (knots - 1)
    low = np.clip(np.floor(place).astype(int), 0, knots - 2)
    t = place - low
    t = t * t * (3 - 2 * t)
    weights = np.zeros((size, knots))
    weights[np.arange(size), low], weights[np.arange(size), low + 1] = 1 - t, t
    return weights


def grain(rng, size, across, along=None):
    """Return smooth noise (size, size), mean 0 and deviation 1, in grains `across` high and `along` wide."""
    along = across if along is None else along
    # A lattice of independent values, interpolated: cheaper than a filter, and the same at every size.
    rows, columns = round(1 / across) + 1, round(1 / along) + 1
    field = _rise(size, rows) @ rng.standard_normal((rows, columns)) @ _rise(size, columns).T
    return (field - field.mean()) / field.std()


def sample(texture, v, u):
    """Return the values of a `texture` that repeats with period 1, read at (v, u), linearly interpolated."""
    where = [v * texture.shape[0], u * texture.shape[1]]
    return ndimage.map_coordinates(texture, where, order=1, mode="grid-wrap")


def lit(surface, light, lamp=0.9, gloss=0.3, sharpness=12):
    """Return the picture (H, W, 3) of a surface, with a highlight, under a lamp towards `light` (x, y, z)."""
    size = surface.height.shape[0]
    slope_y, slope_x = np.gradient(surface.height * size)
    towards = np.asarray(light) / np.linalg.norm(light)
    half = towards + np.array([0, 0, 1])
    half /= np.linalg.norm(half)
    length = np.sqrt(slope_x**2 + slope_y**2 + 1)
    diffuse = np.clip((-slope_x * towards[0] - slope_y * towards[1] + towards[2]) / length, 0, None)
    mirror = np.clip((-slope_x * half[0] - slope_y * half[1] + half[2]) / length, 0, None) ** sharpness
    return surface.colour * (0.25 + lamp * diffuse)[..., None] + gloss * mirror[..., None]


def lamp_position(rng, spread=0.1):
    """Return a light direction (x, y, z): from the upper left, a little differently for every picture."""
    angle = rng.normal(-2.2, spread)
    return np.array([np.cos(angle), np.sin(angle), rng.uniform(1.35, 1.45)])


# Damage. Each mark has a sharp end, so that outside of it a picture is unchanged to the last bit.


def blob(rng, x, y, centre, radius, rough=0.25):
    """Return the signed distance (H, W) to an irregular round outline: negative inside."""
    u, v = x - centre[0], y - centre[1]
    angle = np.arctan2(v, u)
    edge = sum(rng.normal(0, rough / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in range(2, 6))
    return np.hypot(u, v) - radius * np.exp(edge)


def curve(rng, x, y, centre, length, angle, bend=0.25, pieces=10):
    """Return distance (H, W) to a bent line, and the position along it (H, W) from 0 to 1."""
    t = np.linspace(-0.5, 0.5, pieces + 1)
    sag = rng.normal(0, bend) * (t**2 - 0.08) + rng.normal(0, bend / 4) * np.sin(2 * np.pi * t)
    px = centre[0] + length * (np.cos(angle) * t - np.sin(angle) * sag)
    py = centre[1] + length * (np.sin(angle) * t + np.cos(angle) * sag)
    best, place = np.full(x.shape, np.inf), np.zeros(x.shape)
    for i in range(pieces):
        dx, dy = px[i + 1] - px[i], py[i + 1] - py[i]
        along = np.clip(((x - px[i]) * dx + (y - py[i]) * dy) / (dx * dx + dy * dy), 0, 1)
        away = np.hypot(x - px[i] - along * dx, y - py[i] - along * dy)
        place = np.where(away < best, (i + along) / pieces, place)
        best = np.minimum(best, away)
    return best, place


def scratch(surface, rng, x, y, centre, length, angle, width=0.009):
    """Cut a groove with a raised rim into the surface: a bright and a dark edge, whatever the light."""
    away, place = curve(rng, x, y, centre, length, angle)
    depth = np.sqrt(np.clip(4 * place * (1 - place), 0, 1)) * rng.uniform(0.7, 1.2)
    profile = np.clip(1 - away / width, 0, None) - 0.5 * np.clip(1 - np.abs(away / width - 1), 0, None)
    surface.height = surface.height - 0.014 * depth * profile
    bare = np.clip(1.2 - away / width, 0, 1) * depth
    tint = rng.choice([-0.16, 0.30])
    surface.colour = surface.colour + (tint * bare)[..., None]


def dent(surface, rng, x, y, centre, radius):
    """Press an oval hollow, or raise a bump, of compact support."""
    u, v = turned(x, y, rng.uniform(0, np.pi), centre)
    squeeze = rng.uniform(0.65, 1.0)
    hollow = np.clip(1 - (u**2 + (v / squeeze) ** 2) / radius**2, 0, None) ** 2
    surface.height = surface.height + rng.choice([-1, 1]) * rng.uniform(0.35, 0.55) * radius * hollow


def stain(surface, rng, x, y, centre, radius, tints):
    """Leave a dried drop: one of the `tints` (r, g, b factors), stronger at its rim, mottled inside."""
    away = blob(rng, x, y, centre, radius)
    mottle = 0.75 + 0.25 * np.clip(grain(rng, x.shape[0], 0.03), -1, 1)
    strength = np.clip(-away / 0.012, 0, 1) * mottle * np.where(away > -0.02, 1.0, 0.75)
    tint = np.asarray(tints[rng.integers(len(tints))])
    surface.colour = surface.colour * (1 + strength[..., None] * (tint - 1))
