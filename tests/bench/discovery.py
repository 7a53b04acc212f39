#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Discovery over a round trip of 40 ms: to the first usable candidate, until a password may go out, until the server speaks, and to the final
ranking, in round trips, beside the longest chain.

The first usable candidate is what a setup begins to probe: the source that named it has answered. Decided: nothing that ranks above it can still
answer. Speaks: both are done, and the greeting and capabilities of the incoming server are there; the probing goes on beside the search. The
final ranking is what `waypost discover` waits for: every source heard to its end.

Assumed: nothing of DNS is cached; TLS 1.3 without resumption; the ISPDB is behind the same link and does not know the domains. Chains, round trips
one after the other (everything else goes on beside them):

    first           table 0; srv 1; autoconfig 4: address, TCP, TLS, document; mx 1, by the table, or 5: MX, then as autoconfig; guess 1
    decided         the same, but where the ISPDB ranks above, its 4; where only a guess is left also the certificate of mail.DOMAIN: 3
    speaks          the later of: decided; first, then address, TCP, the other family's TCP (only dry runs look at both), TLS, greeting, CAPA: 6 more

SRV inside the domain is trusted: a source above it is waited for at most a second, which is not reached here.
"""
import os
import socket
import time

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
# name, address, is the ISPDB asked, source that is expected; round trips to the first candidate, until it is decided, until the server
# speaks (None: it is not in the lab), to the ranking
CASES = (('table', 'alice@gmail.com', True, 'table', 0, 0, None, None),
         ('srv', 'alice@srv.test', True, 'srv', 1, 4, 7, 5),
         ('srv, no ISPDB', 'alice@srv.test', False, 'srv', 1, 1, 7, None),
         ('autoconfig', 'alice@auto.test', True, 'autoconfig', 4, 4, 10, 5),
         ('mx, table', 'alice@mxtable.test', True, 'mx', 1, 4, None, 4),
         ('mx, autoconfig', 'alice@mxhost.test', True, 'mx', 5, 5, None, 5),
         ('guess', 'alice@guess.test', True, 'guess', 1, 4, 7, 4),
         ('guess, no ISPDB', 'alice@guess.test', False, 'guess', 1, 3, 7, 3))


def search(connection, address, until, step='discovery'):
    started = time.monotonic()
    setup = connection.start_setup(address, dry_run=True, until=until, protocol='pop3')
    setup.wait_step(step, 'passed')
    took = time.monotonic() - started
    found = setup.steps['discovery']
    setup.cancel()
    return found, took


def first_usec(step):
    """When the source that was followed had answered."""
    line = next(line for line in step.evidence['sources'] if line.startswith(step.evidence['source'] + ':'))
    return int(line.rsplit(', ', 1)[1].split()[0]) / 1000 / RTT


def measure_case(connection, address, rounds, speaks):
    decided = [search(connection, address, 'incoming.dns')[0] for _ in range(rounds)]
    final = [search(connection, address, 'discovery')[0] for _ in range(rounds)]
    told = [search(connection, address, 'incoming.service', 'incoming.service')[1] / RTT for _ in range(rounds)] if speaks else []
    return ([first_usec(s) for s in decided], [s.usec / 1e6 / RTT for s in decided], told, [s.usec / 1e6 / RTT for s in final],
            decided[0].evidence['source'])


def main():
    args = measure.arguments(__doc__)
    wplab.lab.GOOD_NAMES += ['ispdb.example.test', 'autoconfig.hoster.test']
    lab = Lab(delay_ms=DELAY_MS)
    lab.zones.update(ZONES)
    lab.zones['example.test'] += host_lines('ispdb', WEB)
    rows, result, good, worst = [], {}, True, 0
    common = {'searches-per-minute': 100000}
    with lab:
        lab.web.publish('autoconfig.hoster.test', '/mail/config-v1.1.xml', autoconfig('h', 'pop.hoster.test', 'i', 'smtp.hoster.test'))
        for server in lab.web.servers:          # as web servers have it
            server.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for asked in (True, False):
            config = {'discovery': {**common, 'ispdb': 'https://ispdb.example.test/v1.1/' if asked else ''}}
            with Bus(os.environ['WAYPOST_BUILD'], lab=lab, config=config) as bus, Connection(bus) as connection:
                connection.manager('ListCauses')        # the service runs
                for name, address, ispdb, source, *chains in CASES:
                    if ispdb != asked:
                        continue
                    *measured, found = measure_case(connection, address, args.rounds, chains[2])
                    good = good and found == source
                    row = [name, found]
                    for chain, values in zip(chains, measured):
                        row += [chain, median(values) if values and chain is not None else None]
                        worst = max(worst, median(values) / chain if values and chain else 0)
                    rows.append(row)
                    result[name] = {'source': found, 'chains': chains, 'measured': measured}
    print(f'round trips, median of {args.rounds}; goal {GOAL} of the chain, worst here {worst:.2f}')
    measure.table(('domain known by', 'found by', 'chain', 'first', 'chain', 'decided', 'chain', 'speaks', 'chain', 'ranking'), rows)
    measure.write_json(args.json, {'discovery': result, 'rtt_seconds': RTT})
    raise SystemExit(not good)


if __name__ == '__main__':
    main()
