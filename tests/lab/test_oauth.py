# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sign-ins in the browser from end to end: a real OpenID provider, Dovecot and Postfix that ask it about each token, and a browser of a
few lines (a real one in the long run). Attacks and faults have a file of their own (test_oauth_faults.py).
"""
import fcntl
import os
import pty
import re
import sqlite3
import struct
import subprocess
import termios
import threading
import time
import urllib.parse

import pytest

from test_wizard import check_screen
from wplab import oauth
from wplab.bus import Bus, SANITIZERS
from wplab.client import Connection, endpoint
from wplab.issuer import ISSUER, MAIL_SCOPE, Browser
from wplab.lab import Lab
from wplab.run import until
from wplab.tmux import Tmux

TOKEN_SECONDS = 12


@pytest.fixture(scope='module')
def lab():
    with Lab(issuer={'access_token_seconds': TOKEN_SECONDS, 'aliases': {'masked': 'somebody@example.test'}}) as started:
        for user in ('code', 'device', 'renewed', 'revoked', 'other', 'moved', 'switched', 'dynamic', 'choice', 'hand', 'denied', 'secret', 'imap', 'ipv6'):
            started.set_account(f'{user}@example.test', password=user + 'pw')
        yield started


@pytest.fixture(scope='module')
def service(lab, build):
    with Bus(build, lab=lab, config=oauth.config(lab, 'service')) as bus:
        yield bus


@pytest.fixture
def client(service):
    with Connection(service) as connection:
        yield connection


def pop_logins(lab, user):
    return [line for line in lab.run.log('dovecot/dovecot.log').splitlines() if f'user=<{user}>' in line and 'pop3-login: Info: Login:' in line]


def refused_logins(lab, user):
    return [line for line in lab.run.log('dovecot/dovecot.log').splitlines() if f'user=<{user}>' in line and 'auth failed' in line]


def deliver(lab, user, n):
    for i in range(n):
        lab.deliver(user, f'Subject: number {i}\r\nMessage-ID: <{i}.{time.monotonic_ns()}@example.test>\r\n\r\nbody {i}\r\n'.encode())


def files(account):
    return os.listdir(os.path.join(account['Location'], 'new'))


# -- the flows

def test_code_flow(client, lab):
    user = 'code@example.test'
    setup = client.start_setup(user)
    need = setup.wait_need('authorization')
    assert need['oauth-issuer'] == ISSUER and need['methods'] == ['code', 'device'] and need['user'] == user
    assert need['secret-kind'] == 'authorization' and need['alternative'] == 'app-password' and need['scopes'] == oauth.SCOPES
    assert not setup.need('password')
    shown = oauth.authorize(setup)
    assert shown['redirect-uri'] == f'http://127.0.0.1:{oauth.PORT}/callback' and shown['flow'] == 'code'
    assert 'code_challenge_method=S256' in shown['url'] and 'login_hint=code%40example.test' in shown['url']
    oauth.complete(setup, Browser(lab).go(shown['url'], user))
    assert setup.wait_state('ready', 'failed') == 'ready', setup.all()
    assert {setup.steps[f'{side}.login'].evidence['method'] for side in ('incoming', 'outgoing')} == {'OAUTHBEARER'}
    account = setup.commit()
    assert setup.wait_state('succeeded', 'failed') == 'succeeded', setup.all()
    assert account['CanSend'] and account.fetch()['cause'] == ''
    assert all('method=OAUTHBEARER' in line for line in pop_logins(lab, user))
    assert 'sasl_method=OAUTHBEARER, sasl_username=code@example.test' in lab.run.log('postfix/mail.log')
    report = setup.call('Report')
    assert 'Bearer' not in report and 'code_verifier' not in report


def test_loopback_of_ipv6(client, lab):
    setup = client.start_setup('ipv6@example.test', dry_run=True)
    setup.wait_need('authorization')
    shown = oauth.authorize(setup, redirect_host='::1')
    assert shown['redirect-uri'] == f'http://[::1]:{oauth.PORT}/callback'
    oauth.complete(setup, Browser(lab).go(shown['url'], 'ipv6@example.test'))
    assert setup.wait_state('ready', 'failed') == 'ready', setup.all()


def test_device_flow(client, lab):
    user = 'device@example.test'
    setup = client.start_setup(user, dry_run=True)
    setup.wait_need('authorization')
    shown = oauth.authorize(setup, flow='device')
    assert shown['flow'] == 'device' and re.fullmatch(r'[A-Z]{4}-[A-Z]{4}', shown['user-code'])
    assert shown['url'].startswith(ISSUER) and shown['user-code'].replace('-', '') in shown['url-complete'].replace('-', '')
    Browser(lab).go(shown['url-complete'], user)
    assert setup.wait_state('ready', 'failed') == 'ready', setup.all()
    assert lab.issuer.count('granted', 'urn:ietf:params:oauth:grant-type:device_code') >= 1


def test_denied(client, lab):
    setup = client.start_setup('denied@example.test', dry_run=True)
    setup.wait_need('authorization')
    shown = oauth.authorize(setup)
    oauth.complete(setup, Browser(lab).go(shown['url'], 'denied@example.test', deny=True))
    assert setup.wait_state('failed') == 'failed' and setup['Cause'] == 'oauth.access-denied'
    # Not for ever.
    setup.retry('incoming.login')
    oauth.sign_in(lab, setup, 'denied@example.test')
    assert setup.wait_state('ready', 'failed') == 'ready', setup.all()


def test_other_mailbox(client, lab):
    """Whoever is signed in at the provider already is not always the one whose account this is."""
    setup = client.start_setup('other@example.test', dry_run=True)
    oauth.sign_in(lab, setup, 'alice@example.test')
    assert setup.wait_state('failed') == 'failed' and setup['Cause'] == 'oauth.wrong-account'
    assert setup.steps['incoming.login'].evidence['user'] == 'alice@example.test'
    assert not pop_logins(lab, 'other@example.test') and not refused_logins(lab, 'other@example.test')


def test_app_password_instead(client, lab):
    """The browser is asked for first; whoever has an app password may give that."""
    setup = client.start_setup('choice@example.test', dry_run=True)
    setup.wait_need('authorization')
    setup.set_password('choicepw')
    assert setup.wait_state('ready', 'failed') == 'ready', setup.all()
    assert setup.steps['incoming.login'].evidence['method'] == 'PLAIN'


def test_servers_by_hand(client, lab):
    """The administrator's file names the hosts, so that servers by hand lead to the issuer too; POP3 with STLS, submission with STARTTLS."""
    setup = client.start_setup('hand@example.test', dry_run=True, incoming=endpoint('pop.example.test', 110, 'starttls'),
                               outgoing=endpoint('smtp.example.test', 587, 'starttls'))
    oauth.sign_in(lab, setup, 'hand@example.test')
    assert setup.wait_state('ready', 'failed') == 'ready', setup.all()


def test_imap(client, lab):
    setup = client.start_setup('imap@example.test', dry_run=True, incoming=endpoint('imap.example.test', 993, protocol='imap'))
    oauth.sign_in(lab, setup, 'imap@example.test')
    assert setup.wait_state('ready', 'failed') == 'ready', setup.all()
    assert setup.steps['incoming.login'].evidence['method'] == 'OAUTHBEARER'
    assert 'imap-login: Info: Login: user=<imap@example.test>, method=OAUTHBEARER' in lab.run.log('dovecot/dovecot.log')


# -- clients

def test_no_client(build, lab):
    with Bus(build, lab=lab, config=oauth.config(lab, 'clientless', client=False)) as bus, Connection(bus) as client:
        setup = client.start_setup('alice@example.test', dry_run=True)
        need = setup.wait_need('password')          # what else works is asked for
        assert need['secret-kind'] == 'app-password' and need['hint-url'] == 'https://example.test/apps'
        setup.cancel()
        oauth.providers(lab.run.file('clientless/providers.d'), methods=['oauth2'], app_password='no', app_password_page=None)
        bus.stop_service()
        setup = client.start_setup('alice@example.test', dry_run=True)
        assert setup.wait_state('failed', 'waiting') == 'failed' and setup['Cause'] == 'oauth.no-client'
        assert setup.steps['incoming.login'].evidence['oauth-issuer'] == ISSUER
        # The administrator's file counts at once.
        oauth.client_file(lab.run.file('clientless/oauth.d'))
        setup.retry('incoming.login')
        oauth.sign_in(lab, setup, 'alice@example.test')
        assert setup.wait_state('ready', 'failed') == 'ready', setup.all()


def test_dynamic_registration(build, lab):
    """Where an issuer registers everybody nobody needs a file, and one registration does for all."""
    config = oauth.config(lab, 'dynamic', client=False)
    oauth.providers(lab.run.file('dynamic/providers.d'), oauth_registration=True)
    with Bus(build, lab=lab, config=config) as bus, Connection(bus) as client:
        for _ in range(2):
            setup = client.start_setup('dynamic@example.test', dry_run=True)
            need = setup.wait_need('authorization')
            assert MAIL_SCOPE in need['scopes'] and 'offline_access' in need['scopes']
            oauth.sign_in(lab, setup, 'dynamic@example.test')
            assert setup.wait_state('ready', 'failed') == 'ready', setup.all()
        assert lab.issuer.count('registered') == 1


def test_client_with_a_secret(build, lab):
    config = oauth.config(lab, 'confidential', client=False)
    folder = lab.run.file('confidential/oauth.d')
    secret = lab.run.write('confidential/secret', lab.issuer.secret + '\n')
    os.chmod(secret, 0o644)
    oauth.client_file(folder, client_id='confidential', client_secret_file=secret, secret_expires='2030-01-31')
    with Bus(build, lab=lab, config=config) as bus, Connection(bus) as client:
        setup = client.start_setup('secret@example.test', dry_run=True)
        need = setup.wait_need('authorization')
        assert need['secret-expires'] == 1896048000 * 1000000
        oauth.sign_in(lab, setup, 'secret@example.test')
        assert setup.wait_state('ready', 'failed') == 'ready', setup.all()
        # A wrong one is the administrator's to mend.
        oauth.client_file(folder, client_id='confidential', client_secret='not it')
        setup = client.start_setup('secret@example.test', dry_run=True)
        oauth.sign_in(lab, setup, 'secret@example.test')
        assert setup.wait_state('failed') == 'failed' and setup['Cause'] == 'oauth.client-misconfigured'


# -- the life of tokens

def test_refresh_and_rotation(service, client, lab):
    user = 'renewed@example.test'
    account = oauth.account(lab, client, user)
    before, began = lab.issuer.count('granted', 'refresh_token'), time.monotonic()
    for _ in range(3):
        assert account.fetch()['cause'] == ''
    refreshes = lab.issuer.count('granted', 'refresh_token') - before
    assert refreshes <= 1 + (time.monotonic() - began) / (TOKEN_SECONDS / 2)    # the token in memory is good for a while
    time.sleep(TOKEN_SECONDS)
    deliver(lab, user, 2)
    assert account.fetch()['delivered'] == 2
    assert lab.issuer.count('granted', 'refresh_token') > before
    # Access tokens are in memory only: after a restart the (rotated) refresh token is what is left.
    for _ in range(2):
        service.kill_service()
        before = lab.issuer.count('granted', 'refresh_token')
        account = next(a for a in client.accounts() if a['Address'] == user)
        deliver(lab, user, 1)
        assert account.fetch()['cause'] == ''
        assert lab.issuer.count('granted', 'refresh_token') > before
    assert len(files(account)) == len(read_mailbox_names(lab, user))
    assert not refused_logins(lab, user)


def read_mailbox_names(lab, user):
    found = []
    for folder in ('new', 'cur'):
        path = os.path.join(lab.maildir(user), folder)
        found += os.listdir(path) if os.path.isdir(path) else []
    return found


def test_revoked_at_the_provider(client, lab):
    """The account says so at once, tries nothing more, and goes on where it stopped once somebody has signed in."""
    user = 'revoked@example.test'
    account = oauth.account(lab, client, user)
    deliver(lab, user, 3)
    assert account.fetch()['cause'] == ''
    had = len(files(account))
    lab.issuer.revoke(user)
    time.sleep(TOKEN_SECONDS)           # until then the access token is good by itself
    deliver(lab, user, 2)
    since = len(client.signals)
    logins = len(pop_logins(lab, user)) + len(refused_logins(lab, user))
    asked = lab.issuer.count('refused', 'refresh_token')
    assert account.fetch()['cause'] == 'oauth.grant-invalid'
    assert account.state == 'needs-authorization'
    changes = [s for s in client.signals[since:] if s.path == account.path and s.member == 'PropertiesChanged' and 'State' in s.args[1]]
    assert len(changes) == 1
    assert len(pop_logins(lab, user)) + len(refused_logins(lab, user)) == logins    # nothing was tried at the mail server
    assert lab.issuer.count('refused', 'refresh_token') == asked + 1
    setup = oauth.repair(client, account)
    oauth.sign_in(lab, setup, user)
    assert setup.wait_state('succeeded', 'failed') == 'succeeded', setup.all()
    account.wait_state('active')
    account.fetch()
    assert len(files(account)) == had + 2 == len(read_mailbox_names(lab, user))
    assert setup['Account'] == account.path


def test_repair_by_another_mailbox(client, lab):
    user = 'moved@example.test'
    account = oauth.account(lab, client, user)
    setup = oauth.repair(client, account)
    oauth.sign_in(lab, setup, 'alice@example.test')
    assert setup.wait_state('failed', 'succeeded') == 'failed' and setup['Cause'] == 'oauth.wrong-account'
    assert account.state == 'active' and account.fetch()['cause'] == ''     # what it had stands


def test_from_password_to_browser(client, lab):
    """An account that had a password is moved without losing anything."""
    user = 'switched@example.test'
    setup = client.start_setup(user)
    setup.wait_need('authorization')
    setup.set_password('switchedpw')
    assert setup.wait_state('ready', 'failed') == 'ready'
    account = setup.commit()
    assert setup.wait_state('succeeded', 'failed') == 'succeeded', setup.all()
    deliver(lab, user, 2)
    client.wait(lambda: account.fetch() and len(files(account)) == 3, what='the verification mail and two more')
    again = oauth.repair(client, account, method='authorization')
    oauth.sign_in(lab, again, user)
    assert again.wait_state('succeeded', 'failed') == 'succeeded', again.all()
    lab.set_account(user, password='nobody knows')
    deliver(lab, user, 1)
    client.wait(lambda: account.fetch()['cause'] == '' and len(files(account)) >= 4, what='one more')
    assert len(files(account)) == 4
    given_back = lab.issuer.count('grant-revoked')
    account.remove()                    # and what was granted is given back
    until(lambda: lab.issuer.count('grant-revoked') > given_back, 'the revocation')


@pytest.mark.long
def test_real_browser(client, lab):
    """Chromium, headless, in the client's namespace: types the name, presses the buttons, and is sent back to a port that the test holds."""
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'wplab', 'chromium.py')
    setup = client.start_setup('code@example.test', dry_run=True)
    setup.wait_need('authorization')
    shown = oauth.authorize(setup)
    done = lab.client.call(['/usr/bin/python3', '-B', script, shown['url'], 'code@example.test'])
    assert done.returncode == 0, (done.stdout, done.stderr)
    oauth.complete(setup, done.stdout.decode().strip())
    assert setup.wait_state('ready', 'failed') == 'ready', setup.all()



# -- by the client program

class Program:
    """`waypost` that waits for a browser: runs in the client's namespace, and what it says can be read while it does."""

    def __init__(self, bus, *argv, terminal=False):
        self.text, self.lock = '', threading.Lock()
        command = [os.path.join(bus.build, 'cli', 'waypost'), *argv]
        self.master = None
        if terminal:
            self.master, slave = pty.openpty()
            fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack('HHHH', 40, 100, 0, 0))
            self.process = subprocess.Popen(bus.command(command), env=dict(bus.environment(), TERM='xterm', LANG='C.UTF-8'),
                                            stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
            os.close(slave)
            source = self.master
        else:
            self.process = subprocess.Popen(bus.command(command), env=bus.environment(), stdin=subprocess.DEVNULL,
                                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            source = self.process.stdout.fileno()
        self.reader = threading.Thread(target=self.read, args=(source,), daemon=True)
        self.reader.start()

    def read(self, source):
        while True:
            try:
                data = os.read(source, 4096)
            except OSError:
                data = b''
            if not data:
                return
            with self.lock:
                self.text += data.decode(errors='replace')

    def wait(self, pattern, seconds=60):
        found = []

        def look():
            with self.lock:
                found[:] = re.findall(pattern, self.text, re.S)
            return found or self.process.poll() is not None and not self.reader.is_alive()
        until(look, f'the client to say {pattern}', seconds)
        assert found, self.text
        return found[0]

    def type(self, text):
        os.write(self.master, text.encode())

    def end(self, seconds=60):
        code = self.process.wait(seconds)
        self.reader.join(5)
        if self.master:
            os.close(self.master)
        return code


def visit(lab, address):
    """What the browser does at last: it asks the port on the client's own loopback."""
    parts = urllib.parse.urlsplit(address)
    with lab.client.connect(parts.hostname, parts.port) as sock:
        sock.sendall(f'GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n'.encode())
        answer = b''
        while data := sock.recv(4096):
            answer += data
    return answer.decode()


URL = re.escape(ISSUER) + r'/auth\?[^\s\x1b]+'


def test_client_by_browser(service, lab):
    lab.set_account('cli@example.test', password='clipw')
    program = Program(service, 'add', 'cli@example.test', '--sign-in=browser')
    url = program.wait(URL)
    back = Browser(lab).go(url, 'cli@example.test')
    # Guesses at the port get nothing, and end nothing.
    port = urllib.parse.urlsplit(back).port
    for path, host in (('/', None), ('/callback', None), ('/other?code=x&state=y', None), ('/callback?code=x', 'evil.example')):
        with lab.client.connect('127.0.0.1', port) as sock:
            sock.sendall(f'GET {path} HTTP/1.1\r\nHost: {host or f"127.0.0.1:{port}"}\r\n\r\n'.encode())
            assert sock.recv(4096).startswith(b'HTTP/1.1 404 ')
    page = visit(lab, back)
    assert page.startswith('HTTP/1.1 200 ') and 'code' not in page.split('\r\n\r\n')[1]
    assert program.end() == 0, program.text
    assert 'Bearer' not in program.text


def test_client_over_ssh(service, lab):
    """On a terminal, with the browser elsewhere: the last address is pasted; what is not it does no harm."""
    lab.set_account('ssh@example.test', password='sshpw')
    program = Program(service, 'add', 'ssh@example.test', terminal=True)
    url = program.wait(URL)
    back = Browser(lab).go(url, 'ssh@example.test')
    program.wait('Paste the address')
    program.type('http://127.0.0.1:1/callback?code=a&state=b\n')
    program.wait('That was not it')
    program.type(back + '\n')
    assert program.end() == 0, program.text


def test_client_by_device(service, lab):
    lab.set_account('tv@example.test', password='tvpw')
    program = Program(service, 'add', 'tv@example.test', '--sign-in=device', '--receive-only')
    code = program.wait(r'((?:[A-Z] ){4}- (?:[A-Z] ){3}[A-Z])').replace(' ', '')
    Browser(lab).go(f'{ISSUER}/device?user_code={code}', 'tv@example.test')
    assert program.end(90) == 0, program.text
    # And again, for the account it made.
    program = Program(service, 'authorize', 'tv@example.test', '--device')
    code = program.wait(r'((?:[A-Z] ){4}- (?:[A-Z] ){3}[A-Z])').replace(' ', '')
    Browser(lab).go(f'{ISSUER}/device?user_code={code}', 'tv@example.test')
    assert program.end(90) == 0 and 'goes on where it stopped' in program.text, program.text


# -- the administrator's files

def test_client_files(build, lab):
    config = oauth.config(lab, 'files', client=False)
    folder = lab.run.file('files/oauth.d')
    with Bus(build, lab=lab, config=config) as bus:
        assert 'none' in bus.cli('oauth-client', 'list', f'--directory={folder}').stdout
        assert bus.cli('oauth-client', 'test', ISSUER).returncode != 0
        for bad in (['add'], ['add', 'accounts.example.org', '--client-id=x'], ['add', ISSUER], ['add', 'https://u@h', '--client-id=x'], ['what']):
            assert bus.cli('oauth-client', *bad, f'--directory={folder}').returncode == 2, bad
        done = bus.cli('oauth-client', 'add', ISSUER, '--client-id=waypost', f'--scopes={oauth.SCOPES}', f'--hosts={oauth.HOSTS}',
                       '--secret-expires=2001-01-01', f'--directory={folder}')
        assert done.returncode == 0, done.stderr
        assert os.stat(done.stdout.strip()).st_mode & 0o777 == 0o640
        listed = bus.cli('oauth-client', 'list', f'--directory={folder}')
        assert ISSUER in listed.stdout and 'ended on 2001-01-01' in listed.stdout
        done = bus.cli('oauth-client', 'test', ISSUER)
        assert done.returncode == 0 and 'code device' in done.stdout, (done.stdout, done.stderr)
        with Connection(bus) as client:
            setup = client.start_setup('alice@example.test', dry_run=True)
            assert setup.wait_need('authorization')['secret-expires'] == 978307200 * 1000000


# -- what the wizard shows, kept in docs/screens

def screen(service, lab, name, pattern, *argv, then=None, user='screen@example.test'):
    lab.set_account(user, password='abcdefghijklmnop')
    command = service.command([service.binary('cli', 'waypost'), 'add', user, *argv])
    with Tmux(command, {**service.environment(), **SANITIZERS}, 100, 45) as terminal:
        terminal.wait(pattern)
        terminal.wait('✓  Mail service[^\n]*Postfix')
        if then:
            then(terminal)
        text = terminal.text()
        text = re.sub(r'(?s)https://id\.example\.test/auth\?.*?(?=\n\s*\n)', 'https://id.example.test/auth?response_type=code&client_id=waypost&...', text)
        text = re.sub(r'\b(?:[A-Z] ){4}- (?:[A-Z] ){4}', 'W D J B - M J H T ', text)
        check_screen(name, text)
        terminal.key('C-c')
        terminal.finish()


def test_screen_of_the_browser(service, lab):
    screen(service, lab, 'sign-in', 'Paste the address it ends at')


def test_screen_of_the_device(service, lab):
    screen(service, lab, 'device-code', 'This goes on by itself', '--sign-in=device')


def test_screen_of_the_app_password(build, lab):
    config = oauth.config(lab, 'screens', client=False)
    oauth.providers(lab.run.file('screens/providers.d'), methods=['app-password'], oauth_issuer=None, app_password_shape='aaaa aaaa aaaa aaaa')

    def by_mistake(terminal):
        terminal.type('Sommer2026!')
        terminal.wait('Send it all the same')
    with Bus(build, lab=lab, config=config) as bus:
        screen(bus, lab, 'app-password', 'Password:|App password:', then=by_mistake)


# -- a new key for what is sealed

def test_new_key(build, lab):
    """The old key is put aside, the service started: everything opens, nothing is sealed under the old one, which is gone; killed in
    between it goes on."""
    with Bus(build, lab=lab, config=oauth.config(lab, 'rekeyed')) as bus, Connection(bus) as client:
        signed = oauth.account(lab, client, 'imap@example.test', receive_only=True)
        setup = client.start_setup('choice@example.test', receive_only=True)
        setup.wait_need('authorization')
        setup.set_password('choicepw')
        assert setup.wait_state('ready', 'failed') == 'ready'
        plain = setup.commit()
        plain.fetch()
        for round_ in range(3):
            bus.stop_service()
            before = sealed(bus)
            os.rename(bus.state + '/key', bus.state + '/key.old')
            bus.activate()
            if round_ == 1:
                bus.kill_service()
                bus.activate()
            until(lambda: not os.path.exists(bus.state + '/key.old'), 'the old key to go', 30)
            assert not before & sealed(bus) and len(before) == len(sealed(bus)) == 2
            for path in (signed.path, plain.path):
                account = next(a for a in client.accounts() if a.path == path)
                assert account.fetch()['cause'] == ''
        assert 'sealed under the new key' in bus.log()


def sealed(bus):
    with sqlite3.connect(f'file:{bus.state}/waypost.db?mode=ro', uri=True) as db:
        return {bytes(row[0]) for row in db.execute('SELECT sealed FROM secret UNION ALL SELECT sealed FROM oauth_grant')}
