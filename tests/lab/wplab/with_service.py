# SPDX-License-Identifier: LGPL-2.1-or-later
"""scripts/with-service after the build: python3 -m wplab.with_service BUILD --lab|--no-lab COMMAND..."""
import contextlib
import json
import os
import signal
import subprocess
import sys

from .bus import Bus
from .lab import Lab
from .run import LabError

FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def main():
    build, with_lab, command = sys.argv[1], sys.argv[2] == '--lab', sys.argv[3:]
    child, early = None, []

    def forward(number, _frame):
        if child is None:
            early.append(number)            # also while Popen is at work: the command may be there already
        # A key on the terminal has reached the command already.
        elif not (number in (signal.SIGINT, signal.SIGQUIT) and sys.stdin and os.isatty(0)):
            child.send_signal(number)

    for number in FORWARDED:
        signal.signal(number, forward)
    try:
        with contextlib.ExitStack() as stack:
            lab = stack.enter_context(Lab()) if with_lab else None
            bus = stack.enter_context(Bus(build, lab=lab))
            stack.callback(complain, bus)
            bus.allow_bad_log = True            # the command's exit status counts; complain() tells the rest
            bus.binary('cli', 'waypost')
            if lab:
                lab.run.write('facts.json', json.dumps(lab.facts(), indent=2) + '\n')
            argv = bus.command(command, cwd=os.getcwd())
            env = {k: v for k, v in bus.environment(os.environ).items() if k not in ('PYTHONPATH', 'PYTHONDONTWRITEBYTECODE')}
            if early:
                return 128 + early[0]
            child = subprocess.Popen(argv, env=env)
            for number in early:
                child.send_signal(number)
            status = child.wait()
    except (LabError, FileNotFoundError, PermissionError) as error:
        print(f'waypost: {error}', file=sys.stderr)
        return 127 if isinstance(error, OSError) else 125
    return status if status >= 0 else 128 - status


def complain(bus):
    try:
        bus.check_log()
    except LabError as error:
        print(f'waypost: {error}', file=sys.stderr)


if __name__ == '__main__':
    sys.exit(main())
