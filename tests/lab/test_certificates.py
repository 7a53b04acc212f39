# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every certificate of the matrix (wplab/certificates.py), by POP3, IMAP and SMTP, at once and after STARTTLS: each to its own cause, the good ones to a
sign-in, and no octet of a password to a server that has not proved itself. All are played at the same time."""
import base64

import pytest

from wplab import certificates
from wplab.bus import Bus
from wplab.client import Connection, endpoint

pytestmark = pytest.mark.filterwarnings('ignore')       # of what is weak or old: that is what it is here for
CONFIG = {'limits': {'setups-per-uid': 1000}, 'diagnosis': {'controls': 'no'}}
CLEAR = {
    'pop3': 'send +OK ready\nserve clear\non ^CAPA$\nsend +OK\nsend STLS\nsend .\non ^STLS$\nsend +OK begin\nstarttls {}\ndone\ndefault -ERR no\nend\n',
    'imap': 'send * OK ready\nserve clear\non CAPABILITY$\nsend * CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\nsend {{tag}} OK done\n'
            'on STARTTLS$\nsend {{tag}} OK begin\nstarttls {}\ndone\ndefault * BAD no\nend\n',
    'smtp': 'send 220 ready\nserve clear\non ^EHLO\nsend 250-odd\nsend 250 STARTTLS\non ^STARTTLS$\nsend 220 begin\nstarttls {}\ndone\n'
            'default 502 no\nend\n'}
INSIDE = {'pop3': 'serve\ninclude pop3.rules\nend\n', 'imap': 'serve\ninclude imap-session.rules\nend\n', 'smtp': 'serve\ninclude smtp.rules\nend\n'}
GREETING = {'pop3': '+OK ready', 'imap': '* OK ready', 'smtp': '220 ready'}
WAYS = [(protocol, security) for protocol in GREETING for security in ('tls', 'starttls')]


def dialogue(kind, protocol, security):
    if security == 'starttls':
        return CLEAR[protocol].format(kind) + INSIDE[protocol]
    return f'tls {kind}\nsend {GREETING[protocol]}\n{INSIDE[protocol]}'


class Played:
    def __init__(self, lab, connection):
        self.lab = lab
        self.causes = {}
        for name, (cause, context) in certificates.make_all(lab.pki).items():
            lab.scripted.contexts[name] = context
            self.causes[name] = cause
        keys = [(name, *way) for name in self.causes for way in WAYS]
        self.ports = {key: lab.scripted.play_text(0, dialogue(*key)) for key in keys}
        good = endpoint('odd.example.test', lab.scripted.play(0, 'pop-ok'))
        setups = {}
        for number, key in enumerate(keys):
            server = endpoint('odd.example.test', self.ports[key], key[2], protocol=key[1])
            sides = {'incoming': good, 'outgoing': server} if key[1] == 'smtp' else {'incoming': server, 'receive_only': True}
            setups[key] = connection.start_setup(f'm{number}@example.test', dry_run=True, **sides)
        connection.settle({key: (setup, self.secret(key)) for key, setup in setups.items()}, 200)
        self.told = {key: (setup.state, setup['Cause'], setup.steps) for key, setup in setups.items()}

    @staticmethod
    def secret(key):
        return 'secret-of-' + '-'.join(key)


@pytest.fixture(scope='module')
def played(lab, build):
    with Bus(build, lab=lab, config=CONFIG) as bus, Connection(bus) as connection:
        yield Played(lab, connection)


@pytest.mark.parametrize('kind', certificates.KINDS)
def test_verdict(played, kind):
    wanted = certificates.KINDS[kind][0]
    for way in WAYS:
        state, cause, steps = played.told[kind, *way]
        step = steps[('outgoing' if way[0] == 'smtp' else 'incoming') + '.tls']
        assert step.cause == wanted, (way, state, step)
        if wanted:
            assert state in ('failed', 'waiting') and step.status in ('failed', 'waiting'), (way, state, step)
            if wanted.startswith('tls.cert'):
                assert step.evidence['spki-sha256'] and step.evidence['verify-errors'], (way, step)
        else:
            assert state == 'ready', (way, cause, steps)


@pytest.mark.parametrize('kind', [name for name, (cause, _) in certificates.KINDS.items() if cause])
def test_no_secret_before_the_verdict(played, kind):
    for way in WAYS:
        key = (kind, *way)
        received = played.lab.scripted.received(played.ports[key])
        secret = played.secret(key)
        assert secret.encode() not in received and base64.b64encode(secret.encode())[:-4] not in received
        assert played.lab.scripted.logins(played.ports[key]) == 0


def test_matrix_is_large(played):
    assert len(certificates.KINDS) >= 40 and len(played.told) == 6 * len(certificates.KINDS)
    assert sum(not cause for cause, _ in certificates.KINDS.values()) >= 10
