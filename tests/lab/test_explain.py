# SPDX-License-Identifier: LGPL-2.1-or-later
"""Explain, over the bus and by `waypost explain`: no lab, nothing is connected to.

The lines are those of tests/unit/probe/replies.jsonl: there each is scored, here it is shown that they arrive whole.
"""
import json
import os
import subprocess
import time

import pytest

from wplab.bus import Bus, SANITIZERS
from wplab.client import BusError, Connection, options
from wplab.run import PROJECT

NOBODY = 65534
LINES = os.path.join(PROJECT, 'tests', 'unit', 'probe', 'replies.jsonl')
WILD = os.path.join(PROJECT, '..', 'shared', 'data', 'server-replies.jsonl')


@pytest.fixture(scope='module')
def bus(build):
    with Bus(build) as started:
        yield started


@pytest.fixture(scope='module')
def root(bus):
    with Connection(bus) as connection:
        yield connection


def explain(connection, *lines, **context):
    return connection.manager('Explain', 'asa{sv}', list(lines), options(context))


def waypost(bus, *arguments, given=None, uid=NOBODY):
    argv = bus.command([bus.binary('cli', 'waypost'), *arguments], uid)
    return subprocess.run(argv, input=given or b'', capture_output=True, timeout=120, env={**bus.environment(), **SANITIZERS})


def test_answer(root):
    told = explain(root, '-ERR [SYS/PERM] Your account is not enabled for POP access', protocol='pop3', phase='stat')
    assert told['cause'] == 'access.pop-disabled' and told['class'] == 'user-action' and told['confidence'] == 'high'
    assert told['who'] == 'user' and told['title'] and told['explanation'] and told['remedies']
    assert 'provider' not in told


def test_place_and_provider_count(root):
    line = '-ERR authentication failed'
    assert explain(root, line, protocol='pop3', phase='login')['cause'] == 'auth.bad-credentials'
    told = explain(root, line, protocol='pop3', phase='login', host='pop.gmx.net')
    assert told['cause'] == 'auth.bad-credentials-or-disabled' and told['provider'] == 'gmx'
    assert explain(root, '* OK Dovecot ready.', protocol='smtp', phase='greeting')['cause'] == 'net.wrong-service'


def describe(connection, cause, **options_):
    return connection.manager('DescribeCause', 'sa{sv}', cause, options(options_))


def test_links_and_places(root):
    """What is known of the case goes into the texts, and the provider's own pages are linked; a server's words are not."""
    told = describe(root, 'auth.app-password-required', provider='gmail')
    assert told['links'][0] == 'https://myaccount.google.com/apppasswords' and told['links'][0] in told['remedies'][0]
    evidence = options({'host': 'pop.gmail.com', 'port': 995, 'user': 'eve', 'reply': 'see https://evil.example/'})
    told = describe(root, 'access.pop-disabled', evidence=evidence)
    assert told['links'] and 'google.com' in told['links'][0] and 'evil' not in str(told)
    told = describe(root, 'net.refused', evidence=evidence, provider='gmail')
    assert 'pop.gmail.com' in told['explanation'] and '995' in told['explanation'] and told['links'] == []
    told = explain(root, '-ERR [SYS/PERM] Your account is not enabled for POP access', phase='stat', host='pop.gmail.com')
    assert told['links'] and told['links'][0] in told['remedies'][0]
    for bad in ({'evidence': 'x'}, {'provider': 7}, {'colour': 'red'}):
        with pytest.raises(BusError) as refused:
            describe(root, 'net.refused', **bad)
        assert next(iter(bad)) in refused.value.message


def test_languages(root):
    assert describe(root, 'mailbox.over-quota', locale='de_DE.UTF-8')['title'] == 'Das Postfach ist voll'
    assert describe(root, 'mailbox.over-quota', locale='xx:de')['title'] == 'Das Postfach ist voll'
    assert describe(root, 'mailbox.over-quota', locale='fr_FR')['title'] == 'The mailbox is full'
    assert explain(root, '-ERR maildrop already locked', phase='login', locale='de')['title'] == 'Das Postfach wird gerade benutzt'


def test_client_speaks_the_users_language(bus):
    done = subprocess.run(bus.command([bus.binary('cli', 'waypost'), 'explain', '--phase=stat', '--provider=gmail',
                                       '-ERR Your account is not enabled for POP access'], NOBODY),
                          capture_output=True, timeout=120, env={**bus.environment(), **SANITIZERS, 'LANG': 'de_DE.UTF-8', 'LC_CTYPE': 'C.UTF-8'})
    out = done.stdout.decode()
    assert 'Das Abholen per POP ist für dieses Postfach abgeschaltet' in out and 'https://' in out, done


def test_nothing_known(root):
    assert explain(root, '+OK Logged in.')['cause'] == ''
    assert explain(root)['cause'] == ''


def test_arguments(root):
    for lines, context, named in ((['x'] * 65, {}, 'lines'), (['x'], {'colour': 'red'}, 'colour'), (['x'], {'phase': True}, 'phase')):
        with pytest.raises(BusError) as refused:
            explain(root, *lines, **context)
        assert refused.value.name.endswith('.Error.InvalidArgument') and named in refused.value.message


def test_line_on_the_command_line(bus):
    done = waypost(bus, 'explain', '--protocol', 'smtp', '--phase', 'auth', '535 5.7.139 Authentication unsuccessful, basic authentication is disabled.')
    out = done.stdout.decode()
    assert done.returncode == 0, done.stderr
    assert 'auth.oauth-required' in out and '1. ' in out and 'basic authentication' not in out


def test_lines_from_standard_input(bus):
    given = '534-5.7.9 Application-specific password required. Learn more at\n534 5.7.9 https://support.google.com/mail/?p=InvalidSecondFactor\n'
    done = waypost(bus, 'explain', '--json', '--phase=login', given=given.encode())
    assert json.loads(done.stdout)['cause'] == 'auth.app-password-required'


@pytest.mark.parametrize('text,charset', [('-ERR 登录太频繁', 'gbk'), ('-ERR 登录太频繁', 'utf-8'),
                                          ('-ERR Trop de tentatives, réessayez plus tard', 'latin-1')])
def test_any_character_set(bus, text, charset):
    done = waypost(bus, 'explain', '--json', '--protocol=pop3', '--phase=login', given=text.encode(charset) + b'\n')
    assert json.loads(done.stdout)['cause'] == 'auth.rate-limited', done


def test_control_characters(bus):
    done = waypost(bus, 'explain', '--phase=login', given=b'-ERR \x1b[31m\xff\xfe bad \x07 password\n')
    assert done.returncode == 0 and b'auth.bad-credentials' in done.stdout and b'\x1b[31m' not in done.stdout


def test_usage(bus):
    assert waypost(bus, 'explain', '--jsonl=-', 'a line').returncode == 2
    assert waypost(bus, 'explain', '--protocol=gopher', 'a line').returncode == 2
    done = waypost(bus, 'explain', '--jsonl=-', given=b'{"id": 1, "lines": ["x"]}\n[1]\n')
    assert done.returncode == 2 and b'Line 2' in done.stderr and len(done.stdout.splitlines()) == 1
    assert waypost(bus, 'explain', '--jsonl=/nonexistent').returncode == 1


@pytest.mark.parametrize('path', [LINES, WILD], ids=['own', 'wild'])
def test_many(bus, path):
    if not os.path.exists(path):
        pytest.skip('the larger collection does not lie beside the project')
    with open(path, 'rb') as f:
        given = f.read()
    wanted = [json.loads(line) for line in given.splitlines()]
    waypost(bus, 'explain', 'so that the service runs')
    since = time.monotonic()
    done = waypost(bus, 'explain', '--jsonl', '-', given=given)
    seconds = time.monotonic() - since
    got = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert [g['id'] for g in got] == [w['id'] for w in wanted]
    assert all({'id', 'cause', 'class', 'confidence'} <= set(g) for g in got)
    right = sum(g['cause'] == w['cause'] for g, w in zip(got, wanted))
    assert right >= 0.97 * len(wanted)
    assert seconds < 3 * max(1, len(wanted) / 258), seconds


def test_the_administrators_rules(build, tmp_path):
    rules = tmp_path / 'replies.d'
    rules.mkdir()
    for directory in (tmp_path, *tmp_path.parents, rules):
        if str(directory).startswith('/tmp/'):
            directory.chmod(0o755)
    (rules / '10-house.json').write_text(json.dumps({
        'concepts': {'house': ['house rule']},
        'rules': [{'cause': 'access.blocked-by-policy', 'words': ['house'], 'confidence': 'high'}]}))
    (rules / '20-broken.json').write_text('{')
    with Bus(build, config={'diagnosis': {'replies-directory': str(rules)}}) as bus, Connection(bus) as connection:
        assert explain(connection, '-ERR [AUTH] house rule 7', phase='login')['cause'] == 'access.blocked-by-policy'
        assert explain(connection, '-ERR [AUTH] failed', phase='login')['cause'] == 'auth.bad-credentials'
        with open(bus.log_path) as f:
            assert '20-broken.json: these reply rules are left out' in f.read()
