"""`parts`: a generated industrial set with masks, for readers who have no pictures at hand.

Four products in the spirit of MVTec AD (Bergmann et al., CVPR 2019): brushed metal, woven cloth, a washer and
a screw, as an inspection station sees them: a fixed camera and lamp, and a jig in which an object has little
play. Grain, weave and tone differ from picture to picture, light and pose a little. A defective picture is
drawn twice from the same random numbers, once without the damage; the mask is where the two differ.
"""

import numpy as np
import torch
from scipy import ndimage

from .dataset import Images
from .surfaces import (
    Surface,
    blob,
    curve,
    dent,
    grain,
    grid,
    inside,
    lamp_position,
    lit,
    sample,
    scratch,
    stain,
    turned,
)

OIL_OR_LIME = [(0.62, 0.55, 0.42), (1.30, 1.30, 1.28)]
RUST_ON_DARK = [(1.85, 0.88, 0.38), (1.65, 1.15, 0.60)]
SOIL_OR_BLEACH = [(0.62, 0.52, 0.42), (1.32, 1.32, 1.26)]
RUST_OR_LIME = [(0.78, 0.48, 0.30), (1.30, 1.30, 1.30)]


def brushed(rng, hurt, defect, size):
    """Draw brushed sheet metal (size, size, 3): level strokes and a broad, soft reflection."""
    x, y = grid(size)
    light, angle = lamp_position(rng), rng.normal(0, 0.05)
    shade, warm = rng.normal(0.50, 0.006), rng.normal(0, 0.003)
    fine, middle = rng.standard_normal((150, 5)), rng.standard_normal((40, 3))
    reflection, strength = rng.normal(0.5, 0.05), rng.normal(0.10, 0.01)

    def strokes(angle):
        u, v = turned(x, y, angle)
        return 0.022 * sample(fine, v, u) + 0.014 * sample(middle, v, u)

    marks = strokes(angle)
    if defect == "rub":
        away = blob(hurt, x, y, hurt.uniform(0.25, 0.75, 2), hurt.uniform(0.10, 0.17))
        crossed = strokes(angle + hurt.choice([-1, 1]) * hurt.uniform(0.7, 1.6))
        shine = hurt.choice([-1, 1]) * hurt.uniform(0.04, 0.08)
        marks = marks + np.clip(-away / 0.02, 0, 1) * (crossed + shine - marks)
    u, v = turned(x, y, angle)
    band = strength * np.exp(-(((v + 0.5 - reflection) / 0.3) ** 2)) + 0.08 * (u * light[0] + v * light[1])
    tone = shade + marks + band
    surface = Surface(0.0008 * marks, np.stack([tone + warm, tone, tone - warm], -1))
    if defect == "scratch":
        length, slant = hurt.uniform([0.25, 0.3], [0.6, 2.8])
        scratch(surface, hurt, x, y, hurt.uniform(0.3, 0.7, 2), length, slant)
    elif defect == "dent":
        dent(surface, hurt, x, y, hurt.uniform(0.2, 0.8, 2), hurt.uniform(0.07, 0.13))
    elif defect == "stain":
        stain(surface, hurt, x, y, hurt.uniform(0.2, 0.8, 2), hurt.uniform(0.06, 0.11), OIL_OR_LIME)
    return lit(surface, light, gloss=0.10)


def cloth(rng, hurt, defect, size):
    """Draw plain-woven cloth (size, size, 3): round yarns that pass over and under each other."""
    x, y = grid(size)
    light, yarns = lamp_position(rng), rng.uniform(15.5, 16.5)
    u, v = turned(x, y, rng.normal(0, 0.05))
    u = u * yarns + rng.uniform(30, 40) + 0.10 * grain(rng, size, 0.3)
    v = v * yarns + rng.uniform(30, 40) + 0.10 * grain(rng, size, 0.3)
    i, j = np.floor(u).astype(int), np.floor(v).astype(int)
    a, b = u - i - 0.5, v - j - 0.5  # place within the cell where warp yarn i crosses weft yarn j
    over = np.where((i + j) % 2 == 0, 1.0, -1.0)
    thick, hue = rng.normal(1, 0.04, (2, 80)), rng.normal(0, 0.012, (2, 80))
    fibre = grain(rng, size, 0.008, 0.03), grain(rng, size, 0.03, 0.008)
    dye = np.array([[0.47, 0.51, 0.56], [0.60, 0.585, 0.55]]) + rng.normal(0, 0.004, (2, 3))

    row, column = hurt.integers(j.min() + 3, j.max() - 3), hurt.integers(i.min() + 3, i.max() - 3)
    reach = hurt.integers(4, 7)
    if defect == "wrong_weave":  # a patch in which a yarn floats over three others: a 3/1 twill
        patch = (abs(i - column) < reach) & (abs(j - row) < reach - 1)
        over = np.where(patch, hurt.choice([-1, 1]) * np.where((i - j) % 4 < 3, 1.0, -1.0), over)
    warp = np.sqrt(np.clip(1 - (2.15 * a / thick[0][i % 80]) ** 2, 0, 1)) + 0.55 * over * np.cos(np.pi * b)
    weft = np.sqrt(np.clip(1 - (2.15 * b / thick[1][j % 80]) ** 2, 0, 1)) - 0.55 * over * np.cos(np.pi * a)
    if defect == "missing_yarn":
        if hurt.random() < 0.5:
            warp = np.where((i == column) & (abs(j - row) <= reach), -0.9, warp)
        else:
            weft = np.where((j == row) & (abs(i - column) <= reach), -0.9, weft)
    top = np.clip(np.maximum(warp, weft), -0.4, None)
    tone = np.where(warp > weft, hue[0][i % 80] + 0.035 * fibre[1], hue[1][j % 80] + 0.035 * fibre[0])
    colour = np.where((warp > weft)[..., None], dye[0], dye[1]) + tone[..., None]
    depth = np.clip(0.58 + 0.29 * (top + 0.4), 0.55, 1.15)  # little light reaches the gaps
    surface = Surface(0.010 * top, colour * depth[..., None])
    if defect == "stain":
        stain(surface, hurt, x, y, hurt.uniform(0.2, 0.8, 2), hurt.uniform(0.07, 0.12), SOIL_OR_BLEACH)
    elif defect == "loose_thread":
        lying = hurt.uniform(0.3, 0.7, 2), hurt.uniform(0.3, 0.6), hurt.uniform(0, np.pi)
        away, place = curve(hurt, x, y, *lying, bend=1.2)
        thread = (inside(away - 0.013) * inside(abs(place - 0.5) - 0.499))[..., None]
        dark, pale = (0.30, 0.22, 0.26), (0.85, 0.84, 0.78)
        yarn = np.array([dark, pale][hurt.integers(2)]) * (1 + 0.1 * np.sin(place * 90))[..., None]
        surface.colour = surface.colour * (1 - 0.4 * np.clip(1.6 - away / 0.013, 0, 1))[..., None]
        surface.colour = surface.colour * (1 - thread) + yarn * thread
        surface.height = surface.height * (1 - thread[..., 0]) + thread[..., 0] * (0.03 - away**2 * 40)
    return lit(surface, light, lamp=0.85, gloss=0.03)


def table(rng, size, shade):
    """Return the matte ground (size, size, 3) on which the objects lie."""
    tone = shade + 0.005 * grain(rng, size, 0.25) + 0.010 * grain(rng, size, 0.012)
    return tone[..., None] + rng.normal(0, 0.003, 3)


def put(ground, surface, cover, light, gloss, sharpness):
    """Return the picture (H, W, 3) of an object on the ground; `cover` (H, W) in 0..1 is its outline."""
    size = cover.shape[0]
    away = -light[:2] / np.linalg.norm(light[:2]) * 0.02 * size
    shifted = np.roll(cover, np.rint(away[::-1]).astype(int), (0, 1))
    shadow = ndimage.gaussian_filter(shifted, 0.012 * size, truncate=2.5)
    picture = ground * (1 - 0.45 * shadow)[..., None]
    return picture + cover[..., None] * (lit(surface, light, gloss=gloss, sharpness=sharpness) - picture)


def washer(rng, hurt, defect, size):
    """Draw a turned steel washer with a key on its inner edge (size, size, 3), in a jig."""
    x, y = grid(size)
    light, ground = lamp_position(rng), table(rng, size, rng.normal(0.40, 0.005))
    centre, angle = 0.5 + rng.normal(0, 0.002, 2), rng.normal(-0.9, 0.02)
    outer, inner = rng.normal(0.365, 0.002), rng.normal(0.170, 0.002)
    grooves, tone, gleam = rng.standard_normal((240, 4)), rng.normal(0.52, 0.008), rng.normal(0.8, 0.08)
    u, v = turned(x, y, angle, centre)
    radius, around = np.hypot(u, v), np.arctan2(v, u)
    key = np.maximum(np.abs(v) - 0.032, np.abs(u - inner) - 0.045)
    if defect == "missing_key":
        key = key + hurt.uniform(0.5, 0.9)
    shape = np.maximum(radius - outer, np.minimum(inner - radius, key))
    side = hurt.uniform(0, 2 * np.pi)
    if defect == "chip":
        edge = outer if hurt.random() < 0.7 else inner
        at = edge * np.cos(side), edge * np.sin(side)
        shape = np.maximum(shape, -blob(hurt, u, v, at, hurt.uniform(0.05, 0.08), rough=0.35))
    bevel = np.clip(1 + shape / 0.022, 0, 1)
    turning = 0.022 * sample(grooves, radius * 2, around / (2 * np.pi))
    sheen = 0.10 * np.cos(2 * (around + angle - gleam)) + 0.04 * np.cos(4 * (around + angle - gleam))
    metal = (tone + turning + sheen)[..., None] * np.array([0.99, 1.0, 1.02])
    surface = Surface(-0.012 * bevel**2, metal)
    middle = rng.uniform(0.23, 0.31)
    at = centre + middle * np.array([np.cos(side), np.sin(side)])
    if defect == "scratch":
        scratch(surface, hurt, x, y, at, hurt.uniform(0.20, 0.34), hurt.uniform(0, np.pi))
    elif defect == "dent":
        dent(surface, hurt, x, y, at, hurt.uniform(0.055, 0.085))
    elif defect == "stain":
        stain(surface, hurt, x, y, at, hurt.uniform(0.06, 0.09), RUST_OR_LIME)
    return put(ground, surface, inside(shape), light, gloss=0.14, sharpness=20)


def screw(rng, hurt, defect, size):
    """Draw a pan-head screw seen from its side (size, size, 3), in a jig."""
    x, y = grid(size)
    light, ground = lamp_position(rng), table(rng, size, rng.normal(0.66, 0.005))
    # Play of more than a pixel at 64 pixels would cost a detector more than most of the damage below.
    length, angle = rng.normal(0.80, 0.002), rng.normal(0.6, 0.007)
    u, v = turned(x, y, angle, 0.5 + rng.normal(0, 0.002, 2))
    u = u / length + 0.5  # 0 at the head, 1 at the tip
    phase, tone, streaks = rng.normal(0, 0.02), rng.normal(0.42, 0.008), grain(rng, size, 0.02)
    tip = hurt.uniform(0.86, 0.92) if defect == "missing_tip" else 1.0
    body = np.interp(u, [0.14, 0.141, 0.85, 1.0], [0.062, 0.058, 0.058, 0.004])
    head = 0.118 * np.sqrt(np.clip(1 - (np.clip(0.085 - u, 0, 0.085) / 0.092) ** 2, 0, 1))
    radius = np.where(u < 0.14, head, body)

    threaded = np.clip((u - 0.36) / 0.03, 0, 1) * np.clip((1.0 - u) / 0.1, 0, 1)
    pitch = np.full_like(u, 0.066)
    place = hurt.uniform(0.48, 0.72)
    if defect == "wrong_thread":
        span = np.abs(u - place) < hurt.uniform(0.09, 0.13)
        kind = hurt.integers(2)
        if kind == 0:  # worn flat
            threaded = np.where(span, 0, threaded)
        else:  # cut twice
            pitch = np.where(span, 0.041, pitch)
    ridge = np.arcsin(np.clip(v / radius, -1, 1)) / (2 * np.pi)
    wave = np.cos(2 * np.pi * (u / pitch + phase - ridge))
    radius = radius * (1 + threaded * (0.17 * wave + 0.05))
    shape = np.maximum(np.abs(v) - radius, np.maximum(-u, u - tip) * length)
    height = np.sqrt(np.clip(radius**2 - v**2, 0, None))
    metal = (tone + 0.02 * streaks + 0.10 * threaded * wave)[..., None] * np.array([1.0, 0.98, 0.93])
    surface = Surface(height, metal)
    spot = hurt.uniform([0.16, -0.02], [0.34, 0.02])
    if hurt.random() < 0.4:
        spot = np.array([0.07, hurt.uniform(-0.05, 0.05)])
    along, across = (u - 0.5) * length, v
    at = (spot[0] - 0.5) * length, spot[1]
    if defect == "scratch":
        scratch(surface, hurt, along, across, at, hurt.uniform(0.18, 0.28), hurt.uniform(0, np.pi))
    elif defect == "rust":
        at = (hurt.uniform(0.1, 0.9) - 0.5) * length, hurt.uniform(-0.02, 0.02)
        stain(surface, hurt, along, across, at, hurt.uniform(0.08, 0.12), RUST_ON_DARK)
    return put(ground, surface, inside(shape), light, gloss=0.35, sharpness=14)


CATEGORIES = {
    "brushed_metal": (brushed, ("scratch", "stain", "dent", "rub")),
    "woven_cloth": (cloth, ("missing_yarn", "wrong_weave", "stain", "loose_thread")),
    "washer": (washer, ("scratch", "stain", "dent", "chip", "missing_key")),
    "screw": (screw, ("scratch", "rust", "wrong_thread", "missing_tip")),
}


def photograph(category, defect, seed, size=128):
    """Return one picture (size, size, 3) uint8; `defect` is "good" or one of the category's defects.

    The scene (light, pose, grain, camera) depends on nothing but `seed`, a tuple of whole numbers: the same
    seed with another defect is the same part, damaged.
    """
    scene, hurt, camera = (np.random.default_rng([*seed, stream]) for stream in range(3))
    draw, _ = CATEGORIES[category]
    picture = draw(scene, hurt, defect, size)
    picture = picture * camera.normal(1, 0.01) + camera.normal(0, 0.008, (size, size, 1))
    return np.clip(np.rint(picture * 255), 0, 255).astype(np.uint8)


def closed(mask):
    """Return the mask (H, W) without the gaps where, by chance, damage left a pixel as it was."""
    return ndimage.binary_closing(np.pad(mask, 4), np.ones((5, 5)))[4:-4, 4:-4]


def make(size=128, seed=0, train=160, good=40, defects=10):
    """Generate, per category, `train` good pictures to train on; to test, `good` and `defects` of each kind.

    Returns Images: x (N, 3, size, size), y the category, kinds "good" or the defect's name, masks True where
    the damage changed a pixel, without gaps of up to 4. The first n pictures of a kind are the same however
    many are asked for.
    """
    x, y, kinds, test, masks = [], [], [], [], []
    for k, (category, (_, damages)) in enumerate(CATEGORIES.items()):
        wanted = [("good", train), ("good", good), *((damage, defects) for damage in damages)]
        for part, (kind, count) in enumerate(wanted):
            for i in range(count):
                picture = photograph(category, kind, (seed, k, part, i), size)
                whole = picture if kind == "good" else photograph(category, "good", (seed, k, part, i), size)
                x.append(picture.transpose(2, 0, 1))
                masks.append(closed((picture != whole).any(-1))[None])
                y.append(k)
                kinds.append(kind)
                test.append(part > 0)
    return Images(
        name=f"parts {seed}" if seed else "parts", x=torch.from_numpy(np.stack(x)), y=torch.tensor(y),
        classes=tuple(CATEGORIES), test=torch.tensor(test), masks=torch.from_numpy(np.stack(masks)), kinds=tuple(kinds),
    )
