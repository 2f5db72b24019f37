"""No-op jobs on Muster, on other queues and on a minimal worker: enqueueing, draining, starting on an idle worker."""

import sys

from scripts.benchmarks.peers.command import main

if __name__ == "__main__":
    sys.exit(main())
