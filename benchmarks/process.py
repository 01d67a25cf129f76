"""A process of its own for what must not see what ran before it, and the memory that a process holds."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def fresh(module: str, *arguments: object) -> Any:
    """Return what `python -m module arguments` prints as JSON, run in a new process with one thread.

    There, memory that is freed goes back to the system at once (glibc), so that what is held is what is used.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    surroundings = os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, env=surroundings).stdout)


def held(field: str) -> int | None:
    """Return a size of this process by its name in /proc/self/status, in bytes; None where there is no /proc.

    Args:
        field: "VmRSS", what it holds now, or "VmHWM", the most it has held.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    line = next(line for line in status.read_text().splitlines() if line.startswith(field))
    return 1024 * int(line.split()[1])
