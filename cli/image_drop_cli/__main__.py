"""`python -m image_drop_cli`."""

from image_drop_cli import app

app()
