"""The demo's cloud as a process: moto's SQS and EC2 on loopback, until standard input closes.

Apart from everything else because its work must not slow the prober down. Prints its address as one line.
"""

from __future__ import annotations

import importlib
import logging
import sys

__all__ = ["main"]


def main() -> int:
    """Serve. Exit code 3: moto is not installed."""
    try:
        for part in ("moto.ec2.responses", "moto.sqs.responses"):
            importlib.import_module(part)  # now: the first request would wait for it
        from moto.moto_server.threaded_moto_server import ThreadedMotoServer  # noqa: PLC0415  (it may be missing)
    except ImportError:
        return 3
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    print(f"http://{host}:{port}", flush=True)
    sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())
