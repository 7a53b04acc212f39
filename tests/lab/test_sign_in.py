# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which secret is asked for, what is known of it before it is sent, and by which mechanism it goes: passwords and app passwords. Sign-ins in
the browser have a file of their own (test_oauth.py).
"""
import base64
import json
import os

import pytest

from wplab import oauth
from wplab.bus import Bus
from wplab.client import BusError, Connection, endpoint
from wplab.scripted import Dialogue

ERROR = 'org.waypost.Waypost1.Error.'
APP_PASSWORD = 'abcdefghijklmnop'

PROVIDERS = {'providers': [
    {'id': 'apps', 'name': 'Apps', 'domains': ['example.test'], 'pop3': {'host': 'pop.example.test'},
     'smtp': [{'host': 'smtp.example.test'}], 'methods': ['app-password'], 'account-password': 'refused', 'app-password': 'yes',
     'app-password-page': 'https://example.test/apps', 'app-password-shape': 'aaaa aaaa aaaa aaaa'}]}


@pytest.fixture(scope='module')
def apps(lab, build):
    """A service whose administrator knows that only app passwords open example.test."""
    folder = lab.run.file('apps.d')
    os.makedirs(folder)
    with open(os.path.join(folder, 'apps.json'), 'w') as f:
        json.dump(PROVIDERS, f)
    lab.set_account('app@example.test', password=APP_PASSWORD)
    config = {'discovery': {'providers-directory': folder}, 'verification': {'timeout': '10s'}}
    with Bus(build, lab=lab, config=config) as bus:
        yield bus


@pytest.fixture
def client(apps):
    with Connection(apps) as connection:
        yield connection


def refused(name, call, *args):
    with pytest.raises(BusError) as caught:
        call(*args)
    assert caught.value.name == ERROR + name, caught.value
    return caught.value.message


def logins(lab, user):
    return sum(f'user=<{user}>' in line and 'pop3-login' in line for line in lab.run.log('dovecot/dovecot.log').splitlines())


def test_app_password_is_asked_for_first(client, lab):
    before = logins(lab, 'app@example.test')
    setup = client.start_setup('app@example.test', dry_run=True)
    need = setup.wait_need('password')
    assert need['secret-kind'] == 'app-password' and need['secret-shape'] == 'aaaa aaaa aaaa aaaa'
    assert need['hint-url'] == 'https://example.test/apps'
    # The account's own password, by mistake: known before it is sent.
    said = refused('SecretShape', setup.set_password, 'Sommer2026!')
    assert 'aaaa aaaa aaaa aaaa' in said and 'not sent' in said and 'Sommer' not in said
    assert setup.need('password') and setup.state == 'waiting'
    assert logins(lab, 'app@example.test') == before
    # With the blanks it is shown with: nothing is removed in silence.
    assert 'blanks' in refused('SecretSpaces', setup.set_password, 'abcd efgh ijkl mnop')
    assert logins(lab, 'app@example.test') == before
    setup.set_password(APP_PASSWORD)
    assert setup.wait_state('ready', 'failed') == 'ready', setup.all()


def test_who_says_it_again_means_it(client, lab):
    lab.set_account('old@example.test', password='Another form 1')
    setup = client.start_setup('old@example.test', dry_run=True)
    setup.wait_need('password')
    refused('SecretShape', setup.set_password, 'Another form 1')
    refused('SecretShape', setup.set_password, 'Another form 2')
    refused('SecretShape', setup.set_password, 'Another form 1')
    setup.set_password('Another form 1')
    assert setup.wait_state('ready', 'failed') == 'ready', setup.all()


def test_new_app_password_of_an_account(client, lab):
    lab.set_account('later@example.test', password=APP_PASSWORD)
    setup = client.start_setup('later@example.test', receive_only=True)
    setup.wait_need('password')
    setup.set_password(APP_PASSWORD)
    assert setup.wait_state('ready', 'failed') == 'ready', setup.all()
    account = setup.commit()
    assert account.fetch()['cause'] == ''
    lab.set_account('later@example.test', password='ponmlkjihgfedcba')
    refused('SecretShape', account.call, 'SetPassword', 'ss', '', 'Winter2026')
    refused('SecretSpaces', account.call, 'SetPassword', 'ss', '', 'ponm lkji hgfe dcba')
    path = account.call('SetPassword', 'ss', '', 'ponmlkjihgfedcba')
    again = type(setup)(client, path)
    assert again.wait_state('succeeded', 'failed') == 'succeeded', again.all()
    assert account.fetch()['cause'] == ''


def test_blanks_by_the_client(apps):
    """Without a terminal nothing is guessed: the reason is told, and nothing is sent."""
    path = apps.state + '/../spaced'
    with open(path, 'w') as f:
        f.write('abcd efgh ijkl mnop\n')
    done = apps.cli('add', 'app@example.test', f'--password-file={path}', '--dry-run')
    assert done.returncode != 0 and 'blanks' in done.stderr, (done.stdout, done.stderr)


@pytest.mark.parametrize('mechanism', ['SCRAM-SHA-256', 'SCRAM-SHA-1', 'CRAM-MD5', 'LOGIN'])
def test_mechanism(build, mechanism):
    """Dovecot's own word for who signed in by what."""
    from wplab.lab import Lab
    with Lab(auth_mechanisms=mechanism.lower()) as lab, Bus(build, lab=lab) as bus, Connection(bus) as client:
        setup = client.start_setup('alice@example.test', dry_run=True)
        setup.wait_need('password')
        setup.set_password('alicepw')
        assert setup.wait_state('ready', 'failed') == 'ready', setup.all()
        assert {setup.steps[f'{side}.login'].evidence['method'] for side in ('incoming', 'outgoing')} == {mechanism}
        assert f'method={mechanism}' in lab.run.log('dovecot/dovecot.log')
        wrong = client.start_setup('eve@example.test', dry_run=True)
        wrong.wait_need('password')
        wrong.set_password('not-it')
        assert wrong.wait_state('ready', 'failed') == 'failed'
        assert wrong.steps['incoming.login'].cause == 'auth.bad-credentials', wrong.steps


# -- sign-ins as providers have them, from what they are known to say: right, and wrong in each way

def b64(text):
    return base64.b64encode(text.encode()).decode()


def pop(sasl, *rules, greeting='+OK Odd POP3 server ready.', user=True):
    """A POP3 server that offers @sasl; @rules are (what the client says, statements)."""
    offered = ['send +OK'] + ['send USER'] * user + ['send UIDL', 'send TOP', 'send RESP-CODES'] + [f'send SASL {sasl}'] * bool(sasl) + ['send .']
    lines = ['tls good', 'send ' + greeting, 'serve', 'on ^CAPA$', *offered]
    for said, then in rules:
        lines += [f'on {said}', *then]
    return '\n'.join(lines + ['on ^USER .', 'send +OK', 'on ^(STAT|LIST|UIDL|TOP|RETR)', 'mailbox 1', 'on ^QUIT$', 'send +OK', 'bye',
                              'default -ERR unknown', 'end'])


def two_steps(mechanism, *then):
    return f'^AUTH {mechanism}$', ['raw + \\r\\n', 'read-line', *then]


TOKEN_401 = [f'send + {b64(json.dumps({"status": "401", "schemes": "bearer", "scope": "https://mail.google.com/"}))}', 'expect ^$']
BEARER_401 = [f'send + {b64(json.dumps({"status": "invalid_token", "scope": "mail"}))}', 'expect ^AQ==$']
OK = ['send +OK']
PLAIN = '^AUTH PLAIN .'


def err(text):
    return [f'send -ERR {text}']


# name -> (server, by token, cause or None, how often the server is told a secret)
DIALOGUES = {
    'gmail-app-password': (pop('PLAIN XOAUTH2 OAUTHBEARER', (PLAIN, OK)), False, None, 1),
    'gmail-account-password': (pop('PLAIN XOAUTH2 OAUTHBEARER', (PLAIN, err('[AUTH] Application-specific password required: '
                               'https://support.google.com/accounts/answer/185833'))), False, 'auth.app-password-required', 1),
    'gmail-wrong': (pop('PLAIN XOAUTH2 OAUTHBEARER', (PLAIN, err('[AUTH] Username and password not accepted.'))), False,
                    'auth.bad-credentials', 1),
    'gmail-web-login': (pop('PLAIN XOAUTH2', (PLAIN, err('[AUTH] Web login required: https://support.google.com/mail/answer/78754'))), False,
                        'auth.web-login-required', 1),
    'gmail-token': (pop('PLAIN XOAUTH2 OAUTHBEARER', two_steps('OAUTHBEARER', *OK)), True, None, 1),
    'gmail-token-stale': (pop('PLAIN XOAUTH2', two_steps('XOAUTH2', *TOKEN_401, *err('[AUTH] Invalid credentials'))), True,
                          'oauth.token-rejected', 1),
    'outlook-token': (pop('PLAIN XOAUTH2', two_steps('XOAUTH2', *OK)), True, None, 1),
    'outlook-pop-off': (pop('XOAUTH2', two_steps('XOAUTH2', *err('Authentication failure: unknown user name or bad password.'))), True,
                        'oauth.token-rejected', 1),
    'outlook-not-connected': (pop('XOAUTH2', two_steps('XOAUTH2', *err('User is authenticated but not connected.'))), True,
                              'access.mailbox-not-connected', 1),
    'outlook-password': (pop('XOAUTH2', user=False), False, 'oauth.no-client', 0),
    'yahoo-account-password': (pop('PLAIN XOAUTH2 OAUTHBEARER', (PLAIN, err('[AUTH] (#MBR1212) Incorrect username or password. '
                               'App password required'))), False, 'auth.app-password-required', 1),
    'yahoo-token': (pop('PLAIN XOAUTH2 OAUTHBEARER', two_steps('OAUTHBEARER', *OK)), True, None, 1),
    'yahoo-token-stale': (pop('PLAIN OAUTHBEARER', two_steps('OAUTHBEARER', *BEARER_401, *err('[AUTH] (#AUTH012) Not authorized'))), True,
                          'oauth.token-rejected', 1),
    'fastmail-app-password': (pop('PLAIN LOGIN OAUTHBEARER XOAUTH2', (PLAIN, OK)), False, None, 1),
    'fastmail-account-password': (pop('PLAIN LOGIN OAUTHBEARER', (PLAIN, err('[AUTH] Unable to authenticate; app password required'))), False,
                                  'auth.app-password-required', 1),
    'fastmail-token': (pop('PLAIN OAUTHBEARER', two_steps('OAUTHBEARER', *OK)), True, None, 1),
    'yandex-app-password': (pop('', ('^PASS', OK)), False, None, 1),
    'yandex-account-password': (pop('', ('^PASS', err('[AUTH] login failure or POP3 disabled, try later. sc=abc'))), False,
                                'auth.bad-credentials-or-disabled', 1),
    'yandex-token-unlisted': (pop('', two_steps('XOAUTH2', *OK)), True, None, 1),
    'netease-code': (pop('', ('^PASS', OK), greeting='+OK Welcome to coremail Mail Pop3 Server'), False, None, 1),
    'netease-account-password': (pop('', ('^PASS', err('ERR.LOGIN.REQCODE use authorization code to login')),
                                 greeting='+OK Welcome to coremail Mail Pop3 Server'), False, 'auth.app-password-required', 1),
    'closes-on-token': (pop('XOAUTH2', two_steps('XOAUTH2', 'close')), True, 'net.reset', 1),
    'server-down': (pop('PLAIN', (PLAIN, err('[SYS/TEMP] Temporary authentication failure'))), False, 'auth.temporary-failure', 1),
}


@pytest.mark.parametrize('name', DIALOGUES)
def test_provider(bus_of_dialogues, name):
    """By a dry run; how often the server was told a secret is counted there."""
    lab, client = bus_of_dialogues
    text, token, cause, told = DIALOGUES[name]
    port = lab.scripted.play(0, Dialogue(text))
    if token:
        oauth.client_file(lab.run.file('dialogues/oauth.d'), hosts='odd.example.test')
    else:
        path = lab.run.file('dialogues/oauth.d/issuer.conf')
        if os.path.exists(path):
            os.unlink(path)
    setup = client.start_setup('alice@example.test', receive_only=True, dry_run=True, incoming=endpoint('odd.example.test', port))
    client.wait(lambda: setup.needs or setup.state == 'failed', 60)
    if setup.need('authorization'):
        oauth.complete(setup, lab.fake.redirect(oauth.authorize(setup)['url']))
    elif setup.need('password'):
        setup.set_password(f'secret-of-{name}')
    state = setup.wait_state('ready', 'failed')
    assert (state, setup['Cause']) == (('ready', '') if not cause else ('failed', cause)), setup.steps['incoming.login']
    said = sum(line.upper().startswith((b'PASS', b'AUTH')) for line in (l if isinstance(l, bytes) else l.encode() for l in lab.scripted.lines(port)))
    # A refused token is refreshed and tried once more, on a connection of its own.
    assert said in ((told, told + 1) if cause == 'oauth.token-rejected' else (told,)), lab.scripted.lines(port)
    assert not lab.scripted.trouble(port)


@pytest.fixture(scope='module')
def bus_of_dialogues(build):
    from wplab.fake_issuer import FakeIssuer
    from wplab.lab import ISSUER as NUMBER, NET4, Lab
    with Lab() as lab:
        lab.fake = FakeIssuer(lab, NET4 + str(NUMBER))
        config = oauth.config(lab, 'dialogues', client=False)
        folder = lab.run.file('dialogues/providers.d')
        oauth.providers(folder, methods=None, account_password='unknown', app_password='no', app_password_page=None,
                        pop3={'host': 'odd.example.test'}, smtp=[], sasl_unlisted='XOAUTH2')
        with Bus(build, lab=lab, config=config) as bus, Connection(bus) as client:
            yield lab, client
        lab.fake.close()


def test_two_refusals_over_all_mechanisms(bus_of_dialogues):
    """A SCRAM that ends before the proof may be followed by PLAIN; together they are the two that a server is told at most."""
    lab, client = bus_of_dialogues
    path = lab.run.file('dialogues/oauth.d/issuer.conf')
    if os.path.exists(path):
        os.unlink(path)
    port = lab.scripted.play(0, Dialogue(pop('SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN', ('^AUTH ', err('[AUTH] Authentication failed.')))))

    def told():
        return [line.split()[1] for line in (l if isinstance(l, bytes) else l.encode() for l in lab.scripted.lines(port))
                if line.upper().startswith(b'AUTH')]
    for _ in range(2):
        setup = client.start_setup('alice@example.test', receive_only=True, dry_run=True, incoming=endpoint('odd.example.test', port))
        setup.wait_need('password')
        setup.set_password('the same wrong one')
        assert setup.wait_state('ready', 'failed') == 'failed' and setup['Cause'] == 'auth.bad-credentials'
        assert told() == [b'SCRAM-SHA-256', b'PLAIN']
