# SPDX-License-Identifier: LGPL-2.1-or-later
"""`waypostd --user`: the same contract on a session bus, for one user without any rights, in his own folder."""
import os

import pytest

from wplab import mailbox
from wplab.bus import NAME
from wplab.client import MANAGER, ROOT, SETUP, Account, BusError, Peer, endpoint
from wplab.userbus import UserBus

NOBODY = 65534
INTROSPECTABLE = 'org.freedesktop.DBus.Introspectable'


@pytest.fixture
def bus(lab, build):
    with UserBus(build, lab, NOBODY) as started:
        yield started


def owned(folder):
    """All that is there belongs to the user."""
    for top, folders, files in os.walk(folder):
        for name in (*folders, *files):
            yield os.path.join(top, name), os.lstat(os.path.join(top, name))


def test_whole_life(lab, bus):
    """From an address to mail in the user's own data folder, over a restart, to the end; by the user's process alone."""
    mailbox.fill(lab.maildir('frank@example.test'), [(str(i), mailbox.header(i)) for i in range(5)])
    with Peer(bus, NOBODY) as user:
        setup = user.start_setup('frank@example.test')
        setup.wait_need('password')
        with open(f'/proc/{bus.service_pid()}/status') as f:
            status = dict(line.rstrip('\n').split(':\t', 1) for line in f if ':\t' in line)
        assert status['Uid'].split() == [str(NOBODY)] * 4 and status['NoNewPrivs'] == '1' and int(status['CapEff'], 16) == 0
        setup.set_password('frankpw')
        assert setup.wait_state('ready', 'failed') == 'ready', setup.all()
        account = setup.commit(keep='server')
        assert setup.wait_state('succeeded', 'failed') == 'succeeded', setup.all()
        user.wait(lambda: account['MessagesFetched'] >= 5)
        assert account['Owner'] == NOBODY and account['Location'].startswith(bus.state + '/')
        new = os.path.join(account['Location'], 'new')
        mails = os.listdir(new)
        assert len(mails) >= 5
        for name in mails:
            done = bus.as_user(['/usr/bin/head', '-c', '10', os.path.join(new, name)])
            assert done.returncode == 0, done.stderr
        assert {s.st_uid for _, s in owned(bus.home)} == {NOBODY}
        assert os.stat(bus.state).st_mode & 0o022 == 0
        for secret in ('key', 'waypost.db'):
            assert os.stat(os.path.join(bus.state, secret)).st_mode & 0o7777 == 0o600
        assert bus.stop_service()
        again = Account(user, account.path)
        user.objects()                                  # activates it anew
        assert again['Address'] == 'frank@example.test' and again.state == 'active'
        assert again.fetch()['cause'] == ''
        again.remove()
        assert user.accounts() == [] and len(os.listdir(new)) >= 5


def test_same_contract(lab, bus, build):
    """Member by member what the system's service has."""
    with Peer(bus, NOBODY) as user:
        text = user.call(ROOT, INTROSPECTABLE, 'Introspect')
        for member in ('StartSetup', 'RequestAdminView', 'GetManagedObjects', 'Features'):
            assert f'"{member}"' in text
        assert 'admin-view' in user.get(ROOT, MANAGER, 'Features')
        user.manager('RequestAdminView')                # there is nothing that he does not see
        with pytest.raises(BusError) as refused:
            user.manager('StartSetup', 'sa{sv}', 'x', {})
        assert refused.value.name == NAME + '.Error.InvalidAddress'


def test_servers_of_his_own(lab, bus, scripted):
    """On his own computer anything may be named: nobody else is served by it."""
    with Peer(bus, NOBODY) as user:
        setup = user.start_setup('me@example.test', dry_run=True, receive_only=True, incoming=endpoint('127.0.0.1', 1))
        assert setup.wait_state('failed', 'waiting') == 'failed'
        step = setup.steps['incoming.port']
        assert (step.status, step.cause) == ('failed', 'net.refused'), step         # and not policy.address-forbidden
        setup.cancel()


def test_leaving(lab, bus):
    """A setup ends with its caller here too."""
    with Peer(bus, NOBODY) as user, Peer(bus, NOBODY) as other:
        setup = user.start_setup('frank@example.test')
        setup.wait_need('password')
        user.kill()
        other.objects()
        other.wait(lambda: other.get(setup.path, SETUP, 'State') == 'cancelled')
        other.close()


def test_one_for_each_bus(bus):
    """A second one finds the first one at work and leaves; without a bus it says so."""
    with Peer(bus, NOBODY) as user:
        user.objects()
        second = bus.as_user([bus.program, '--user'])
        assert second.returncode == 1 and 'another waypostd works in' in second.stderr
        assert user.objects() == {}
        assert bus.stop_service()
    none = bus.as_user([bus.program, '--user'], {'DBUS_SESSION_BUS_ADDRESS': 'unix:path=/nonexistent', 'XDG_RUNTIME_DIR': '/nonexistent'})
    assert none.returncode == 1 and 'bus' in none.stderr
