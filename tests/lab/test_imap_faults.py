# SPDX-License-Identifier: LGPL-2.1-or-later
"""Everything that may go wrong while an IMAP account is set up, each with its own cause and the proof, and with no octet of a password sent
before all is well. All cases run at the same time; the tests then look at what each has left. Names, ports and TLS itself are no matter of
the protocol (test_faults.py)."""
import base64
import json
import os
import re
from collections import namedtuple

import pytest

from wplab.bus import Bus
from wplab.client import Connection, endpoint
from wplab.imapbox import CAPA, Imapbox
from wplab.lab import NET4, ODD
from wplab.run import PROJECT

CONFIG = {'limits': {'setups-per-uid': 1000}, 'fetch': {'interval': '1h'}}
HOST = 'odd.example.test'
Case = namedtuple('Case', 'name step cause evidence box odd security certificate state host')
CASES = []


def case(name, step, cause, evidence=None, odd=(), security='tls', certificate='good', state='failed', host=None, **box):
    one = Case(name, 'incoming.' + step, cause, evidence or {}, box, list(odd), security, certificate, state, host)
    CASES.append(pytest.param(one, id=name))


def login(name, cause, words, evidence=None, **more):
    """The login is answered by @words."""
    case(name, 'login', cause, {'reply': re.escape(words.split('] ')[-1][:40]), **(evidence or {})},
         [('^(LOGIN|AUTHENTICATE)', f'{{tag}} {words}\r\n'.encode())], **more)


def examine(name, cause, words, evidence=None, **more):
    case(name, 'mailbox', cause, {'reply': re.escape(words.split('] ')[-1][:40]), **(evidence or {})},
         [('^EXAMINE', f'{{tag}} {words}\r\n'.encode())], **more)


# -- encryption

for kind, cause in (('expired', 'tls.cert-expired'), ('wrong-name', 'tls.cert-name-mismatch'), ('not-yet-valid', 'tls.cert-not-yet-valid'),
                    ('self-signed', 'tls.cert-self-signed'), ('unknown-ca', 'tls.cert-untrusted-ca'),
                    ('missing-intermediate', 'tls.cert-chain-incomplete')):
    state = 'waiting' if kind in ('self-signed', 'unknown-ca') else 'failed'
    case(kind, 'tls', cause, {'spki-sha256': '[0-9a-f]{64}'}, certificate=kind, state=state)
    case(kind + '-starttls', 'tls', cause, {'spki-sha256': '[0-9a-f]{64}'}, certificate=kind, state=state, security='starttls',
         starttls=True, capa=[*CAPA, 'STARTTLS'])
STARTTLS = {'security': 'starttls', 'starttls': True, 'capa': [*CAPA, 'STARTTLS']}
case('starttls-not-offered', 'tls', 'tls.starttls-unavailable', {'capabilities': 'AUTH=PLAIN', 'greeting': 'ready'},
     security='starttls', starttls=True)
case('starttls-refused', 'tls', 'tls.starttls-failed', {'reply': 'NO TLS is not'}, [('^STARTTLS', b'{tag} NO TLS is not available\r\n')], **STARTTLS)
case('starttls-unknown', 'tls', 'tls.starttls-unavailable', {'reply': 'BAD'}, [('^STARTTLS', b'{tag} BAD Unknown command\r\n')], **STARTTLS)
case('starttls-injected', 'tls', 'server.protocol-violation', {'error': 'waiting'},
     [('^STARTTLS', b'{tag} OK go\r\n* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] injected\r\n')], **STARTTLS)
case('starttls-closed', 'tls', 'net.reset', {'phase': 'starttls'}, [('^STARTTLS', None)], **STARTTLS)
case('preauth-in-clear', 'tls', 'tls.starttls-unavailable', {}, greeting=b'* PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] come in\r\n', **STARTTLS)
case('starttls-stale-tag', 'tls', 'server.protocol-violation', {}, [('^STARTTLS', b'x9 OK go\r\n')], **STARTTLS)
case('clear-on-tls-port', 'tls', 'tls.mode-mismatch', {'first-bytes': r'\* OK'}, starttls=True)
case('tls-at-143', 'tls', 'tls.mode-mismatch', {}, host=('mail.example.test', 143, 'tls'))
case('starttls-at-993', 'tls', 'tls.mode-mismatch', {}, host=('mail.example.test', 993, 'starttls'))

# -- another service, or none

case('pop3-there', 'service', 'net.wrong-service', {'first-bytes': r'\+OK'}, greeting=b'+OK POP3 ready\r\n')
case('smtp-there', 'service', 'net.wrong-service', {'first-bytes': '220'}, greeting=b'220 mx ESMTP\r\n')
case('http-there', 'service', 'net.wrong-service', {}, greeting=b'HTTP/1.1 400 Bad Request\r\n\r\n')
case('nonsense-there', 'service', 'net.wrong-service', {}, greeting=b'hello, who are you?\r\n')
case('pop-at-110', 'tls', 'net.wrong-service', {'first-bytes': r'\+OK'}, host=('mail.example.test', 110, 'starttls'))
case('bye-greeting', 'service', 'server.temporary', {'reply': 'BYE .*down'}, greeting=b'* BYE [UNAVAILABLE] Service is down for a moment\r\n')
case('too-many-greeting', 'service', 'limit.too-many-connections', {'reply': 'Too many'}, greeting=b'* BYE Too many connections from your address\r\n')
case('exchange-10', 'service', 'limit.too-many-connections', {}, greeting=b'* BYE Connection is closed. 10\r\n')
case('capability-closed', 'service', 'net.reset', {'phase': 'capability'}, [('^CAPABILITY', None)], greeting=b'* OK ready\r\n')
case('capability-endless', 'service', 'server.protocol-violation', {},
     [('^CAPABILITY', lambda box, session, tag, line: session.say(b'* 1 RECENT\r\n' * 40000) or True)], greeting=b'* OK ready\r\n')
case('capability-long', 'service', 'server.protocol-violation', {},
     [('^CAPABILITY', lambda box, session, tag, line: session.say(b'* CAPABILITY ' + b'X' * 300000 + b'\r\n') or True)], greeting=b'* OK ready\r\n')
case('literal-huge', 'service', 'server.protocol-violation', {}, [('^CAPABILITY', b'* X {4294967296}\r\n')], greeting=b'* OK ready\r\n')
case('stale-tag', 'service', 'server.protocol-violation', {}, [('^CAPABILITY', b'w0 OK done\r\n')], greeting=b'* OK ready\r\n')
case('no-method', 'service', 'auth.mechanism-unsupported', {'capabilities': 'GSSAPI'}, capa=['IMAP4rev1', 'LOGINDISABLED', 'AUTH=GSSAPI'])
case('oauth-only', 'login', 'auth.oauth-required', {}, capa=['IMAP4rev1', 'LOGINDISABLED', 'AUTH=XOAUTH2'])

# -- signing in

login('wrong-password', 'auth.bad-credentials', 'NO [AUTHENTICATIONFAILED] Authentication failed.', {'code': 'AUTHENTICATIONFAILED'})
login('wrong-password-bare', 'auth.bad-credentials', 'NO LOGIN failed.')
login('wrong-password-command', 'auth.bad-credentials', 'NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)', capa=['IMAP4rev1'])
login('app-password', 'auth.app-password-required', 'NO [ALERT] Application-specific password required: https://x.test/1 (Failure)')
login('web-login', 'auth.web-login-required', 'NO [WEBALERT https://x.test/] Please log in via your web browser')
login('imap-off', 'access.imap-disabled', 'NO [ALERT] Your account is not enabled for IMAP use. Please visit your settings page (Failure)')
login('ok-with-error', 'access.imap-disabled', 'OK [Error="UserDisabled" AuthResult=27] AUTHENTICATE completed.')
login('by-admin', 'access.disabled-by-admin', 'NO [ALERT] IMAP access is disabled for your domain. Please contact your domain administrator')
login('password-expired', 'auth.password-expired', 'NO [EXPIRED] Your password has expired')
login('unavailable', 'auth.temporary-failure', 'NO [UNAVAILABLE] Temporary authentication failure.')
login('too-many', 'limit.too-many-connections', 'NO [LIMIT] Maximum number of connections from user+IP exceeded')
login('too-many-gmail', 'limit.too-many-connections', 'NO [ALERT] Too many simultaneous connections. (Failure)')
login('privacy', 'tls.required', 'NO [PRIVACYREQUIRED] Plaintext authentication disallowed on non-secure (SSL/TLS) connections.')
login('suspended', 'auth.account-disabled', 'NO [AUTHENTICATIONFAILED] Your account is disabled')
login('over-quota', 'mailbox.over-quota', 'NO [OVERQUOTA] Quota exceeded (mailbox for user is full)')
case('bye-at-login', 'login', 'limit.too-many-connections', {'reply': 'BYE.*Too many'},
     [('^(LOGIN|AUTHENTICATE)', b'* BYE Too many connections, try later\r\n')])
case('close-at-login', 'login', 'net.reset', {'phase': 'login'}, [('^(LOGIN|AUTHENTICATE)', None)])
case('login-stale-no', 'login', 'server.protocol-violation', {}, [('^(LOGIN|AUTHENTICATE)', b'w0 NO [AUTHENTICATIONFAILED] old\r\n')])
case('login-endless', 'login', 'server.protocol-violation', {},
     [('^(LOGIN|AUTHENTICATE)', lambda box, session, tag, line: session.say(b'* OK wait\r\n' * 40000) or True)])
case('login-asks-on', 'login', 'server.protocol-violation', {},
     [('^(LOGIN|AUTHENTICATE)', lambda box, session, tag, line: session.say(b'+ bW9yZQ==\r\n' * 10) or True)])

# -- the mailbox

examine('netease', 'auth.client-id-required', 'NO EXAMINE Unsafe Login. Please contact kefu@188.com for help')
examine('not-connected', 'access.mailbox-not-connected', 'BAD User is authenticated but not connected.')
examine('moved', 'access.mailbox-moved', 'NO Mailbox has been moved to another server')
examine('inuse', 'mailbox.locked', 'NO [INUSE] Mailbox is locked by another session')
examine('server-bug', 'server.temporary', 'NO [SERVERBUG] Internal error occurred. Refer to server log for more information.')
examine('corrupt', 'mailbox.unavailable', 'NO [CORRUPTION] The mailbox is damaged')
examine('no-inbox', 'mailbox.folder-missing', "NO [NONEXISTENT] Mailbox doesn't exist: INBOX")
case('examine-bye', 'mailbox', 'server.maintenance', {'reply': 'BYE'}, [('^EXAMINE', b'* BYE Server shutting down for maintenance.\r\n')])
case('examine-closed', 'mailbox', 'net.reset', {'phase': 'select'}, [('^EXAMINE', None)])
case('examine-literal', 'mailbox', 'server.protocol-violation', {}, [('^EXAMINE', b'* LIST () {99999999999999999999}\r\n')])
case('examine-reset-tag', 'mailbox', 'server.protocol-violation', {}, [('^EXAMINE', b'* 1 EXISTS\r\nw1 OK [READ-ONLY] old\r\n')])


class Played:
    def __init__(self, lab, connection):
        self.boxes, self.result = {}, {}
        setups = {}
        for one in (p.values[0] for p in CASES):
            server = one.host
            if not server:
                box = Imapbox(lambda port: lab.server.listen(NET4 + str(ODD), port), lab.pki.server_context(one.certificate), **one.box)
                box.odd, box.logins_seen = one.odd, []
                self.boxes[one.name] = box
                server = (HOST, box.port, one.security)
            setups[one.name] = connection.start_setup('alice@example.test', receive_only=True,
                                                      incoming=endpoint(*server, protocol='imap'))
        answered, left = set(), set(setups)

        def settle():
            for name in list(left):
                setup = setups[name]
                state = setup.state
                if state == 'waiting' and setup.need('password') and name not in answered:
                    setup.set_password('secret-of-' + name)
                    answered.add(name)
                elif state in ('failed', 'ready') or state == 'waiting' and not setup.need('password'):
                    left.discard(name)
            return not left
        try:
            connection.wait(settle, 150)
        except TimeoutError:
            pass                        # the tests of those that are left will tell
        self.result = {name: (s.state, s['Cause'], s.steps, s.call('Report')) for name, s in setups.items()}


@pytest.fixture(scope='module')
def played(lab, build):
    with Bus(build, lab=lab, config=CONFIG) as bus, Connection(bus) as connection:
        played = Played(lab, connection)
        yield played
        for box in played.boxes.values():
            box.close()


def text_of(value):
    if isinstance(value, (list, tuple)):
        if value and isinstance(value[0], int):
            return bytes(value).decode('latin-1')
        return '; '.join(map(str, value))
    return str(value)


@pytest.mark.parametrize('one', CASES)
def test_cause(played, one):
    state, cause, steps, report = played.result[one.name]
    assert (state, cause) == (one.state, one.cause), {k: (s.status, s.cause, s.evidence) for k, s in steps.items() if s.cause or k == one.step}
    step = steps[one.step]
    assert (step.status, step.cause) == (one.state, one.cause)
    for key, pattern in one.evidence.items():
        assert re.search(pattern, text_of(step.evidence.get(key, '')), re.I), (key, pattern, step.evidence)
    secret = 'secret-of-' + one.name
    assert secret not in str(steps) and secret not in report
    box = played.boxes.get(one.name)
    if box:
        said = '\n'.join(box.sent_in_clear)
        assert secret not in said and base64.b64encode(f'\0alice@example.test\0{secret}'.encode()).decode() not in said
        tried = [c for c in box.commands if re.match('LOGIN|AUTHENTICATE', c, re.I)]
        assert bool(tried) == (one.step in ('incoming.login', 'incoming.mailbox') and one.cause != 'auth.oauth-required'), box.commands
        assert len(tried) <= 1


def test_all_are_in_the_catalogue():
    with open(os.path.join(PROJECT, 'data', 'causes.json')) as f:
        known = json.load(f)
    assert len(CASES) >= 60 and {p.values[0].cause for p in CASES} <= set(known)
