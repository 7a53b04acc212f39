# SPDX-License-Identifier: LGPL-2.1-or-later
"""Measuring and telling: medians, tables, JSON, built helper programs, mailboxes of ordinary mail."""
import argparse
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import time

from wplab.run import CLEAN_ENV

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DELAY_MS = 20                   # each way
RTT = 2 * DELAY_MS / 1000


def arguments(description, *more):
    parser = argparse.ArgumentParser(description=description.strip().splitlines()[0])
    parser.add_argument('--json', metavar='FILE', help='also write what was measured there')
    parser.add_argument('--rounds', type=int, default=3, help='the median of so many is told (3)')
    for names, keys in more:
        parser.add_argument(*names, **keys)
    return parser.parse_args()


def median(values):
    return statistics.median(values)


def spread(values):
    return f'{min(values):.2f} to {max(values):.2f}'


def table(head, rows):
    """Prints columns; numbers to the right."""
    text = [[f'{cell:.2f}' if isinstance(cell, float) else '' if cell is None else str(cell) for cell in row]
            for row in (head, *rows)]
    widths = [max(len(line[i]) for line in text) for i in range(len(head))]
    right = [any(isinstance(row[i], (int, float)) for row in rows) for i in range(len(head))]
    for number, line in enumerate(text):
        cells = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right)]
        print('  ' + '  '.join(cells).rstrip())
        if number == 0:
            print('  ' + '  '.join('-' * w for w in widths))
    sys.stdout.flush()


def write_json(path, what):
    if not path:
        return
    what = dict(what, machine={'cpus': os.cpu_count(), 'kernel': platform.release(),
                               'load': os.getloadavg()[0]}, time=time.strftime('%Y-%m-%dT%H:%M:%S%z'))
    with open(path, 'w') as f:
        json.dump(what, f, indent=1)
        f.write('\n')


def build(name, folder):
    """Builds tests/bench/NAME.c."""
    program = os.path.join(folder, name)
    subprocess.run(['cc', '-std=gnu17', '-D_GNU_SOURCE', '-O2', '-Wall', '-Wextra', '-o', program,
                    os.path.join(HERE, name + '.c'), '-lssl', '-lcrypto', '-lpthread'], check=True, env=CLEAN_ENV)
    return program


def require(program):
    path = shutil.which(program, path=CLEAN_ENV['PATH'])
    if not path:
        sys.exit(f'{program} is not installed')
    return path


def ordinary_mail(count, octets, seed=1):
    """@count messages of @octets in all, sizes spread as in real mailboxes: most small, few large."""
    rng = random.Random(seed)
    sizes = [rng.lognormvariate(0, 1.3) for _ in range(count)]
    scale = octets / sum(sizes)
    pool = b'\n'.join(bytes(rng.choices(b'abcdefghijklmnopqrstuvwxyz    ', k=rng.randrange(60, 78)))
                      for _ in range(16384)) + b'\n'
    for number, size in enumerate(sizes):
        head = (b'Return-Path: <sender@example.test>\nDate: Mon, 02 Mar 2026 10:00:00 +0000\n'
                b'From: Sender <sender@example.test>\nTo: Big <big@example.test>\n'
                b'Message-ID: <bench-%d@example.test>\nSubject: message %d\n\n' % (number, number))
        length = max(200, int(size * scale) - len(head))
        start = rng.randrange(len(pool) - 1)
        body = (pool[start:] + pool * (length // len(pool) + 1))[:length]
        yield f'ordinary-{number}', head + body.rstrip(b'\n') + b'\n'


def peak_rss(pid):
    """VmHWM of a process in MiB."""
    with open(f'/proc/{pid}/status') as f:
        return next(int(line.split()[1]) / 1024 for line in f if line.startswith('VmHWM'))


def cpu_seconds(pid):
    with open(f'/proc/{pid}/stat') as f:
        fields = f.read().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')
