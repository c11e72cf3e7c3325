"""`python -m image_drop_local.demo`, which is `make demo`."""

import argparse
import sys
from pathlib import Path

from image_drop_local.demo.run import main

parser = argparse.ArgumentParser(prog="python -m image_drop_local.demo")
parser.add_argument(
    "--svg", type=Path, metavar="FILE", help="write a picture of the terminal to FILE"
)
sys.exit(main(parser.parse_args().svg))
