# SPDX-License-Identifier: LGPL-2.1-or-later
"""scripts/test after the build: runs every suite, counts single tests, ends with the line that sums them up."""
import glob
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

from . import fuzz, guard
from .run import CLEAN_ENV, PROJECT

SANITIZED, RELEASE = os.path.join(PROJECT, 'build-san'), os.path.join(PROJECT, 'build')
EXCUSE = '../shared'
WORKERS = 3             # files of tests/lab at the same time: they wait more than they work
TAP = re.compile(r'^(ok|not ok)\b ?-?(.*)$', re.M)
CMOCKA = re.compile(r'^\[ *(OK|FAILED|SKIPPED) *\] (\S+)$', re.M)


class Count:
    def __init__(self):
        self.passed, self.failed, self.skipped = [], [], []

    def note(self, name, result, reason=''):
        {'passed': self.passed, 'failed': self.failed, 'skipped': self.skipped}[result].append((name, reason))

    @property
    def unexcused(self):
        return [s for s in self.skipped if EXCUSE not in s[1]]

    def summary(self, title):
        parts = f'{title}: {len(self.passed)} passed, {len(self.failed)} failed'
        print(parts + (f', {len(self.skipped)} skipped' if self.skipped else ''), flush=True)


def note_program(count, suite, test):
    """One program of meson's: its own tests, if it tells them (TAP, or cmocka's brackets), else itself."""
    name, out = test['name'], test.get('stdout', '') + '\n' + test.get('stderr', '')
    single = []
    for status, text in TAP.findall(test.get('stdout', '')):
        skip = re.search(r'# *SKIP(.*)', text, re.I)
        result = 'skipped' if skip else 'passed' if status == 'ok' else 'failed'
        said = re.sub(r'^[\s\d-]*', '', text.split('#')[0]).strip()
        single.append((said or skip[1].strip() if skip else said, result, skip[1].strip() if skip else out))
    if not single:
        words = {'OK': 'passed', 'FAILED': 'failed', 'SKIPPED': 'skipped'}
        single = list({n: (n, words[s], out) for s, n in CMOCKA.findall(out)}.values())
    for one, result, reason in single:
        count.note(f'{suite}/{name}/{one}', result, reason)
    failed = any(result == 'failed' for _, result, _ in single)
    if test['result'] in ('OK', 'EXPECTEDFAIL'):
        if not single:
            count.note(f'{suite}/{name}', 'passed')
    elif test['result'] == 'SKIP':
        if not any(result == 'skipped' for _, result, _ in single):
            count.note(f'{suite}/{name}', 'skipped', out.strip())
    elif not failed:
        # The tests it told of went well and yet it failed: a crash, a leak, a time limit.
        count.note(f'{suite}/{name}', 'failed', f'{test["result"]} (exit {test.get("returncode")})\n{out[-6000:]}')


def unit(title, build, *more):
    count = Count()
    env = {k: v for k, v in os.environ.items() if k in ('HOME', 'CI')}
    with tempfile.TemporaryDirectory(prefix='waypost-test-') as folder:
        base = f'testlog-{os.getpid()}'
        process = subprocess.Popen(['/usr/bin/meson', 'test', '-C', build, '--no-rebuild', f'--logbase={base}', *more],
                                   env={**CLEAN_ENV, **env, 'TMPDIR': folder}, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        children[process] = signal.SIGTERM
        said, _ = process.communicate()
        del children[process]
    logs = os.path.join(build, 'meson-logs')
    seen = 0
    for path in glob.glob(os.path.join(glob.escape(logs), base + '*')):
        if path.endswith('.json'):
            with open(path) as f:
                for line in f:
                    note_program(count, title, json.loads(line))
                    seen += 1
        os.unlink(path)
    if not seen or (process.returncode and not count.failed):
        count.note(title, 'failed', f'meson test exited {process.returncode}\n{said[-6000:]}')
    return count


def form():
    """The layout of C files, as .clang-format says."""
    count = Count()
    files = [f for top in ('service', 'cli', 'tests') for kind in ('c', 'h')
             for f in glob.glob(os.path.join(glob.escape(PROJECT), top, '**', f'*.{kind}'), recursive=True)]
    for path in sorted(files):
        done = subprocess.run(['/usr/bin/clang-format', '--dry-run', '-Werror', '--style=file', path], capture_output=True,
                              text=True, env=CLEAN_ENV, cwd=PROJECT)
        if done.returncode:
            count.note('form/' + os.path.relpath(path, PROJECT), 'failed', done.stderr[:1500])
    if files and not count.failed:
        count.note('form', 'passed')
    return count


def resume_file():
    """Where a long run notes what has passed, so that it can be run in pieces: a file for each state of the sources."""
    digest = hashlib.sha256()
    for top in ('service', 'cli', 'dbus', 'data', 'tests', 'scripts', 'systemd', 'meson.build'):
        for folder, folders, files in os.walk(os.path.join(PROJECT, top)) if '.' not in top else [(PROJECT, [], [top])]:
            folders[:] = sorted(f for f in folders if f != '__pycache__')
            for name in sorted(files):
                path = os.path.join(folder, name)
                digest.update(os.path.relpath(path, PROJECT).encode() + b'\0')
                with open(path, 'rb') as f:
                    digest.update(hashlib.file_digest(f, 'sha256').digest())
    return os.path.join(SANITIZED, f'long-passed-{digest.hexdigest()[:16]}')


def lab(long):
    count = Count()
    earlier = []
    with tempfile.TemporaryDirectory(prefix='waypost-test-') as folder:
        report = os.path.join(folder, 'report.xml')
        env = {**CLEAN_ENV, 'WAYPOST_BUILD': SANITIZED, 'PYTHONDONTWRITEBYTECODE': '1', 'TMPDIR': folder,
               'HOME': os.environ.get('HOME', '/root')}
        if long:
            env['WAYPOST_LONG'] = '1'
            env['WAYPOST_RESUME'] = resume_file()
            if os.path.exists(env['WAYPOST_RESUME']):
                with open(env['WAYPOST_RESUME']) as f:
                    earlier = sorted(set(f.read().splitlines()))
                print(f'lab: {len(earlier)} tests have passed in earlier pieces of this run and are not repeated '
                      f'(remove {os.path.relpath(env["WAYPOST_RESUME"], PROJECT)} to begin anew)', flush=True)
        process = subprocess.Popen(
            ['/usr/bin/python3', '-m', 'pytest', '-p', 'no:cacheprovider', '-q', '--no-header', '--tb=short', '-rs',
             '-n', str(WORKERS), '--dist', 'loadfile', f'--rootdir={PROJECT}', f'--junitxml={report}',
             os.path.join(PROJECT, 'tests', 'lab')],
            env=env, cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        children[process] = signal.SIGINT   # pytest then takes its labs down itself
        out = []
        for line in process.stdout:         # the dots are the only sign of life for some minutes
            out.append(line)
            if re.match(r'[.FEsxX]+ +\[ *\d+%\]$', line.strip()):
                print(line.rstrip(), flush=True)
        status = process.wait()
        del children[process]
        out = ''.join(out)
        try:
            cases = list(ElementTree.parse(report).iter('testcase'))
        except (FileNotFoundError, ElementTree.ParseError):
            cases = []
        for case in cases:
            name = f'{case.get("classname", "").rpartition(".")[2]}/{case.get("name")}'
            bad = [e for e in case if e.tag in ('failure', 'error')]
            skip = case.find('skipped')
            if bad:
                count.note(f'lab/{name}', 'failed', '\n'.join(f'{e.get("message", "")}\n{e.text or ""}' for e in bad)[-8000:])
            elif skip is not None:
                count.note(f'lab/{name}', 'skipped', f'{skip.get("message", "")} {skip.text or ""}')
            else:
                count.note(f'lab/{name}', 'passed')
        for name in earlier:
            count.note(f'lab/{os.path.basename(name)}', 'passed')
        # 5: nothing was left to run.
        if status and not count.failed and not (status == 5 and earlier) or not cases and not earlier:
            count.note('lab', 'failed', f'pytest exited {status}\n{out[-6000:]}')
    return count


def fuzzers(long):
    """Each looks for new inputs for a minute, in a long run for five; the corpus itself is replayed among the unit tests."""
    count = Count()
    # The short look takes the same way each time, so that a change that has nothing to do with it does not fail by chance.
    for name, well, told in fuzz.run_all(os.path.join(PROJECT, 'build-fuzz'), 300 if long else 60, seed=0 if long else 1):
        count.note(f'fuzz/{name}', 'passed' if well else 'failed', told)
        if well:
            print(f'fuzz/{name}: {told}', flush=True)
    return count


children = {}           # process -> the signal that makes it leave in order


def stop(number, _frame):
    for process, how in children.items():
        process.send_signal(how)
    for process in children:
        process.wait()
    sys.exit(128 + number)


def main():
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, stop)
    # In a chroot the root need not be a mount point, which tests that mount something want; nothing tells, so always.
    guard.check(guard.libc.unshare(guard.CLONE_NEWNS), 'unshare')
    guard.make_private()
    suites = [('unit', lambda: unit('unit', SANITIZED))]
    if '--valgrind' in sys.argv:
        wrap = '/usr/bin/valgrind -q --leak-check=full --errors-for-leak-kinds=definite --error-exitcode=9'
        suites.append(('valgrind', lambda: unit('valgrind', RELEASE, f'--wrapper={wrap}', '--timeout-multiplier=20',
                                                '--no-suite=style')))
    if '--long' in sys.argv or '--fuzz' in sys.argv:
        suites.append(('fuzz', lambda: fuzzers('--long' in sys.argv)))
    suites += [('form', form), ('lab', lambda: lab('--long' in sys.argv))]
    total = Count()
    for title, suite in suites:
        count = suite()
        count.summary(title)
        for name, reason in count.failed:       # at once: a run that is stopped later has told them
            print(f'\nFAILED {name}\n{reason.strip()}\n', flush=True)
        for part in ('passed', 'failed', 'skipped'):
            getattr(total, part).extend(getattr(count, part))
    for name, _ in total.failed:
        print(f'failed {name}')
    for name, reason in total.skipped:
        print(f'{"skipped" if EXCUSE in reason else "SKIPPED"} {name}: {" ".join(reason.split())[:300]}')
    if total.unexcused:
        print(f'{len(total.unexcused)} tests were skipped for a reason that is none: that fails the run.')
    print(f'{len(total.passed)} passed, {len(total.failed)} failed'
          + (f', {len(total.skipped)} skipped' if total.skipped else ''), flush=True)
    return 1 if total.failed or total.unexcused or not total.passed else 0


if __name__ == '__main__':
    sys.exit(main())
