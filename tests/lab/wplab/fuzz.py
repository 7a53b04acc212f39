# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs the libFuzzer programs of a clang build: python3 -m wplab.fuzz BUILD SECONDS [NAME...]. scripts/fuzz builds first."""
import concurrent.futures
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

from .run import CLEAN_ENV, PROJECT

CORPUS = os.path.join(PROJECT, 'tests', 'fuzz', 'corpus')


def programs(build):
    """Names of the fuzzers that are built."""
    paths = glob.glob(os.path.join(glob.escape(build), 'tests', 'fuzz', 'fuzz-*'))
    return sorted(os.path.basename(p)[len('fuzz-'):] for p in paths if os.path.isfile(p) and os.access(p, os.X_OK))


def run(build, name, seconds, seed):
    """Returns (whether all was well, what is to be told of it)."""
    found = os.path.join(build, 'found')
    os.makedirs(found, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix='waypost-fuzz-') as folder:    # new inputs go here, not into the tree
        done = subprocess.run([os.path.join(build, 'tests', 'fuzz', 'fuzz-' + name), f'-max_total_time={seconds}', '-timeout=20', '-rss_limit_mb=2048',
                               '-max_len=16384', '-print_final_stats=1', f'-seed={seed}', f'-artifact_prefix={found}/{name}-', folder, os.path.join(CORPUS, name)],
                              env={**CLEAN_ENV, 'ASAN_OPTIONS': 'detect_leaks=1'}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, cwd=folder)
        new = len(os.listdir(folder))
    out = done.stdout.decode('utf-8', 'replace')
    executed = re.search(r'number_of_executed_units: *(\d+)', out)
    covered = re.findall(r'cov: (\d+)', out)
    if done.returncode == 0 and executed:
        return True, f'{int(executed[1]):,} inputs, {covered[-1] if covered else "?"} edges, {new} new to the corpus'
    return False, out[-6000:]


def run_all(build, seconds, names=(), seed=0):
    """Yields (name, well, told) in the order of their ends. @seed: 0 another one each time."""
    unknown = set(names) - set(programs(build))
    if unknown or not programs(build):
        raise SystemExit(f'there is no such fuzzer: {", ".join(sorted(unknown)) or "none is built"}')
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = {pool.submit(run, build, name, seconds, seed): name for name in names or programs(build)}
        for job in concurrent.futures.as_completed(jobs):
            yield jobs[job], *job.result()


def main():
    build, seconds, *names = os.path.abspath(sys.argv[1]), *sys.argv[2:]
    bad = 0
    for name, well, told in run_all(build, int(seconds), names):
        print(f'{name:14}{told}' if well else f'{name}: FOUND\n{told}', flush=True)
        bad += not well
    return 1 if bad else 0


if __name__ == '__main__':
    if not shutil.which('clang'):
        sys.exit('clang is not installed')
    sys.exit(main())
