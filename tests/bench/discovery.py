#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Discovery over a round trip of 40 ms: to the first usable candidate and to the final ranking, in round trips, beside the longest chain.

The first usable candidate is what a setup begins to probe: discovery returns when nothing that ranks above it can still answer. The final ranking is
what `waypost discover` waits for: every source heard to its end.

Assumed: nothing of DNS is cached; TLS 1.3 without resumption; the ISPDB is behind the same link and does not know the domains. Chains, round trips
one after the other (everything else goes on beside them):

    table           0   nothing is asked
    srv             4   SRV 1; but the ISPDB ranks above: address, TCP, TLS, document
    srv, no ISPDB   1   SRV
    autoconfig      4   address, TCP, TLS, document
    mx, table       4   MX 1; the ISPDB ranks above
    mx, autoconfig  5   MX, then address, TCP, TLS, document of its domain's autoconfig host
    guess           4   the ISPDB, and beside it the certificate of mail.DOMAIN: address, TCP, TLS
    guess, no ISPDB 3   the certificate

SRV inside the domain is trusted: a source above it is waited for at most a second, which is not reached here.
"""
import os
import socket

import wplab.lab
from benchlib import measure
from benchlib.measure import DELAY_MS, RTT, median
from wplab.bus import Bus
from wplab.client import Connection
from wplab.lab import WEB, Lab, host_lines
from wplab.servers import autoconfig

GOAL = 1.1
ZONES = {'mxtable.test': ['@ MX 10 aspmx.l.google.com.'], 'mxhost.test': ['@ MX 10 mx.hoster.test.'],
         'hoster.test': host_lines('autoconfig', WEB)}
# name, address, is the ISPDB asked, source that is expected, round trips to the first candidate, to the ranking
CASES = (('table', 'alice@gmail.com', True, 'table', 0, None),
         ('srv', 'alice@srv.test', True, 'srv', 4, 4),
         ('srv, no ISPDB', 'alice@srv.test', False, 'srv', 1, None),
         ('autoconfig', 'alice@auto.test', True, 'autoconfig', 4, 5),
         ('mx, table', 'alice@mxtable.test', True, 'mx', 4, 4),
         ('mx, autoconfig', 'alice@mxhost.test', True, 'mx', 5, 5),
         ('guess', 'alice@guess.test', True, 'guess', 4, 4),
         ('guess, no ISPDB', 'alice@guess.test', False, 'guess', 3, 3))


def search(connection, address, until):
    setup = connection.start_setup(address, dry_run=True, until=until)
    step = setup.wait_step('discovery', 'passed')
    setup.cancel()
    return step


def measure_case(connection, address, rounds):
    first = [search(connection, address, 'incoming.dns') for _ in range(rounds)]
    final = [search(connection, address, 'discovery') for _ in range(rounds)]
    return ([s.usec / 1e6 / RTT for s in first], [s.usec / 1e6 / RTT for s in final], first[0].evidence['source'])


def main():
    args = measure.arguments(__doc__)
    wplab.lab.GOOD_NAMES += ['ispdb.example.test', 'autoconfig.hoster.test']
    lab = Lab(delay_ms=DELAY_MS)
    lab.zones.update(ZONES)
    lab.zones['example.test'] += host_lines('ispdb', WEB)
    rows, result, good = [], {}, True
    common = {'searches-per-minute': 100000}
    with lab:
        lab.web.publish('autoconfig.hoster.test', '/mail/config-v1.1.xml', autoconfig('h', 'pop.hoster.test', 'i', 'smtp.hoster.test'))
        for server in lab.web.servers:          # as web servers have it
            server.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for asked in (True, False):
            config = {'discovery': {**common, 'ispdb': 'https://ispdb.example.test/v1.1/' if asked else ''}}
            with Bus(os.environ['WAYPOST_BUILD'], lab=lab, config=config) as bus, Connection(bus) as connection:
                connection.manager('ListCauses')        # the service runs
                for name, address, ispdb, source, chain, ranking in CASES:
                    if ispdb != asked:
                        continue
                    first, final, found = measure_case(connection, address, args.rounds)
                    good = good and found == source
                    rows.append((name, found, chain, median(first), median(first) / chain if chain else None, ranking, median(final)))
                    result[name] = {'source': found, 'chain': chain, 'first': first, 'final': final}
    print(f'median of {args.rounds}; goal {GOAL} of the chain')
    measure.table(('domain known by', 'found by', 'chain', 'first candidate', 'of the chain', 'chain of all', 'ranking'), rows)
    measure.write_json(args.json, {'discovery': result, 'rtt_seconds': RTT})
    raise SystemExit(not good)


if __name__ == '__main__':
    main()
