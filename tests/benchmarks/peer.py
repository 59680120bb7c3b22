"""A process of its own for prometheus_client and a bare GET: `python peer.py URL COUNT` prints seconds for one."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.peers import client_and_get

if __name__ == "__main__":
    json.dump(client_and_get(sys.argv[1], int(sys.argv[2])), sys.stdout)
