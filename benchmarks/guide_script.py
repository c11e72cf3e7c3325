"""What a person writes after reading Venice's guide to image editing: image as base64 in JSON.

    VENICE_BASE_URL=… VENICE_API_KEY=… python benchmarks/guide_script.py photo.jpg edited.png

https://docs.venice.ai/guides/media/image-editing, without its `model`, which Venice no longer has.
"""

import base64
import os
import sys

import requests


def edit(photo: str, edited: str) -> None:
    """Edit one photo."""
    with open(photo, "rb") as file:  # noqa: PTH123  # as in the guide
        image = base64.b64encode(file.read()).decode("utf-8")
    response = requests.post(
        f"{os.environ['VENICE_BASE_URL']}/image/edit",
        headers={
            "Authorization": f"Bearer {os.environ['VENICE_API_KEY']}",
            "Content-Type": "application/json",
        },
        json={"prompt": "Remove the cup", "image": image},
    )
    with open(edited, "wb") as file:  # noqa: PTH123
        file.write(response.content)


if __name__ == "__main__":
    edit(sys.argv[1], sys.argv[2])
