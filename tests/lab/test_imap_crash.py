# SPDX-License-Identifier: LGPL-2.1-or-later
"""IMAP: nothing lost, nothing doubled, when the service is killed, when the connection ends at any octet, and while a second client does to the
mailbox what second clients do."""
import collections
import hashlib
import os
import random
import shutil
import threading

import pytest
import test_crash
from test_crash import DISK, LONG, ONE, WIRE, Site, digest, five, points

from wplab import mailbox
from wplab.bus import Bus
from wplab.client import Connection, endpoint, options, variant
from wplab.imapbox import CAPA, Imapbox, Session
from wplab.lab import NET4, ODD
from wplab.reader import ImapReader, read_imap

REAL = endpoint('imap.example.test', 993, protocol='imap')
QUIET = {'fetch': {'interval': '30d', 'interval-minimum': '1s'}}


def mail(n):
    return f'From: a@example.test\nSubject: number {n}\n\nThis is {n}.\n'.encode()


def counted(datas):
    return collections.Counter(hashlib.sha256(d).hexdigest() for d in datas)


class ImapSite(Site):
    rows_may_stay = True        # whoever moved a message away may bring it back: what is gone is known for a year


@pytest.fixture(scope='module')
def site(lab, build):
    with Bus(build, lab=lab, config=ONE) as bus:
        bus.allow_bad_log = True            # a killed service says what it likes
        site = ImapSite(lab, bus, 'frank@example.test', 'frankpw')
        site.start()
        site.fill([])
        site.onboard(incoming=REAL)
        site.save('keep')
        site.start()
        site.account.call('Configure', 'a{sv}', {'keep': variant('none')})
        site.save('delete')
        yield site
        bus.kill_service()


@pytest.mark.parametrize('keep', [True, False], ids=['keep', 'delete'])
def test_kill_fetch(site, keep):
    """SIGKILL before each fsync, rename, write of the database and word to the server: the next fetch makes it good, flags included."""
    items, mode = five(), 'keep' if keep else 'delete'
    site.fill(items)
    expected = collections.Counter(digest(m) for m in read_imap(site.lab, site.user, site.password))
    assert sum(expected.values()) == 5
    site.restore(mode)
    chosen = points(site, site.traced(DISK + WIRE, site.fetch_action), 993)
    site.bus.kill_service()
    if not LONG:
        chosen = chosen[::3 if keep else 4]
    kills = 0
    for call, n in chosen:
        site.restore(mode)
        if not keep:
            site.fill(items)
        kills += site.killed_at(call, n, site.fetch_action)
        try:
            site.check_after_kill(keep, expected)
            site.check_at_last(keep, expected)
        except AssertionError as error:
            raise AssertionError(f'killed before {call} {n}: {error}\n{site.bus.log()[-2000:]}') from None
    print(f'{kills} kills of {len(chosen)} points')
    assert kills >= len(chosen) // 2


# -- the connection ends

class Cut:
    """A mailbox whose connection ends after so many octets."""

    def __init__(self, lab, c):
        self.c = c
        self.box = Imapbox(lambda port: lab.server.listen(NET4 + str(ODD), port), lab.pki.server_context('good'),
                           capa=[x for x in CAPA if x != 'IDLE'])
        setup = c.start_setup('alice@example.test', receive_only=True, incoming=endpoint('odd.example.test', self.box.port, protocol='imap'))
        setup.wait_need('password')
        setup.set_password('oddpw')
        assert setup.wait_state('ready', 'failed') == 'ready', setup.all()
        self.account = setup.commit()
        c.wait(lambda: self.account.history(1) and not self.account['Run'], what='the first run')


def found(account):
    assert os.listdir(os.path.join(account['Location'], 'tmp')) == []
    return test_crash.tree(account['Location'])[0]


@pytest.mark.parametrize('keep', ['server', 'none'])
def test_cut_at_every_octet(lab, build, monkeypatch, keep):
    """Three messages; the connection ends after k octets of the server: what is there is whole, and the rest comes next time."""
    left = [None]

    def say(session, data):
        if left[0] is not None and len(data) >= left[0]:
            data, left[0] = data[:left[0]], 0
            session.sock.sendall(data)
            raise OSError('cut')
        if left[0] is not None:
            left[0] -= len(data)
        session.sock.sendall(data)
    with Bus(build, lab=lab, config=QUIET) as bus, Connection(bus) as c:
        cut = Cut(lab, c)
        if keep == 'none':
            cut.account.call('Configure', 'a{sv}', options({'keep': 'none'}))
        monkeypatch.setattr(Session, 'say', say)
        n, all_, ended = 0, [], 0
        for k in range(1, 1400, 1 if LONG else 29):
            new = [mail(n), b'', mail(n + 1) * 3] if k % 2 else [mail(n), mail(n + 1), mail(n + 2)]
            new = [d + b'%d\n' % (n + i) for i, d in enumerate(new)]
            n += 3
            with cut.box.lock:
                cut.box.fill(new)
            left[0] = k
            run = cut.account.fetch()
            left[0] = None
            ended += run['cause'] != ''
            there = found(cut.account)
            assert not there - counted([*all_, *new]), k
            all_ += new
            if keep == 'none':
                gone = counted(all_) - counted(m.data for m in cut.box.inbox.messages)
                assert not gone - there, f'{k}: deleted, not delivered'
            assert cut.account.fetch()['cause'] == ''
            assert found(cut.account) == counted(all_), k
            if keep == 'none':
                assert not cut.box.inbox.messages
        assert ended > (700 if LONG else 20)
        cut.box.close()


# -- somebody else

def unruly(lab, user, password, stop, rng, seen, trouble):
    """Appends, marks, expunges, moves away and back, and now and then deletes the other folder and makes it anew."""
    def append(n, folder='INBOX'):
        data = mail(n).replace(b'\n', b'\r\n')
        reader.sock.sendall(f'r APPEND {folder} {{{len(data)}+}}\r\n'.encode() + data + b'\r\n')
        while not (line := reader.reader.readline()).startswith(b'r '):
            assert line
        seen.add(n)
    try:
        reader = ImapReader.of_lab(lab, user, password)
        with reader.sock:
            try:
                reader.command('CREATE Other')
            except Exception:
                pass
            reader.command('SELECT INBOX')
            n = 1000
            while not stop.is_set():
                n += 1
                act = rng.choice(('append', 'append', 'append', 'expunge', 'away', 'back', 'anew', 'flags'))
                try:
                    if act == 'append':
                        append(n)
                    elif act == 'expunge':
                        reader.command(f'STORE {rng.randint(1, 5)} +FLAGS.SILENT (\\Deleted)')
                        reader.command('EXPUNGE')
                    elif act == 'flags':
                        reader.command('STORE 1:* FLAGS (\\Seen \\Flagged)')
                    elif act == 'away':
                        reader.command(f'MOVE {rng.randint(1, 9)} Other')
                    elif act == 'back':
                        reader.command('SELECT Other')
                        reader.command('MOVE 1:* INBOX')
                    elif act == 'anew':
                        reader.command('SELECT INBOX')
                        reader.command('DELETE Other')
                        reader.command('CREATE Other')
                except Exception as error:
                    if 'hung up' in str(error):
                        raise
                finally:
                    reader.command('SELECT INBOX')
    except Exception as error:
        trouble.append(error)


@pytest.mark.parametrize('keep', ['server', 'none'])
def test_second_client(lab, build, keep):
    """What is there at the end has come, and nothing has come twice."""
    user, password = 'frank@example.test', 'frankpw'

    shutil.rmtree(lab.maildir(user), ignore_errors=True)
    mailbox.fill(lab.maildir(user), [(f'{n}.x', mail(n)) for n in range(200)])
    stop, seen, trouble = threading.Event(), set(range(200)), []
    other = threading.Thread(target=unruly, args=(lab, user, password, stop, random.Random(7), seen, trouble), daemon=True)
    with Bus(build, lab=lab, config={'fetch': {**QUIET['fetch'], 'idle-connections': '0'}}) as bus, Connection(bus) as c:
        other.start()
        setup = c.start_setup(user, receive_only=True, incoming=REAL, keep=keep)
        setup.wait_need('password')
        setup.set_password(password)
        assert setup.wait_state('ready', 'failed') == 'ready', setup.all()
        account = setup.commit()
        c.wait(lambda: account.history(1) and not account['Run'], what='the first run')
        for _ in range(40 if LONG else 15):
            run = account.fetch()
            assert run['cause'] == '', run
        stop.set()
        other.join(60)
        assert not trouble, trouble
        at_end = counted(read_imap(lab, user, password))
        assert account.fetch()['cause'] == ''
        there = found(account)
        assert not at_end - there, 'lost'
        assert max(there.values()) == 1, 'doubled'
        assert not there - counted(mail(n) for n in seen)
        assert sum(r['delivered'] for r in account.history(100)) > 200 or keep == 'none'
