# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures of the lab's suites. WAYPOST_BUILD names the build folder (default: build-san, else build)."""
import os
import signal
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

from wplab.bus import Bus                   # noqa: E402
from wplab.lab import Lab                   # noqa: E402
from wplab.run import PROJECT               # noqa: E402
from wplab.scripted import ScriptedServer   # noqa: E402


def pytest_configure(config):
    config.addinivalue_line('markers', 'long: takes minutes; only with WAYPOST_LONG=1')


def pytest_collection_modifyitems(config, items):
    """Leaves out what is long, without calling it skipped; and, where a run is taken up again, what has passed in it."""
    done = passed_before()
    out = [item for item in items
           if item.nodeid in done or not os.environ.get('WAYPOST_LONG') and item.get_closest_marker('long')]
    if out:
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in set(out)]


def passed_before():
    """WAYPOST_RESUME names a file of the tests that have passed, one a line: they are not run again, and new ones join them."""
    try:
        with open(os.environ.get('WAYPOST_RESUME') or os.devnull) as f:
            return set(f.read().splitlines())
    except FileNotFoundError:
        return set()


passing = {}            # test -> outcomes of set-up, call, tear-down


def pytest_runtest_logreport(report):
    path = os.environ.get('WAYPOST_RESUME')
    if not path or os.environ.get('PYTEST_XDIST_WORKER'):
        return
    passing.setdefault(report.nodeid, []).append(report.passed)
    if report.when == 'teardown' and all(passing.pop(report.nodeid)):
        with open(path, 'a') as f:
            f.write(report.nodeid + '\n')


@pytest.fixture(autouse=True)
def time_limit(request):
    """A test that hangs is a failed test, not a run that never ends."""
    seconds = 1800 if request.node.get_closest_marker('long') else 300

    def over(_number, _frame):
        raise TimeoutError(f'this test has taken more than {seconds} s')
    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def build_folder():
    named = os.environ.get('WAYPOST_BUILD')
    if named:
        return named
    for name in ('build-san', 'build'):
        path = os.path.join(PROJECT, name)
        if os.path.exists(os.path.join(path, 'service', 'bus', 'waypostd')):
            return path
    raise RuntimeError('waypost is not built: run scripts/test, or set WAYPOST_BUILD')


@pytest.fixture(scope='session')
def build():
    return build_folder()


@pytest.fixture(scope='module')
def lab():
    """One lab for the tests of a file. Tests that change accounts use users of their own or put them back."""
    with Lab() as started:
        yield started


@pytest.fixture
def bus(lab, build):
    """A bus with a fresh state for one test."""
    with Bus(build, lab=lab) as started:
        yield started


@pytest.fixture
def scripted():
    """The misbehaving server on the loopback, without a lab."""
    with ScriptedServer() as server:
        yield server
