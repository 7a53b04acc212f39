#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Onboarding over a round trip of 40 ms, in round trips, per step, beside the longest chain of what depends on what.

From StartSetup to state "ready": an account that could be committed. The password is given at once, so that nobody's typing is
in it, and the verification mail is left out. Everything is behind the slow link: DNS, web and mail servers.

Assumed: nothing of DNS is cached; TLS 1.3 without resumption; PIPELINING where the servers announce it (both do); the same
password on both sides, so that the outgoing login may begin only when the incoming one has been accepted (a wrong password is
tried once, not twice). Servers that need time of their own are not forgiven: it counts as parts of round trips.

The longest chain, round trips one after the other:

    discovery   by hand     0   nothing is asked
                SRV         1   SRV (beside MX and the address of the autoconfig host, which does not exist)
                autoconfig  4   address, TCP, TLS, document; it stands above SRV and is waited for
    incoming    6   address 1, TCP 1, TLS 1, greeting 1, CAPA 1, AUTH with the response 1
    outgoing    2   from there: AUTH 1; MAIL, RCPT and RSET together 1
                    (its own address, TCP, TLS, greeting and EHLO, 5, went on beside the incoming ones)
    mailbox     1   STAT, beside the outgoing login

so 8, 9 and 12. QUIT is no part of it: an account is ready before the dialogue has said good-bye.

Two sources of numbers: the steps' own microseconds, and a log of packets on the client's side.
"""
import os
import socket
import sys
import time

from benchlib import measure
from benchlib.measure import DELAY_MS, RTT, median
from benchlib.packets import PacketLog
from wplab.bus import Bus
from wplab.client import Connection, endpoint
from wplab.lab import Lab


BY_HAND = dict(incoming=endpoint('mail.example.test', 995, protocol='pop3'), outgoing=endpoint('smtp.example.test', 465))
# name, address, options of StartSetup, round trips of discovery
CASES = (('by hand', 'alice@example.test', BY_HAND, 0),
         ('SRV', 'alice@srv.test', {}, 1),
         ('autoconfig', 'alice@auto.test', {}, 4))
# step: round trips at least, and why
STEPS = {'address': (0, ''), 'discovery': (None, ''),
         'incoming.dns': (1, 'address'), 'incoming.port': (1, 'TCP'), 'incoming.tls': (1, 'TLS 1.3'),
         'incoming.service': (2, 'greeting; CAPA'), 'incoming.login': (1, 'AUTH'), 'incoming.mailbox': (1, 'STAT'),
         'outgoing.dns': (1, 'address'), 'outgoing.port': (1, 'TCP'), 'outgoing.tls': (1, 'TLS 1.3'),
         'outgoing.service': (2, 'greeting; EHLO'), 'outgoing.login': (1, 'AUTH'), 'outgoing.sender': (1, 'MAIL RCPT RSET')}
TO_LOGIN, FROM_LOGIN = 6, 2


class TimedConnection(Connection):
    """Notes when each StepChanged came."""

    def __init__(self, bus):
        self.changes = []
        super().__init__(bus)

    def on_signal(self, connection, sender, path, interface, member, body):
        if member == 'StepChanged':
            step, status = body.unpack()[:2]
            self.changes.append((time.time(), path, step, status))
        super().on_signal(connection, sender, path, interface, member, body)


def onboard(lab, connection, address, options):
    """One onboarding: total seconds, {step: (begun, took)} and the packets, all from StartSetup on."""
    with PacketLog(lab) as log:
        begun = time.time()
        setup = connection.start_setup(address, **options)
        setup.set_password('alicepw')
        setup.wait_state('ready', 'failed')
        ended = time.time()
        time.sleep(2 * RTT)
    steps = setup.steps
    if setup.state != 'ready':
        sys.exit(f'{address}: {setup.all()}')
    begins = {}
    for at, path, step, status in connection.changes:
        if path == setup.path and status == 'running':
            begins.setdefault(step, at - begun)
    setup.cancel()
    source = steps['discovery'].evidence.get('source', '')
    return {'seconds': ended - begun, 'source': source,
            'steps': {s: (begins.get(s, 0.0), steps[s].usec / 1e6) for s in STEPS},
            'dns_waves': log.dns_waves(), 'offset': begun - log.begun,
            'flows': [(f.name, f.begun + log.begun - begun, f.ended + log.begun - begun, f.turns) for f in log.tcp()]}


def tell(name, minimum, discovery, runs):
    total = median([r['seconds'] for r in runs]) / RTT
    print(f'{name}: {total:.2f} round trips (from {min(r["seconds"] for r in runs) / RTT:.2f}), longest chain {minimum}: '
          f'{total / minimum:.2f} of it')
    rows = []
    for step, (least, why) in STEPS.items():
        took = median([r['steps'][step][1] for r in runs]) / RTT
        rows.append((step, median([r['steps'][step][0] for r in runs]) / RTT, took,
                     discovery if least is None else least, why))
    measure.table(('step', 'begins', 'takes', 'at least', 'for'), rows)
    last = sorted(runs, key=lambda r: r['seconds'])[len(runs) // 2]
    print('  packets of the median run (round trips from the start):')
    measure.table(('connection', 'first packet', 'last', 'turns'),
                  [(name, first / RTT, end / RTT, turns) for name, first, end, turns in last['flows']])
    print(f'  DNS was waited for in {last["dns_waves"]} waves; source: {last["source"]}\n')


def main():
    args = measure.arguments(__doc__)
    result = {}
    with Lab(delay_ms=DELAY_MS) as lab, Bus(os.environ['WAYPOST_BUILD'], lab=lab) as bus, TimedConnection(bus) as connection:
        connection.manager('ListCauses')        # the service runs
        for server in lab.web.servers:          # as web servers have it
            server.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for name, address, options, discovery in CASES:
            minimum = discovery + TO_LOGIN + FROM_LOGIN
            runs = [onboard(lab, connection, address, options) for _ in range(args.rounds)]
            tell(name, minimum, discovery, runs)
            result[name] = {'minimum': minimum, 'round_trips': median([r['seconds'] for r in runs]) / RTT, 'runs': runs}
    measure.write_json(args.json, {'onboarding': result, 'rtt_seconds': RTT})


if __name__ == '__main__':
    main()
