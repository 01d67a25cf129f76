"""Stops a process amid writing a file, or changes its clock; a Python process loads it that finds its folder first.

What is wanted: of the files below "folder" that are opened to be written ("open") or put in their place ("rename"), at
the "number"-th such "event" of all processes together the process stops after "delay" seconds, and the file's path is
in "told". Whoever waits for that kills the program. A started program finds it as JSON in SUBMASKING_STOP, and in
SUBMASKING_CLOCK how many seconds its `time.time` is ahead.
"""

import json
import os
import signal
import sys
import threading
import time


def install(wanted):
    """Stop this process, from now on, where it is wanted."""

    def seen(event, arguments):
        if event == "os.rename" and wanted["event"] == "rename":
            path = arguments[1]
        elif event == "open" and wanted["event"] == "open" and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR):
            path = arguments[0]
        else:
            return
        if isinstance(path, str | os.PathLike) and os.fspath(path).startswith(wanted["folder"]) and last(wanted):
            if wanted["delay"]:
                threading.Thread(target=stop, args=(wanted, os.fspath(path)), daemon=True).start()
            else:
                stop(wanted, os.fspath(path))

    sys.addaudithook(seen)


def last(wanted):
    """Count one event more; whether it is the one."""
    count = os.open(wanted["told"] + ".count", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(count, b".")
    number = os.fstat(count).st_size
    os.close(count)
    return number == wanted["number"]


def stop(wanted, path):
    time.sleep(wanted["delay"])
    told = os.open(wanted["told"] + ".part", os.O_WRONLY | os.O_CREAT)
    os.write(told, path.encode())
    os.close(told)
    os.rename(wanted["told"] + ".part", wanted["told"])
    os.kill(os.getpid(), signal.SIGSTOP)


if os.environ.get("SUBMASKING_STOP"):
    install(json.loads(os.environ["SUBMASKING_STOP"]))
if ahead := float(os.environ.get("SUBMASKING_CLOCK") or 0):
    true, true_ns = time.time, time.time_ns
    time.time = lambda: true() + ahead
    time.time_ns = lambda: true_ns() + int(ahead * 1e9)
