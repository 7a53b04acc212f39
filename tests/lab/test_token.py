# SPDX-License-Identifier: LGPL-2.1-or-later
"""Secrets that come out again, for the account's owner's other programs: the switch, polkit, who gets what; and real mbsync and msmtp that
ask `waypost token` for it.
"""
import os
import subprocess

import pytest

from wplab import oauth
from wplab.bus import Bus, NAME
from wplab.client import ACCOUNT, BusError, Connection, Peer, options
from wplab.lab import Lab

DAEMON, BIN = 1, 2
RULES = f'''polkit.addRule(function(action, subject) {{
    if (action.id == "{NAME}.get-credential") return subject.user == "daemon" ? polkit.Result.YES : polkit.Result.NO;
    if (action.id == "{NAME}.admin-view") return polkit.Result.YES;
}});
'''


@pytest.fixture(scope='module')
def lab():
    with Lab(issuer={}) as started:
        for user in ('owner', 'token'):
            started.set_account(f'{user}@example.test', password=user + '"pw\\%s')
        yield started


def config(lab, name, **secrets):
    return oauth.config(lab, name, secrets={k.replace('_', '-'): v for k, v in secrets.items()})


def add(bus, uid, user, password):
    path = bus.run.write(f'pw-{uid}', password)
    os.chmod(path, 0o644)
    done = bus.cli('add', user, f'--password-file={path}', '--receive-only', uid=uid)
    assert done.returncode == 0, (done.stdout, done.stderr)


def refused(call, *args):
    with pytest.raises(BusError) as caught:
        call(*args)
    return caught.value.name


def ask(caller, account, **opts):
    return caller.call(account, ACCOUNT, 'GetCredential', 'a{sv}', options(opts))


def test_off_by_default(build, lab):
    with Bus(build, lab=lab, config=config(lab, 'off'), polkit=True, rules=RULES) as bus, Peer(bus, DAEMON) as owner:
        add(bus, DAEMON, 'owner@example.test', lab.accounts['owner@example.test']['password'])
        account = owner.accounts()[0]
        assert refused(ask, owner, account.path) == NAME + '.Error.NotSupported'
        done = bus.cli('token', 'owner@example.test', uid=DAEMON)
        assert done.returncode != 0 and done.stdout == '' and 'switched it on' in done.stderr


def test_who_gets_it(build, lab):
    password = lab.accounts['owner@example.test']['password']
    with Bus(build, lab=lab, config=config(lab, 'on', hand_out='yes'), polkit=True, rules=RULES) as bus, Peer(bus, DAEMON) as owner, \
            Peer(bus, BIN) as other:
        add(bus, DAEMON, 'owner@example.test', password)
        account = owner.accounts()[0]
        done = bus.cli('token', 'owner@example.test', uid=DAEMON)
        assert (done.returncode, done.stdout) == (0, password + '\n'), done
        # Nobody else, with and without the view of an administrator.
        assert refused(ask, other, account.path) == 'org.freedesktop.DBus.Error.UnknownObject'
        other.manager('RequestAdminView')
        assert refused(ask, other, account.path) == 'org.freedesktop.DBus.Error.AccessDenied'
        # One's own is not enough where polkit says no.
        add(bus, BIN, 'token@example.test', lab.accounts['token@example.test']['password'])
        own = next(a for a in other.accounts() if a['Owner'] == BIN)
        assert refused(ask, other, own.path) == 'org.freedesktop.DBus.Error.AccessDenied'
        for bad in ({'side': 'sideways'}, {'unknown': True}):
            assert refused(lambda bad=bad: ask(owner, account.path, **bad)) == NAME + '.Error.InvalidArgument'
        assert refused(lambda: ask(owner, account.path, side='outgoing')) == NAME + '.Error.InvalidState'
        assert password not in bus.log()


def test_real_programs(build, lab):
    """mbsync fetches and msmtp sends by what `waypost token` says: a password, and a token."""
    with Bus(build, lab=lab, config=config(lab, 'programs', hand_out='yes')) as bus, Connection(bus) as client:
        lab.set_account('plain@example.test', password='plainpw')
        setup = client.start_setup('plain@example.test')
        setup.wait_need('authorization')
        setup.set_password('plainpw')
        assert setup.wait_state('ready', 'failed') == 'ready'
        setup.commit()
        lab.set_account('signed@example.test', password='nobody knows')
        oauth.account(lab, client, 'signed@example.test')
        for user in ('plain', 'signed'):
            lab.deliver(f'{user}@example.test', b'Subject: for mbsync\r\n\r\nhello\r\n')
        home = lab.run.file('programs-home')
        os.makedirs(home)
        waypost = f'{bus.build}/cli/waypost'

        def run(*argv, text=None):
            done = subprocess.run(bus.command(list(argv)), env=dict(bus.environment(), HOME=home), capture_output=True, text=True, input=text,
                                  timeout=60)
            assert done.returncode == 0, (argv, done.stdout, done.stderr)
            return done.stdout
        os.makedirs(home + '/mail')
        conf = lab.run.write('programs-home/mbsyncrc', f'''IMAPAccount plain
Host imap.example.test
User plain@example.test
PassCmd "{waypost} token plain@example.test"
SSLType IMAPS
CertificateFile {lab.pki.ca}
AuthMechs LOGIN PLAIN

IMAPStore far
Account plain

MaildirStore near
Path {home}/mail/
Inbox {home}/mail/INBOX

Channel mail
Far :far:
Near :near:
Create Near
''')
        run('/usr/bin/mbsync', '-c', conf, 'mail')
        assert any('Subject: for mbsync' in open(os.path.join(home, 'mail/INBOX/new', name), errors='replace').read()
                   for name in os.listdir(home + '/mail/INBOX/new'))
        for user, auth in (('plain', 'plain'), ('signed', 'oauthbearer')):
            conf = lab.run.write(f'programs-home/msmtp-{user}', f'''account default
host smtp.example.test
port 465
tls on
tls_starttls off
tls_trust_file {lab.pki.ca}
auth {auth}
user {user}@example.test
from {user}@example.test
passwordeval "{waypost} token --outgoing {user}@example.test"
''')
            os.chmod(conf, 0o600)
            run('/usr/bin/msmtp', '-C', conf, f'{user}@example.test', text='Subject: by msmtp\n\nhello\n')
        log = lab.run.log('postfix/mail.log')
        assert 'sasl_method=PLAIN, sasl_username=plain@example.test' in log and 'sasl_method=OAUTHBEARER, sasl_username=signed@example.test' in log
