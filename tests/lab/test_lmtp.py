# SPDX-License-Identifier: LGPL-2.1-or-later
"""Delivery by LMTP: every octet, each message's own answer, servers that are full, gone or cut off, and no command that a mail could
smuggle."""
import collections
import hashlib
import os

import pytest

from wplab import mailbox
from wplab.bus import Bus
from wplab.client import BusError, Connection, endpoint, options
from wplab.lab import NET4, ODD
from wplab.lmtp import LmtpSink
from wplab.maildrop import Maildrop


def counted(datas):
    return collections.Counter(hashlib.sha256(d).hexdigest() for d in datas)


def mail(n, body='hello\n'):
    return f'From: a@example.test\nSubject: number {n}\n\n{body}'.encode()


class Site:
    def __init__(self, lab, build, keep='server', chunking=False, domain=''):
        self.path = lab.run.file(f'lmtp-{os.urandom(4).hex()}')
        self.sink = LmtpSink(self.path, chunking)
        delivery = {'lmtp-socket': self.path, **({'lmtp-domain': domain} if domain else {})}
        self.bus = Bus(build, lab=lab, config={'fetch': {'interval': '30d'}, 'delivery': delivery})
        self.bus.__enter__()
        self.c = Connection(self.bus)
        self.drop = Maildrop(lambda port: lab.server.listen(NET4 + str(ODD), port), lab.pki.server_context('good'))
        setup = self.c.start_setup('alice@example.test', receive_only=True, incoming=endpoint('odd.example.test', self.drop.port))
        setup.wait_need('password')
        setup.set_password('oddpw')
        assert setup.wait_state('ready', 'failed') == 'ready', setup.all()
        self.account = setup.commit()
        self.c.wait(lambda: self.account.history(1) and not self.account['Run'], what='the first run')
        self.account.call('Configure', 'a{sv}', options({'keep': keep, 'delivery': 'lmtp'}))
        assert self.account['Delivery'] == 'lmtp'

    def fill(self, mails):
        self.drop.fill([(f'u{n}', m) for n, m in enumerate(mails)])

    def fetch(self, **more):
        run = self.account.fetch(**more)
        place = self.account['Location']
        assert [os.listdir(os.path.join(place, d)) for d in ('tmp', 'new', 'cur')] == [[], [], []]
        return run

    def close(self):
        self.c.close()
        self.drop.close()
        self.bus.__exit__(None, None, None)
        self.sink.close()


@pytest.fixture
def make(lab, build):
    made = []

    def site(**more):
        made.append(Site(lab, build, **more))
        return made[-1]
    yield site
    for one in made:
        one.close()


@pytest.mark.parametrize('chunking', [False, True], ids=['data', 'bdat'])
@pytest.mark.parametrize('keep', ['server', 'none'])
def test_every_octet(make, keep, chunking):
    site = make(keep=keep, chunking=chunking)
    mails = [data.replace(b'\r\n', b'\n') for name, data in mailbox.messages(60, seed=3, large_one=False)]
    mails = [m if m.endswith(b'\n') else m + b'\n' for m in mails if m]
    mails += [mail(1, '.\n..\n.hidden\n\n.\n'), mail(2, 'bare \r cr\n'), mail(3, 'x' * 100000 + '\n'), mail(4, '\0 nul\n')]
    dangerous = [mail(5, 'x\r.\r\nMAIL FROM:<evil@example.test>\n'), mail(6, '\r.\nQUIT\n')]
    safe = [m for m in mails if b'\r.' not in m]
    dangerous += [m for m in mails if b'\r.' in m]
    site.fill(safe + dangerous)
    run = site.fetch()
    assert run['cause'] == ''
    wanted = safe + (dangerous if chunking else [])
    assert counted(site.sink.mails()) == counted(wanted)
    assert run['delivered'] == len(wanted) and run['skipped'] == (0 if chunking else len(dangerous))
    assert run['deleted'] == (len(wanted) if keep == 'none' else 0)
    assert not any('evil' in c for c in site.sink.commands)
    assert site.fetch()['delivered'] == 0
    assert len(site.sink.taken) == len(wanted)


def test_recipient_and_domain(make):
    site = make(domain='local.test')
    site.fill([mail(1)])
    assert site.fetch()['delivered'] == 1
    assert site.sink.recipients == [b'RCPT TO:<root@local.test>']


def test_each_message_has_its_answer(make):
    site = make(keep='none')
    mails = [mail(n) for n in range(5)]
    site.sink.answer = lambda data: b'554 5.7.1 no spam here' if b'number 2' in data else b'250 ok'
    site.fill(mails)
    run = site.fetch()
    assert (run['cause'], run['delivered'], run['skipped'], run['deleted']) == ('', 4, 1, 4)
    assert 'no spam here' in run['reply'] and run['notes'] == ['delivery.message-refused']
    assert [m.data for m in site.drop.messages] == [mails[2]]
    again = site.fetch()
    assert (again['delivered'], again['skipped']) == (0, 1)
    site.sink.answer = lambda data: b'250 ok'
    assert site.fetch(skipped=True)['delivered'] == 1
    assert site.drop.messages == [] and counted(site.sink.mails()) == counted(mails)


@pytest.mark.parametrize('what,cause', [(b'452 4.2.2 mailbox full', 'delivery.no-space'), (b'451 4.3.0 later', 'delivery.refused')])
def test_not_now(make, what, cause):
    """Nothing is lost, nothing deleted; with room again all comes, once."""
    site = make(keep='none')
    mails = [mail(n) for n in range(5)]
    site.sink.answer = lambda data: what if b'number 3' in data else b'250 ok'
    site.fill(mails)
    run = site.fetch()
    assert (run['cause'], run['delivered'], run['deleted']) == (cause, 3, 0)
    assert site.account.state == 'failing' and site.account['NextRun']
    site.sink.answer = lambda data: b'250 ok'
    run = site.fetch()
    assert (run['cause'], run['delivered'], run['deleted']) == ('', 2, 5)
    assert counted(site.sink.mails()) == counted(mails)


def test_unknown_recipient(make):
    site = make()
    site.fill([mail(1)])
    site.sink.rcpt = b'550 5.1.1 nobody of that name'
    run = site.fetch()
    assert (run['cause'], run['delivered']) == ('delivery.denied', 0) and 'nobody of that name' in run['reply']


def test_server_is_away(make):
    site = make(keep='none')
    mails = [mail(n) for n in range(3)]
    site.fill(mails)
    site.sink.close()
    run = site.fetch()
    assert (run['cause'], run['delivered'], run['deleted']) == ('delivery.refused', 0, 0)
    site.sink = LmtpSink(site.path)
    assert site.fetch()['delivered'] == 3 and counted(site.sink.mails()) == counted(mails)


def test_answer_is_lost(make):
    """The one window in which a mail can come twice: taken, and the connection gone before that was said. One, and no other."""
    site = make(keep='none')
    mails = [mail(n) for n in range(5)]
    site.sink.answer = lambda data: None if b'number 2' in data else b'250 ok'
    site.fill(mails)
    run = site.fetch()
    assert run['cause'] == 'delivery.refused' and run['delivered'] == 2
    site.sink.answer = lambda data: b'250 ok'
    assert site.fetch()['cause'] == ''
    assert counted(site.sink.mails()) == counted(mails + [mails[2]])
    ids = [d.split(b'\r\n')[0] for d in site.sink.taken if b'number 2' in d]
    assert len(ids) == 2 and ids[0] == ids[1]        # and it can be told


def test_only_where_configured(lab, build):
    with Bus(build, lab=lab, config={'fetch': {'interval': '30d'}}) as bus, Connection(bus) as c:
        setup = c.start_setup('frank@example.test', receive_only=True)
        setup.wait_need('password')
        setup.set_password('frankpw')
        setup.wait_state('ready')
        account = setup.commit()
        with pytest.raises(BusError) as refused:
            account.call('Configure', 'a{sv}', options({'delivery': 'lmtp'}))
        assert refused.value.name.endswith('.InvalidArgument') and 'LMTP' in str(refused.value)


def test_dovecot(lab, build):
    """Into a real server's mailbox."""
    socket_path = f'{lab.dovecot.path}/run/lmtp'
    os.chmod(socket_path, 0o666)
    delivery = {'lmtp-socket': socket_path, 'lmtp-domain': 'example.test'}
    with Bus(build, lab=lab, config={'fetch': {'interval': '30d'}, 'delivery': delivery}) as bus, Connection(bus) as c:
        setup = c.start_setup('frank@example.test', receive_only=True)
        setup.wait_need('password')
        setup.set_password('frankpw')
        setup.wait_state('ready')
        account = setup.commit()
        c.wait(lambda: account.history(1) and not account['Run'])
        account.call('Configure', 'a{sv}', options({'delivery': 'lmtp'}))
        lab.deliver('frank@example.test', b'Subject: through\r\n\r\nthe real thing\r\n')
        run = account.fetch()
        # root@example.test is nobody's mailbox there: its own words come through.
        assert run['cause'] in ('delivery.denied', '') and (run['delivered'] or run['reply'])
