"""`python -m image_drop_local.emulator`, which is `make local`: the whole stack, until Ctrl-C.

PORT is where AWS is emulated (4566; 0 takes a free one). Calls go to the built-in simulator of
Venice, or to VENICE_BASE_URL with the key VENICE_API_KEY. Web pages are refused, but for uploads
to the input bucket from pages of ALLOW_ORIGIN, such as http://localhost:3000.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from image_drop_cli.console.server import ConsoleServer
from image_drop_cli.deployment import Deployment
from image_drop_local.emulator.stack import ACCESS_KEY, REGION, SECRET_KEY, STACK_NAME, Stack
from image_drop_local.simulator import Simulator

# 600 edits a minute of one second each are ten at a time; twice that covers the work around the
# call. Four more processes are for uploads and the account watch.
MAXIMUM_CONCURRENCY = 20
CONCURRENCY = MAXIMUM_CONCURRENCY + 4


def main() -> None:
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    try:
        with (
            venice(os.environ) as (url, api_key),
            Stack(
                port=int(os.environ.get("PORT", "4566")),
                venice_url=url,
                venice_api_key=api_key,
                parameters={"MaximumConcurrency": str(MAXIMUM_CONCURRENCY)},
                concurrency=CONCURRENCY,
                allow_origin=os.environ.get("ALLOW_ORIGIN", ""),
            ) as stack,
            ConsoleServer(Deployment.find(STACK_NAME, endpoint_url=stack.endpoint_url)) as console,
        ):
            print(welcome(stack, url, console.address), flush=True)
            while not stopped.wait(
                0.5
            ):  # the handler runs here, even if another thread got the signal
                pass
    except (OSError, ValueError) as error:
        sys.exit(f"make local: {error}")
    print("stopped", flush=True)


@contextmanager
def venice(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield Venice's URL and key: those in the environment, else those of a simulator."""
    api_key = environment.get("VENICE_API_KEY", "local")
    if url := environment.get("VENICE_BASE_URL"):
        yield url.rstrip("/"), api_key
        return
    with Simulator() as simulator:
        yield simulator.url, "local"  # a simulation does not need a real key


def welcome(stack: Stack, venice_url: str, console: str) -> str:
    """Return everything that a person needs to drop the first photo."""
    outputs = "\n".join(f"  {name:20} {value}" for name, value in stack.outputs.items())
    return f"""Image Drop is ready; Ctrl-C stops it and forgets everything.

Open this page to drop photos and look at the results:

  {console}

  AWS                  {stack.endpoint_url}
  Venice               {venice_url}
{outputs}

Or drop a photo and look for the result in another terminal:

  export AWS_ENDPOINT_URL={stack.endpoint_url} AWS_REGION={REGION}
  export AWS_ACCESS_KEY_ID={ACCESS_KEY} AWS_SECRET_ACCESS_KEY={SECRET_KEY}
  aws s3api put-object --bucket {stack.outputs["InputBucketName"]} \
--key shoe.jpg --body shoe.jpg --tagging mode=background-remove
  aws s3 ls s3://{stack.outputs["OutputBucketName"]}/
"""


if __name__ == "__main__":
    main()
