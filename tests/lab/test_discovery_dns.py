# SPDX-License-Identifier: LGPL-2.1-or-later
"""The machine's DNS as it is: its own file of names, several servers of which one is dead, answers too long for UDP, search domains that are
not for mail domains, and none at all."""
import time

import pytest

from wplab.bus import Bus
from wplab.client import Connection
from wplab.lab import DNS, MAIL, NET4, SILENT, SMTP, Lab, host_lines

RESOLVER = f'{NET4}{DNS}'
DEAD = f'{NET4}{SILENT}'


@pytest.fixture(scope='module')
def lab():
    started = Lab()
    # 40 exchangers of long names: the answer does not fit a datagram
    started.zones['long.test'] = [f'@ MX {i + 10} exchanger-with-a-very-long-name-number-{i:02d}.long.test.' for i in range(40)] + \
        ['_pop3s._tcp SRV 0 1 995 pop.example.test.', '_submissions._tcp SRV 0 1 465 smtp.example.test.']
    started.zones['file.test'] = ['@ MX 10 mx', *host_lines('mx', SMTP, v6=False), '_pop3s._tcp SRV 0 1 995 only-in-the-file.file.test.']
    with started:
        yield started


@pytest.fixture(scope='module')
def service(lab, build):
    with Bus(build, lab=lab, config={'discovery': {'ispdb': '', 'searches-per-minute': 10000}, 'limits': {'setups-per-uid': 500}}) as bus:
        yield bus


@pytest.fixture
def client(lab, service):
    with Connection(service) as connection:
        yield connection
    resolv(lab, f'nameserver {RESOLVER}\n')


def resolv(lab, text):
    with open(lab.resolv_conf, 'r+') as f:      # in place: the file is bind-mounted
        f.truncate()
        f.write(text)


def search(client, address, until='discovery', **more):
    setup = client.start_setup(address, dry_run=True, until=until, protocol='pop3', **more)
    setup.wait_state('ready', 'failed', 'waiting')
    return setup


def test_a_dead_server_costs_its_time_once(lab, client):
    resolv(lab, f'nameserver {DEAD}\nnameserver {RESOLVER}\n')
    took = []
    for _ in range(3):
        started = time.monotonic()
        assert search(client, 'alice@srv.test')['Candidates'][0]['source'] == 'srv'
        took.append(time.monotonic() - started)
    assert min(took[1:]) < took[0] and took[0] > 1.4, took      # the first search waited for the dead one


@pytest.mark.parametrize('text', ['', 'nameserver 127.0.0.53\n', 'options edns0\nnameserver nonsense\n'])
def test_no_resolver(lab, client, text):
    resolv(lab, text)
    assert search(client, 'alice@srv.test')['Cause'] == 'dns.resolver-unavailable'
    resolv(lab, f'nameserver {RESOLVER}\n')
    assert search(client, 'alice@srv.test').state == 'ready'     # noticed without a restart


def test_long_answer(client):
    """Over TCP by itself."""
    setup = search(client, 'alice@long.test')
    assert 'exchanger-with-a-very-long-name-number-00.long.test' in ''.join(setup.steps['discovery'].evidence['sources'])


def test_search_domains_are_not_for_mail(lab, client):
    """guess.test would be found as guess + test."""
    resolv(lab, f'search test example.test\noptions ndots:5\nnameserver {RESOLVER}\n')
    assert search(client, 'alice@guess.no-such')['Cause'] == 'dns.nxdomain'
    setup = search(client, 'alice@srv.test', until='incoming.dns', incoming={'host': 'pop', 'port': 995}, receive_only=True)
    assert setup['Cause'] == 'dns.nxdomain'


def test_file_of_names(lab, client):
    hosts = lab.run.file('hosts')
    with open(hosts) as f:
        kept = f.read()
    try:
        with open(hosts, 'a') as f:
            f.write(f'{NET4}{MAIL} only-in-the-file.file.test mail.at-home\n')
        setup = search(client, 'alice@file.test', until='incoming.port', receive_only=True)
        assert setup.steps['incoming.dns'].evidence['addresses'] == [f'{NET4}{MAIL}'], setup.steps
        assert setup.steps['incoming.port'].status == 'passed'
        setup = search(client, 'alice@srv.test', until='incoming.port', incoming={'host': 'mail.at-home', 'port': 995}, receive_only=True)
        assert setup.steps['incoming.port'].status == 'passed'
        assert setup.steps['incoming.dns'].evidence['canonical'] == 'only-in-the-file.file.test'
    finally:
        with open(hosts, 'w') as f:
            f.write(kept)


def test_file_of_names_does_not_open_the_network(lab, client):
    """A name that leads to this machine is refused wherever that is written."""
    setup = search(client, 'alice@srv.test', until='incoming.port', incoming={'host': 'printer.localhost', 'port': 995}, receive_only=True)
    assert setup['Cause'] == 'policy.address-forbidden'
