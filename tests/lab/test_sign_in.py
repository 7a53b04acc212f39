# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which secret is asked for, what is known of it before it is sent, and by which mechanism it goes: passwords and app passwords. Sign-ins in
the browser have a file of their own (test_oauth.py).
"""
import json
import os

import pytest

from wplab.bus import Bus
from wplab.client import BusError, Connection

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
