# SPDX-License-Identifier: LGPL-2.1-or-later
"""The way from an address to an account, over the bus: where servers are found, what is asked and when, what a client may
do meanwhile, what stays and what must not. Faults have a file of their own (test_faults.py).
"""
import base64
import concurrent.futures
import os
import re
import sqlite3
import time

import pytest

from wplab.bus import Bus
from wplab.client import BusError, Connection, Peer, endpoint, options

ERROR = 'org.waypost.Waypost1.Error.'


@pytest.fixture
def client(bus):
    with Connection(bus) as connection:
        yield connection


def configured(build, lab, **sections):
    return Bus(build, lab=lab, config={k: {n.replace('_', '-'): v for n, v in keys.items()} for k, keys in sections.items()})


def refused(name, call, *args, **more):
    with pytest.raises(BusError) as caught:
        call(*args, **more)
    assert caught.value.name == ERROR + name, caught.value
    return caught.value.message


def to_ready(setup, password):
    setup.wait_need('password')
    setup.set_password(password)
    assert setup.wait_state('ready', 'failed') == 'ready', setup.all()
    return setup


def statuses(setup):
    return {k: s.status for k, s in setup.steps.items()}


def mails(lab, user):
    """The raw mails in a mailbox of the lab; Dovecot may rename one while we read: then once more from the start."""
    for _ in range(20):
        try:
            return read_mails(lab, user)
        except FileNotFoundError:
            time.sleep(0.05)
    return read_mails(lab, user)


def read_mails(lab, user):
    found = []
    for folder in ('new', 'cur'):
        path = os.path.join(lab.maildir(user), folder)
        for name in os.listdir(path) if os.path.isdir(path) else ():
            with open(os.path.join(path, name), 'rb') as f:
                found.append(f.read())
    return found


def wait_for(condition, seconds=15):
    """For what no signal tells: files, sockets, logs of the servers."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'waited in vain'
        time.sleep(0.02)


def logins(lab, user):
    """How often the POP3 server judged a login of @user (whatever it said), and how often Postfix did."""
    pop = sum(f'user=<{user}>' in line and 'pop3-login' in line for line in lab.run.log('dovecot/dovecot.log').splitlines())
    smtp = sum(f'sasl_username={user}' in line for line in lab.run.log('postfix/mail.log').splitlines())
    return pop, smtp


def state_of(bus):
    """All that the service remembers: each table's rows, and each file of mail."""
    kept = {}
    for folder, _, names in os.walk(bus.state):
        for name in names:
            path = os.path.join(folder, name)
            if not re.search(r'-(wal|shm|journal)$', name) and not name.endswith('.db'):
                with open(path, 'rb') as f:
                    kept[path] = f.read()
            elif name.endswith('.db'):
                with sqlite3.connect(f'file:{path}?mode=ro', uri=True) as db:
                    kept[path] = list(db.iterdump())
    kept['folders'] = sorted(os.path.join(f, n) for f, names, _ in os.walk(bus.state) for n in names)
    return kept


def connections(lab):
    """What the client's side holds open; what the kernel still closes by itself does not count."""
    done = lab.client.call(['/usr/bin/ss', '-Htn', 'state', 'established', 'state', 'syn-sent', 'state', 'close-wait'])
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().splitlines()


# -- where servers are found

SOURCES = {'example.test': ('autoconfig', 'pop.example.test', 'smtp.example.test', 'provider'),
           'auto.test': ('autoconfig', 'in.auto.test', 'out.auto.test', 'provider'),
           'srv.test': ('srv', 'in.srv.test', 'out.srv.test', 'domain'),
           'guess.test': ('guess', None, None, 'domain')}


@pytest.mark.parametrize('domain', SOURCES)
def test_source(lab, bus, client, domain):
    """Found, verified, committed: an account that can send, its mail fetched, and who told is said."""
    source, pop, smtp, trust = SOURCES[domain]
    address = f'alice@{domain}'
    setup = client.start_setup(address)
    need = setup.wait_need('password')
    assert need['user'] == address and all(h.endswith('.' + domain) for h in need['hosts'])
    to_ready(setup, 'alicepw')
    best = setup['Candidates'][0]
    assert best['source'] == source == setup.steps['discovery'].evidence['source']
    assert best['incoming']['trust'] == best['outgoing']['trust'] == trust
    account = setup.commit(display_name='Alice', interval=3600)
    assert setup.wait_state('succeeded', 'failed') == 'succeeded', setup.all()
    proof = setup.steps['verification'].evidence
    assert proof['found'] == 'server' and 0 < proof['travel-usec'] < 30_000_000 and proof['reply']
    assert setup['Account'] == account.path and not setup['Cause']
    known = account.all()
    assert known['Address'] == address and known['CanSend'] and known['DisplayName'] == 'Alice' and known['Interval'] == 3600
    assert known['Incoming']['host'] == (pop or known['Incoming']['host']) and known['Incoming']['security'] == 'tls'
    assert known['Outgoing']['host'] == (smtp or known['Outgoing']['host'])
    assert set(statuses(setup).values()) == {'passed'}
    client.wait(lambda: account['MessagesFetched'] >= 1)
    fetched = os.listdir(os.path.join(known['Location'], 'new'))
    assert len(fetched) == len(mails(lab, address))


def test_foreign_servers_need_approval(lab, bus, client):
    """Servers of another domain get no password, not even one that is known already, before they are approved."""
    setup = client.start_setup('alice@foreign.test', dry_run=True)
    setup.set_password('alicepw')
    client.wait(lambda: [k for k, _ in setup.needs].count('server-approval') >= 1)
    need = setup.need('server-approval')
    assert need['hosts'] == ['pop.example.test'] and need['domains'] == ['example.test'] and need['source'] == 'srv'
    setup.wait_step('outgoing.service', 'passed')
    assert logins(lab, 'alice@foreign.test') == (0, 0)
    refused('Stale', setup.approve, need['token'][:-1] + ('0' if need['token'][-1] != '0' else '1'))
    setup.approve(need['token'])
    refused('Stale', setup.approve, need['token'])
    asked = client.wait(lambda: next((n for k, n in setup.needs if k == 'server-approval' and n['side'] == 'outgoing'), None))
    assert asked['hosts'] == ['smtp.example.test'] and logins(lab, 'alice@foreign.test') == (1, 0)
    setup.approve(asked['token'])
    assert setup.wait_state('ready', 'failed') == 'ready', setup.all()
    wait_for(lambda: logins(lab, 'alice@foreign.test')[1] == 1)


BY_HAND = {'tls': (('mail', 995, 'tls'), ('smtp', 465, 'tls')), 'starttls': (('mail', 110, 'starttls'), ('smtp', 587, 'starttls'))}


@pytest.mark.parametrize('how', BY_HAND)
def test_by_hand(bus, client, how):
    incoming, outgoing = (endpoint(h + '.example.test', p, s) for h, p, s in BY_HAND[how])
    setup = to_ready(client.start_setup('alice@example.test', dry_run=True, incoming=incoming, outgoing=outgoing), 'alicepw')
    assert setup.steps['discovery'].evidence == {'source': 'by-hand'} and setup['Candidates'] == []
    for side, port in (('incoming', incoming['port']), ('outgoing', outgoing['port'])):
        seen = setup.steps[f'{side}.tls'].evidence
        assert seen['security'] == how and seen['port'] == port and seen['tls'] == 'TLSv1.3'


def test_one_side_by_hand(bus, client):
    """What is named is taken; the other side is still looked for."""
    setup = client.start_setup('alice@example.test', dry_run=True, incoming=endpoint('mail.example.test', 110, 'starttls'))
    to_ready(setup, 'alicepw')
    assert setup.steps['incoming.dns'].evidence['host'] == 'mail.example.test'
    assert setup.steps['outgoing.dns'].evidence['host'] == 'smtp.example.test'


# -- what is left out

def test_receive_only(lab, bus, client):
    setup = to_ready(client.start_setup('eve@example.test', receive_only=True), 'evepw')
    had = mails(lab, 'eve@example.test')
    account = setup.commit()
    assert setup.wait_state('succeeded', 'failed') == 'succeeded'
    assert {k for k, s in statuses(setup).items() if s == 'skipped'} == \
        {'verification', *(f'outgoing.{s}' for s in ('dns', 'port', 'tls', 'service', 'login', 'sender'))}
    assert not account['CanSend'] and not account['Outgoing']
    account.fetch()
    assert mails(lab, 'eve@example.test') == had and logins(lab, 'eve@example.test')[1] == 0


def test_dry_run_stores_nothing(lab, bus, client):
    bus.activate()
    client.objects()
    before, had = state_of(bus), mails(lab, 'frank@example.test')
    setup = to_ready(client.start_setup('frank@example.test', dry_run=True), 'frankpw')
    refused('InvalidState', setup.commit)
    assert any(path.endswith('.db') and kept for path, kept in before.items())
    assert state_of(bus) == before and client.accounts() == [] and setup['Account'] == '/'
    assert statuses(setup)['handover'] == statuses(setup)['verification'] == 'skipped'
    assert mails(lab, 'frank@example.test') == had


@pytest.mark.parametrize('until', ['address', 'discovery', 'incoming.dns', 'incoming.tls', 'incoming.service', 'incoming.mailbox',
                                   'outgoing.service', 'outgoing.sender'])
def test_until(lab, bus, client, until):
    """Up to the step, and none behind it."""
    before = logins(lab, 'big@example.test')
    setup = client.start_setup('big@example.test', until=until)
    if until.endswith(('mailbox', 'sender')) or until.startswith('outgoing'):
        setup.wait_need('password')
        setup.set_password('bigpw')
    assert setup.wait_state('ready', 'failed') == 'ready', setup.all()
    order = list(statuses(setup))
    behind = [statuses(setup)[s] for s in order[order.index(until) + 1:]]
    assert statuses(setup)[until] == 'passed' and set(behind) == {'skipped'}
    refused('InvalidState', setup.commit)
    if until in order[:order.index('incoming.login')]:
        assert logins(lab, 'big@example.test') == before


# -- what a client may do meanwhile

def steps_since(client, serial):
    """The steps that were told after @serial; a signal may be seen later than the property that it tells of."""
    return {s.args[0] for s in client.signals if s.member == 'StepChanged' and s.args[5] > serial}


def test_retry_runs_what_depends(lab, bus, client):
    """Retry forgets a step and those behind it on its side, and nothing else."""
    port = lab.scripted.play(0, 'pop-err-greeting', 'pop-ok')
    setup = client.start_setup('alice@example.test', dry_run=True, incoming=endpoint('odd.example.test', port),
                               outgoing=endpoint('smtp.example.test', 465))
    setup.wait_state('failed')
    assert statuses(setup)['incoming.service'] == 'failed' and statuses(setup)['outgoing.service'] == 'passed'
    before = setup.steps
    refused('NotFound', setup.retry, 'incoming.nonsense')
    since = setup['Serial']
    setup.retry('')
    to_ready(setup, 'alicepw')
    client.wait(lambda: 'incoming.mailbox' in steps_since(client, since))
    again = steps_since(client, since)
    assert 'incoming.service' in again and not again & {'address', 'discovery', 'outgoing.dns', 'outgoing.port', 'outgoing.tls'}
    assert setup.steps['discovery'] == before['discovery'] and setup.steps['outgoing.tls'] == before['outgoing.tls']
    since = setup['Serial']
    setup.retry('outgoing.sender')
    assert setup.wait_state('ready', 'failed') == 'ready'
    client.wait(lambda: 'outgoing.sender' in steps_since(client, since))
    again = steps_since(client, since)
    assert 'outgoing.sender' in again and not any(s.startswith('incoming') for s in again)


def test_choose(bus, client):
    setup = client.start_setup('alice@auto.test', dry_run=True)
    setup.wait_need('password')
    other = next(c for c in setup['Candidates'] if c['incoming']['security'] == 'starttls')
    refused('NotFound', setup.choose, 'c99')
    setup.choose(other['id'])
    to_ready(setup, 'alicepw')
    for side in ('incoming', 'outgoing'):
        seen = setup.steps[f'{side}.tls'].evidence
        assert (seen['host'], seen['port'], seen['security']) == tuple(other[side][k] for k in ('host', 'port', 'security'))


def test_set_servers(bus, client):
    """Where nothing was found, the user's word is enough; a wrong one can be taken back."""
    setup = client.start_setup('alice@hollow.test', dry_run=True)
    setup.wait_state('failed', 'waiting')
    assert setup['Cause'] == 'discovery.nothing-found'
    for bad, word in (({'incoming': {'hots': 'x'}}, 'hots'), ({'sideways': {'host': 'x'}}, 'sideways'),
                      ({'incoming': endpoint('x', 0)}, 'port'), ({'incoming': endpoint('x', 1, 'none')}, 'security'),
                      ({'incoming': endpoint('a b', 1)}, 'host')):
        assert word in refused('InvalidArgument', setup.call, 'SetServers', 'a{sv}', options(bad))
    setup.set_servers(incoming=endpoint('closed.example.test', 995), outgoing=endpoint('smtp.example.test', 465))
    setup.wait_state('failed')
    assert setup['Cause'] == 'net.refused'
    setup.set_servers(incoming=endpoint('pop.example.test', 995))
    to_ready(setup, 'alicepw')
    assert setup.steps['outgoing.dns'].evidence['host'] == 'smtp.example.test'


STALLS = {'discovery': ('a@timeout.test', None, None), 'incoming.dns': ('a@srv.test', ('mail.timeout.test', 995), None),
          'incoming.port': ('a@srv.test', ('silent.example.test', 995), None), 'incoming.tls': ('a@srv.test', 'stall-connect', None),
          'incoming.service': ('a@srv.test', 'pop-stall-greeting', None), 'incoming.login': ('a@srv.test', 'pop-stall-pass', None),
          'incoming.mailbox': ('a@srv.test', 'pop-stall-stat', None), 'outgoing.dns': ('a@srv.test', 'pop-ok', ('x.timeout.test', 465)),
          'outgoing.port': ('a@srv.test', 'pop-ok', ('silent.example.test', 465)), 'outgoing.tls': ('a@srv.test', 'pop-ok', 'stall-tls-half'),
          'outgoing.service': ('a@srv.test', 'pop-ok', 'smtp-stall-ehlo'), 'outgoing.login': ('a@srv.test', 'pop-ok', 'smtp-stall-auth'),
          'outgoing.sender': ('a@srv.test', 'pop-ok', 'smtp-stall-rcpt')}


def test_cancel_at_each_step(lab, build):
    """Held in the middle of each step and cancelled: no account, no file, no connection, no mail."""
    with configured(build, lab, limits={'setups_per_uid': 100}) as bus, Connection(bus) as client:
        client.objects()
        before, queued = state_of(bus), lab.run.log('postfix/mail.log').count('message-id=')
        held = {}
        for step, (address, *servers) in STALLS.items():
            keys = {}
            for side, where in zip(('incoming', 'outgoing'), servers):
                if isinstance(where, str):
                    where = 'odd.example.test', lab.scripted.play(0, where)
                if where:
                    keys[side] = endpoint(*where)
            held[step] = client.start_setup(address, receive_only=True, **keys) if keys and not servers[1] else \
                client.start_setup(address, **keys)
        for step, setup in held.items():
            if step.endswith(('login', 'mailbox', 'sender')):
                setup.wait_need('password')
                setup.set_password(f'secret of {step}')  # the same one would wait for its turn
            setup.wait_step(step, 'running')
        # ... and the three states in which a setup waits for its user.
        held['password'] = client.start_setup('alice@example.test')
        held['password'].wait_need('password')
        held['certificate'] = client.start_setup('alice@example.test', receive_only=True,
                                                 incoming=endpoint('self-signed.example.test', 995))
        held['certificate'].wait_need('certificate-approval')
        held['ready'] = to_ready(client.start_setup('alice@example.test'), 'alicepw')
        assert len(connections(lab)) >= len(STALLS) and state_of(bus) == before
        for step, setup in held.items():
            setup.cancel()
            assert setup.state == 'cancelled' and not setup.needs, step
            assert not set(statuses(setup).values()) & {'running', 'waiting'}, step
            refused('InvalidState', setup.commit)
            setup.cancel()
        wait_for(lambda: not connections(lab))
        assert state_of(bus) == before and client.accounts() == []
        assert lab.run.log('postfix/mail.log').count('message-id=') == queued


def test_cancel_after_commit(lab, build):
    """What was handed over stays; only its proof that it sends is given up."""
    lab.set_account('slow@example.test', password='slowpw', discard=True)
    with configured(build, lab) as bus, Connection(bus) as client:
        setup = to_ready(client.start_setup('slow@example.test'), 'slowpw')
        account = setup.commit()
        setup.cancel()
        assert setup.state == 'succeeded' and setup['Account'] == account.path
        assert not account['CanSend'] and account['State'] == 'active'
        account.remove()
        assert client.accounts() == []


# -- the mail that proves it

def code_in(mail):
    return re.search(rb'^ {4}(\d{6})\r?$', mail, re.M)[1].decode()


def test_code(lab, build):
    """When the service cannot look into the mailbox, the user who sees the mail tells its code; also when it is late."""
    user = 'reader@example.test'
    lab.set_account(user, password='readerpw')
    with configured(build, lab, verification={'timeout': '1s'}) as bus, Connection(bus) as client:
        setup = to_ready(client.start_setup(user), 'readerpw')
        refused('InvalidState', setup.call, 'ConfirmCode', 's', '000000')
        lab.set_account(user, pop3='[IN-USE] Mailbox is locked by another session.')
        account = setup.commit()
        assert setup.wait_state('succeeded', 'failed') == 'failed'
        step = setup.steps['verification']
        assert (step.cause, step.evidence['reason']) == ('verification.not-arrived', 'mailbox.locked')
        assert not account['CanSend']
        wait_for(lambda: mails(lab, user))
        code = code_in(mails(lab, user)[0])
        wrong = '%06d' % ((int(code) + 1) % 1000000)
        assert refused('InvalidArgument', setup.call, 'ConfirmCode', 's', wrong)
        assert not account['CanSend']
        setup.call('ConfirmCode', 's', code)
        assert setup.wait_state('succeeded', 'failed') == 'succeeded'
        assert setup.steps['verification'].evidence['found'] == 'code' and account['CanSend']


def test_code_while_it_looks(lab, build):
    user = 'writer@example.test'
    lab.set_account(user, password='writerpw')
    with configured(build, lab) as bus, Connection(bus) as client:
        setup = to_ready(client.start_setup(user), 'writerpw')
        lab.set_account(user, pop3='[IN-USE] Mailbox is locked by another session.')
        account = setup.commit()
        wait_for(lambda: mails(lab, user))
        assert setup.state == 'running'
        setup.call('ConfirmCode', 's', code_in(mails(lab, user)[0]))
        assert setup.wait_state('succeeded', 'failed') == 'succeeded' and account['CanSend']
        assert setup.steps['verification'].evidence['found'] == 'code'


def test_verification_again(lab, build):
    """A mail that did not come is sent anew by Retry, and that one counts."""
    user = 'again@example.test'
    lab.set_account(user, password='againpw', discard=True)
    with configured(build, lab, verification={'timeout': '1s'}) as bus, Connection(bus) as client:
        setup = to_ready(client.start_setup(user), 'againpw')
        account = setup.commit()
        assert setup.wait_state('succeeded', 'failed') == 'failed' and setup['Cause'] == 'verification.not-arrived'
        lab.remove_account(user)
        lab.set_account(user, password='againpw')

        def arrived():
            setup.retry('')
            return setup.wait_state('succeeded', 'failed') == 'succeeded'
        wait_for(arrived)               # Postfix takes a moment to read its tables again
        assert account['CanSend'] and not setup['Cause']


DECOYS = [b'Subject: waypost checks this mailbox\nX-Waypost-Check: 0123456789abcdef0123456789abcdef\n'
          b'Message-ID: <waypost-check.0123456789abcdef0123456789abcdef@example.test>\n\nnot of this setup\n',
          b'Subject: Re: waypost checks this mailbox\n\nX-Waypost-Check: 0123\n    123456\n', b'Subject: hello\n\nhello\n']


@pytest.mark.parametrize('delete', [True, False])
def test_delete_verification(lab, bus, client, delete):
    """Deleted where it was agreed to, and never anything else, however it looks."""
    user = f'deleter{delete}@example.test'.lower()
    lab.set_account(user, password='deleterpw')
    for mail in DECOYS:
        lab.deliver(user, mail)
    setup = to_ready(client.start_setup(user, delete_verification=delete), 'deleterpw')
    setup.commit()
    assert setup.wait_state('succeeded', 'failed') == 'succeeded', setup.all()
    left = mails(lab, user)
    assert len(left) == len(DECOYS) + (not delete)
    for mail in DECOYS:
        assert any(m.endswith(mail.partition(b'\n\n')[2]) for m in left)
    assert setup.steps['verification'].evidence.get('deleted', False) is delete


# -- one account once

def test_account_exists(lab, bus, client):
    first = to_ready(client.start_setup('eve@example.test', receive_only=True), 'evepw')
    second = to_ready(client.start_setup('eve@example.test', receive_only=True), 'evepw')
    account = first.commit()
    assert refused('AccountExists', second.commit).endswith(account.path)
    assert second.state == 'ready' and len(client.accounts()) == 1
    assert client.manager('FindAccount', 's', 'eve@example.test') == account.path
    with Peer(bus, 65534) as peer:      # somebody else may have it as well
        to_ready(peer.start_setup('eve@example.test', receive_only=True), 'evepw').commit()
    account.remove()
    second.commit()


# -- passwords

def test_wrong_then_right(lab, bus, client):
    before = logins(lab, 'alice@srv.test')
    setup = client.start_setup('alice@srv.test', dry_run=True)
    setup.wait_need('password')
    setup.set_password('wrong')
    assert setup.wait_state('ready', 'failed') == 'failed' and setup['Cause'] == 'auth.bad-credentials'
    wait_for(lambda: logins(lab, 'alice@srv.test')[0] == before[0] + 1)
    assert logins(lab, 'alice@srv.test')[1] == before[1]        # the other side did not try it again
    tls = setup.steps['incoming.tls']
    setup.set_password('alicepw')
    assert setup.wait_state('ready', 'failed') == 'ready', setup.all()
    assert not setup['Cause'] and setup.steps['incoming.tls'] == tls
    wait_for(lambda: logins(lab, 'alice@srv.test') == (before[0] + 2, before[1] + 1))


def test_refused_twice_is_not_tried_again(lab, bus):
    """Two refusals of one password, over setups, restarts and crashes; not for another user of the machine."""
    port = lab.scripted.play(0, 'pop-wrong-password')

    def attempt(caller, password):
        setup = caller.start_setup('alice@example.test', receive_only=True, dry_run=True,
                                   incoming=endpoint('odd.example.test', port))
        setup.wait_need('password')
        setup.set_password(password)
        setup.wait_state('failed')
        assert setup['Cause'] == 'auth.bad-credentials'
        return setup

    with Connection(bus) as client:
        assert attempt(client, 'wrong').steps['incoming.login'].evidence['reply']
        assert lab.scripted.logins(port) == 1
        bus.kill_service()
        again = attempt(client, 'wrong')
        assert lab.scripted.logins(port) == 2
        again.retry('')
        again.wait_state('failed')
        again.set_password('wrong')
        again.wait_state('failed')
        assert 'reason' in again.steps['incoming.login'].evidence
        attempt(client, 'wrong')
        bus.stop_service()
        attempt(client, 'wrong')
        bus.kill_service()
        last = attempt(client, 'wrong')
        assert lab.scripted.logins(port) == 2 and 'twice' in last.steps['incoming.login'].evidence['reason']
        attempt(client, 'other')
        assert lab.scripted.logins(port) == 3
        with Peer(bus, 65534) as peer:
            attempt(peer, 'wrong')
        assert lab.scripted.logins(port) == 4


def test_two_passwords(lab, bus, client):
    """Sending may have a password of its own; each goes to its own server only."""
    pop, smtp = lab.scripted.play(0, 'pop-ok'), lab.scripted.play(0, 'smtp-ok')
    setup = client.start_setup('alice@example.test', dry_run=True, incoming=endpoint('odd.example.test', pop),
                               outgoing=endpoint('odd.example.test', smtp))
    setup.wait_need('password')
    setup.set_password('only-to-send', side='outgoing')
    setup.set_password('only-to-read', side='incoming')
    assert setup.wait_state('ready', 'failed') == 'ready', setup.all()
    for port, mine, other in ((pop, 'only-to-read', 'only-to-send'), (smtp, 'only-to-send', 'only-to-read')):
        def sent(secret):
            return base64.b64encode(f'\0alice@example.test\0{secret}'.encode()) in lab.scripted.received(port)
        assert sent(mine) and not sent(other)


# -- the object itself

def test_wait(bus, client):
    setup = client.start_setup('alice@example.test', dry_run=True)
    setup.wait_need('password')
    assert setup.call('Wait', 'st', 'running', 0) == 'waiting'
    assert setup.call('Wait', 'st', 'waiting', 50_000) == 'waiting'

    def other():
        with Connection(bus) as second:
            return second.call(setup.path, setup.INTERFACE, 'Wait', 'st', 'waiting', 20_000_000)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        told = pool.submit(other)
        setup.set_password('alicepw')
        assert told.result(20) in ('running', 'ready')
    assert setup.wait_state('ready', 'failed') == 'ready'
    serial = setup['Serial']
    setup.cancel()
    assert setup['Serial'] > serial and setup.call('Wait', 'st', 'ready', 2**64 - 1) == 'cancelled'


def test_report(bus, client):
    """Fit to be shown around: each step, each line said, no password in any spelling."""
    secret = 'report-canary-4711'
    setup = client.start_setup('alice@example.test', dry_run=True)
    setup.wait_need('password')
    setup.set_password(secret)
    setup.wait_state('failed')
    report = setup.call('Report')
    for word in ('alice@example.test', 'auth.bad-credentials', 'incoming.tls', 'TLSv1.3', 'pop.example.test', 'CAPA', 'EHLO',
                 'autoconfig', 'Dovecot'):
        assert word in report, word
    for text in (secret, '\0alice@example.test\0' + secret):
        assert base64.b64encode(text.encode()).decode().rstrip('=')[:-1] not in report and text not in report
    assert secret not in bus.log()


def test_quotas(lab, build):
    with configured(build, lab, limits={'setups_per_uid': 2, 'accounts_per_uid': 1}) as bus, Connection(bus) as client:
        first = to_ready(client.start_setup('eve@example.test', receive_only=True), 'evepw')
        second = to_ready(client.start_setup('frank@example.test', receive_only=True), 'frankpw')
        refused('QuotaExceeded', client.start_setup, 'big@example.test')
        with Peer(bus, 65534) as peer:
            peer.start_setup('eve@example.test').cancel()
        first.commit()
        first.wait_state('succeeded')
        refused('QuotaExceeded', second.commit)
        third = client.start_setup('big@example.test')          # an ended one does not count
        third.cancel()
        assert second.state == 'ready' and len(client.accounts()) == 1


def test_creator_leaves(lab, bus, client):
    """A setup ends with the connection that began it, unless it was to stay."""
    with Connection(bus) as other:
        ends, stays = other.start_setup('alice@example.test'), other.start_setup('alice@example.test', detached=True)
        for setup in (ends, stays):
            setup.wait_need('password')
    seen = {s: type(ends)(client, s.path) for s in (ends, stays)}
    client.objects()
    client.wait(lambda: seen[ends].state == 'cancelled')
    assert seen[stays].state == 'waiting'
    seen[stays].set_password('alicepw')
    assert seen[stays].wait_state('ready', 'failed') == 'ready'
    seen[stays].cancel()
    wait_for(lambda: not connections(lab))


def test_bad_addresses(client):
    for address in ('', 'alice', 'alice@', '@example.test', 'a b@example.test', 'alice@exa mple.test'):
        refused('InvalidAddress', client.start_setup, address)
    assert 'no-such' in refused('InvalidArgument', client.start_setup, 'alice@example.test', no_such=True)
    assert 'dry-run' in refused('InvalidArgument', client.start_setup, 'alice@example.test', dry_run='yes')
    assert 'until' in refused('InvalidArgument', client.start_setup, 'alice@example.test', until='supper')
