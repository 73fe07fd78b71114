"""Deterministic test weights and test inputs for the parity fixtures in this folder.

Depends on numpy only.  Every number comes from Philox4x64-10 raw 64-bit words
(counter 0, key = first 8 bytes, little endian, of sha256(name)); everything after
that is integer arithmetic or a single IEEE-754 operation per element (no exp, cos,
log), so the values are bit-identical on every platform and numpy version.

    tensor(key, shape, dtype)   value of the state-dict entry `key`
    normal / uniform / integers(name, shape, ...)   generic streams for inputs
    smooth_image, noise_image, video                uint8 RGB images, (H, W, 3)
    normalize(img)                                  float32 (3, H, W) network input
"""

import hashlib
import math

import numpy as np

# ----------------------------------------------------------------- raw streams


def raw(name, n):
    """n raw uint64 words of the stream called `name`."""
    key = int.from_bytes(hashlib.sha256(name.encode("utf-8")).digest()[:8], "little")
    return np.random.Philox(key=key, counter=0).random_raw(int(n))


def _count(shape):
    return int(math.prod(shape))


def normal(name, shape):
    """float64, approximately N(0,1): Irwin-Hall sum of the four uint16 of each word.

    Mean 0 and variance 1 exactly in distribution, support about [-3.46, 3.46].
    """
    w = raw(name, _count(shape))
    m = np.uint64(0xFFFF)
    s = (
        (w & m) + ((w >> np.uint64(16)) & m) + ((w >> np.uint64(32)) & m) + (w >> np.uint64(48))
    ).astype(np.float64)
    z = (s - 2.0 * 65535.0) / math.sqrt((65536.0**2 - 1.0) / 3.0)
    return z.reshape(shape)


def uniform(name, shape):
    """float64 in [0, 1): top 53 bits of each word."""
    return ((raw(name, _count(shape)) >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(
        shape
    )


def integers(name, shape, lo, hi):
    """int64 in [lo, hi): top 32 bits scaled."""
    w = raw(name, _count(shape)) >> np.uint64(32)
    return (lo + ((w * np.uint64(hi - lo)) >> np.uint64(32)).astype(np.int64)).reshape(shape)


# ----------------------------------------------------------------- weights

POS_STD = 0.2  # position / segment embeddings, cls token, queries
QKV_GAIN = 1.5  # attention input projections, std = gain / sqrt(fan_in)
RESIDUAL_GAIN = 0.5  # attn.proj and mlp.fc2 (they write to the residual stream)
LINEAR_GAIN = 1.0  # all other 2-d weights, std = gain / sqrt(fan_in)

# Last (1x1) convolutions of the centre head: (weight factor, bias offset).
# Sizes come out near sigmoid(-1.2) = 0.23 of the search region and offsets near 0.5.
_HEAD = {
    "conv5_ctr": (1.0, -1.0),
    "conv5_size": (0.25, -1.2),
    "conv5_offset": (0.25, 0.5),
}


def tensor(key, shape, dtype="float32"):
    """Value of the PyTorch state-dict entry `key` (PyTorch layout)."""
    shape = tuple(int(s) for s in shape)
    leaf = key.rsplit(".", 1)[-1]
    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    z = normal(key, shape)
    wfac, boff = 1.0, 0.0
    for part, (f, b) in _HEAD.items():
        if part in key.split("."):
            wfac, boff = f, b
    if leaf == "running_mean":
        v = 0.02 * z
    elif leaf == "running_var":
        v = 1.0 + 0.1 * np.abs(z)
    elif len(shape) == 1:
        # LayerNorm or BatchNorm scale; otherwise any bias
        v = 1.0 + 0.1 * z if leaf == "weight" else boff + 0.02 * z
    elif len(shape) == 4:  # convolution kernel (out, in, kh, kw)
        v = (wfac * math.sqrt(2.0 / (shape[1] * shape[2] * shape[3]))) * z
    elif len(shape) == 3 or "embed" in key.split(".")[-2 if leaf == "weight" else -1]:
        v = POS_STD * z  # pos_embed*, cls_token, query / row / col embedding
    else:  # linear weight (out, in)
        if "qkv" in key or "in_proj" in key:
            gain = QKV_GAIN
        elif key.endswith(("attn.proj.weight", "mlp.fc2.weight")):
            gain = RESIDUAL_GAIN
        else:
            gain = LINEAR_GAIN
        v = (gain / math.sqrt(shape[1])) * z
    return v.astype(dtype)


def digest(a):
    """First 16 hex digits of sha256 over the C-order little-endian bytes."""
    a = np.ascontiguousarray(a)
    return hashlib.sha256(a.astype(a.dtype.newbyteorder("<"), copy=False).tobytes()).hexdigest()[
        :16
    ]


def state(manifest):
    """{key: array} for a manifest: a list of [key, shape, dtype, digest]."""
    out = {}
    for key, shape, dtype, dig in manifest:
        out[key] = tensor(key, shape, dtype)
        if digest(out[key]) != dig:
            raise ValueError(f"digest mismatch for {key}")
    return out


# ----------------------------------------------------------------- images


def noise_image(name, h, w, lo=0, hi=256):
    """Independent uniform uint8 pixels in [lo, hi)."""
    return integers(name, (h, w, 3), lo, hi).astype(np.uint8)


def smooth_image(name, h, w, cells=(128, 64, 32, 16, 8)):
    """Value noise: random grids at several (power-of-two) cell sizes, bilinearly
    interpolated and summed with amplitudes proportional to the cell size.
    Pure int64 arithmetic.  Looks like soft clouds with some finer detail."""
    cmax = max(cells)
    total = np.zeros((h, w, 3), np.int64)
    amp = 0
    for c in cells:
        g = integers(f"{name}/cell{c}", (h // c + 2, w // c + 2, 3), 0, 256)
        y, x = np.arange(h), np.arange(w)
        y0, fy = y // c, (y % c)[:, None, None]
        x0, fx = x // c, (x % c)[None, :, None]
        v = (
            (c - fy) * (c - fx) * g[y0][:, x0]
            + (c - fy) * fx * g[y0][:, x0 + 1]
            + fy * (c - fx) * g[y0 + 1][:, x0]
            + fy * fx * g[y0 + 1][:, x0 + 1]
        )
        total += v * (cmax // c) ** 2 * c  # value * cmax^2, weight c
        amp += c
    v = total // (amp * cmax * cmax)
    v = (v - 128) * 2 + 128  # summing octaves loses contrast
    return np.clip(v, 0, 255).astype(np.uint8)


def normalize(img):
    """uint8 (H, W, 3) RGB -> float32 (3, H, W), ImageNet mean / std, all in float32."""
    x = img.astype(np.float32).transpose(2, 0, 1) / np.float32(255.0)
    mean = np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
    std = np.array([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1)
    return (x - mean) / std


def video(name, n, h, w, box0, vel, grow=(0, 0)):
    """(frames uint8 (n,h,w,3), boxes int64 (n,4) x y w h).

    A textured rectangle moves with integer velocity `vel` and grows by `grow`
    pixels per frame over a static smooth background plus per-frame pixel noise.
    """
    bg = smooth_image(name + "/bg", h, w).astype(np.int64)
    tex = smooth_image(name + "/tex", 512, 512, cells=(16, 8, 4)).astype(np.int64)
    frames, boxes = [], []
    for t in range(n):
        x, y = box0[0] + vel[0] * t, box0[1] + vel[1] * t
        bw, bh = box0[2] + grow[0] * t, box0[3] + grow[1] * t
        f = (bg * 3) // 4
        x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + bw, w), min(y + bh, h)
        if x1 > x0 and y1 > y0:
            patch = np.clip((tex[y0 - y : y1 - y, x0 - x : x1 - x] - 128) * 2 + 128, 0, 255)
            patch = patch * np.array([4, 3, 2]) // 4 + np.array([60, 20, 0])
            f[y0:y1, x0:x1] = patch
        f = f + integers(f"{name}/noise{t}", (h, w, 3), -12, 13)
        frames.append(np.clip(f, 0, 255).astype(np.uint8))
        boxes.append((x, y, bw, bh))
    return np.stack(frames), np.array(boxes, np.int64)
