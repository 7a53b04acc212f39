# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command line client against a service that only plays (fake_service.py), on a bus of its own. What the client
says about real servers is tested elsewhere; here it is what it asks, prints, answers and returns."""
import json
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
PROJECT = os.path.dirname(os.path.dirname(HERE))
PASSWORD, SPKI = 'right secret', 'ab' * 32
NAME = 'org.waypost.Waypost1'
ENV = {'PATH': '/usr/bin:/bin', 'LC_ALL': 'C.UTF-8', 'HOME': '/', 'TERM': 'xterm', 'TZ': 'UTC',
       'ASAN_OPTIONS': 'detect_leaks=1:abort_on_error=0'}
BUS = '''<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=%s</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*" eavesdrop="false"/>
<allow receive_sender="*"/></policy></busconfig>'''


def client():
    builds = [os.environ['WAYPOST_BUILD']] if 'WAYPOST_BUILD' in os.environ else \
        [os.path.join(PROJECT, b) for b in ('build-san', 'build')]
    return next(p for p in (os.path.join(b, 'cli', 'waypost') for b in builds) if os.access(p, os.X_OK))


def end(process):
    process.terminate()
    process.wait(10)


class Terminal:
    """The client on a pseudo-terminal."""

    def __init__(self, env, *args):
        self.master, slave = pty.openpty()
        self.slave = slave
        self.before = termios.tcgetattr(slave)
        self.process = subprocess.Popen([client(), *args], stdin=slave, stdout=slave, stderr=slave, env=env,
                                        start_new_session=True)
        self.text = ''

    def expect(self, text, seconds=20):
        limit = time.monotonic() + seconds
        while text not in self.text:
            ready, _, _ = select.select([self.master], [], [], max(0, limit - time.monotonic()))
            assert ready, f'{text!r} did not come; so far:\n{self.text}'
            self.text += os.read(self.master, 65536).decode(errors='replace')
        at = self.text.index(text) + len(text)
        seen, self.text = self.text[:at], self.text[at:]
        return seen

    def type(self, line):
        os.write(self.master, line.encode())

    def finish(self, seconds=20):
        status = self.process.wait(seconds)
        while select.select([self.master], [], [], 0.05)[0]:
            self.text += os.read(self.master, 65536).decode(errors='replace')
        assert termios.tcgetattr(self.slave) == self.before, 'the terminal is not as it was'
        os.close(self.master)
        os.close(self.slave)
        return status


class Fake:
    def __init__(self, tmp):
        self.socket, self.log = str(tmp / 'bus'), str(tmp / 'calls')
        (tmp / 'bus.conf').write_text(BUS % self.socket)
        self.env = {**ENV, 'DBUS_SYSTEM_BUS_ADDRESS': f'unix:path={self.socket}'}
        self.daemon = subprocess.Popen(['dbus-daemon', f'--config-file={tmp / "bus.conf"}', '--nofork', '--print-address'],
                                       stdout=subprocess.PIPE)
        self.daemon.stdout.readline()
        self.service = None

    def start(self):
        self.service = subprocess.Popen(['/usr/bin/python3', '-B', os.path.join(HERE, 'fake_service.py'), self.log],
                                        env=self.env)
        subprocess.run(['busctl', f'--address=unix:path={self.socket}', '--watch-bind=yes', '--timeout=20', 'list'],
                       check=True, capture_output=True, env=ENV)
        until = time.monotonic() + 20
        while self.owner() is None:
            assert time.monotonic() < until and self.service.poll() is None
            time.sleep(0.02)

    def owner(self):
        done = subprocess.run(['busctl', f'--address=unix:path={self.socket}', 'call', 'org.freedesktop.DBus', '/',
                               'org.freedesktop.DBus', 'GetNameOwner', 's', NAME], capture_output=True, text=True, env=ENV)
        return done.stdout or None

    def restart(self):
        end(self.service)
        self.start()

    def stop(self):
        if self.service:
            end(self.service)
        end(self.daemon)
        self.daemon.stdout.close()

    def cli(self, *args, input='', env=None, timeout=30):
        return subprocess.run([client(), *args], env={**self.env, **(env or {})}, input=input, capture_output=True, text=True,
                              timeout=timeout)

    def json(self, *args, status=0, **more):
        done = self.cli(*args, '--json', **more)
        assert done.returncode == status, done
        assert done.stdout.count('\n') == 1, done.stdout
        return json.loads(done.stdout)

    def terminal(self, *args):
        return Terminal(self.env, *args)

    def calls(self, name=None):
        with open(self.log) as f:
            lines = [json.loads(line) for line in f]
        return [c['args'] for c in lines if c.get('call') == name] if name else lines

    def passwords(self):
        return [(c['side'], c['password']) for c in self.calls() if 'password' in c]


@pytest.fixture
def fake(tmp_path):
    service = Fake(tmp_path)
    try:
        service.start()
        yield service
    finally:
        service.stop()


@pytest.fixture
def password(tmp_path):
    path = tmp_path / 'password'
    path.write_text(PASSWORD + '\n')
    return f'--password-file={path}'


# -- add

def test_add_shows_every_step_and_ends_with_mail(fake, password):
    done = fake.cli('add', 'good@example.test', password)
    assert done.returncode == 0, done
    assert done.stderr == ''
    for line in (r'^  ok   incoming\.tls +43 ms  by Lab Intermediate CA, 364 days left, TLSv1\.3, for mail\.example\.test$',
                 r'^  ok   incoming\.mailbox +8 ms  503 messages, 31\.2 MB$',
                 r'^  ok   verification +1\.20 s  sent to yourself and found again after 1\.19 s$',
                 r'^  ok   fetch +500 ms  5 messages delivered \(5 new, 3 skipped of 8 there\), 5\.0 kB, 10\.0 kB/s$',
                 r'^good@example\.test is set up\.$', r'^  Its mail is in /var/lib/mail/good@example\.test$',
                 r'every 5 min from'):
        assert re.search(line, done.stdout, re.M), (line, done.stdout)
    assert '\x1b' not in done.stdout
    assert fake.passwords() == [('incoming', PASSWORD)]
    assert fake.calls('StartSetup') == [['good@example.test', {}]]
    assert [s for s in re.findall(r'^  \S+ +(\S+) ', done.stdout, re.M)].count('incoming.login') == 1


def test_add_json_is_one_object_and_steps_go_to_stderr(fake, password):
    done = fake.cli('add', 'good@example.test', password, '--json')
    assert done.returncode == 0, done
    result = json.loads(done.stdout)
    assert {'address', 'state', 'cause', 'class', 'account', 'id', 'location', 'steps', 'needs', 'run'} <= set(result)
    assert (result['state'], result['cause'], result['class']) == ('succeeded', None, None)
    assert result['location'] == '/var/lib/mail/good@example.test'
    steps = {s['id']: s for s in result['steps']}
    assert steps['incoming.tls'] == {'id': 'incoming.tls', 'status': 'passed', 'cause': None, 'usec': 43000, 'evidence': {
        'tls': 'TLSv1.3', 'subject': 'mail.example.test', 'issuer': 'Lab Intermediate CA', 'days-left': 364}}
    assert result['run']['delivered'] == 5
    assert 'incoming.tls' in done.stderr
    assert fake.cli('add', 'good@two.test', password, '--json', '--quiet').stderr == ''


def test_add_options_reach_the_service(fake, password, tmp_path):
    (tmp_path / 'out').write_text('other\n\n')
    done = fake.cli('add', '--receive-only', 'good@example.test', password, '--incoming', '[2001:db8::1]:1995/tls',
                    '--user-name=me', '--keep=none', '--interval', '600', '--display-name', 'Böb', '--delete-verification',
                    '--no-wait', f'--outgoing-password-file={tmp_path / "out"}')
    assert done.returncode == 0, done
    assert fake.calls('StartSetup') == [['good@example.test', {
        'receive-only': True, 'delete-verification': True,
        'incoming': {'host': '2001:db8::1', 'port': 1995, 'security': 'tls', 'user': 'me'}}]]
    assert fake.calls('Commit') == [[{'keep': 'none', 'interval': 600, 'display-name': 'Böb'}]]
    assert fake.calls('FetchNow') == []
    assert fake.passwords() == [('incoming', PASSWORD), ('outgoing', 'other\n')]  # one newline is taken off


def test_password_from_standard_input(fake):
    assert fake.cli('add', 'good@example.test', '--password-file', '-', '--no-wait', input=PASSWORD).returncode == 0
    assert fake.passwords() == [('incoming', PASSWORD)]


def test_wrong_password_says_cause_and_remedies_and_only_printable(fake):
    done = fake.cli('add', 'good@example.test', '--password-file=-', input='wrong\n')
    assert done.returncode == 3, done
    assert re.search(r'^  FAIL incoming\.login +512 ms  auth\.bad-credentials', done.stdout, re.M)
    assert 'The server refused the user name or the password  (auth.bad-credentials)' in done.stdout
    assert 'The server said: "-ERR [AUTH] no ?[31mred? ?reversed"' in done.stdout
    assert '  1. Type the password again.' in done.stdout and '  2. ' in done.stdout
    assert not re.search(r'[\x00-\x09\x0b-\x1f\x7f\u202e]', done.stdout + done.stderr)
    assert fake.passwords() == [('incoming', 'wrong')]  # once
    assert fake.calls('Commit') == [] and fake.calls('Cancel') == [[]]


def test_ascii_where_the_locale_has_no_utf8(fake):
    done = fake.cli('add', 'göod@example.test', '--password-file=-', input='wrong\n', env={'LC_ALL': 'C'})
    assert done.returncode == 3 and done.stdout.isascii()


@pytest.mark.parametrize('who, status, cause, kind', [
    ('timeout', 4, 'dns.timeout', 'temporary'), ('disabled', 5, 'access.pop-disabled', 'permanent'),
    ('unknown', 5, 'later.invention', None)])
def test_exit_status_follows_the_class(fake, password, who, status, cause, kind):
    result = fake.json('add', f'{who}@example.test', password, status=status)
    assert (result['state'], result['cause'], result['class']) == ('failed', cause, kind)


def test_unknown_steps_are_shown_by_their_keys(fake, password):
    assert re.search(r'ok   incoming\.novelty +1 ms  colour green', fake.cli('add', 'unknown@example.test', password).stdout)


def test_password_needed_and_nobody_to_ask(fake):
    done = fake.cli('add', 'good@example.test')
    assert done.returncode == 6, done
    assert '--password-file' in done.stderr
    result = fake.json('add', 'good@example.test', status=6)
    assert [(n['kind'], n['side']) for n in result['needs']] == [('password', 'incoming')]
    assert {s['status'] for s in result['steps'] if s['id'] == 'incoming.tls'} == {'passed'}


def test_servers_needed(fake, password):
    done = fake.cli('add', 'lost@example.test', password)
    assert done.returncode == 6 and '--incoming=HOST:PORT/tls' in done.stderr


def test_server_approval(fake, password):
    done = fake.cli('add', 'foreign@example.test', password, '--no-wait')
    assert done.returncode == 6 and 'pop.elsewhere.test' in done.stderr and '--yes' in done.stderr
    assert fake.passwords() == []
    assert fake.cli('add', 'foreign@example.test', password, '--no-wait', '--yes').returncode == 0
    assert fake.calls('Approve') == [['token of server-approval']]


def test_yes_does_not_approve_a_certificate(fake, password):
    done = fake.cli('add', 'certificate@example.test', password, '--yes', '--no-wait')
    assert done.returncode == 6 and SPKI in done.stderr and 'self-signed certificate' in done.stderr
    assert fake.cli('add', 'certificate@example.test', password, '--approve-certificate', 'cd' * 32).returncode == 6
    assert fake.cli('add', 'certificate@example.test', password, '--approve-certificate', SPKI[:-2]).returncode == 6
    assert fake.calls('Approve') == []
    spki = ':'.join(re.findall('..', SPKI.upper()))
    assert fake.cli('add', 'certificate@example.test', password, '--approve-certificate', spki, '--no-wait').returncode == 0


def test_verification_is_waited_for_without_a_terminal(fake, password):
    assert fake.json('add', 'found@example.test', password)['state'] == 'succeeded'


def test_lost_verification_mail_leaves_the_account(fake, password):
    result = fake.json('add', 'lostmail@example.test', password, status=4)
    assert result['cause'] == 'verification.not-arrived' and result['account'] and result['run']['delivered'] == 5
    done = fake.cli('add', 'lostmail@two.test', password)
    assert done.returncode == 4 and 'Sending was not proved' in done.stdout


def test_dry_run_commits_nothing(fake, password):
    assert fake.cli('add', 'good@example.test', password, '--dry-run').returncode == 0
    assert fake.calls('StartSetup')[0][1] == {'dry-run': True} and fake.calls('Commit') == []


def test_an_account_that_is_there_is_said_at_once(fake, password):
    done = fake.cli('add', 'alice@old.test', password)
    assert done.returncode == 3 and 'is set up already' in done.stderr and fake.calls('StartSetup') == []
    assert fake.cli('add', 'alice@old.test', password, '--user-name=other', '--no-wait').returncode == 0


def test_errors_of_the_service_are_one_sentence(fake):
    done = fake.cli('add', 'exists@example.test')
    assert done.returncode == 3
    assert done.stderr == 'waypost: There is such an account already: /org/waypost/Waypost1/account/x.\n'
    result = fake.json('add', 'nobody', status=2)
    assert result['error'] == {'name': f'{NAME}.Error.InvalidAddress', 'message': 'This is not a mail address.'}


def test_a_service_that_dies_is_an_error_not_a_hang(fake, password):
    done = fake.cli('add', 'die@example.test', password)
    assert done.returncode == 1 and 'went away' in done.stderr


def test_no_service_and_no_bus(fake):
    end(fake.service)
    done = fake.cli('list')
    assert done.returncode == 1 and done.stderr.startswith('waypost: The waypost service is not running')
    done = fake.cli('list', env={'DBUS_SYSTEM_BUS_ADDRESS': 'unix:path=/nonexistent'})
    assert done.returncode == 1 and 'Connecting to the system bus failed' in done.stderr
    done = fake.cli('list', '--user')
    assert done.returncode == 1 and 'There is no session bus' in done.stderr


def test_interrupt_cancels_the_setup(fake, password):
    process = subprocess.Popen([client(), 'add', 'hang@example.test', password], env=fake.env, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    while 'discovery' not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130 and 'Nothing was added' in errors
    assert fake.calls('Cancel') == [[]]


# -- at a terminal that cannot redraw; test_wizard.py has the others

@pytest.fixture
def dumb(fake):
    fake.env['TERM'] = 'dumb'
    return fake


def test_password_is_asked_hidden_and_again_when_refused(dumb):
    terminal = dumb.terminal('add', 'good@example.test', '--no-wait')
    terminal.expect('good@example.test signs in to mail.example.test.')
    terminal.expect('Password:')
    assert not termios.tcgetattr(terminal.slave)[3] & termios.ECHO
    terminal.type('wrong\n')
    seen = terminal.expect('What now? [t/p/s/g]')
    assert '1. Type the password again.' in seen and 'p  another password' in seen
    terminal.type('p\n')
    terminal.expect('Password:')
    terminal.type(PASSWORD + '\n')
    seen += terminal.expect('is set up')
    assert terminal.finish() == 0
    assert '\x1b' not in seen and 'wrong' not in seen and PASSWORD not in seen
    assert dumb.passwords() == [('incoming', 'wrong'), ('incoming', PASSWORD)]


def test_giving_up_says_the_cause_once(dumb):
    terminal = dumb.terminal('add', 'good@example.test')
    terminal.expect('Password:')
    terminal.type('wrong\n')
    seen = terminal.expect('What now?')
    terminal.type('g\n')
    assert terminal.finish() == 3
    assert (seen + terminal.text).count('(auth.bad-credentials)') == 1


def test_batch_asks_nothing(dumb):
    terminal = dumb.terminal('add', 'good@example.test', '--batch')
    terminal.expect('--password-file')
    assert terminal.finish() == 6
    assert dumb.passwords() == []


def test_address_is_asked_until_it_is_one(dumb, password):
    terminal = dumb.terminal('add', password, '--no-wait')
    terminal.expect('Address:')
    terminal.type('nobody\n')
    terminal.expect('This is not a mail address')
    terminal.expect('Address:')
    terminal.type('good@example.test\n')
    terminal.expect('is set up')
    assert terminal.finish() == 0


def test_servers_are_asked_for(dumb, password):
    terminal = dumb.terminal('add', 'lost@example.test', password)
    terminal.expect('was not found for example.test')
    terminal.expect('Server to receive from:')
    terminal.type('mail.example.test:995/ssl\n')
    terminal.expect('After the slash stands tls or starttls, not ssl.')
    terminal.expect('Server to receive from:')
    terminal.type('mail.example.test:995/tls\n')
    terminal.expect('is set up')
    assert terminal.finish() == 0
    assert dumb.calls('SetServers') == [[{'incoming': {'host': 'mail.example.test', 'port': 995, 'security': 'tls'}}]]


def test_interrupt_while_typing_restores_the_terminal(dumb):
    terminal = dumb.terminal('add', 'good@example.test')
    terminal.expect('Password:')
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.finish() == 130
    assert dumb.calls('Cancel') == [[]]


def test_death_of_the_service_while_typing(dumb):
    terminal = dumb.terminal('add', 'good@example.test')
    terminal.expect('Password:')
    dumb.service.kill()
    terminal.expect('went away')
    assert terminal.finish() == 1


def test_approvals_at_the_terminal(dumb, password):
    terminal = dumb.terminal('add', 'foreign@example.test', password, '--no-wait')
    assert '    elsewhere.test\r\n' in terminal.expect('Is this your mail provider? [y/N]')
    terminal.type('\n')
    terminal.expect('What now?')
    terminal.type('g\n')
    assert terminal.finish() == 6
    terminal = dumb.terminal('add', 'foreign@example.test', password, '--no-wait')
    terminal.expect('[y/N]')
    terminal.type('y\n')
    assert terminal.finish() == 0
    for answer, status in (('y', 6), ('yes', 0)):
        terminal = dumb.terminal('add', 'certificate@example.test', password, '--no-wait', '--yes')
        terminal.expect('Type yes in full:')
        terminal.type(answer + '\n')
        if status:
            terminal.expect('What now?')
            terminal.type('g\n')
        assert terminal.finish() == status, answer


def test_code_is_asked_while_the_mail_is_looked_for(dumb, password):
    terminal = dumb.terminal('add', 'code@example.test', password, '--no-wait')
    terminal.expect('Code (Enter alone: keep waiting):')
    terminal.type('000000\n')
    terminal.expect('not the code')
    terminal.expect('keep waiting):')
    terminal.type('123456\n')
    terminal.expect('is set up')
    assert terminal.finish() == 0
    terminal = dumb.terminal('add', 'found@example.test', password, '--no-wait')
    terminal.expect('keep waiting):')
    terminal.expect('is set up')
    assert terminal.finish() == 0


def test_colours_and_none(fake, password):
    terminal = fake.terminal('add', 'good@example.test', password, '--no-wait')
    assert '\x1b[32m' in terminal.expect('is set up')
    assert terminal.finish() == 0
    fake.env['NO_COLOR'] = '1'
    terminal = fake.terminal('add', 'good@two.test', password, '--no-wait')
    assert not re.search(r'\x1b\[[0-9;]*m', terminal.expect('is set up'))
    assert terminal.finish() == 0


# -- doctor

def test_doctor_checks_an_account(fake):
    assert fake.json('doctor', 'alice@old.test')['state'] == 'ready'
    done = fake.cli('doctor', 'busy@old.test')
    assert done.returncode == 3 and 'auth.bad-credentials' in done.stdout
    assert len(fake.calls('Check')) == 2 and fake.calls('Commit') == []


def test_doctor_tries_another_address_without_adding_it(fake, password):
    assert 'All of it works.' in fake.cli('doctor', 'good@new.test', password).stdout
    done = fake.cli('doctor', 'good@new.test')
    assert done.returncode == 6 and 'incoming.tls' in done.stdout and 'So far it works.' in done.stdout
    assert fake.cli('doctor', 'timeout@new.test').returncode == 4
    assert all(options == {'dry-run': True} for _, options in fake.calls('StartSetup'))


def test_doctor_looks_at_one_server(fake):
    done = fake.cli('doctor', 'mail.example.test:110/starttls', '--protocol=pop3')
    assert done.returncode == 0 and 'incoming.tls' in done.stdout
    assert fake.calls('Probe') == [['mail.example.test', 110, {'security': 'starttls', 'protocol': 'pop3'}]]


# -- the other verbs

def test_list(fake):
    lines = fake.cli('list').stdout.splitlines()
    assert lines[0].split() == ['ADDRESS', 'STATE', 'CAUSE', 'LAST', 'MAIL', 'NEXT', 'RUN', 'ID']
    assert re.match(r'alice@old\.test +active +- +\d+ days ago +in 2 min +[0-9a-f]{8}$', lines[1])
    accounts = fake.json('list')
    assert [a['address'] for a in accounts] == sorted(a['address'] for a in accounts)
    assert accounts[0]['cause'] is None and accounts[1]['cause'] == 'access.pop-disabled'


def test_show_by_address_and_by_id(fake):
    account = fake.json('show', 'blocked@old.test')
    assert account['class'] == 'permanent' and account['location'].startswith('/var/lib/mail/')
    assert fake.json('show', account['id'][:12]) == account
    text = fake.cli('show', account['path']).stdout
    assert 'mail.old.test:995, tls, as blocked@old.test' in text and 'Ask the provider.' in text
    for name in ('nobody@old.test', 'zz', ''):
        assert fake.cli('show', name).returncode == 2


def test_fetch_waits_for_its_own_run(fake):
    done = fake.cli('fetch', 'alice@old.test')
    assert done.returncode == 0 and '5 messages delivered' in done.stdout and 'of 5 messages' in done.stdout
    assert fake.json('fetch', 'alice@old.test')['run'] == 42
    assert fake.json('fetch', 'alice@old.test', '--no-wait') == {'run': 43}


def test_fetch_that_does_not_go_well(fake):
    done = fake.cli('fetch', 'busy@old.test')
    assert done.returncode == 4 and '-ERR [IN-USE] locked' in done.stdout
    done = fake.cli('fetch', 'blocked@old.test')
    assert done.returncode == 5 and 'POP is switched off' in done.stdout
    done = fake.cli('fetch', 'removed@old.test')
    assert done.returncode == 1 and 'was removed' in done.stderr
    done = fake.cli('fetch', 'die@old.test')
    assert done.returncode == 1 and 'went away' in done.stderr


def test_history(fake):
    lines = fake.cli('history', 'alice@old.test').stdout.splitlines()
    assert re.match(r'2023-11-14 22:13:20  500 ms +8 +5 +5  5\.0 kB  asked +ok$', lines[1])
    assert lines[2].endswith('planned  mailbox.in-use')
    assert len(fake.json('history', 'alice@old.test', '-n1')) == 1


def test_watch_tells_what_happens(fake):
    process = subprocess.Popen([client(), 'watch', 'alice@old.test', '--json', '--count=3'], env=fake.env,
                               stdout=subprocess.PIPE, text=True)
    first = json.loads(process.stdout.readline())
    assert (first['event'], first['state'], first['address']) == ('state', 'active', 'alice@old.test')
    assert fake.cli('fetch', 'busy@old.test', '--no-wait').returncode == 0
    assert fake.cli('fetch', 'alice@old.test', '--quiet').returncode == 0
    rest, _ = process.communicate(timeout=20)
    events = [json.loads(line) for line in rest.splitlines()]
    assert [e['event'] for e in events] == ['arrived', 'run'] and events[0]['messages'] == 5
    assert process.returncode == 0


def test_watch_all_tells_of_added_and_removed(fake, password):
    process = subprocess.Popen([client(), 'watch', '--count=7'], env=fake.env, stdout=subprocess.PIPE, text=True)
    seen = [process.stdout.readline() for _ in range(5)]
    assert fake.cli('add', 'good@example.test', password, '--no-wait').returncode == 0
    assert fake.cli('remove', 'good@example.test', '--yes').returncode == 0
    rest, _ = process.communicate(timeout=20)
    assert re.fullmatch(r'\S+  good@example\.test  added\n\S+  good@example\.test  removed\n', rest), (seen, rest)


def test_watch_ends_when_the_service_does(fake):
    process = subprocess.Popen([client(), 'watch'], env=fake.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()
    fake.service.kill()
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1 and 'went away' in errors


def test_remove_asks_and_says_where_the_mail_stays(fake):
    assert fake.cli('remove', 'alice@old.test').returncode == 6
    terminal = fake.terminal('remove', 'alice@old.test')
    assert '/var/lib/mail/alice@old.test' in terminal.expect('[y/N]')
    terminal.type('n\n')
    assert terminal.finish() == 0 and 'Nothing was removed' in terminal.text
    assert fake.calls('Remove') == []
    result = fake.json('remove', 'alice@old.test', '-y')
    assert result['removed'] is True and result['location'] == '/var/lib/mail/alice@old.test'
    assert fake.cli('show', 'alice@old.test').returncode == 2


def test_remove_deletes_the_mail_when_told(fake, tmp_path):
    for folder in ('new', 'cur', 'tmp'):
        (tmp_path / 'mail' / folder).mkdir(parents=True)
        (tmp_path / 'mail' / folder / 'one').write_text('mail')
    fake.env['LOCATION'] = str(tmp_path / 'mail')
    fake.restart()
    assert fake.json('remove', 'alice@old.test', '--yes', '--delete-mail')['mail-deleted'] is True
    assert [p.parent.name for p in tmp_path.glob('mail/*/*')] == ['tmp']


def test_pause_and_resume(fake):
    assert fake.cli('pause', 'alice@old.test', 'busy@old.test').stdout == 'alice@old.test is paused.\nbusy@old.test is paused.\n'
    assert fake.json('show', 'alice@old.test')['state'] == 'paused'
    assert [a['state'] for a in fake.json('resume', 'alice@old.test')] == ['active']
    assert fake.cli('pause', 'nobody@old.test').returncode == 2


def test_configure(fake):
    account = fake.json('configure', 'alice@old.test', '--keep=30d', '--interval=600', '--display-name=Alice')
    assert (account['keep'], account['interval'], account['display-name']) == ('30d', 600, 'Alice')
    assert fake.calls('Configure') == [[{'keep': '30d', 'interval': 600, 'display-name': 'Alice'}]]
    assert fake.cli('configure', 'alice@old.test').returncode == 2
    assert 'Interval: 1 is too short.' in fake.cli('configure', 'alice@old.test', '--interval=1').stderr


def test_password_is_tried_before_it_is_stored(fake, password, tmp_path):
    done = fake.cli('password', 'alice@old.test', password)
    assert done.returncode == 0 and 'The new password works and is stored.' in done.stdout
    (tmp_path / 'wrong').write_text('wrong')
    done = fake.cli('password', 'alice@old.test', '--outgoing', f'--password-file={tmp_path / "wrong"}')
    assert done.returncode == 3 and 'The old password stays.' in done.stderr
    assert fake.passwords() == [('', PASSWORD), ('outgoing', 'wrong')]
    assert fake.cli('password', 'alice@old.test').returncode == 6
    assert fake.json('password', 'alice@old.test', password)['state'] == 'ready'


def test_password_at_the_terminal(dumb):
    terminal = dumb.terminal('password', 'alice@old.test')
    terminal.expect('The new password of alice@old.test.')
    terminal.expect('Password:')
    terminal.type(PASSWORD + '\n')
    terminal.expect('is stored')
    assert terminal.finish() == 0


def test_causes(fake):
    lines = fake.cli('causes').stdout.splitlines()
    assert lines[0].split() == ['CAUSE', 'CLASS', 'TITLE'] and len(lines) > 4
    assert [c['cause'] for c in fake.json('causes', 'dns.')] == ['dns.timeout']
    assert '1. Try again later.' in fake.cli('causes', 'dns.timeout').stdout
    assert fake.cli('causes', 'nothing.like-it').returncode == 2


def test_report_stands_alone_on_standard_output(fake):
    done = fake.cli('report', 'alice@old.test')
    assert done.returncode == 0 and done.stdout == 'waypost report\naddress: alice@old.test\n  reply: ?[31mred\n'
    assert 'incoming.tls' in done.stderr
    assert fake.json('report', 'timeout@new.test')['report'].startswith('waypost report')
    assert len(fake.calls('Check')) == 1


def test_report_of_a_setup_under_way(fake, password):
    process = subprocess.Popen([client(), 'add', 'hang@example.test', password], env=fake.env, stdout=subprocess.PIPE, text=True)
    while 'discovery' not in process.stdout.readline():
        pass
    assert 'address: hang@example.test' in fake.cli('report', 'hang@example.test').stdout
    assert len(fake.calls('StartSetup')) == 1 and fake.calls('Cancel') == []
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)


def test_all_asks_for_the_admin_view(fake):
    lines = fake.cli('list', '--all').stdout.splitlines()
    assert lines[0].split()[-1] == 'OWNER' and lines[1].split()[-1] == 'root'
    open(fake.log + '.refuse', 'w').close()
    done = fake.cli('list', '--all')
    assert done.returncode == 3 and 'You are not allowed to do this.' in done.stderr
    assert len(fake.calls('RequestAdminView')) == 2 and len(fake.calls('GetManagedObjects')) == 1


# -- the command line itself; no service needed

@pytest.mark.parametrize('args', [
    [], ['frobnicate'], ['add'], ['add', 'a@b.test', 'c@d.test'], ['list', '--no-such'], ['list', '-x'], ['list', '--json=1'],
    ['add', 'a@b.test', '--interval=0'], ['add', 'a@b.test', '--interval=1x'], ['add', 'a@b.test', '--keep=some'],
    ['add', 'a@b.test', '--incoming=host:995/none'], ['add', 'a@b.test', '--incoming=host:99999/tls'],
    ['add', 'a@b.test', '--incoming=[::1'], ['add', 'a@b.test', '--incoming=::1:995/tls'], ['add', 'a@b.test', '--incoming'],
    ['add', 'a@b.test', '--password-file=/nonexistent'], ['add', 'a@b.test', '--password-file=/dev/null'],
    ['add', 'a@b.test', '--password-file=/dev/zero'], ['add', 'a@b.test', '--password=secret'],
    ['add', 'a@b.test', '--password-file=-', '--outgoing-password-file=-'], ['history', 'x', '-n', '0'], ['history', 'x', '-n']])
def test_usage(args):
    done = subprocess.run([client(), *args], env=ENV, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=20)
    assert done.returncode == 2 and done.stdout == '' and done.stderr.startswith('waypost: '), done
    done = subprocess.run([client(), '--json', *args], env=ENV, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 2 and json.loads(done.stdout)['error']['message']


def test_hints():
    def said(*args):
        return subprocess.run([client(), *args], env=ENV, capture_output=True, text=True).stderr
    assert 'did you mean list?' in said('lst')
    assert 'waypost add a@b.test' in said('a@b.test')
    assert 'did you mean --incoming?' in said('add', '--incomming=x')


def test_help_and_version():
    def out(*args):
        done = subprocess.run([client(), *args], env=ENV, capture_output=True, text=True)
        assert done.returncode == 0 and done.stderr == ''
        return done.stdout
    top = out('--help')
    verbs = re.findall(r'^  ([a-z]+) ', top, re.M)
    assert set('add list show fetch history watch pause resume password configure remove doctor report discover explain causes'
               .split()) <= set(verbs) and 'completions' not in verbs
    for verb in verbs:
        text = out(verb, '--help')
        assert text.startswith(f'Usage: waypost {verb}') and '  130  interrupted' in text
        assert max(map(len, text.splitlines())) <= 90 and max(map(len, top.splitlines())) <= 80
    assert re.fullmatch(r'waypost \d+\.\d+\.\d+\n', out('--version'))


def test_the_manual_has_every_command_and_option():
    with open(os.path.join(PROJECT, 'docs', 'waypost.1.scd')) as f:
        manual = f.read()

    def out(*args):
        return subprocess.run([client(), *args], env=ENV, capture_output=True, text=True).stdout
    missing = []
    for verb in re.findall(r'^  ([a-z-]+) ', out('--help'), re.M):
        if not re.search(rf'^\*{verb}\*|, \*{verb}\*', manual, re.M):
            missing.append(verb)
        missing += [f'{verb} --{option}' for option in re.findall(r'^  (?:-.,|   ) --([a-z-]+)', out(verb, '--help'), re.M)
                    if f'--{option}*' not in manual and f'--{option} ' not in manual]
    assert not missing


def test_full_disk_is_not_success(fake):
    with open('/dev/full', 'w') as full:
        done = subprocess.run([client(), 'list'], env=fake.env, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and 'No space left' in done.stderr
