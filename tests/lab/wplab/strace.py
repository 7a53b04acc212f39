# SPDX-License-Identifier: LGPL-2.1-or-later
"""strace on a running service: to kill it before a chosen system call, and to see in which order it works.

The surprising thing: strace counts calls for each thread and each system call by itself. So "the third fsync" is
the third one of whichever thread comes there first; with one disk thread, that is the same one each time.
"""
import collections
import os
import re
import subprocess

from .run import CLEAN_ENV, alive

UNFINISHED = re.compile(r'^(\d+) +(\w+)\((.*) <unfinished \.\.\.>$')
RESUMED = re.compile(r'^(\d+) +<\.\.\. (\w+) resumed>(.*)$')
WHOLE = re.compile(r'^(\d+) +(\w+)\((.*)$')

Call = collections.namedtuple('Call', 'thread name text begin end')


class Strace:
    """Attached to process @pid and all of its threads when the constructor returns. @kill_at: killed before the n-th of @calls, or of @kill,
    if the others are to be seen as well. @fail_at: the n-th of them fails with @error."""

    def __init__(self, lab, pid, calls, out, kill_at=None, paths=True, kill=None, fail_at=None, error=None):
        argv = ['/usr/bin/strace', '-f', '-s', '16', '-o', out, '-p', str(pid), '-e', 'trace=' + ','.join(calls),
                '-e', 'signal=none']
        if kill_at:
            argv += ['-e', f'inject={kill or ",".join(calls)}:signal=SIGKILL:when={kill_at}']
        if fail_at:
            argv += ['-e', f'inject={",".join(calls)}:error={error}:when={fail_at}']
        if paths and (kill or not kill_at):
            argv.append('-yy')
        self.pid, self.out = pid, out
        # In the service's network: what a socket is connected to is asked of the kernel there.
        self.process = subprocess.Popen(lab.client.enter(argv), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                        text=True, env=CLEAN_ENV)
        line = self.process.stderr.readline()
        if 'attached' not in line:
            raise RuntimeError('strace: ' + line + self.process.stderr.read())

    def ended(self):
        """Whether the traced process has ended, or is dying."""
        return self.process.poll() is not None or not alive(self.pid)

    def detach(self):
        """strace sometimes waits for ever for a thread of a process that it has killed: it gets a moment, then goes as well."""
        if self.process.poll() is None and alive(self.pid):
            self.process.terminate()
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.detach()

    def calls(self):
        with open(self.out, errors='replace') as f:
            return parse(f)


def parse(lines):
    """[Call] in the order in which they began; .begin and .end are line numbers. What never returned has .end None."""
    calls, open_calls = [], {}
    for number, line in enumerate(lines):
        line = line.rstrip('\n')
        if match := UNFINISHED.match(line):
            open_calls[match[1]] = len(calls)
            calls.append(Call(match[1], match[2], match[3], number, None))
        elif match := RESUMED.match(line):
            at = open_calls.pop(match[1], None)
            if at is not None:
                calls[at] = calls[at]._replace(text=calls[at].text + match[3], end=number)
        elif match := WHOLE.match(line):
            calls.append(Call(match[1], match[2], match[3], number, number))
    return calls


def highest_counts(calls):
    """System call -> how often the thread that makes it most often made it: up to there, a kill hits."""
    counts = collections.Counter((c.thread, c.name) for c in calls)
    highest = collections.Counter()
    for (_, name), n in counts.items():
        highest[name] = max(highest[name], n)
    return highest


def thread_indices(calls, wanted):
    """[(system call, n)]: @wanted are the n-th of their threads."""
    seen, found = collections.Counter(), []
    for call in calls:
        seen[call.thread, call.name] += 1
        if wanted(call):
            found.append((call.name, seen[call.thread, call.name]))
    return found


def remove(path):
    if os.path.exists(path):
        os.unlink(path)
