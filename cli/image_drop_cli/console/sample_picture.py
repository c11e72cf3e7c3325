"""A cut-out to draw a finish around: a vase, as the background remover would leave one."""

import io
from functools import cache

from PIL import Image, ImageDraw, ImageFilter

SIZE = 480  # pixels of each side


@cache
def sample_picture() -> bytes:
    """Return the sample as PNG with transparency around it."""
    large = Image.new("RGBA", (SIZE, SIZE))
    pen = ImageDraw.Draw(large)
    pen.polygon(_outline(), fill="#3f6f8f")
    light = Image.new("RGBA", (SIZE, SIZE))
    ImageDraw.Draw(light).ellipse((168, 190, 236, 380), fill=(255, 255, 255, 90))
    light = light.filter(ImageFilter.GaussianBlur(18))
    shade = Image.alpha_composite(large, light)
    shade.putalpha(large.getchannel("A"))
    target = io.BytesIO()
    shade.save(target, "PNG")
    return target.getvalue()


def _outline() -> list[tuple[int, int]]:
    """Return the left side of the vase from its rim to its foot, and the right one back."""
    left = [(186, 60), (196, 84), (204, 120), (196, 160), (160, 210), (138, 270), (146, 330)]
    left += [(172, 384), (196, 412), (200, 424)]
    return left + [(SIZE - x, y) for x, y in reversed(left)]
