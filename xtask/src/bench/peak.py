#!/usr/bin/python3
"""Runs $PEAK_OF with these arguments; writes its peak of resident memory, in KiB, to $PEAK_TO."""

import os
import sys

program = os.environ["PEAK_OF"]
child = os.posix_spawn(program, [program, *sys.argv[1:]], os.environ)
_, status, usage = os.wait4(child, 0)
with open(os.environ["PEAK_TO"], "w") as peak:
    peak.write(str(usage.ru_maxrss))
sys.exit(os.waitstatus_to_exitcode(status))
