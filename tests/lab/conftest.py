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
    """Leaves out what is long, without calling it skipped."""
    if not os.environ.get('WAYPOST_LONG'):
        out = [item for item in items if item.get_closest_marker('long')]
        if out:
            config.hook.pytest_deselected(items=out)
            items[:] = [item for item in items if not item.get_closest_marker('long')]


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
