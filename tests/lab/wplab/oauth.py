# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the suites of sign-ins in the browser share: a service that knows the lab's issuer, and the way through it."""
import json
import os

from .client import Account, Setup, options
from .issuer import ISSUER, Browser

SCOPES = 'openid offline_access email mail'
HOSTS = 'pop.example.test imap.example.test smtp.example.test'
PORT = 45678            # nobody listens there: what the browser is sent to is handed over by the test


def client_file(folder, name='issuer', **keys):
    """A file of oauth.d. Keys with _ for -."""
    os.makedirs(folder, exist_ok=True)
    values = {'issuer': ISSUER, 'client-id': 'waypost', 'scopes': SCOPES, 'hosts': HOSTS,
              **{k.replace('_', '-'): v for k, v in keys.items()}}
    path = os.path.join(folder, name + '.conf')
    with open(path, 'w') as f:
        f.write('[client]\n' + ''.join(f'{k} = {v}\n' for k, v in values.items() if v is not None))
    return path


def providers(folder, **keys):
    """A table of the administrator's by which example.test signs in at the lab's issuer."""
    os.makedirs(folder, exist_ok=True)
    one = {'id': 'lab', 'name': 'The lab', 'domains': ['example.test'], 'pop3': {'host': 'pop.example.test'},
           'smtp': [{'host': 'smtp.example.test'}], 'methods': ['oauth2', 'app-password'], 'account-password': 'refused',
           'app-password': 'yes', 'app-password-page': 'https://example.test/apps', 'oauth-issuer': ISSUER,
           **{k.replace('_', '-'): v for k, v in keys.items()}}
    with open(os.path.join(folder, 'lab.json'), 'w') as f:
        json.dump({'providers': [{k: v for k, v in one.items() if v is not None}]}, f)


def config(lab, name, client=True, **more):
    """The configuration of a service that has (or lacks) a client for the issuer."""
    folder = lab.run.file(name)
    providers(folder + '/providers.d')
    os.makedirs(folder + '/oauth.d', exist_ok=True)
    if client:
        client_file(folder + '/oauth.d')
    return {'oauth': {'clients-directory': folder + '/oauth.d'}, 'discovery': {'providers-directory': folder + '/providers.d'},
            'limits': {'setups-per-uid': 100, 'accounts-per-uid': 100}, 'fetch': {'interval': '1h'}, 'verification': {'timeout': '20s'}, **more}


def authorize(setup, **opts):
    keys = {k.replace('_', '-'): v for k, v in opts.items()}
    if keys.get('flow') != 'device':
        keys.setdefault('redirect-port', PORT)
    return setup.call('Authorize', 'a{sv}', options(keys))


def complete(setup, redirect):
    setup.call('CompleteAuthorization', 's', redirect)


def sign_in(lab, setup, user):
    """From the need to the redirect that has been handed over."""
    setup.wait_need('authorization')
    shown = authorize(setup)
    back = Browser(lab).go(shown['url'], user)
    complete(setup, back)
    return back


def account(lab, client, user, **opts):
    """A new account that signs in by the issuer."""
    setup = client.start_setup(user, **opts)
    sign_in(lab, setup, user)
    assert setup.wait_state('ready', 'failed') == 'ready', setup.all()
    made = setup.commit()
    assert setup.wait_state('succeeded', 'failed') == 'succeeded', setup.all()
    made.fetch()
    return made


def repair(client, account_, **opts):
    return Setup(client, account_.call('Repair', 'a{sv}', options(opts)))


__all__ = ['Account', 'account', 'authorize', 'client_file', 'complete', 'config', 'providers', 'repair', 'sign_in']
