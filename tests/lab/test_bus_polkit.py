# SPDX-License-Identifier: LGPL-2.1-or-later
"""RequestAdminView: by real polkitd, with and without somebody who authenticates; without polkit; by a polkit that takes its time,
vanishes or talks nonsense; callers that are gone before it answers."""
import pytest

from wplab.authority import Agent, Authority
from wplab.bus import Bus, NAME
from wplab.client import ACCOUNT, MANAGER, ROOT, SETUP, BusError, Connection, Peer
from wplab.run import until

DAEMON, BIN, NOBODY = 1, 2, 65534
ACTION = NAME + '.admin-view'
DENIED = 'org.freedesktop.DBus.Error.AccessDenied'
INTERACTION = 'org.freedesktop.DBus.Error.InteractiveAuthorizationRequired'
UNKNOWN = 'org.freedesktop.DBus.Error.UnknownObject'
RULES = f'''polkit.addRule(function(action, subject) {{
    if (action.id == "{ACTION}") {{
        if (subject.user == "daemon") return polkit.Result.YES;
        if (subject.user == "bin") return polkit.Result.NO;
    }}
}});
'''


@pytest.fixture(scope='module')
def bus(lab, build):
    with Bus(build, lab=lab, polkit=True, rules=RULES) as started:
        yield started


@pytest.fixture(scope='module')
def bare(lab, build):
    """The same without polkit; tests put an authority of their own there."""
    with Bus(build, lab=lab) as started:
        yield started


def refused(function, *args, **more):
    with pytest.raises(BusError) as error:
        function(*args, **more)
    return error.value.name


def request(caller, **more):
    return caller.manager('RequestAdminView', **more)


def begin(peer, **more):
    return peer.begin(ROOT, MANAGER, 'RequestAdminView', **more)


# -- real polkitd

def test_granted_view_is_as_roots(bus):
    """What was not there is there: listed, told of before the reply, readable, callable; for this connection only."""
    with Connection(bus) as root, Peer(bus, DAEMON) as peer, Peer(bus, DAEMON) as same:
        setup = root.start_setup('alice@example.test', dry_run=True, detached=True)
        setup.wait_need('password')
        same.objects()
        assert refused(peer.get_all, setup.path, SETUP) == UNKNOWN
        assert setup.path not in peer.objects()
        request(peer)
        added = [s for s in peer.signals if s.member == 'InterfacesAdded']
        assert [s.args[0] for s in added] == [setup.path]
        assert added[0].args[1] == root.objects()[setup.path] == peer.objects()[setup.path]
        request(peer)                                       # once more changes nothing
        peer.objects()
        assert [s.args[0] for s in peer.signals if s.member == 'InterfacesAdded'] == [setup.path]
        own = setup.path.rpartition('/')[2]
        assert own in peer.call(ROOT + '/setup', 'org.freedesktop.DBus.Introspectable', 'Introspect')
        peer.call(setup.path, SETUP, 'SetPassword', 'ss', '', 'alicepw')
        setup.caller = peer
        assert setup.wait_state('ready', 'succeeded', 'failed') in ('ready', 'succeeded')
        peer.call(setup.path, SETUP, 'Cancel')
        same.objects()
        assert same.signals == [] and setup.path not in same.objects()
        assert refused(same.get_all, setup.path, SETUP) == UNKNOWN


def test_view_ends_with_its_connection(bus):
    with Connection(bus) as root:
        setup = root.start_setup('a@nomail.test', dry_run=True, detached=True)
        with Peer(bus, DAEMON) as peer:
            request(peer)
            assert setup.path in peer.objects()
        with Peer(bus, DAEMON) as again:
            assert setup.path not in again.objects()
            assert refused(again.get, setup.path, SETUP, 'State') == UNKNOWN
        setup.cancel()


def test_what_a_viewer_begins_is_his_own(bus):
    with Peer(bus, DAEMON) as viewer, Peer(bus, DAEMON) as same, Peer(bus, NOBODY) as other:
        request(viewer)
        setup = viewer.start_setup('a@nomail.test', dry_run=True, detached=True)
        theirs = other.start_setup('b@nomail.test', dry_run=True, detached=True)
        assert setup.path in same.objects() and setup.path not in other.objects()
        assert theirs.path in viewer.objects() and theirs.path not in same.objects()
        viewer.call(theirs.path, SETUP, 'Cancel')
        setup.cancel()


def test_find_account(bus):
    with Connection(bus) as root, Peer(bus, DAEMON) as viewer:
        account = root.make_account('alice', receive_only=True)
        assert refused(viewer.manager, 'FindAccount', 's', 'alice@example.test') == NAME + '.Error.NotFound'
        request(viewer)
        assert viewer.manager('FindAccount', 's', 'alice@example.test') == account.path
        assert viewer.get(account.path, ACCOUNT, 'Owner') == 0
        viewer.call(account.path, ACCOUNT, 'Pause')
        assert account.state == 'paused'
        account.remove()


def test_refused_by_rule(bus):
    with Peer(bus, BIN) as peer, Connection(bus) as root:
        setup = root.start_setup('a@nomail.test', dry_run=True, detached=True)
        assert refused(request, peer) == refused(request, peer, interactive=True) == DENIED
        assert setup.path not in peer.objects()
        setup.cancel()


def test_somebody_must_authenticate(bus):
    """The default of the action: without leave to ask, with leave but nobody to be asked, refused by the person, granted by the person."""
    with Connection(bus) as root, Peer(bus, NOBODY) as peer:
        setup = root.start_setup('a@nomail.test', dry_run=True, detached=True)
        assert refused(request, peer) == INTERACTION
        assert refused(request, peer, interactive=True) == DENIED
        with Agent(bus, peer.pid, NOBODY, yes=False) as agent:
            assert refused(request, peer) == INTERACTION and agent.asked == []
            assert refused(request, peer, interactive=True) == DENIED
            assert [a[0] for a in agent.asked] == [ACTION] and 'mail accounts' in agent.asked[0][1]
        assert setup.path not in peer.objects()
        with Agent(bus, peer.pid, NOBODY, yes=True) as agent:
            request(peer, interactive=True)
            assert len(agent.asked) == 1
        assert setup.path in peer.objects()
        setup.cancel()


def test_dialog_ends_with_its_caller(bus):
    """A program that dies while somebody types a password for it: the dialog is taken back, and nobody was granted anything."""
    with Connection(bus) as root:
        setup = root.start_setup('a@nomail.test', dry_run=True, detached=True)
        peer, still = Peer(bus, NOBODY), Peer(bus, NOBODY)
        with Agent(bus, peer.pid, NOBODY, yes=None) as agent:
            begin(peer, interactive=True)
            until(lambda: agent.held, 'the dialog')
            peer.kill()
            until(lambda: agent.cancelled, 'the dialog to be taken back')
            assert set(agent.cancelled) == {agent.held[0][0]}       # polkit sees him leave, too
        assert setup.path not in still.objects()
        still.close()
        setup.cancel()


def test_root_is_not_asked(bus):
    with Connection(bus) as root:
        request(root)


# -- without polkit

def test_without_polkit_only_root(bare):
    with Connection(bare) as root, Peer(bare, NOBODY) as peer:
        setup = root.start_setup('a@nomail.test', dry_run=True, detached=True)
        request(root)
        assert refused(request, peer) == refused(request, peer, interactive=True) == DENIED
        assert setup.path not in peer.objects()
        assert refused(peer.get, setup.path, SETUP, 'State') == UNKNOWN
        setup.cancel()


# -- a polkit of our own

def test_what_is_asked(bare):
    with Authority(bare, verdict=True) as polkit, Peer(bare, NOBODY) as peer:
        name = peer.call('/org/freedesktop/DBus', 'org.freedesktop.DBus', 'GetId', destination='org.freedesktop.DBus')
        assert name
        request(peer)
        (kind, subject), action, details, flags, cancel_id = polkit.questions[0]
        assert (kind, action, details, flags) == ('system-bus-name', ACTION, {}, 0) and cancel_id
        with Peer(bare, NOBODY) as other:
            request(other, interactive=True)
        (_, next_subject), _, _, flags, next_id = polkit.questions[1]
        assert flags == 1 and next_id != cancel_id and next_subject != subject


@pytest.mark.parametrize('verdict,error', [(False, DENIED), ('challenge', INTERACTION), ('nonsense', DENIED)])
def test_other_verdicts(bare, verdict, error):
    with Authority(bare, verdict=verdict), Peer(bare, NOBODY) as peer:
        assert refused(request, peer) == error


def test_service_works_while_polkit_thinks(bare):
    """Others are served, and so is the caller himself; he sees nothing more until the answer is there."""
    with Authority(bare) as polkit, Connection(bare) as root, Peer(bare, NOBODY) as asking:
        setup = root.start_setup('a@nomail.test', dry_run=True, detached=True)
        pending = begin(asking)
        polkit.wait_held(1)
        assert setup.path in root.objects() and setup.path not in asking.objects()
        with Peer(bare, NOBODY) as other:
            assert setup.path not in other.objects()
        polkit.release(True)
        asking.collect(pending)
        assert setup.path in asking.objects()
        setup.cancel()


def test_polkit_vanishes(bare):
    polkit = Authority(bare)
    with Peer(bare, NOBODY) as asking:
        pending = begin(asking)
        polkit.wait_held(1)
        polkit.close()
        assert refused(asking.collect, pending) == DENIED


def test_caller_leaves_while_polkit_thinks(bare):
    """The question is taken back; an answer that comes all the same grants nobody anything."""
    with Authority(bare) as polkit, Connection(bare) as root:
        setup = root.start_setup('a@nomail.test', dry_run=True, detached=True)
        peer = Peer(bare, NOBODY)
        begin(peer)
        polkit.wait_held(1)
        peer.kill()
        until(lambda: polkit.cancelled, 'the question to be taken back')
        assert polkit.cancelled == [polkit.questions[0][4]]
        polkit.release(True)
        with Peer(bare, NOBODY) as again:
            assert setup.path not in again.objects()
        setup.cancel()


def test_questions_are_counted(bare):
    """For the user, not the connection; another user's question is put all the same."""
    with Authority(bare) as polkit, Peer(bare, NOBODY) as one, Peer(bare, NOBODY) as two, Peer(bare, BIN) as other:
        pending = [(p, begin(p)) for _ in range(4) for p in (one, two)]
        polkit.wait_held(8)
        assert refused(request, two) == NAME + '.Error.QuotaExceeded'
        others = begin(other)
        polkit.wait_held(9)
        polkit.release(False)
        assert [refused(p.collect, n) for p, n in pending] == [DENIED] * 8
        assert refused(other.collect, others) == DENIED


def test_service_stops_while_polkit_thinks(lab, build):
    with Bus(build, lab=lab) as bus, Authority(bus) as polkit, Peer(bus, NOBODY) as peer:
        pending = begin(peer)
        polkit.wait_held(1)
        assert bus.stop_service()
        with pytest.raises(BusError):
            peer.collect(pending)
