# SPDX-License-Identifier: LGPL-2.1-or-later
"""Everything that may go wrong while an account is set up, each with its own cause code and the proof.

All cases run at the same time against one lab, once over the bus and once by `waypost add --json` (as another user,
whose refused logins count apart); the tests then look at what each has left. So a silent port takes its time
only once. What is not here: that a setup works at all (test_onboarding.py).
"""
import base64
import concurrent.futures
import json
import os
import re
import time
from collections import namedtuple

import pytest

from wplab import faulttable
from wplab.bus import Bus
from wplab.client import BusError, Connection, endpoint
from wplab.lab import BAD, DNS, NET4, SILENT
from wplab.run import PROJECT

EXIT = {'user-action': 3, 'temporary': 4, 'permanent': 5}      # of waypost, by the cause's class
NEEDED = 6
UID = 65534
CONFIG = {'limits': {'setups-per-uid': 1000}, 'verification': {'timeout': '4s'}, 'fetch': {'interval': '1h'}}
BEFORE_LOGIN = ('discovery', '.dns', '.port', '.tls', '.service')

Case = namedtuple('Case', 'name step cause evidence address password incoming outgoing state')
CASES = []


class Odd(str):
    """A dialogue of the scripted server: its file's name, or its text."""


def case(name, step, cause, evidence=None, address='alice@example.test', password=None, incoming=None,
         outgoing=None, state='failed', marks=()):
    """@incoming and @outgoing: (host or Odd(dialogue), port, security). Only one side given: incoming alone is
    receive-only; before outgoing alone stands a server where all is well. None at all: discovery."""
    if outgoing and not incoming:
        incoming = (Odd('pop-ok'), 0, 'tls')
    one = Case(name, step, cause, evidence or {}, address, password or f'secret-of-{name}', incoming, outgoing, state)
    CASES.append(pytest.param(one, id=name, marks=marks))


def odd(dialogue, security='tls'):
    return (Odd(dialogue), 0, security)


def imap(*says, at='(LOGIN|AUTHENTICATE)', greeting='* OK ready', tail=''):
    """An IMAP server that answers the command @at by @says, and does all others as it should."""
    says = '\n'.join(f'send {line}' if line else 'silence' for line in says)
    rule = f'on ^\\S+ {at}( PLAIN)?( .*)?$\n{says}\n{tail}\n' if says or tail else ''
    return (Odd(f'tls good\nsend {greeting}\nserve\n{rule}\ninclude imap-session.rules\nend\n'), 0, 'tls', 'imap')


def host(name, port, security='tls'):
    return (name + '.example.test', port, security)


def incoming(name, step, cause, server, evidence=None, **more):
    case(name, 'incoming.' + step, cause, evidence, incoming=server, **more)


def outgoing(name, step, cause, server, evidence=None, **more):
    case(name, 'outgoing.' + step, cause, evidence, outgoing=server, **more)


# -- real servers, found by discovery

for user, step, cause, evidence in (
        ('bob', 'incoming.login', 'access.pop-disabled', {'code': 'SYS/PERM', 'reply': 'not enabled for POP'}),
        ('carl', 'incoming.login', 'auth.app-password-required', {'reply': 'Application-specific'}),
        ('dora', 'incoming.login', 'auth.temporary-failure', {'code': 'SYS/TEMP'}),
        ('locked', 'incoming.login', 'mailbox.locked', {'code': 'IN-USE', 'reply': 'another session'}),
        ('hasty', 'incoming.login', 'limit.login-delay', {'code': 'LOGIN-DELAY', 'reply': '15 minutes'}),
        ('expired', 'incoming.login', 'auth.password-expired', {'reply': 'expired'}),
        ('nosend', 'outgoing.login', 'auth.bad-credentials', {'status': '535', 'code': r'5\.7\.8'}),
        ('badfrom', 'outgoing.sender', 'smtp.sender-rejected', {'status': '553', 'reply': 'not owned by user'}),
        ('unknownrcpt', 'outgoing.sender', 'smtp.recipient-unknown', {'status': '550', 'code': r'5\.1\.1'}),
        ('gone', 'verification', 'verification.not-arrived', {'reply': '.'})):
    case('user-' + user, step, cause, evidence, address=f'{user}@example.test', password=user + 'pw')
case('wrong-password', 'incoming.login', 'auth.bad-credentials', {'code': 'AUTH', 'reply': 'failed',
     'user': 'eve@example.test', 'host': r'pop\.example\.test'}, address='eve@example.test')
case('unknown-user', 'incoming.login', 'auth.bad-credentials', {'code': 'AUTH'}, address='nobody@example.test')

# -- names

case('unknown-domain', 'discovery', 'dns.nxdomain', {'domain': 'no-such.test'}, address='a@no-such.test')
case('null-mx', 'discovery', 'dns.null-mx', {'domain': 'nullmx.test'}, address='a@nullmx.test')
case('servfail', 'discovery', 'dns.servfail', {'domain': 'broken.test'}, address='a@broken.test')
case('bogus-dnssec', 'discovery', 'dns.dnssec-bogus', {'domain': 'bogus.test'}, address='a@bogus.test')
case('dns-dropped', 'discovery', 'dns.timeout', {'domain': 'timeout.test'}, address='a@timeout.test')
case('dns-refused', 'discovery', 'dns.servfail', {'domain': 'refused.test'}, address='a@refused.test')
case('no-mail', 'discovery', 'discovery.nothing-found', {'sources': 'guess'}, address='a@nomail.test')
case('mx-only', 'discovery', 'discovery.nothing-found', {'sources': 'guess'}, address='alice@hollow.test', state='waiting')
incoming('unknown-host', 'dns', 'dns.nxdomain', host('no-such', 995), {'host': 'no-such', 'error': '.'})
incoming('dangling-alias', 'dns', 'dns.nxdomain', host('dangling', 995), {'host': 'dangling', 'error': '.'})
incoming('host-without-address', 'dns', 'dns.no-records', ('nomail.test', 995, 'tls'), {'host': 'nomail', 'error': '.'})
outgoing('unknown-host-out', 'dns', 'dns.nxdomain', host('no-such', 465), {'host': 'no-such', 'error': '.'})
incoming('host-servfail', 'dns', 'dns.servfail', ('mail.broken.test', 995, 'tls'), {'host': 'broken', 'error': '.'})

# -- ports

incoming('closed-port', 'port', 'net.refused', host('closed', 995), {'attempts': 'refused', 'port': '995'})
outgoing('closed-port-out', 'port', 'net.refused', host('closed', 465), {'attempts': 'refused'})
incoming('silent-port', 'port', 'net.timeout', host('silent', 995), {'attempts': 'no answer'})
outgoing('silent-port-out', 'port', 'net.timeout', host('silent', 465), {'attempts': 'no answer'})
incoming('no-route', 'port', 'net.unreachable', host('noroute', 995), {'attempts': 'unreachable'})

# -- certificates: over both protocols' ports, at once and after STLS

CERTIFICATES = {
    'expired': ('tls.cert-expired', {'verify-errors': 'expired', 'not-after': r'\d+'}),
    'not-yet-valid': ('tls.cert-not-yet-valid', {'verify-errors': 'not yet valid', 'not-before': r'\d+'}),
    'wrong-name': ('tls.cert-name-mismatch', {'names': '.'}),
    'self-signed': ('tls.cert-self-signed', {'verify-errors': 'self'}),
    'unknown-ca': ('tls.cert-untrusted-ca', {'issuer': '.'}),
    'missing-intermediate': ('tls.cert-chain-incomplete', {'issuer': 'Intermediate'}),
    'weak-key': ('tls.weak-crypto', {}),
}
for kind, (cause, evidence) in CERTIFICATES.items():
    state = 'waiting' if kind in ('self-signed', 'unknown-ca') else 'failed'
    proof = {'spki-sha256': '[0-9a-f]{64}', 'subject': '.', **evidence}
    incoming(kind, 'tls', cause, host(kind, 995), proof, state=state)
    incoming(kind + '-stls', 'tls', cause, host(kind, 110, 'starttls'), proof, state=state)
    outgoing(kind + '-out', 'tls', cause, host(kind, 465), proof, state=state)
    outgoing(kind + '-starttls', 'tls', cause, host(kind, 587, 'starttls'), proof, state=state)

# -- TLS that does not come about

incoming('tls-close', 'tls', 'tls.handshake-failed', odd('tls-close'), {'phase': 'handshake'})
incoming('tls-reset', 'tls', 'tls.handshake-failed', odd('tls-reset'), {'phase': 'handshake'})
incoming('tls-silence', 'tls', 'net.timeout', odd('stall-connect'), {'phase': 'handshake'})
incoming('tls-half', 'tls', 'net.timeout', odd('stall-tls-half'), {'phase': 'handshake'})
incoming('plain-on-tls-port', 'tls', 'tls.mode-mismatch', odd('plain-pop-on-tls-port'), {'first-bytes': r'\+OK'})
outgoing('plain-on-tls-port-out', 'tls', 'tls.mode-mismatch', odd('plain-smtp-on-tls-port'), {'first-bytes': '220'})
incoming('stls-at-995', 'tls', 'tls.mode-mismatch', host('mail', 995, 'starttls'), {'phase': 'greeting'})
outgoing('starttls-at-465', 'tls', 'tls.mode-mismatch', host('smtp', 465, 'starttls'), {'phase': 'greeting'})
incoming('tls-at-110', 'tls', 'tls.mode-mismatch', host('mail', 110), {'first-bytes': r'\+OK'})
outgoing('tls-at-587', 'tls', 'tls.mode-mismatch', host('smtp', 587), {'first-bytes': '220'})
incoming('stls-not-offered', 'tls', 'tls.starttls-unavailable', odd('pop-no-stls', 'starttls'))
incoming('stls-refused', 'tls', 'tls.starttls-failed', odd('pop-stls-refused', 'starttls'), {'reply': 'not available'})
incoming('stls-injected', 'tls', 'server.protocol-violation', odd('pop-stls-injected', 'starttls'), {'error': 'waiting'})
outgoing('starttls-not-offered', 'tls', 'tls.starttls-unavailable', odd('smtp-no-starttls', 'starttls'))
outgoing('starttls-stripped', 'tls', 'tls.starttls-stripped', odd('smtp-starttls-stripped', 'starttls'), {'capabilities': 'XXXXXXXA'})
outgoing('starttls-refused', 'tls', 'tls.starttls-failed', odd('smtp-starttls-refused', 'starttls'), {'status': '454'})
outgoing('starttls-injected', 'tls', 'server.protocol-violation', odd('smtp-starttls-injected', 'starttls'), {'error': 'waiting'})

# -- who speaks there

for kind, first in (('ssh', 'SSH-2.0'), ('imap-greeting', r'\* OK'), ('smtp-greeting', '220 '), ('ftp-greeting', '220 '),
                    ('garbage', '')):
    incoming(f'{kind}-in-tls', 'service', 'net.wrong-service', odd(f'other-{kind}-tls'), {'first-bytes': first})
    incoming(f'{kind}-plain', 'tls', 'net.wrong-service', odd(f'other-{kind}'), {'first-bytes': first})
    incoming(f'{kind}-stls', 'tls', 'net.wrong-service', odd(f'other-{kind}', 'starttls'), {'first-bytes': first})
for kind, first in (('ssh', 'SSH-2.0'), ('imap-greeting', r'\* OK'), ('pop-greeting', r'\+OK')):
    outgoing(f'{kind}-in-tls-out', 'service', 'net.wrong-service', odd(f'other-{kind}-tls'), {'first-bytes': first})
    outgoing(f'{kind}-plain-out', 'tls', 'net.wrong-service', odd(f'other-{kind}'), {'first-bytes': first})
incoming('http-plain', 'tls', 'net.wrong-service', odd('other-http'), {'first-bytes': 'HTTP/1'})
incoming('smtp-at-465', 'service', 'net.wrong-service', host('smtp', 465), {'first-bytes': '220 '})
outgoing('pop-at-995', 'service', 'net.wrong-service', host('pop', 995), {'first-bytes': r'\+OK'})

# -- the service

incoming('err-greeting', 'service', 'server.temporary', odd('pop-err-greeting'), {'reply': 'busy', 'code': 'SYS/TEMP'})
incoming('err-greeting-connections', 'service', 'limit.too-many-connections', odd('pop-err-greeting-in-use'),
         {'reply': 'Too many connections'})
incoming('endless-line', 'service', 'server.protocol-violation', odd('pop-endless-line'), {'error': '.'})
incoming('endless-line-plain', 'tls', 'server.protocol-violation', odd('pop-endless-line-plain', 'starttls'), {'error': '.'})
incoming('endless-capa', 'service', 'server.protocol-violation', odd('pop-endless-capa'), {'error': '.'})
outgoing('busy-greeting', 'service', 'server.temporary', odd('smtp-busy-greeting'), {'status': '421'})
outgoing('no-service', 'service', 'smtp.wrong-server', odd('smtp-err-greeting'), {'status': '554'})
outgoing('no-auth', 'service', 'auth.not-offered', odd('smtp-no-auth'), {'capabilities': 'PIPELINING'})
outgoing('endless-ehlo', 'service', 'server.protocol-violation', odd('smtp-endless-ehlo'), {'error': '.'})
incoming('silent-greeting', 'service', 'net.timeout', odd('pop-stall-greeting'), {'phase': 'greeting'})
outgoing('silent-greeting-out', 'service', 'net.timeout', odd('smtp-stall-greeting'), {'phase': 'greeting'})

# -- the login

incoming('pop-wrong', 'login', 'auth.bad-credentials', odd('pop-wrong-password'), {'code': 'AUTH', 'reply': 'failed'})
incoming('pop-wrong-text', 'login', 'auth.bad-credentials', odd('pop-wrong-password-text'), {'reply': 'Invalid'})
incoming('pop-wrong-bye', 'login', 'auth.bad-credentials', odd('pop-wrong-password-bye'), {'code': 'AUTH'})
incoming('pop-app', 'login', 'auth.app-password-required', odd('pop-app-password'), {'reply': 'accounts/answer/185833'})
incoming('pop-web', 'login', 'auth.web-login-required', odd('pop-web-login'), {'reply': 'web browser'})
incoming('pop-off', 'login', 'access.pop-disabled', odd('pop-login-disabled'), {'code': 'SYS/PERM'})
incoming('pop-off-domain', 'login', 'access.disabled-by-admin', odd('pop-login-disabled-domain'), {'reply': 'domain'})
incoming('in-use', 'login', 'mailbox.locked', odd('pop-in-use'), {'code': 'IN-USE'})
incoming('in-use-text', 'login', 'mailbox.locked', odd('pop-in-use-text'), {'reply': 'locked'})
incoming('login-delay', 'login', 'limit.login-delay', odd('pop-login-delay'), {'code': 'LOGIN-DELAY'})
incoming('tempfail', 'login', 'auth.temporary-failure', odd('pop-tempfail'), {'code': 'SYS/TEMP'})
incoming('close-after-pass', 'login', 'net.reset', odd('pop-close-after-pass'), {'phase': 'login', 'error': 'closed'})
incoming('reset-after-pass', 'login', 'net.reset', odd('pop-reset-after-pass'), {'phase': 'login'})
incoming('silent-login', 'login', 'net.timeout', odd('pop-stall-pass'), {'phase': 'login'},
         marks=[pytest.mark.long])
incoming('gmail-stat', 'mailbox', 'access.pop-disabled', odd('pop-gmail-stat-disabled'),
         {'reply': 'not enabled for POP', 'phase': 'stat'})
outgoing('smtp-wrong', 'login', 'auth.bad-credentials', odd('smtp-wrong-password'), {'status': '535'})
outgoing('smtp-app', 'login', 'auth.app-password-required', odd('smtp-app-password'), {'status': '534', 'code': r'5\.7\.9'})
outgoing('smtp-web', 'login', 'auth.web-login-required', odd('smtp-web-login'), {'status': '534', 'code': r'5\.7\.14'})
outgoing('smtp-off', 'login', 'access.smtp-auth-disabled', odd('smtp-auth-disabled'), {'code': r'5\.7\.139'})
outgoing('smtp-basic-off', 'login', 'auth.oauth-required', odd('smtp-basic-auth-off'), {'code': r'5\.7\.139'})
outgoing('smtp-tempfail', 'login', 'auth.temporary-failure', odd('smtp-tempfail'), {'status': '454'})
outgoing('close-after-auth', 'login', 'net.reset', odd('smtp-close-after-auth'), {'phase': 'login'})
outgoing('sender-refused', 'sender', 'smtp.sender-rejected', odd('smtp-sender-refused'), {'status': '553'})
outgoing('sender-refused-rcpt', 'sender', 'smtp.sender-rejected', odd('smtp-sender-refused-at-rcpt'), {'phase': 'rcpt'})
outgoing('recipient-unknown', 'sender', 'smtp.recipient-unknown', odd('smtp-recipient-unknown'), {'code': r'5\.1\.1'})
outgoing('sending-quota', 'sender', 'limit.sending-quota', odd('smtp-quota'), {'code': r'5\.4\.5'})
case('refused-as-spam', 'verification', 'smtp.content-rejected', {'status': '554'}, outgoing=odd('smtp-content-refused'),
     address='spam@example.test')
case('sender-refused-data', 'verification', 'smtp.sender-rejected', {'code': r'5\.7\.60'}, outgoing=odd('smtp-sender-refused-at-data'),
     address='late@example.test')


# -- IMAP

incoming('imap-dora', 'login', 'auth.temporary-failure', host('imap', 993), {'code': 'UNAVAILABLE'}, address='dora@example.test', password='dorapw')
incoming('imap-wrong-password', 'login', 'auth.bad-credentials', host('imap', 993), {'code': 'AUTHENTICATIONFAILED'})
for name, step, cause, evidence, server in (
        ('off', 'login', 'access.imap-disabled', {'code': 'ALERT'}, imap('{tag} NO [ALERT] Your account is not enabled for IMAP use.')),
        ('off-in-ok', 'login', 'access.imap-disabled', {'reply': 'UserDisabled'},
         imap('{tag} OK [Error="UserDisabled" AuthResult=27] AUTHENTICATE completed.')),
        ('off-domain', 'login', 'access.disabled-by-admin', {'reply': 'domain'}, imap('{tag} NO [ALERT] IMAP access is disabled for your domain.')),
        ('web-alert', 'login', 'auth.web-login-required', {'code': 'WEBALERT'},
         imap('{tag} NO [WEBALERT https://example.test/] Web login required.')),
        ('basic-off', 'login', 'auth.oauth-required', {'reply': 'Basic'}, imap('{tag} NO Basic authentication is disabled.')),
        ('expired', 'login', 'auth.password-expired', {'code': 'EXPIRED'}, imap('{tag} NO [EXPIRED] That password is not valid any more')),
        ('contact-admin', 'login', 'auth.account-disabled', {'code': 'CONTACTADMIN'}, imap('{tag} NO [CONTACTADMIN] closed')),
        ('unavailable', 'login', 'auth.temporary-failure', {'code': 'UNAVAILABLE'}, imap('{tag} NO [UNAVAILABLE] Backend down')),
        ('connections', 'login', 'limit.too-many-connections', {'reply': 'simultaneous'},
         imap('{tag} NO [ALERT] Too many simultaneous connections. (Failure)')),
        ('rate', 'login', 'auth.rate-limited', {'reply': 'Rate'}, imap('{tag} NO [LIMIT] LOGIN Rate limit hit.')),
        ('no-then-bye', 'login', 'auth.bad-credentials', {'reply': 'failed'},
         imap('{tag} NO LOGIN failed.', '* BYE Connection is closed. 14', tail='bye')),
        ('close-after-login', 'login', 'net.reset', {'phase': 'login'}, imap(tail='close')),
        ('reset-after-login', 'login', 'net.reset', {'phase': 'login'}, imap(tail='reset')),
        ('greeting-bye', 'service', 'server.maintenance', {'reply': 'maintenance'}, imap(greeting='* BYE Down for maintenance')),
        ('greeting-full', 'service', 'limit.too-many-connections', {'reply': 'many'},
         imap(greeting='* BYE Too many connections from your address')),
        ('moved', 'login', 'access.mailbox-moved', {'code': 'REFERRAL'}, imap('{tag} NO [REFERRAL imap://new.example.test/] moved')),
        ('unsafe', 'mailbox', 'auth.client-id-required', {'reply': 'Unsafe'},
         imap('{tag} NO SELECT Unsafe Login. Please contact us', at='(EXAMINE|SELECT)')),
        ('mailbox-locked', 'mailbox', 'mailbox.locked', {'code': 'INUSE|IN-USE'}, imap('{tag} NO [INUSE] Mailbox is locked', at='(EXAMINE|SELECT)')),
        ('mailbox-trouble', 'mailbox', 'mailbox.unavailable', {'code': 'UNAVAILABLE'},
         imap('{tag} NO [UNAVAILABLE] Cannot open the mailbox', at='(EXAMINE|SELECT)')),
        ('not-connected', 'mailbox', 'access.mailbox-not-connected', {'reply': 'not connected'},
         imap('{tag} BAD User is authenticated but not connected.', '* BYE Connection closed. 14', at='(EXAMINE|SELECT)', tail='bye')),
        ('garbage', 'service', 'net.wrong-service', {'first-bytes': '.'}, imap(greeting='hello who is there'))):
    incoming('imap-' + name, step, cause, server, evidence)


# -- playing them

Result = namedtuple('Result', 'state cause steps needs accounts')


def wanted(request):
    """The cases that are to be looked at in this run of pytest, and no others."""
    specs = [item.callspec.params for item in request.session.items if item.path == request.path and hasattr(item, 'callspec')]
    return list({params['one'].name: params['one'] for params in specs if 'one' in params}.values())


class Played:
    """All that happened: .bus and .cli by name, and what the scripted server has seen."""

    def __init__(self, lab, bus, cases):
        self.lab, self.bus_, self.cases = lab, bus, cases
        self.bus, self.seconds = {}, {}
        self.ports = {}                 # (name, side) -> port
        for one in cases:
            for side in ('incoming', 'outgoing'):
                server = getattr(one, side)
                if server and isinstance(server[0], Odd):
                    play = lab.scripted.play_text if '\n' in server[0] else lab.scripted.play
                    self.ports[one.name, side] = play(0, server[0])

    def server(self, one, side):
        where = getattr(one, side)
        if where and isinstance(where[0], Odd):
            return 'odd.example.test', self.ports[one.name, side], where[2]
        return where[:3] if where else None

    def start(self, connection, one):
        keys = {side: endpoint(*self.server(one, side)) for side in ('incoming', 'outgoing') if getattr(one, side)}
        if one.incoming and one.incoming[3:]:
            keys['incoming']['protocol'] = one.incoming[3]
        if one.incoming and not one.outgoing:
            keys['receive_only'] = True
        return connection.start_setup(one.address, **keys)

    def play_bus(self, connection, cases):
        """All of @cases at once, on one connection."""
        since = time.monotonic()
        setups = {one.name: (one, self.start(connection, one)) for one in cases}
        answered, committed, left = set(), {}, set(setups)

        def settle():
            for name in list(left):
                one, setup = setups[name]
                state = setup.state
                if state == 'waiting' and setup.need('password') and name not in answered:
                    setup.set_password(one.password)
                    answered.add(name)
                elif state == 'ready' and one.step == 'verification' and name not in committed:
                    committed[name] = setup.commit()
                elif state in ('failed', 'succeeded', 'ready') or state == 'waiting' and not setup.need('password'):
                    left.discard(name)
                    self.seconds[name] = time.monotonic() - since
            return not left
        try:
            connection.wait(settle, 100)
        except TimeoutError:
            pass                        # the tests of those that are left will tell
        self.bus.update({name: Result(setup.state, setup['Cause'], setup.steps, setup.needs, committed.get(name))
                         for name, (one, setup) in setups.items()})

    def play_cli(self):
        with concurrent.futures.ThreadPoolExecutor(24) as pool:
            told = [one for one in self.cases if not (one.incoming or '')[3:]]
            self.cli = dict(zip([one.name for one in told], pool.map(self.run_cli, told)))

    def run_cli(self, one):
        password = self.lab.run.write(f'passwords/{one.name}', one.password + '\n', 0o600)
        os.chown(password, UID, -1)
        argv = ['add', one.address, '--password-file', password, '--json', '--yes', '--no-wait']
        for side in ('incoming', 'outgoing'):
            if getattr(one, side):
                argv += [f'--{side}', '{}:{}/{}'.format(*self.server(one, side))]
        if one.incoming and not one.outgoing:
            argv.append('--receive-only')
        return self.bus_.cli(*argv, uid=UID, timeout=100)


@pytest.fixture(scope='module')
def played(request, lab, build):
    cases = wanted(request)
    with Bus(build, lab=lab, config=CONFIG) as bus, Connection(bus) as connection:
        os.makedirs(lab.run.file('passwords'), exist_ok=True)
        os.chmod(lab.run.file('passwords'), 0o755)
        all_ = Played(lab, bus, cases)
        if faulttable.WRITE:            # one after the other, so that each is timed alone
            for one in cases:
                all_.play_bus(connection, [one])
            all_.play_cli()
        else:
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                cli = pool.submit(all_.play_cli)
                all_.play_bus(connection, cases)
                cli.result()
        yield all_


def check_steps(one, steps):
    """@steps: id -> (status, cause, evidence). The step that is at fault says so with its proof, and no other step does."""
    status, cause, evidence = steps[one.step]
    assert (status, cause) == (one.state, one.cause), {k: v for k, v in steps.items() if v[1] or k == one.step}
    for key, pattern in one.evidence.items():
        assert re.search(pattern, faulttable.text_of(evidence.get(key, '')), re.I), (key, pattern, evidence)
    assert one.password not in str(steps)
    others = {k: v for k, v in steps.items() if k != one.step and v[0] in ('failed', 'waiting', 'running')}
    if one.state == 'waiting':          # the other side goes on until it needs the password
        others = {k: v for k, v in others.items() if not k.endswith('.login') or v[1]}
    # What follows from the same cause on the other side, or from guesses in vain, is no second story.
    same = (one.cause, 'dns.nxdomain' if one.cause == 'discovery.nothing-found' else None)
    assert not {k: v for k, v in others.items() if not (k.endswith('.dns') and v[1] in same)}


def cases(test):
    return pytest.mark.parametrize('one', CASES)(test)


@cases
def test_bus(played, one):
    result = played.bus[one.name]
    assert (result.state, result.cause) == (one.state, one.cause), result.steps[one.step]
    check_steps(one, {k: (s.status, s.cause, s.evidence) for k, s in result.steps.items()})
    if one.state == 'waiting':
        need = dict(result.needs)['servers' if one.step == 'discovery' else 'certificate-approval']
        assert need['cause'] == one.cause and need.get('spki-sha256') == result.steps[one.step].evidence.get('spki-sha256')
    assert bool(result.accounts) == (one.step == 'verification')


@pytest.mark.parametrize('one', [param for param in CASES if not (param.values[0].incoming or '')[3:]])
def test_cli(played, one):
    done = played.cli[one.name]
    told = json.loads(done.stdout)
    check_steps(one, {s['id']: (s['status'], s['cause'] or '', s['evidence']) for s in told['steps']})
    assert told['state'] == one.state
    assert one.password not in done.stdout + done.stderr
    if one.state == 'waiting':
        assert done.returncode == NEEDED
        assert any(n['kind'] in ('certificate-approval', 'servers') and n['cause'] == one.cause for n in flat(told['needs']))
    else:
        assert told['cause'] == one.cause and told['title'] and told['remedies']
        assert done.returncode == EXIT[told['class']] == EXIT[CAUSES[one.cause]['class']]


def flat(needs):
    return [{'kind': n.get('kind'), **n, **n.get('details', {})} for n in needs]


with open(os.path.join(PROJECT, 'data', 'causes.json')) as f:
    CAUSES = json.load(f)


def spellings(secret, user):
    """What a password looks like on the wire: as it is, by AUTH LOGIN, by AUTH PLAIN."""
    plain = '\0'.join(('', user, secret))
    return [secret.encode()] + [base64.b64encode(text.encode()) for text in (secret, plain)]


@cases
def test_no_password_before_all_is_well(played, one):
    """Neither a server whose certificate or protocol was not accepted, nor any of the others, has got a byte of it."""
    for side in ('incoming', 'outgoing'):
        port = played.ports.get((one.name, side))
        if port is None:
            continue
        server = played.lab.scripted
        sent = any(s in server.received(port) for s in spellings(one.password, one.address))
        early = one.step.endswith(BEFORE_LOGIN) and (one.step.startswith(side) or side == 'outgoing')
        assert not (sent and early), server.lines(port)
        assert not [t for t in server.trouble(port) if 'plain text' in t]
    number = BAD.get(one.name.removesuffix('-stls'))
    if number and one.incoming:
        seen = [line for line in played.lab.run.log('dovecot/dovecot.log').splitlines() if f'lip={NET4}{number},' in line]
        assert seen and all('no auth attempts' in line for line in seen)


def test_table(request, played):
    """docs/faults.md tells of each of them, and nothing else."""
    table = faulttable.Table(os.path.join(PROJECT, 'docs', 'faults.md'))
    rows = [faulttable.Row(one.name, where_of(played, one), one.step, played.bus[one.name].cause,
                           faulttable.proof(one.evidence, played.bus[one.name].steps[one.step].evidence), played.seconds.get(one.name))
            for one in played.cases if one.name != 'silent-login']     # which only long runs have
    if faulttable.WRITE:
        table.write(rows)
    elif len(rows) >= len(CASES) - 1:   # all were asked for
        written = [fault for fault in table.faults() if fault[0] != 'silent-login' or os.environ.get('WAYPOST_LONG')]
        assert written == [row[:4] for row in rows], 'run with WAYPOST_WRITE_DOCS=1 to renew docs/faults.md'


def where_of(played, one):
    """The server at fault, in words."""
    where = getattr(one, one.step.split('.')[0], None) if '.' in one.step else one.outgoing
    if not where:
        return one.address
    security = 'STARTTLS' if where[2] == 'starttls' else 'TLS'
    return f'scripted, {security}' if isinstance(where[0], Odd) else f'{where[0]}:{where[1]}, {security}'


def test_each_has_its_own_code():
    """The list above is what was promised: 18 causes at least, and every one in the catalogue."""
    causes = {p.values[0].cause for p in CASES}
    assert len(causes) >= 30 and causes <= set(CAUSES)


# -- what needs a service of its own

@pytest.fixture
def own(lab, build):
    with Bus(build, lab=lab, config=CONFIG) as bus, Connection(bus) as connection:
        yield connection


HANDOVERS = {
    # what stands in the way of the mail directory -> its cause
    'a-file': (lambda path: open(path, 'w').close(), 'delivery.refused'),
    'a-link-to-nowhere': (lambda path: os.symlink('/nonexistent/away', path), 'delivery.refused'),
    'not-ours': (lambda path: os.mkdir(path, 0o700), 'delivery.denied'),
}


@pytest.mark.parametrize('kind', HANDOVERS)
def test_handover(lab, build, kind):
    """No account is left behind that could not be stored; when the way is free, Retry goes on without another sign-in."""
    block, cause = HANDOVERS[kind]
    with Bus(build, lab=lab, config=CONFIG) as bus, Connection(bus) as connection:
        setup = connection.start_setup('alice@example.test', receive_only=True)
        setup.wait_need('password')
        setup.set_password('alicepw')
        assert setup.wait_state('ready', 'failed') == 'ready'
        path = os.path.join(bus.state, 'mail')
        assert not os.path.exists(path)
        block(path)
        with pytest.raises(BusError):
            setup.commit()
        assert (setup.state, setup['Cause'], setup.steps['handover'].status) == ('failed', cause, 'failed'), setup.steps['handover']
        assert setup.steps['handover'].evidence['error'] and not connection.accounts()
        (os.rmdir if os.path.isdir(path) and not os.path.islink(path) else os.unlink)(path)
        setup.retry('handover')
        assert setup.wait_state('ready', 'failed') == 'ready'
        setup.commit()
        assert setup.wait_state('succeeded', 'failed') == 'succeeded'


RESOLVERS = {'none': ('', 'dns.resolver-unavailable'), 'nobody-listens': ('127.0.0.53', 'dns.resolver-unavailable'),
             'silent': (f'{NET4}{SILENT}', 'dns.timeout')}


@pytest.mark.parametrize('kind', RESOLVERS)
def test_resolver(lab, own, kind):
    """Without a resolver nothing is blamed on the address; once there is one again, Retry goes on."""
    address, cause = RESOLVERS[kind]
    try:
        lab.set_resolver(address)
        setup = own.start_setup('alice@example.test', dry_run=True)
        setup.wait_state('failed')
        assert setup['Cause'] == cause, setup.steps
        assert setup.steps['discovery'].status == 'failed' and setup.steps['discovery'].evidence['sources']
    finally:
        lab.set_resolver(f'{NET4}{DNS}')
    setup.retry('')
    setup.wait_need('password')
    setup.cancel()


TEMPORARY = ('pop-tempfail', 'pop-in-use', 'pop-in-use-text', 'pop-login-delay', 'pop-close-after-pass', 'pop-reset-after-pass',
             'smtp-tempfail', 'smtp-close-after-auth')


def test_temporary_faults_are_no_refusals(lab, own):
    """As often as the server likes, and the right password is still sent when it has recovered."""
    running = {}
    for name in TEMPORARY:
        odd_port = lab.scripted.play(0, name, name, name, name[:name.index('-')] + '-ok')
        servers = {'incoming': endpoint('odd.example.test', odd_port)}
        if name.startswith('smtp'):
            servers = {'incoming': endpoint('odd.example.test', lab.scripted.play(0, 'pop-ok')),
                       'outgoing': endpoint('odd.example.test', odd_port)}
        else:
            servers['receive_only'] = True
        setup = own.start_setup('alice@example.test', dry_run=True, **servers)
        setup.wait_need('password')
        setup.set_password('alicepw')
        running[name] = setup, odd_port
    for attempt in range(3):
        for name, (setup, odd_port) in running.items():
            assert setup.wait_state('ready', 'failed') == 'failed', (name, attempt)
            assert CAUSES[setup['Cause']]['class'] == 'temporary'
            assert lab.scripted.logins(odd_port) == attempt + 1
            setup.retry('')
    for name, (setup, odd_port) in running.items():
        assert setup.wait_state('ready', 'failed') == 'ready', (name, setup.all())
        assert lab.scripted.logins(odd_port) == 4
