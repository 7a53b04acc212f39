# SPDX-License-Identifier: LGPL-2.1-or-later
"""The attacks of "NO STARTTLS" replayed against the service: nothing that matters goes over the wire in clear, and nothing that
came in clear has an effect after it.

All servers of a test are played at the same time. What is sent must be harmless without encryption: greetings, questions for capabilities,
STARTTLS, the end. The cases are not part of the project; without them the first tests are skipped, the others make their own.
"""
import base64
import os
import re

import pytest

from wplab import nostarttls
from wplab.bus import Bus
from wplab.client import Connection, endpoint
from wplab.scripted import Dialogue

CONFIG = {'limits': {'setups-per-uid': 1000, 'accounts-per-uid': 1000}, 'fetch': {'interval': '1h'}, 'diagnosis': {'controls': 'no'}}
# All that may be said without encryption.
HARMLESS = {'pop3': rb'(CAPA|STLS|QUIT)', 'smtp': rb'(EHLO [!-~]+|HELO [!-~]+|STARTTLS|QUIT|RSET|NOOP)',
            'imap': rb'[!-~]+ (CAPABILITY|STARTTLS|LOGOUT|NOOP)'}
MARK = 'Injected'


@pytest.fixture(scope='module')
def bus(lab, build):
    with Bus(build, lab=lab, config=CONFIG) as started:
        yield started


@pytest.fixture(scope='module')
def client(bus):
    with Connection(bus) as connection:
        yield connection


def cases(protocol):
    found = [(name, case) for name, p, case in nostarttls.cases() if p == protocol]
    if not found:
        pytest.skip(nostarttls.ABSENT)
    return found


def spellings(secret, user):
    """A password as it may look on the wire."""
    texts = (secret, f'\0{user}\0{secret}', f'{user}\0{user}\0{secret}')
    return [secret.encode()] + [base64.b64encode(t.encode()) for t in texts]


class Play:
    """Setups against servers that were written for it, all at once."""

    def __init__(self, lab, client, protocol, servers):
        """@servers: name -> (dialogue's text, security)."""
        self.lab, self.client, self.protocol = lab, client, protocol
        self.ports = {name: lab.scripted.play_text(0, text) for name, (text, _) in servers.items()}
        self.secrets = {name: f'secret-{n}-of-{protocol}' for n, name in enumerate(servers)}
        self.setups = {name: self.start(self.ports[name], security, number)
                       for number, (name, (_, security)) in enumerate(servers.items())}
        client.settle({name: (setup, self.secrets[name]) for name, setup in self.setups.items()}, 200)

    def start(self, port, security, number):
        server = endpoint('odd.example.test', port, security, protocol=self.protocol)
        address = f'u{number}@example.test'
        if self.protocol == 'smtp':
            good = endpoint('odd.example.test', self.lab.scripted.play(0, 'pop-ok'))
            return self.client.start_setup(address, incoming=good, outgoing=server, dry_run=True)
        return self.client.start_setup(address, incoming=server, receive_only=True, dry_run=True)

    def check_clear(self, name, number):
        """Nothing but harmless lines was said in clear."""
        said = self.lab.scripted.in_clear(self.ports[name])
        assert not any(s in said for s in spellings(self.secrets[name], f'u{number}@example.test')), (name, said)
        harmless = re.compile(HARMLESS[self.protocol], re.I)
        # a ClientHello to a server that does not begin TLS is no line
        lines = said.split(b'\x16\x03')[0].split(b'\r\n')[:-1]
        assert all(harmless.fullmatch(line) for line in lines), (name, lines)

    def check_all(self):
        for number, name in enumerate(self.setups):
            self.check_clear(name, number)


@pytest.mark.parametrize('protocol', nostarttls.PROTOCOLS)
def test_replayed(lab, client, protocol):
    """Every case ends in a cause or in a sign-in under TLS with a good certificate; nothing leaks on the way."""
    servers = {name: (nostarttls.dialogue(protocol, case), 'tls' if nostarttls.encrypted(case) else 'starttls')
               for name, case in cases(protocol)}
    play = Play(lab, client, protocol, servers)
    play.check_all()
    side = 'outgoing' if protocol == 'smtp' else 'incoming'
    for name, setup in play.setups.items():
        tls = setup.steps[side + '.tls']
        if setup.state == 'ready':
            assert tls.status == 'passed' and tls.evidence.get('tls', '').startswith('TLSv1.'), (name, tls)
        else:
            assert setup['Cause'] or setup.needs, (name, setup.steps)
        # what a server said in clear is not believed afterwards
        believed = str([(s.evidence.get('capabilities'), s.evidence.get('greeting')) for k, s in setup.steps.items()
                        if k in (side + '.service', side + '.mailbox') and s.status == 'passed'])
        assert MARK not in believed, (name, believed)
    assert sum(setup.state == 'ready' for setup in play.setups.values()) >= 2, {n: s['Cause'] for n, s in play.setups.items()}


# -- our own: what is injected, and where it is cut

ANSWERS = {
    'pop3': ('send +OK ready\nserve clear\non ^CAPA$\nsend +OK\nsend STLS\nsend USER\nsend .\non ^STLS$\n', b'+OK begin\r\n',
             b'+OK\r\nSASL PLAIN LOGIN\r\nIMPLEMENTATION Injected\r\n.\r\n', 'pop3.rules', '-ERR no'),
    'smtp': ('send 220 ready\nserve clear\non ^EHLO\nsend 250-odd\nsend 250 STARTTLS\non ^STARTTLS$\n', b'220 begin\r\n',
             b'250-Injected\r\n250 AUTH PLAIN LOGIN\r\n', 'smtp.rules', '502 no'),
    'imap': ('send * OK ready\nserve clear\non ^\\S+ CAPABILITY$\nsend * CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\nsend {tag} OK done\n'
             'on ^\\S+ STARTTLS$\n', b'{tag} OK begin\r\n', b'* CAPABILITY IMAP4rev1 AUTH=PLAIN X-Injected\r\n', 'imap-session.rules', '* BAD no'),
}


def raw(data):
    text = ''.join(chr(c) if 33 <= c < 127 and c != 92 else f'\\x{c:02x}' for c in data)
    return f'raw {text}\n' if text else ''


@pytest.mark.parametrize('protocol', nostarttls.PROTOCOLS)
def test_injected(lab, client, protocol):
    """Octets behind the answer to STARTTLS, however the packets are cut: the connection is given up and nobody signs in."""
    before, answer, injected, rules, default = ANSWERS[protocol]
    first = answer.index(b' ') + 1      # {tag} is not to be cut
    servers = {}
    for cut in [*range(first, len(answer) + len(injected), 1 if os.environ.get('WAYPOST_LONG') else 3), len(answer)]:
        whole = answer + injected
        text = before + raw(whole[:cut]) + 'sleep 3\n' + raw(whole[cut:]) + 'starttls good\ndone\n' + f'default {default}\nend\n'
        servers[f'cut at {cut}'] = (text + f'serve\ninclude {rules}\nend\n', 'starttls')
    servers['at once'] = (before + raw(answer + injected) + f'starttls good\ndone\ndefault {default}\nend\nserve\ninclude {rules}\nend\n', 'starttls')
    play = Play(lab, client, protocol, servers)
    play.check_all()
    side = 'outgoing' if protocol == 'smtp' else 'incoming'
    for name, setup in play.setups.items():
        assert setup.state == 'failed' and setup.steps[side + '.login'].status in ('pending', 'skipped'), (name, setup.state, setup.steps)
        assert not any(MARK in str(s.evidence.get('capabilities')) for s in setup.steps.values()), name
        assert lab.scripted.logins(play.ports[name]) == 0
    assert play.setups['at once']['Cause'] == 'server.protocol-violation'


# -- the account that once was well: the same servers, at its next fetch

GOOD = {'pop3': 'pop-ok-starttls', 'imap': Dialogue(
    ANSWERS['imap'][0] + 'send {tag} OK begin\nstarttls good\ndone\ndefault * BAD no\nend\nserve\ninclude imap-session.rules\nend\n')}


@pytest.mark.parametrize('protocol', ['pop3', pytest.param('imap', marks=pytest.mark.long)])
def test_fetch(lab, client, protocol):
    """A server that has changed sides gets nothing of an account that knows it."""
    found = cases(protocol)
    good, accounts = GOOD[protocol], {}
    ports = {name: lab.scripted.play(0, good) for name, _ in found}
    setups = {}
    for number, (name, _) in enumerate(found):
        setups[name] = client.start_setup(f'f{number}@example.test', receive_only=True,
                                          incoming=endpoint('odd.example.test', ports[name], 'starttls', protocol=protocol))
    for name, setup in setups.items():
        setup.wait_need('password')
        setup.set_password('secret-of-a-fetch')
    for name, setup in setups.items():
        assert setup.wait_state('ready', 'failed') == 'ready', (name, setup.steps)
        accounts[name] = setup.commit()
    fetch_all(client, accounts)         # the first one, by the good server: the cases want 15 minutes between two
    for name, case in found:
        lab.scripted.forget(ports[name])
        lab.scripted.play(ports[name], Dialogue(nostarttls.dialogue(protocol, case)))
    causes = fetch_all(client, accounts)
    harmless = re.compile(HARMLESS[protocol], re.I)
    for number, (name, _) in enumerate(found):
        said = lab.scripted.in_clear(ports[name])
        assert not any(s in said for s in spellings('secret-of-a-fetch', f'f{number}@example.test')), (name, said)
        assert all(harmless.fullmatch(line) for line in said.split(b'\x16\x03')[0].split(b'\r\n')[:-1]), (name, said)
        assert causes[name] or lab.scripted.logins(ports[name]), name


def fetch_all(client, accounts):
    """One fetch of each account; name -> cause."""
    since = len(client.signals)
    runs = {account.path: account.fetch_now() for account in accounts.values()}

    def over():
        ended = {s.path: s.args[0] for s in client.signals[since:] if s.member == 'RunFinished' and s.args[0]['run'] == runs.get(s.path)}
        return ended if len(ended) == len(runs) else None
    ended = client.wait(over, 200)
    return {name: ended[account.path]['cause'] for name, account in accounts.items()}
