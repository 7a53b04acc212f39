# SPDX-License-Identifier: LGPL-2.1-or-later
"""scripts/with-service: the command's own input, output, exit status and signals, a fresh service beside it, and
nothing left afterwards. And how scripts/test counts."""
import glob
import json
import os
import signal
import subprocess

import pytest

from wplab import suite
from wplab.run import CLEAN_ENV

HERE = os.path.dirname(os.path.abspath(__file__))
MODULES = {'HOME': '/root', 'PYTHONPATH': HERE, 'PYTHONDONTWRITEBYTECODE': '1'}
SHOW = 'printf "%s\\n" "$DBUS_SYSTEM_BUS_ADDRESS" "$WAYPOST_STATE_DIR" "$WAYPOST_SERVICE_LOG" "$(command -v waypost)" "$PWD"'


def command(build, *args, lab=False):
    return ['/usr/bin/python3', '-m', 'wplab.with_service', build, '--lab' if lab else '--no-lab', *args]


def run_of(pid):
    """What a run of process @pid would have left."""
    return glob.glob(f'/tmp/waypost-*-{pid}-*')


def with_service(build, *args, lab=False, env=None, cwd='/', input=None):
    """Runs to the end and looks that nothing is left."""
    process = subprocess.Popen(command(build, *args, lab=lab), env={**CLEAN_ENV, **MODULES, **(env or {})}, cwd=cwd, text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate(input, timeout=60)
    assert run_of(process.pid) == []
    return subprocess.CompletedProcess(args, process.returncode, out, err)


def test_input_output_status(build):
    done = with_service(build, 'sh', '-c', 'cat; echo err >&2; exit 7', input='through and through\n')
    assert (done.stdout, done.stderr, done.returncode) == ('through and through\n', 'err\n', 7)


def test_environment(build):
    """The service is activated on the private bus, with a state of its own; waypost is on PATH."""
    done = with_service(build, 'sh', '-c', SHOW + ' && busctl call org.waypost.Waypost1 /org/waypost/Waypost1 '
                        'org.freedesktop.DBus.Peer Ping && ls "$WAYPOST_STATE_DIR" | grep -q . && grep -q . "$WAYPOST_SERVICE_LOG"', cwd='/usr/share')
    assert done.returncode == 0, done.stderr
    address, state, log, program, folder = done.stdout.splitlines()[:5]
    assert address.startswith('unix:path=/tmp/waypost-') and state.startswith('/tmp/') and log.startswith('/tmp/')
    assert program == os.path.join(build, 'cli', 'waypost') and folder == '/usr/share'


def test_lab(build):
    """In the lab its names resolve and its CA is trusted, whatever the environment says about CAs."""
    done = with_service(build, 'sh', '-c', SHOW + ' && getent hosts pop.example.test && curl -sS -o /dev/null '
                        'https://autoconfig.auto.test/mail/config-v1.1.xml && cat "$WAYPOST_LAB_DIR/facts.json" && pwd',
                        lab=True, cwd='/usr/share', env={'SSL_CERT_FILE': '/nonexistent', 'CURL_CA_BUNDLE': '/nonexistent'})
    assert done.returncode == 0, done.stderr
    assert 'mail.example.test' in done.stdout and done.stdout.endswith('/usr/share\n')
    facts = json.loads(done.stdout[done.stdout.index('{'):done.stdout.rindex('}') + 1])
    assert facts['accounts']['alice@example.test'] == 'alicepw'


@pytest.mark.parametrize('lab', [False, True])
def test_missing_command(build, lab):
    done = with_service(build, '/nonexistent/command', lab=lab)
    assert done.returncode == 127 and 'nonexistent' in done.stderr


def test_killed_command(build):
    assert with_service(build, 'sh', '-c', 'kill -9 $$').returncode == 128 + 9


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_are_forwarded(build, number):
    name = signal.Signals(number).name[3:]
    script = f'trap "echo got; exit 3" {name}; echo ready; while :; do sleep 0.05; done'
    process = subprocess.Popen(command(build, 'sh', '-c', script), env={**CLEAN_ENV, **MODULES}, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == 'ready\n'
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    assert run_of(process.pid) == []
    assert (out, process.returncode) == ('got\n', 3)


# -- how tests are counted

def counted(test):
    count = suite.Count()
    suite.note_program(count, 'unit', test)
    return [n for n, _ in count.passed], [n for n, _ in count.failed], [(n, r) for n, r in count.skipped]


@pytest.mark.parametrize('test,passed,failed,skipped', [
    ({'stdout': '1..2\nok 1 - a_1\nok 2 - b\n', 'result': 'OK'}, ['a_1', 'b'], [], []),
    ({'stdout': '1..2\nok 1 - a\nnot ok 2 - b\n# x\n', 'result': 'ERROR', 'returncode': 1}, ['a'], ['b'], []),
    ({'stdout': '1..2\nok 1 - a\n', 'result': 'ERROR', 'returncode': -6}, ['a'], [None], []),
    ({'stdout': '1..1\nok 1 - a\n', 'result': 'FAIL', 'returncode': 23}, ['a'], [None], []),
    ({'stdout': '1..1\nok 1 - a\n', 'result': 'TIMEOUT', 'returncode': -15}, ['a'], [None], []),
    ({'stdout': 'hello\n', 'result': 'OK'}, [None], [], []),
    ({'stdout': 'no ../shared here\n', 'result': 'SKIP', 'returncode': 77}, [], [], [(None, 'no ../shared here')]),
    ({'stdout': '1..2\nok 1 - a\nnot ok 2 # SKIP b\n', 'result': 'OK'}, ['a'], [], [('b', 'b')]),
    ({'stdout': '[       OK ] a\n', 'stderr': '[  FAILED  ] b\n', 'result': 'FAIL'}, ['a'], ['b'], [])])
def test_counting(test, passed, failed, skipped):
    def name(one):
        return 'unit/p' + (f'/{one}' if one else '')
    assert counted({'name': 'p', **test}) == ([name(n) for n in passed], [name(n) for n in failed],
                                              [(name(n), r) for n, r in skipped])


def test_skips_are_excused_for_one_reason_only():
    count = suite.Count()
    count.note('a', 'skipped', '../shared is not there')
    count.note('b', 'skipped', 'no time')
    assert [n for n, _ in count.unexcused] == ['b']
