# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which message is which: servers that name their messages anew, or not at all, or give a name twice; messages that cannot be read.
Nothing is lost, nothing comes twice, and nothing is deleted that was not read."""
import collections
import hashlib
import os
import pwd
import time

import pytest

from wplab.bus import Bus
from wplab.client import Connection, endpoint, options
from wplab.lab import NET4, ODD
from wplab.maildrop import Maildrop

HOST = 'odd.example.test'


def mail(n, body=None, subject='the same for all'):
    return (f'From: a@example.test\nSubject: {subject}\nMessage-ID: <same@example.test>\n\n'
            + (body or f'This is number {n}.\n.\n..two dots\n')).encode()


def counted(datas):
    return collections.Counter(hashlib.sha256(d).hexdigest() for d in datas)


class Site:
    def __init__(self, lab, bus, keep='server', **more):
        self.c = Connection(bus)
        self.drop = Maildrop(lambda port: lab.server.listen(NET4 + str(ODD), port), lab.pki.server_context('good'), **more)
        setup = self.c.start_setup('alice@example.test', receive_only=True, incoming=endpoint(HOST, self.drop.port))
        setup.wait_need('password')
        setup.set_password('oddpw')
        assert setup.wait_state('ready', 'failed') == 'ready', setup.all()
        self.account = setup.commit()
        self.c.wait(lambda: self.account.history(1) and not self.account['Run'], what='the first run')
        self.set_keep(keep)

    def set_keep(self, keep):
        self.account.call('Configure', 'a{sv}', options({'keep': keep}))
        assert self.account['Keep'] == keep

    def found(self):
        place = self.account['Location']
        datas = []
        for folder in ('new', 'cur'):
            for name in os.listdir(os.path.join(place, folder)):
                with open(os.path.join(place, folder, name), 'rb') as f:
                    datas.append(f.read())
        assert os.listdir(os.path.join(place, 'tmp')) == []
        return counted(datas)

    def fetch(self, **more):
        run = self.account.fetch(**more)
        return run

    def close(self):
        self.drop.close()
        self.c.close()


@pytest.fixture
def bus(lab, build):
    with Bus(build, lab=lab, config={'fetch': {'interval': '30d', 'interval-minimum': '1s', 'message-maximum': '1M'}}) as started:
        yield started


@pytest.fixture
def make(lab, bus):
    made = []

    def site(**more):
        made.append(Site(lab, bus, **more))
        return made[-1]
    yield site
    for one in made:
        one.close()


def figures(run):
    return tuple(run[k] for k in ('cause', 'listed', 'new', 'delivered', 'duplicates', 'deleted'))


# -- names that change

@pytest.mark.parametrize('keep', ['server', 'none'])
def test_all_names_change(make, keep):
    """1 000 mails with one Message-ID get other UIDLs, and their order changes: none comes twice, none of the new ones is missed."""
    site = make(keep='server')
    mails = [mail(n) for n in range(1000)]
    mails[7] = mails[8]                     # two that are all the same are two mails
    site.drop.fill([(f'old{n}', m) for n, m in enumerate(mails)])
    assert figures(site.fetch()) == ('', 1000, 1000, 1000, 0, 0)
    site.set_keep(keep)
    fresh = [mail(n) for n in range(2000, 2005)] + [mail(0, 'same header, another body\n'), mails[8]]
    site.drop.fill([(f'new{n}', m) for n, m in enumerate(fresh + mails[::-1])])
    run = site.fetch()
    assert figures(run) == ('', 1007, 1007, 7, 1000, 0 if keep == 'server' else 7)
    assert 'fetch.uid-reset' in run['notes'] and site.account['Warnings'] == ['fetch.uid-reset']
    assert site.found() == counted(mails + fresh)
    again = site.fetch()
    assert (again['new'], again['delivered'], again['cause']) == (0, 0, '')
    assert site.drop.count('DELE') == (0 if keep == 'server' else 1007)
    assert site.account['Warnings'] == []
    assert site.found() == counted(mails + fresh)


def test_server_loses_its_list_for_a_while(make):
    site = make()
    mails = [mail(n) for n in range(20)]
    site.drop.fill([(f'u{n}', m) for n, m in enumerate(mails)])
    assert site.fetch()['delivered'] == 20
    kept, site.drop.messages = site.drop.messages, []
    assert figures(site.fetch())[:3] == ('', 0, 0)
    assert site.account.history(1)[0]['gone'] == 20
    site.drop.messages = kept
    run = site.fetch()
    assert (run['new'], run['delivered'], run['gone']) == (0, 0, 0)


# -- names that are given again

@pytest.mark.parametrize('capa', [('TOP', 'UIDL', 'USER', 'PIPELINING'), ('UIDL', 'USER')], ids=['top', 'no-top'])
def test_name_given_again_is_not_deleted_unread(make, capa):
    """QUIT was answered, the answer was lost, and a new mail has got the UIDL of one that was delivered."""
    site = make(capa=capa)
    old = [mail(n, subject=f'old {n}') for n in range(3)]
    site.drop.fill([(f'u{n}', m) for n, m in enumerate(old)])
    assert site.fetch()['delivered'] == 3
    site.set_keep('none')                   # what a lost QUIT leaves behind: delivered, not known to be deleted
    new = mail(9, subject='the new one')
    site.drop.fill([('u0', old[0]), ('u1', new), ('u2', old[2])])
    run = site.fetch()
    assert run['cause'] == '' and site.found() == counted(old + [new])
    assert run['deleted'] == 3 and site.drop.messages == []
    if 'TOP' in capa:
        assert (site.drop.count('RETR'), run['new']) == (4, 1)


def test_name_given_again_where_mail_stays(make):
    """Servers that use the number as the UIDL: another size tells."""
    site = make()
    old = [mail(n, subject=f'old {n}') for n in range(3)]
    site.drop.fill([(str(n), m) for n, m in enumerate(old)])
    assert site.fetch()['delivered'] == 3
    new = mail(9, 'a body of another length\n', subject='the new one')
    site.drop.fill([('0', old[1]), ('1', old[2]), ('2', new)])
    run = site.fetch()
    assert run['cause'] == '' and site.found() == counted(old + [new])
    assert site.fetch()['new'] == 0


def test_size_that_changes_alone(make):
    """A server that counts its own Status line: looked at once, not fetched again."""
    site = make()
    mails = [mail(n) for n in range(3)]
    site.drop.fill([(f'u{n}', m) for n, m in enumerate(mails)])
    assert site.fetch()['delivered'] == 3
    for m in site.drop.messages:
        m.data = b'Status: RO\n' + m.data
    assert figures(site.fetch()) == ('', 3, 0, 0, 0, 0)
    tops = site.drop.count('TOP')
    assert tops == 3 and figures(site.fetch()) == ('', 3, 0, 0, 0, 0)
    assert site.drop.count('TOP') == tops and site.drop.count('RETR') == 3


def test_long_names(make):
    """UIDLs longer than RFC 1939 allows, and two that differ only at their ends."""
    site = make()
    mails = [mail(n) for n in range(3)]
    site.drop.fill([('x' * 200 + str(n), m) for n, m in enumerate(mails)])
    assert site.fetch()['delivered'] == 3
    assert figures(site.fetch()) == ('', 3, 0, 0, 0, 0)
    assert site.found() == counted(mails)


# -- no names

@pytest.mark.parametrize('keep', ['server', 'none'])
@pytest.mark.parametrize('capa', [('TOP', 'USER'), ('USER',), None], ids=['top', 'bare', 'no-capa'])
def test_without_uidl(make, capa, keep):
    site = make(keep=keep, capa=capa)
    mails = [mail(n, subject=f'number {n}') for n in range(5)] + [mail(0, subject='number 0')]
    assert mails[0] == mails[5]
    site.drop.fill([(None, m) for m in mails])
    run = site.fetch()
    assert figures(run) == ('', 6, 6, 6, 0, 6 if keep == 'none' else 0)
    assert run['notes'] == ['fetch.uidl-unsupported']
    assert site.found() == counted(mails)
    more = mail(77, subject='one more')
    site.drop.messages.insert(0, type('M', (), dict(uidl=None, data=more, octets=None, breaks=False, header=None))())
    run = site.fetch()
    assert run['delivered'] == 1 and site.found() == counted(mails + [more])
    assert site.fetch()['delivered'] == 0


# -- mail that stays for some days

def test_keep_days(make, lab, bus):
    site = make(keep='30d')
    mails = [mail(n) for n in range(4)]
    site.drop.fill([(f'u{n}', m) for n, m in enumerate(mails)])
    assert figures(site.fetch()) == ('', 4, 4, 4, 0, 0)
    assert figures(site.fetch()) == ('', 4, 0, 0, 0, 0)
    bus.stop_service()
    import sqlite3
    with sqlite3.connect(os.path.join(bus.state, 'waypost.db')) as db:      # two of them came 31 days ago
        db.execute("UPDATE message SET delivered_usec = delivered_usec - 31 * 86400 * 1000000 WHERE uidl IN ('u1', 'u2')")
    db.close()
    for name in os.listdir(bus.state):
        if name.startswith('waypost.db'):
            owner = pwd.getpwnam('waypost')
            os.chown(os.path.join(bus.state, name), owner.pw_uid, owner.pw_gid)
    assert figures(site.fetch()) == ('', 4, 0, 0, 0, 2)
    assert [m.uidl for m in site.drop.messages] == ['u0', 'u3']
    assert figures(site.fetch()) == ('', 2, 0, 0, 0, 0)
    assert site.found() == counted(mails)


# -- messages that cannot be read

def test_broken_message_holds_nobody_up(make):
    """The connection breaks in one message, each time: the others come, it is left alone after three tries, and read on demand."""
    site = make(capa=('TOP', 'UIDL', 'USER'))
    mails = [mail(n, subject=f'number {n}') for n in range(6)]
    site.drop.fill([(f'u{n}', m) for n, m in enumerate(mails)])
    site.drop.messages[2].breaks = True
    first = site.fetch()
    assert first['cause'] and first['delivered'] == 2
    second = site.fetch()
    assert second['delivered'] == 3         # it comes last now
    third = site.fetch()
    assert third['cause'] and third['delivered'] == 0
    fourth = site.fetch()
    assert (fourth['cause'], fourth['skipped'], fourth['notes']) == ('', 1, ['fetch.message-unreadable'])
    assert site.account['Warnings'] == ['fetch.message-unreadable'] and site.account.state == 'active'
    tried = site.drop.count('RETR 3')
    assert tried == 3
    assert site.fetch(skipped=True)['cause']
    assert site.drop.count('RETR 3') == tried + 1
    site.drop.messages[2].breaks = False
    assert site.fetch()['skipped'] == 1     # nobody has asked
    assert site.fetch(skipped=True)['delivered'] == 1
    assert site.found() == counted(mails) and site.account['Warnings'] == []


@pytest.mark.parametrize('told', [True, False], ids=['listed', 'not-listed'])
def test_huge_message_holds_nobody_up(make, told):
    site = make()
    mails = [mail(n, subject=f'number {n}') for n in range(5)]
    huge = mail(5, 'x' * 70 + '\n' + ('y' * 76 + '\n') * 40000)
    site.drop.fill([(f'u{n}', m) for n, m in enumerate(mails[:2] + [huge] + mails[2:])])
    if not told:
        site.drop.messages[2].octets = 100
    runs = []
    for _ in range(3):
        runs.append(site.fetch())
        if site.found() == counted(mails) and runs[-1]['skipped'] and not runs[-1]['left']:
            break
    assert site.found() == counted(mails), runs
    assert all(r['cause'] == '' for r in runs)
    assert 'fetch.message-too-large' in [n for r in runs for n in r['notes']]
    read = site.drop.count('RETR 3')
    assert site.fetch()['skipped'] == 1 and site.drop.count('RETR 3') == read == 1


# -- mailboxes that show a part of themselves

@pytest.mark.parametrize('keep', ['server', 'none'])
def test_windows(make, keep):
    """What was read is hidden after QUIT, and older mail shows up: all of it comes, none twice."""
    site = make(keep=keep)
    mails = [mail(n, subject=f'number {n}') for n in range(25)]
    site.drop.fill([(f'u{n}', m) for n, m in enumerate(mails)])
    site.drop.window = 5
    site.fetch()
    site.c.wait(lambda: (site.account['Run'] == {} and sum(site.found().values()) == 25) or not site.fetch(), 60)
    assert site.found() == counted(mails)
    assert site.fetch()['delivered'] == 0


# -- why no mail comes

def why(site):
    checks = site.account.call('Why')
    assert [c['check'] for c in checks] == ['state', 'network', 'login', 'interval', 'list', 'other-programs', 'names', 'skipped', 'lock',
                                            'room', 'elsewhere', 'answer']
    return {c['check']: (c['verdict'], c['cause']) for c in checks}, checks[-1]


def test_why(make):
    site = make(capa=('TOP', 'UIDL', 'USER'))
    mails = [mail(n, subject=f'number {n}') for n in range(4)]
    site.drop.fill([(f'u{n}', m) for n, m in enumerate(mails)])
    site.fetch()
    checks, answer = why(site)
    assert (answer['verdict'], answer['cause']) == ('passed', 'fetch.no-new-mail') and checks['list'] == ('passed', '')
    # Another program takes all of it.
    site.drop.messages = []
    run = site.fetch()
    assert run['notes'] == ['fetch.other-client-deletes'] and site.account['Warnings'] == run['notes']
    checks, answer = why(site)
    assert checks['other-programs'] == ('failed', 'fetch.other-client-deletes') and answer['cause'] == 'fetch.other-client-deletes'
    # One message breaks the connection.
    site.drop.fill([('bad', mail(9))])
    site.drop.messages[0].breaks = True
    run = site.fetch()
    checks, answer = why(site)
    assert checks['state'] == ('failed', run['cause']) and checks['login'] == ('failed', run['cause']) and answer['cause'] == run['cause']
    for _ in range(3):
        site.fetch()
    checks, answer = why(site)
    assert checks['skipped'] == ('warned', 'fetch.message-unreadable') and checks['state'] == ('passed', '')
    site.account.call('Pause')
    checks, answer = why(site)
    assert checks['state'] == ('failed', '') and (answer['verdict'], answer['cause']) == ('failed', '')


# -- room

def test_quota(lab, build):
    """A user's space: what is too much stays on the server; what the owner throws away makes room."""
    config = {'fetch': {'interval': '30d'}, 'limits': {'bytes-per-uid': '64K'}}
    with Bus(build, lab=lab, config=config) as bus:
        site = Site(lab, bus, keep='none')
        mails = [mail(n, ('x' * 76 + '\n') * 200) for n in range(8)]            # 15 KB each
        site.drop.fill([(f'u{n}', m) for n, m in enumerate(mails)])
        run = site.fetch()
        assert run['delivered'] == 4 and run['deleted'] == 4 and run['left'] == 4 and run['cause'] == ''
        site.c.wait(lambda: site.account['Cause'] == 'policy.quota' or site.fetch() is None, 20)
        run = site.account.history(1)[0]
        assert (run['cause'], run['delivered'], run['deleted']) == ('policy.quota', 0, 0)
        assert len(site.drop.messages) == 4 and site.found() == counted(mails[:4])
        assert site.account.state == 'blocked' and site.account['NextRun']     # somebody has to act, and it is tried again
        assert {c['check']: c['verdict'] for c in site.account.call('Why')}['room'] == 'failed'
        place = os.path.join(site.account['Location'], 'new')
        for name in os.listdir(place):
            os.unlink(os.path.join(place, name))
        run = site.fetch()
        assert (run['cause'], run['delivered'], run['deleted']) == ('', 4, 4)
        assert site.found() == counted(mails[4:])
        site.close()


# -- progress

def test_progress(make):
    """A first fetch tells how fast it is and how long it still takes, as soon as it can know, and is about right."""
    site = make()
    mails = [mail(n, ('x' * 76 + '\n') * 1000) for n in range(24)]
    site.drop.fill([(f'u{n}', m) for n, m in enumerate(mails)])
    site.drop.pause = 0.25
    run = site.account.fetch_now()
    begun = time.monotonic()
    told = []

    def over():
        now = site.account['Run']
        if 'remaining' in now:
            told.append((time.monotonic() - begun, now['remaining'], now['rate'], now['bytes'], now['total-bytes']))
        return any(r['run'] == run for r in site.account.history(1))
    site.c.wait(over, 60)
    took = time.monotonic() - begun
    assert len(told) >= 3 and all(rate > 0 and octets <= total * 1.1 for _, _, rate, octets, total in told)
    assert all(at >= 1.5 for at, *_ in told)
    assert sum(abs(at + left - took) < 3 + took / 2 for at, left, *_ in told) * 3 >= len(told) * 2
    assert told[-1][1] < told[0][1]


# -- cut off

@pytest.mark.parametrize('keep', ['server', 'none'])
def test_cut_after_each_octet(make, keep):
    """A session of three messages whose connection ends after the k-th octet, for each k: the next one makes it good."""
    site = make(keep=keep)
    stay = [('stay', mail('stay'))] if keep == 'server' else []     # else this looks like a mailbox that shows a part of itself
    wanted = counted(data for _, data in stay)
    if stay:
        site.drop.fill(stay)
        site.fetch()
    k, where, whole = 0, [], False
    step = 1 if os.environ.get('WAYPOST_LONG') else 23
    while not whole:
        fresh = [(f'{k}-{n}', mail(f'{k}-{n}', '..\n.\nend\n', subject=f'{k}-{n}')) for n in range(3)]
        wanted += counted(data for _, data in fresh)
        site.drop.fill(stay + fresh)
        before, site.drop.cut_after = site.found(), k
        run = site.fetch()
        site.drop.cut_after = None
        now = site.found()
        assert not now - wanted and not before - now, k
        if len(site.drop.messages) < len(stay + fresh):
            assert now == wanted, f'{k}: deleted before it was delivered'
        assert site.fetch()['cause'] == '', k
        assert site.found() == wanted, k
        whole = run['cause'] == ''
        where.append(k)
        k += step
    assert len(where) > 15
