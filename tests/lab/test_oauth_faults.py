# SPDX-License-Identifier: LGPL-2.1-or-later
"""What must not work, and what must not break: attacks on the sign-in, answers of an issuer that are wrong in one respect, troubles that pass,
the process killed at every commit of a refresh, and how often a server is told a wrong secret.
"""
import os
import re
import time
import urllib.parse

import pytest

from wplab import oauth
from wplab.bus import Bus
from wplab.client import BusError, Connection, endpoint
from wplab.fake_issuer import ISSUER, FakeIssuer
from wplab.lab import ISSUER as NUMBER, NET4
from wplab.scripted import Dialogue
from wplab.strace import Strace, highest_counts

ERROR = 'org.waypost.Waypost1.Error.'

# A POP3 server that takes tokens; which, a test decides by another dialogue.
POP = '''tls good
send +OK Odd POP3 server ready.
serve
on ^CAPA$
send +OK
send UIDL
send TOP
send RESP-CODES
send SASL XOAUTH2
send .
on ^AUTH XOAUTH2$
raw + \\r\\n
read-line
%s
on ^(STAT|LIST|UIDL|TOP|RETR)
mailbox 3
on ^(DELE|NOOP|RSET)
send +OK
on ^QUIT$
send +OK Bye.
bye
default -ERR Unknown command.
end
'''
TAKEN = 'send +OK Logged in.'
# {"status":"401"}
REFUSED = 'send + eyJzdGF0dXMiOiI0MDEifQ==\nread-line\nsend -ERR [AUTH] no'


@pytest.fixture(scope='module')
def issuer(lab):
    fake = FakeIssuer(lab, NET4 + str(NUMBER))
    yield fake
    fake.close()


@pytest.fixture(autouse=True)
def honest(issuer):
    issuer.answers.clear()
    issuer.metadata.clear()
    issuer.user, issuer.life = 'alice@example.test', 3600
    yield


@pytest.fixture(scope='module')
def config(lab):
    made = oauth.config(lab, 'faults')
    oauth.client_file(lab.run.file('faults/oauth.d'), hosts=oauth.HOSTS + ' odd.example.test')
    return made


@pytest.fixture(scope='module')
def service(lab, build, issuer, config):
    with Bus(build, lab=lab, config=config) as bus:
        yield bus


@pytest.fixture
def client(service):
    with Connection(service) as connection:
        yield connection


def play(lab, *texts):
    return lab.scripted.play(0, *[Dialogue(POP % text) for text in texts])


def start(client, lab, port=None, **opts):
    port = port or play(lab, TAKEN)
    setup = client.start_setup('alice@example.test', receive_only=True, incoming=endpoint('odd.example.test', port), **opts)
    setup.port = port
    setup.wait_need('authorization')
    return setup


def refused(name, call, *args):
    with pytest.raises(BusError) as caught:
        call(*args)
    assert caught.value.name == ERROR + name, caught.value


def tokens_sent(lab, port):
    """What was said behind AUTH XOAUTH2, decoded or not: any of it counts."""
    return [line for line in lab.scripted.lines(port) if re.fullmatch(rb'[A-Za-z0-9+/=]{20,}', line.strip() if isinstance(line, bytes) else line.encode())]


# -- attacks on the way back

def changed(**parameters):
    return lambda issuer, url: issuer.redirect(url, **parameters)


def replaced(pattern, by):
    return lambda issuer, url: re.sub(pattern, by, issuer.redirect(url), count=1)


REDIRECTS = {
    'state-missing': (changed(state=None), 'InvalidArgument'),
    'state-empty': (changed(state=''), 'Stale'),
    'state-guessed': (changed(state='0' * 32), 'Stale'),
    'state-cut': (replaced(r'(state=[0-9a-f]{30})[0-9a-f]{2}', r'\1'), 'Stale'),
    'state-longer': (replaced(r'(state=[0-9a-f]{32})', r'\1&state=\g<0>'), 'InvalidArgument'),
    'issuer-missing': (changed(iss=None), 'InvalidArgument'),
    'issuer-mixed-up': (changed(iss='https://evil.example'), 'InvalidArgument'),
    'issuer-with-slash': (changed(iss=ISSUER + '/'), 'InvalidArgument'),
    'code-missing': (changed(code=None), 'InvalidArgument'),
    'code-twice': (replaced(r'(code=[^&]+)', r'\1&code=other'), 'InvalidArgument'),
    'code-and-error': (changed(error='access_denied'), 'InvalidArgument'),
    'other-port': (replaced(r'127\.0\.0\.1:\d+', '127.0.0.1:1'), 'InvalidArgument'),
    'other-host': (replaced(r'127\.0\.0\.1', 'localhost'), 'InvalidArgument'),
    'other-path': (replaced(r'/callback', '/callback2'), 'InvalidArgument'),
    'other-scheme': (replaced(r'^http:', 'https:'), 'InvalidArgument'),
    'user-in-address': (replaced(r'^http://', 'http://evil@'), 'InvalidArgument'),
    'in-the-fragment': (replaced(r'\?', '#'), 'InvalidArgument'),
    'broken-escape': (changed(code='x') and replaced(r'code=[^&]+', 'code=%zz'), 'InvalidArgument'),
    'nul': (replaced(r'code=[^&]+', 'code=a%00b'), 'InvalidArgument'),
    'nothing': (lambda issuer, url: '', 'InvalidArgument'),
}


def test_redirects(client, lab, issuer):
    """Each is refused, none ends what the user is doing, and the right one still works afterwards."""
    setup = start(client, lab)
    shown = oauth.authorize(setup)
    asked = len(issuer.requests)
    for name, (make, error) in REDIRECTS.items():
        try:
            oauth.complete(setup, make(issuer, shown['url']))
            pytest.fail(f'{name} was taken')
        except BusError as refusal:
            assert refusal.name == ERROR + error, (name, refusal)
    assert setup.need('authorization') and len(issuer.requests) == asked     # no code was redeemed
    good = issuer.redirect(shown['url'])
    oauth.complete(setup, good)
    refused('Stale', oauth.complete, setup, good)                            # once
    assert setup.wait_state('ready', 'failed') == 'ready', setup.all()


def test_redirect_of_an_older_question(client, lab, issuer):
    setup = start(client, lab)
    first = oauth.authorize(setup)
    second = oauth.authorize(setup)
    assert first['url'] != second['url']
    refused('Stale', oauth.complete, setup, issuer.redirect(first['url']))
    # Another setup's, of the same user even.
    other = start(client, lab)
    third = oauth.authorize(other)
    refused('Stale', oauth.complete, setup, issuer.redirect(third['url']))
    oauth.complete(setup, issuer.redirect(second['url']))
    assert setup.wait_state('ready', 'failed') == 'ready', setup.all()


def test_code_of_somebody_else(client, lab, issuer):
    """A code that was given to another verifier is worth nothing: PKCE."""
    setup = start(client, lab)
    shown = oauth.authorize(setup)
    theirs = oauth.authorize(start(client, lab))
    code = urllib.parse.parse_qs(urllib.parse.urlsplit(issuer.redirect(theirs['url'])).query)['code'][0]
    oauth.complete(setup, issuer.redirect(shown['url'], code=code))
    assert setup.wait_state('failed') == 'failed' and setup['Cause'] == 'oauth.grant-invalid'
    assert not tokens_sent(lab, setup.port)


def test_arguments(client, lab):
    setup = start(client, lab)
    for bad in ({'redirect_port': 0}, {'redirect_port': 70000}, {'redirect_host': '198.51.100.1'}, {'redirect_host': 'localhost'},
                {'flow': 'implicit'}, {'flow': 'password'}, {'client_id': 'x'}):
        refused('InvalidArgument', lambda bad=bad: oauth.authorize(setup, **bad))
    refused('Stale', oauth.complete, setup, 'http://127.0.0.1/callback?code=a&state=b')


# -- issuers that are wrong

def test_description_of_another_issuer(client, lab, issuer):
    for metadata in ({'issuer': 'https://evil.example'}, {'issuer': ISSUER + '/'}, {'token_endpoint': 'http://id.example.test/token'},
                     {'token_endpoint': None}):
        issuer.metadata.clear()
        issuer.metadata.update(metadata)
        setup = client.start_setup('alice@example.test', receive_only=True, incoming=endpoint('odd.example.test', play(lab, TAKEN)))
        assert setup.wait_state('failed', 'waiting') == 'failed', metadata
        assert setup['Cause'] == 'oauth.temporarily-unavailable', setup.all()


def test_no_pkce(client, lab, issuer):
    """An issuer that says it has "plain" only does not get a code flow: only the device is left."""
    issuer.metadata['code_challenge_methods_supported'] = ['plain']
    setup = start(client, lab)
    assert setup.need('authorization')['methods'] == ['device']
    refused('NotSupported', lambda: oauth.authorize(setup, flow='code'))


def test_tokens_for_another_host(client, lab, issuer):
    """A token goes to the hosts of its issuer only, whoever asks for it."""
    port = play(lab, TAKEN)
    oauth.client_file(lab.run.file('faults/oauth.d'), hosts='pop.example.test')
    try:
        setup = client.start_setup('alice@example.test', receive_only=True, incoming=endpoint('odd.example.test', port))
        assert setup.wait_state('failed', 'waiting') == 'failed'
        assert setup['Cause'] in ('auth.oauth-required', 'oauth.no-client')
        assert not tokens_sent(lab, port) and not lab.scripted.logins(port)
    finally:
        oauth.client_file(lab.run.file('faults/oauth.d'), hosts=oauth.HOSTS + ' odd.example.test')


def wrong_token(**changes):
    def answer(issuer):
        def reply(form):
            status, body = issuer.answer('/token', form)
            body = {k: v for k, v in {**body, **changes}.items() if v is not None}
            return status, body
        return reply
    return answer


TOKENS = {
    'scope-shrunk': (wrong_token(scope='openid email'), 'oauth.consent-required'),
    'no-refresh-token': (wrong_token(refresh_token=None), 'oauth.consent-required'),
    'type-mac': (wrong_token(token_type='mac'), 'oauth.temporarily-unavailable'),
    'token-with-control-characters': (wrong_token(access_token='a\x01auth=Bearer b'), 'oauth.temporarily-unavailable'),
    'token-too-long': (wrong_token(access_token='x' * 20000), 'oauth.temporarily-unavailable'),
    'no-token': (wrong_token(access_token=None), 'oauth.temporarily-unavailable'),
    'server-error': (lambda issuer: lambda form: (500, {'error': 'server_error'}), 'oauth.temporarily-unavailable'),
    'page': (lambda issuer: lambda form: (200, '<html>', 'text/html'), 'oauth.temporarily-unavailable'),
    'busy': (lambda issuer: lambda form: (429, 'slow down', 'text/plain'), 'oauth.temporarily-unavailable'),
    'redirect': (lambda issuer: lambda form: (307, '', 'text/plain', [('Location', 'https://odd.example.test/token')]),
                 'oauth.temporarily-unavailable'),
    'client-refused': (lambda issuer: lambda form: (401, {'error': 'invalid_client'}), 'oauth.client-misconfigured'),
}


def test_token_replies(client, lab, issuer):
    for name, (make, cause) in TOKENS.items():
        setup = start(client, lab)
        shown = oauth.authorize(setup)
        issuer.answers['/token'] = make(issuer)
        oauth.complete(setup, issuer.redirect(shown['url']))
        assert setup.wait_state('failed', 'ready') == 'failed' and setup['Cause'] == cause, (name, setup.all())
        assert not tokens_sent(lab, setup.port), name
        issuer.answers.clear()
        setup.cancel()


def test_identity(client, lab, issuer):
    issuer.user = 'mallory@example.test'
    setup = start(client, lab)
    oauth.complete(setup, issuer.redirect(oauth.authorize(setup)['url']))
    assert setup.wait_state('failed', 'ready') == 'failed' and setup['Cause'] == 'oauth.wrong-account'
    assert not tokens_sent(lab, setup.port)


def test_device(client, lab, issuer):
    """slow_down and pending are waited for; refusal and the end of the code are told."""
    said = iter([{'error': 'authorization_pending'}, {'error': 'slow_down'}])

    def reply(form):
        if form['grant_type'].endswith('device_code'):
            one = next(said, None)
            return (400, one) if one else (200, issuer.mint())
        return None
    issuer.answers['/token'] = reply
    setup = start(client, lab)
    oauth.authorize(setup, flow='device')
    began = time.monotonic()
    assert setup.wait_state('ready', 'failed') == 'ready', setup.all()
    assert time.monotonic() - began > 7             # 1 s, 1 s, and 5 s more
    for error, cause in (('access_denied', 'oauth.access-denied'), ('expired_token', 'oauth.device-code-expired')):
        issuer.answers['/token'] = lambda form, error=error: (400, {'error': error})
        setup = start(client, lab)
        oauth.authorize(setup, flow='device')
        assert setup.wait_state('failed', 'ready') == 'failed' and setup['Cause'] == cause


# -- accounts

def account(client, lab, issuer, port=None):
    setup = start(client, lab, port)
    oauth.complete(setup, issuer.redirect(oauth.authorize(setup)['url']))
    assert setup.wait_state('ready', 'failed') == 'ready', setup.all()
    made = setup.commit()
    made.port = setup.port
    made.fetch()
    return made


def test_refused_token_is_refreshed_once(client, lab, issuer):
    """P13 for tokens: one refresh, one more login; a fresh one that is refused as well ends it."""
    port = play(lab, TAKEN)
    made = account(client, lab, issuer, port)
    lab.scripted.play(port, Dialogue(POP % REFUSED), Dialogue(POP % TAKEN))
    before = sum(p == '/token' for p, *_ in issuer.requests)
    assert made.fetch()['cause'] == ''
    assert sum(p == '/token' for p, *_ in issuer.requests) == before + 1
    lab.scripted.play(port, Dialogue(POP % REFUSED))
    had = len(tokens_sent(lab, port))
    assert made.fetch()['cause'] == 'oauth.token-rejected'
    assert made.state == 'needs-authorization'
    assert len(tokens_sent(lab, port)) == had + 2
    evidence = made.history(1)[0]
    assert 'no' in evidence.get('reply', 'no')
    made.remove()


def test_temporary_troubles_ask_nobody(service, client, lab, issuer):
    """A provider that is down, or answers nonsense, for an hour costs nobody a sign-in."""
    made = account(client, lab, issuer)
    for answer in ((503, 'later', 'text/plain'), (400, {'error': 'temporarily_unavailable'}), (200, '{"access_token":', 'application/json'),
                   (502, '<html>', 'text/html')):
        issuer.answers['/token'] = answer
        service.kill_service()          # access tokens do not survive
        made = next(a for a in client.accounts() if a.path == made.path)
        assert made.fetch()['cause'] == 'oauth.temporarily-unavailable', answer
        assert made.state == 'failing'
    issuer.answers.clear()
    assert made.fetch()['cause'] == '' and made.state == 'active'
    issuer.answers['/token'] = (400, {'error': 'invalid_grant', 'error_description': 'revoked'})
    service.kill_service()
    made = next(a for a in client.accounts() if a.path == made.path)
    asked = sum(p == '/token' for p, *_ in issuer.requests)
    assert made.fetch()['cause'] == 'oauth.grant-invalid' and made.state == 'needs-authorization'
    assert sum(p == '/token' for p, *_ in issuer.requests) == asked + 1
    issuer.answers.clear()
    made.remove()


CALLS = ['fdatasync', 'fsync', 'pwrite64', 'write', 'sendto', 'sendmsg']


def test_killed_in_a_refresh(build, lab, issuer, config):
    """SIGKILL before each system call of a refresh that writes, syncs or sends: the account goes on without a sign-in. The issuer is strict: once a
    new token was used the old one is dead, and the new one has to have been stored before."""
    with Bus(build, lab=lab, config=config) as bus, Connection(bus) as client:
        made = account(client, lab, issuer)
        port, path = made.port, made.path
        issuer.used = lambda token: any(token.encode() in line for line in decoded(lab, port))

        def fetch():
            try:
                return next(a for a in client.accounts() if a.path == path).fetch(seconds=60)
            except (BusError, TimeoutError, StopIteration):
                return None
        trace = lab.run.file('refresh.trace')

        def fresh_service():
            bus.kill_service()
            assert next(a for a in client.accounts() if a.path == path)
            return bus.service_pid()
        with Strace(lab, fresh_service(), CALLS, trace) as strace:
            assert fetch()['cause'] == ''
            strace.detach()
            counts = highest_counts(strace.calls())
        points = [(call, n) for call in CALLS for n in range(1, counts[call] + 1)]
        assert len(points) >= 10, counts
        kills = 0
        # The commits are all taken; of the rest some are enough in the ordinary run.
        for number, (call, n) in enumerate(points):
            step = 1 if os.environ.get('WAYPOST_LONG') or call in ('fdatasync', 'fsync') else 6 if call == 'pwrite64' else 20
            if number % step:
                continue
            with Strace(lab, fresh_service(), [call], trace, kill_at=n) as strace:
                since = len(client.signals)
                try:
                    next(a for a in client.accounts() if a.path == path).fetch_now()
                except (BusError, StopIteration):
                    pass
                end = time.monotonic() + 20
                while not strace.ended() and time.monotonic() < end and \
                        not any(s.member == 'RunFinished' for s in client.signals[since:]):
                    client.pump(0.05)
                kills += strace.ended()
            bus.kill_service()
            run = fetch()
            assert run and run['cause'] == '', (call, n, run)
            assert issuer.lost == 0, (call, n)
        assert kills >= 4
        assert next(a for a in client.accounts() if a.path == path).state == 'active'


def decoded(lab, port):
    import base64
    found = []
    for line in tokens_sent(lab, port):
        try:
            found.append(base64.b64decode(line))
        except ValueError:
            pass
    return found


# -- wrong passwords are counted at the server

def logins(lab, user):
    return sum(f'user=<{user}>' in line and 'auth failed' in line for line in lab.run.log('dovecot/dovecot.log').splitlines())


def test_password_changed_at_the_server(build, lab):
    """State, one signal, one line in the log, no further login; `waypost password` mends it."""
    user = 'frank@example.test'
    with Bus(build, lab=lab, config={'fetch': {'interval': '1h'}, 'verification': {'timeout': '20s'}}) as bus, Connection(bus) as client:
        setup = client.start_setup(user)
        setup.wait_need('password')
        setup.set_password('frankpw')
        assert setup.wait_state('ready', 'failed') == 'ready'
        made = setup.commit()
        assert setup.wait_state('succeeded', 'failed') == 'succeeded'
        lab.set_account(user, password='changed at the server')
        before, since = logins(lab, user), len(client.signals)
        assert made.fetch()['cause'] == 'auth.bad-credentials'
        assert made.state == 'needs-password' and logins(lab, user) == before + 1
        for _ in range(3):                  # and however often it is asked for: twice in all
            try:
                made.fetch(seconds=5)
            except (BusError, TimeoutError):
                pass
        assert logins(lab, user) <= before + 2
        changes = [s for s in client.signals[since:] if s.path == made.path and s.member == 'PropertiesChanged' and 'State' in s.args[1]]
        assert len(changes) == 1
        assert len(re.findall(r'needs-password', bus.log())) == 1
        bus.kill_service()                  # also across a restart
        made = next(a for a in client.accounts())
        try:
            made.fetch(seconds=5)
        except (BusError, TimeoutError):
            pass
        assert logins(lab, user) <= before + 2
        path = bus.state + '/../new'
        with open(path, 'w') as f:
            f.write('changed at the server\n')
        done = bus.cli('password', user, f'--password-file={path}')
        assert done.returncode == 0, (done.stdout, done.stderr)
        made.wait_state('active')
        assert made.fetch()['cause'] == ''


def test_provider_that_moves_to_the_browser(client, lab, issuer):
    """A server that takes no password any more is noticed, nothing is sent to it, and the account says what to do."""
    port = lab.scripted.play(0, Dialogue(POP.replace('SASL XOAUTH2', 'SASL PLAIN XOAUTH2') % TAKEN.replace(
        'send +OK Logged in.', 'send +OK Logged in.\non ^AUTH PLAIN .\nsend +OK Logged in.')))
    setup = start(client, lab, port)
    setup.set_password('ordinary')
    assert setup.wait_state('ready', 'failed') == 'ready', setup.all()
    made = setup.commit()
    assert made.fetch()['cause'] == ''
    lab.scripted.play(port, Dialogue(POP % TAKEN))
    had = lab.scripted.logins(port)
    assert made.fetch()['cause'] == 'auth.oauth-required'
    assert made.state == 'needs-authorization' and lab.scripted.logins(port) == had
    again = oauth.repair(client, made)
    again.wait_need('authorization')
    oauth.complete(again, issuer.redirect(oauth.authorize(again)['url']))
    assert again.wait_state('succeeded', 'failed') == 'succeeded', again.all()
    made.wait_state('active')
    assert made.fetch()['cause'] == ''
    made.remove()
