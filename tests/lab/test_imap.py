# SPDX-License-Identifier: LGPL-2.1-or-later
"""IMAP: the same promises for the other protocol. Setting up and fetching against Dovecot, octet by octet; everything that may go wrong
with its cause; servers that change under our hands; new mail that is told of."""
import collections
import hashlib
import os
import shutil
import time

import pytest

from wplab import mailbox
from wplab.bus import Bus
from wplab.client import Connection, endpoint, options
from wplab.imapbox import CAPA, Imapbox
from wplab.lab import NET4, ODD
from wplab.others import NOBODY, CourierImap
from wplab.reader import ImapReader, read_imap, read_mailbox

HOST = 'odd.example.test'
REAL = endpoint('imap.example.test', 993, protocol='imap')
SMTP = endpoint('smtp.example.test', 465)
DEAF = [c for c in CAPA if c != 'IDLE']
QUIET = {'fetch': {'interval': '30d', 'interval-minimum': '1s', 'message-maximum': '30M'}}


def mail(n, body=None, subject='the same for all'):
    return (f'From: a@example.test\nSubject: {subject}\nMessage-ID: <same@example.test>\n\n'
            + (body or f'This is number {n}.\n.\n..two dots\n')).encode()


def counted(datas):
    return collections.Counter(hashlib.sha256(d).hexdigest() for d in datas)


def found(account):
    datas, place = [], account['Location']
    for folder in ('new', 'cur'):
        for name in os.listdir(os.path.join(place, folder)):
            with open(os.path.join(place, folder, name), 'rb') as f:
                datas.append(f.read())
    assert os.listdir(os.path.join(place, 'tmp')) == []
    return counted(datas)


@pytest.fixture
def bus(lab, build):
    with Bus(build, lab=lab, config=QUIET) as started:
        yield started


@pytest.fixture
def client(bus):
    with Connection(bus) as c:
        yield c


def onboard(c, address, password, incoming=REAL, **more):
    setup = c.start_setup(address, receive_only=True, incoming=incoming, **more)
    setup.wait_need('password')
    setup.set_password(password)
    assert setup.wait_state('ready', 'failed') == 'ready', setup.all()
    account = setup.commit()
    c.wait(lambda: account.history(1) and not account['Run'], what='the end of the first fetch')
    return account


# -- against Dovecot

@pytest.mark.parametrize('incoming', [REAL, endpoint('imap.example.test', 143, 'starttls', protocol='imap'),
                                      endpoint('imap.example.test', 993), endpoint('imap.example.test', 143, 'starttls')],
                         ids=['tls', 'starttls', 'port-993', 'port-143'])
def test_whole(lab, bus, client, incoming):
    """Every step passes with its proof, and the verification mail is found again."""
    setup = client.start_setup('frank@example.test', incoming=incoming, outgoing=SMTP)
    setup.wait_need('password')
    setup.set_password('frankpw')
    assert setup.wait_state('ready', 'failed') == 'ready', setup.all()
    steps = setup.steps
    assert steps['incoming.service'].evidence['protocol'] == 'imap'
    assert 'IMAP4rev1' in steps['incoming.service'].evidence['capabilities']
    assert steps['incoming.login'].status == 'passed'
    seen = steps['incoming.mailbox'].evidence
    assert seen['push'] and seen['can-delete'] and 'INBOX' in seen['folders'], seen
    account = setup.commit()
    assert setup.wait_state('succeeded', 'failed') == 'succeeded', setup.all()
    assert account['Protocol'] == 'imap' and account['CanSend']


def test_every_message(lab, bus, client):
    """Messages that hurt, as an independent reader has them; and never again. Nothing is marked as read."""
    user = 'big@example.test'
    shutil.rmtree(lab.maildir(user), ignore_errors=True)
    mailbox.fill(lab.maildir(user), mailbox.messages(520))
    account = onboard(client, user, 'bigpw')
    there = read_imap(lab, user, 'bigpw')
    assert len(there) == 520
    assert found(account) == counted(there)
    run = account.history(1)[0]
    assert (run['listed'], run['new'], run['delivered'], run['skipped'], run['cause']) == (520, 520, 520, 0, ''), run
    again = account.fetch()
    assert (again['listed'], again['new'], again['delivered'], again['cause']) == (520, 0, 0, ''), again
    bus.stop_service()
    assert account.fetch()['new'] == 0
    lab.deliver(user, b'Subject: one more\r\n\r\nhello\r\n')
    last = account.fetch()
    assert (last['listed'], last['new'], last['delivered']) == (521, 1, 1), last
    flags = {n.partition(':2,')[2] for n in os.listdir(os.path.join(lab.maildir(user), 'cur'))}
    assert not any('S' in f for f in flags)


def test_delete(lab, bus, client):
    """With keep none exactly what was delivered goes."""
    user = 'eve@example.test'
    shutil.rmtree(lab.maildir(user), ignore_errors=True)
    mailbox.fill(lab.maildir(user), [(f'{n}.x', mail(n)) for n in range(40)])
    account = onboard(client, user, 'evepw')
    assert found(account).total() == 40
    account.call('Configure', 'a{sv}', options({'keep': 'none'}))
    lab.deliver(user, b'Subject: one more\r\n\r\nhello\r\n')
    run = account.fetch()
    assert (run['delivered'], run['deleted'], run['cause']) == (1, 41, ''), run
    assert read_mailbox(lab, user, 'evepw') == []
    assert found(account).total() == 41


# -- against a mailbox in this process

class Site:
    def __init__(self, lab, c, keep='server', datas=(), **more):
        self.c = c
        self.box = Imapbox(lambda port: lab.server.listen(NET4 + str(ODD), port), lab.pki.server_context('good'), **more)
        self.box.fill(datas)
        self.account = onboard(c, 'alice@example.test', 'oddpw', incoming=endpoint(HOST, self.box.port, protocol='imap'))
        if keep != 'server':
            self.account.call('Configure', 'a{sv}', options({'keep': keep}))

    def fetch(self, **more):
        return self.account.fetch(**more)

    def found(self):
        return found(self.account)


@pytest.fixture
def make(lab, bus, client):
    made = []

    def site(**more):
        made.append(Site(lab, client, **more))
        return made[-1]
    yield site
    for one in made:
        one.box.close()


def numbers(run):
    return tuple(run[k] for k in ('listed', 'new', 'delivered', 'duplicates', 'deleted', 'skipped')), run['cause']


def test_uidvalidity(make):
    """All names change: what was there is recognised, what is new comes, and two mails that are the same stay two."""
    datas = [mail(n) for n in range(5)] + [mail(1)]
    site = make(capa=DEAF, datas=datas)
    assert site.found() == counted(datas)
    site.box.inbox.rename_all(2000)
    assert numbers(site.fetch()) == ((6, 6, 0, 6, 0, 0), '')
    assert 'fetch.uid-reset' in site.account['Warnings']
    site.box.inbox.rename_all(3000)
    site.box.fill([mail(7), mail(1)])
    assert numbers(site.fetch()) == ((8, 8, 2, 6, 0, 0), '')
    assert site.found() == counted([*datas, mail(7), mail(1)])
    assert numbers(site.fetch())[0][1] == 0


@pytest.mark.parametrize('how', ['no-validity', 'not-sticky'])
def test_uids_that_do_not_last(make, how):
    """Every run reads everything, and nothing comes twice."""
    datas = [mail(n) for n in range(4)]
    site = make(capa=DEAF)
    if how == 'no-validity':
        site.box.inbox.validity = 0
    else:
        site.box.odd.append(('^(SELECT|EXAMINE)', lambda box, session, tag, line: session.say(b'* NO [UIDNOTSTICKY] x\r\n* OK [UIDNOTSTICKY] x\r\n') or True))
    site.box.fill(datas)
    assert numbers(site.fetch())[0][2] == 4
    assert numbers(site.fetch())[0][2:4] == (0, 4)
    assert site.found() == counted(datas)


def test_what_is_asked(make):
    """A run in which nothing is new asks for nothing but the mailbox; a new message costs one list and one FETCH."""
    site = make(capa=DEAF, datas=[mail(n) for n in range(10)])
    del site.box.commands[:]
    assert numbers(site.fetch())[0] == (10, 0, 0, 0, 0, 0)
    asked = [c.split()[0] for c in site.box.commands]
    assert asked == ['AUTHENTICATE', 'ID', 'EXAMINE', 'LOGOUT'], asked
    site.box.fill([mail(11)])
    del site.box.commands[:]
    assert numbers(site.fetch())[0] == (11, 1, 1, 0, 0, 0)
    assert [c for c in site.box.commands if 'FETCH' in c] == ['UID FETCH 11:* (UID)', 'UID FETCH 11 (UID FLAGS BODY.PEEK[])']


def test_somebody_else_removes(make):
    """Messages that go before and while they are read."""
    site = make(capa=DEAF, datas=[mail(n) for n in range(10)])
    del site.box.inbox.messages[2:5]
    site.box.fill([mail(n) for n in range(20, 30)])

    def remove_while_reading(box, session, tag, line):
        del box.inbox.messages[-3:]
        return True
    site.box.odd.append(('BODY', remove_while_reading))
    run = site.fetch()
    assert numbers(run)[0][:3] == (17, 10, 7) and run['gone'] >= 3 and run['cause'] == '', run
    site.box.odd.clear()
    assert numbers(site.fetch()) == ((14, 0, 0, 0, 0, 0), '')
    assert site.found() == counted(mail(n) for n in [*range(10), *range(20, 27)])


def test_only_ours_is_deleted(make):
    """What others have marked stays; without UIDPLUS everything does, and the account says so."""
    site = make(keep='none', capa=DEAF, datas=[mail(n) for n in range(5)])
    site.box.inbox.messages[0].flags.add('\\Deleted')
    other = site.box.inbox.add(mail(77), ['\\Deleted'])
    hidden = site.box.odd
    hidden.append(('^UID FETCH .*UID\\)', lambda box, session, tag, line: True))
    site.box.capa.remove('UIDPLUS')
    run = site.fetch()
    assert run['deleted'] == 0 and run['cause'] == ''
    assert len(site.box.inbox.messages) == 6
    assert 'fetch.cannot-delete' in site.account['Warnings']
    site.box.capa.append('UIDPLUS')
    late = []
    # Comes, marked, after the list was made: it is not ours.
    hidden.append(('^UID STORE', lambda box, session, tag, line: late.append(late or box.inbox.add(mail(88), ['\\Deleted'])) or True))
    run = site.fetch()
    assert run['deleted'] == 6
    assert [m.data for m in site.box.inbox.messages] == [mail(88)]
    assert other not in site.box.inbox.messages


# -- new mail that is told of

def waits(site, n=1):
    site.c.wait(lambda: len(site.box.idling) == n, what='IDLE')


def arrives(site, total):
    site.c.wait(lambda: site.account['MessagesFetched'] == total and not site.account['Run'], what='the message')


def test_idle(make):
    """It comes at once, over the dialogue that waited, by one list and one FETCH; and again, and again."""
    site = make(datas=[mail(n) for n in range(3)])
    waits(site)
    logins = site.box.logins
    for n in range(3, 8):
        del site.box.commands[:]
        site.box.deliver(mail(n))
        arrives(site, n + 1)
        waits(site)
        assert site.box.commands == ['IDLE', f'UID FETCH {n + 1}:* (UID)', f'UID FETCH {n + 1} (UID FLAGS BODY.PEEK[])'][1:] + ['IDLE'], site.box.commands
    assert site.found() == counted(mail(n) for n in range(8))
    assert site.box.logins == logins
    del site.box.commands[:]
    run = site.fetch()
    assert numbers(run) == ((8, 0, 0, 0, 0, 0), '') and site.box.logins == logins
    assert site.box.commands[:1] == ['NOOP'] and site.box.count('FETCH') == 0, site.box.commands


def test_idle_delete(make):
    """With keep none, too."""
    site = make(keep='none')
    site.fetch()
    waits(site)
    for n in range(3):
        site.box.deliver(mail(n))
        arrives(site, n + 1)
        site.c.wait(lambda: not site.box.inbox.messages, what='deletion')
        waits(site)
    assert site.found() == counted(mail(n) for n in range(3))


@pytest.mark.parametrize('how', ['bye', 'close', 'silent'])
def test_idle_dies(lab, build, how):
    """The dialogue that waited dies: mail comes all the same, by a new one."""
    with Bus(build, lab=lab, config={'fetch': {**QUIET['fetch'], 'idle-renew': '2s'}}) as bus, Connection(bus) as c:
        site = Site(lab, c)
        waits(site)
        session = next(iter(site.box.idling))
        site.box.inbox.add(mail(1))
        if how == 'bye':
            session.say(b'* BYE [UNAVAILABLE] restart\r\n')
            session.end()
        elif how == 'close':
            session.sock.close()
        else:
            lab.cut(site.box.port)
            time.sleep(3)
            lab.cut(site.box.port, False)
        arrives(site, 1)
        assert site.account['State'] == 'active'
        assert [r['cause'] for r in site.account.history() if r['cause']] == []
        site.box.close()


def test_idle_not_meant(make):
    """A server that ends each IDLE at once is polled, not besieged."""
    site = make()
    waits(site)
    site.box.odd.append(('^IDLE', b'{tag} NO not today\r\n'))
    site.box.deliver(mail(1))
    arrives(site, 1)
    time.sleep(2)
    assert site.box.count('^IDLE') <= 3
    assert site.account['State'] == 'active'


def test_no_idle(make):
    site = make(capa=DEAF, datas=[mail(1)])
    assert site.box.count('^LOGOUT') >= 1 and not site.box.idling
    assert site.found() == counted([mail(1)])


def test_places(lab, build):
    """So many wait as may; the owner who has most gives to the one who has none."""
    config = {'fetch': {**QUIET['fetch'], 'idle-connections': '2'}}
    with Bus(build, lab=lab, config=config) as bus, Connection(bus) as c:
        boxes = []
        for user in ('a', 'b', 'c'):
            box = Imapbox(lambda port: lab.server.listen(NET4 + str(ODD), port), lab.pki.server_context('good'))
            boxes.append(box)
            onboard(c, f'{user}@example.test', 'oddpw', incoming=endpoint(HOST, box.port, protocol='imap', user=user))
        c.wait(lambda: sum(len(b.idling) for b in boxes) == 2, what='two that wait')
        time.sleep(1)
        assert [len(b.idling) for b in boxes] == [1, 1, 0]
        for box in boxes:
            box.close()


def test_pause_ends_waiting(make):
    site = make()
    waits(site)
    site.account.call('Pause')
    waits(site, 0)
    site.account.call('Resume')
    site.fetch()
    waits(site)
    site.account.call('Remove')
    waits(site, 0)


# -- folders and flags

def folder_of(account, name):
    """{(octets, flags)} of a folder of the Maildir."""
    place = os.path.join(account['Location'], name)
    seen = []
    for sub in ('new', 'cur'):
        for n in os.listdir(os.path.join(place, sub)):
            assert sub == 'cur' or ':' not in n
            with open(os.path.join(place, sub, n), 'rb') as f:
                seen.append((f.read(), n.partition(':2,')[2]))
    return sorted(seen)


def test_flags(make):
    """What the server had marked when it was fetched is marked here; \\Deleted is not."""
    site = make(capa=DEAF)
    for n, flags in enumerate((['\\Seen'], ['\\Answered', '\\Seen'], ['\\Flagged', '\\Draft', '$Junk'], ['\\Deleted'], [])):
        site.box.inbox.add(mail(n), flags)
    assert site.fetch()['delivered'] == 5
    assert folder_of(site.account, '') == sorted([(mail(0), 'S'), (mail(1), 'RS'), (mail(2), 'DF'), (mail(3), ''), (mail(4), '')])


def test_folders(make, bus):
    """Chosen ones, each into its own; a name with a dot, one of another script, one that is not there."""
    site = make(capa=DEAF, datas=[mail(0)])
    for name, datas in (('Sent', [mail(1)]), ('Archive/2024.old', [mail(2), mail(2)]), ('Entw&APw-rfe', [mail(3)]), ('Other', [mail(4)])):
        site.box.make(name)
        site.box.fill(datas, name)
    site.account.call('Configure', 'a{sv}', options({'folders': ['Sent', 'Archive/2024.old', 'Entwürfe', 'Missing', 'INBOX']}))
    assert site.account['Folders'] == ['Sent', 'Archive/2024.old', 'Entwürfe', 'Missing']
    run = site.fetch()
    assert numbers(run) == ((5, 4, 4, 0, 0, 0), '')
    assert 'mailbox.folder-missing' in site.account['Warnings']
    assert [m for m, _ in folder_of(site.account, '')] == [mail(0)]
    assert [m for m, _ in folder_of(site.account, '.Sent')] == [mail(1)]
    assert [m for m, _ in folder_of(site.account, '.Archive.2024&AC4-old')] == [mail(2)] * 2
    assert [m for m, _ in folder_of(site.account, '.Entw&APw-rfe')] == [mail(3)]
    assert os.path.exists(os.path.join(site.account['Location'], '.Sent', 'maildirfolder'))
    # Moved by somebody else: the same mail, not a new one.
    moved = site.box.inbox.messages.pop()
    site.box.folders['Sent'].add(moved.data)
    assert numbers(site.fetch())[0][1:4] == (1, 0, 1)
    site.box.folders.pop('Archive/2024.old')
    assert numbers(site.fetch()) == ((3, 0, 0, 0, 0, 0), '')


def test_folders_delete_and_idle(make):
    """keep none over folders; then INBOX is waited for."""
    site = make(keep='none', datas=[mail(0)])
    site.box.make('Sent')
    site.box.fill([mail(1), mail(2)], 'Sent')
    site.account.call('Configure', 'a{sv}', options({'folders': ['Sent']}))
    run = site.fetch()
    assert run['deleted'] == 3 and not site.box.inbox.messages and not site.box.folders['Sent'].messages, run
    waits(site)
    site.box.deliver(mail(5))
    arrives(site, 4)
    assert [m for m, _ in folder_of(site.account, '')] == [mail(0), mail(5)]


def test_folders_by_dovecot(lab, bus, client):
    user = 'frank@example.test'
    shutil.rmtree(lab.maildir(user), ignore_errors=True)
    mailbox.fill(lab.maildir(user), [('1.x', mail(1))])
    account = onboard(client, user, 'frankpw')
    account.call('Configure', 'a{sv}', options({'folders': ['Archive']}))
    with_reader = ImapReader.of_lab(lab, user, 'frankpw')
    with with_reader.sock:
        with_reader.command('CREATE Archive')
        with_reader.command('SELECT INBOX')
        with_reader.command('COPY 1 Archive')
        with_reader.command('SELECT Archive')
        with_reader.command('STORE 1 +FLAGS (\\Seen \\Flagged)')
    assert account.fetch()['cause'] == ''
    assert folder_of(account, '.Archive') == [(mail(1), 'FS')]


# -- other servers

def test_courier(lab, client):
    """Another server of Debian's over a Maildir, which lets everybody in: every octet as an independent reader has it there, once; and what comes later."""
    place = lab.run.file('courier')
    os.mkdir(place, 0o700)
    shutil.chown(place, NOBODY)
    maildir = os.path.join(place, 'Maildir')
    mailbox.fill(maildir, [(n, m) for n, m in mailbox.messages(80) if len(m) < 100_000 and not n.startswith('empty')], NOBODY)
    server = CourierImap(lambda port: lab.server.listen(NET4 + str(ODD), port), lab.pki.server_context('good'), maildir)
    setup = client.start_setup('alice@example.test', receive_only=True, incoming=endpoint(HOST, server.port, protocol='imap'))
    setup.wait_need('password')
    setup.set_password('nobody-asks')
    assert setup.wait_state('ready', 'failed') == 'ready', setup.all()
    assert setup.steps['incoming.login'].evidence['method'] == 'PREAUTH'
    account = setup.commit()
    client.wait(lambda: account.history(1) and not account['Run'], what='the first fetch')

    def there():
        sock = lab.connect(HOST, server.port, timeout=60)
        with lab.pki.client_context().wrap_socket(sock, server_hostname=HOST) as tls:
            reader = ImapReader(tls, None, None)
            reader.command('EXAMINE INBOX')
            return counted(octets.replace(b'\r\n', b'\n') for _, octets in reader.command('FETCH 1:* (BODY.PEEK[])') if octets is not None)
    assert account.history(1)[0]['cause'] == '', account.history(1)
    assert found(account) == there()
    mailbox.fill(maildir, [('later.x', mail(7))], NOBODY)
    run = account.fetch()
    assert (run['new'], run['delivered'], run['cause']) == (1, 1, ''), run
    assert found(account) == there()
    server.close()
