"""Images to patch embeddings."""

import flax.linen as nn
import jax
import jax.numpy as jnp

MEAN = (0.485, 0.456, 0.406)  # ImageNet RGB statistics, as every pretrained backbone here expects
STD = (0.229, 0.224, 0.225)


def normalize_image(image: jax.Array) -> jax.Array:
    """uint8 RGB [..., 3] -> float32 with ImageNet's mean and deviation; floats pass unchanged."""
    if jnp.issubdtype(image.dtype, jnp.floating):
        return image
    if image.dtype != jnp.uint8:
        raise ValueError(f"images are uint8 RGB or normalised floats, got {image.dtype}")
    mean, std = (jnp.broadcast_to(jnp.array(value), image.shape) for value in (MEAN, STD))
    return (image.astype(jnp.float32) / 255 - mean) / std


def split_patches(image: jax.Array, size: int) -> jax.Array:
    """[..., n * size, m * size, C] -> non-overlapping patches [..., n, m, size, size, C]."""
    *batch, height, width, channels = image.shape
    if height % size or width % size:
        raise ValueError(f"an image of {height}x{width} does not divide into {size} px patches")
    grid = image.reshape(*batch, height // size, size, width // size, size, channels)
    return jnp.swapaxes(grid, -4, -3)


class PatchEmbed(nn.Module):
    """A convolution whose stride is its kernel size, written as one matrix product.

    [..., n * size, m * size, 3] -> [..., n, m, width]; the kernel is a convolution's
    [size, size, 3, width].
    """

    size: int
    width: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        patches = split_patches(image.astype(self.dtype), self.size)
        kernel_shape = (self.size, self.size, image.shape[-1], self.width)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), kernel_shape)
        bias = self.param("bias", nn.initializers.zeros, (self.width,))
        out = jnp.einsum("...hwc,hwcd->...d", patches, kernel.astype(self.dtype))
        return out + jnp.broadcast_to(bias.astype(self.dtype), out.shape)


def position_embedding(module: nn.Module, name: str, tokens: jax.Array) -> jax.Array:
    """The learned positions [1, N, D] of one crop, a parameter of the calling module."""
    normal = nn.initializers.truncated_normal(0.02)
    return module.param(f"pos_embed_{name}", normal, (1, *tokens.shape[1:]))


def tokens_in_box(box_cxcywh: jax.Array, grid: int) -> jax.Array:
    """Tokens whose cell the box touches: [B, 4] fractions of the crop -> bool [B, grid * grid]."""
    first = jnp.floor(grid * (box_cxcywh[:, :2] - box_cxcywh[:, 2:] / 2))  # [B, 2] column, row
    last = jnp.ceil(grid * (box_cxcywh[:, :2] + box_cxcywh[:, 2:] / 2))
    cells = jnp.arange(grid)[None, :, None]
    columns, rows = jnp.moveaxis((first[:, None] <= cells) & (cells < last[:, None]), 2, 0)
    return (rows[:, :, None] & columns[:, None, :]).reshape(len(box_cxcywh), -1)
