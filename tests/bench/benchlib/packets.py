# SPDX-License-Identifier: LGPL-2.1-or-later
"""A log of the packets on the client's end of the lab's link, with the kernel's own times.

    with PacketLog(lab) as log: ...
    log.flows -> [Flow]

A flow is one TCP connection or one DNS question (UDP port 53). flow.turns counts its round trips: how often the client
sent something (a SYN or octets) after the server had its say. Acknowledgements without octets are not counted, so a
request that needs several packets is one turn, and so is a reply of many.
"""
import select
import socket
import struct
import threading
import time

from wplab.lab import MAIL, NET4, NET6, SMTP, WEB

ETH_P_ALL, PACKET_OUTGOING = 3, 4
SO_TIMESTAMPNS = 35
SERVICES = {995: 'POP3', 110: 'POP3', 465: 'SMTP', 587: 'SMTP', 443: 'HTTPS', 53: 'DNS'}
HOSTS = {f'{net}{n}': name for net in (NET4, NET6) for n, name in ((MAIL, 'mail'), (SMTP, 'smtp'), (WEB, 'web'))}


class Flow:
    def __init__(self, client, server, port, kind):
        self.client, self.server, self.port, self.kind = client, server, port, kind
        self.events = []                # (seconds, from client?, octets)

    def add(self, at, outgoing, octets):
        self.events.append((at, outgoing, octets))

    @property
    def turns(self):
        turns, last = 0, None
        for _, outgoing, _ in self.events:
            if outgoing and last is not True:
                turns += 1
            last = outgoing
        return turns

    @property
    def begun(self):
        return self.events[0][0]

    @property
    def ended(self):
        return self.events[-1][0]

    @property
    def name(self):
        host = HOSTS.get(self.server, self.server)
        return f'{SERVICES.get(self.port, self.port)} {host}' if self.kind == 'tcp' else 'DNS'


def parse(data):
    """(kind, source, source port, target, target port, octets or SYN) of an IP packet, or None."""
    version = data[0] >> 4
    if version == 4:
        start, protocol, total = (data[0] & 15) * 4, data[9], struct.unpack_from('!H', data, 2)[0]
        source, target = socket.inet_ntop(socket.AF_INET, data[12:16]), socket.inet_ntop(socket.AF_INET, data[16:20])
    elif version == 6:
        start, protocol, total = 40, data[6], 40 + struct.unpack_from('!H', data, 4)[0]
        source, target = socket.inet_ntop(socket.AF_INET6, data[8:24]), socket.inet_ntop(socket.AF_INET6, data[24:40])
    else:
        return None
    if protocol not in (6, 17):
        return None
    sport, tport = struct.unpack_from('!HH', data, start)
    if protocol == 17:
        return 'udp', source, sport, target, tport, total - start - 8
    octets = total - start - (data[start + 12] >> 4) * 4
    syn = data[start + 13] & 2
    return 'tcp', source, sport, target, tport, octets or (1 if syn else 0)


class PacketLog:
    def __init__(self, lab, device='wp-c'):
        self.flows, self.table = [], {}
        self.sock = lab.client.inside(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)))
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.sock.bind((device, ETH_P_ALL))
        self.wake, self.ask = socket.socketpair()
        self.thread = threading.Thread(target=self.work)

    def __enter__(self):
        self.begun = time.time()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ask.close()
        self.thread.join()
        self.wake.close()
        self.sock.close()
        self.flows.sort(key=lambda f: f.begun)

    def work(self):
        while True:
            ready, _, _ = select.select([self.sock, self.wake], [], [])
            if self.sock in ready:
                self.take()
            elif ready:
                return

    def take(self):
        data, ancillary, _, address = self.sock.recvmsg(256, 64)
        at = time.time()
        for level, kind, value in ancillary:
            if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                seconds, nanoseconds = struct.unpack('qq', value[:16])
                at = seconds + nanoseconds / 1e9
        packet = parse(data)
        if packet:
            self.note(at - self.begun, address[2] == PACKET_OUTGOING, *packet)

    def note(self, at, outgoing, kind, source, sport, target, tport, octets):
        if octets == 0 or (kind == 'udp' and 53 not in (sport, tport)):
            return
        client, server = ((source, sport), (target, tport)) if outgoing else ((target, tport), (source, sport))
        key = (kind, client, server)
        # One question a flow, even from one port: each has an id of its own, but time tells as well.
        if key not in self.table:
            self.table[key] = Flow(client, *server, kind)
            self.flows.append(self.table[key])
        self.table[key].add(at, outgoing, octets)

    def tcp(self):
        return [f for f in self.flows if f.kind == 'tcp']

    def dns_waves(self, gap=0.005):
        """How many times DNS was waited for in a row: questions sent together are one wave."""
        waves, last = 0, None
        for at in sorted(e[0] for f in self.flows if f.kind == 'udp' for e in f.events if e[1]):
            if last is None or at - last > gap:
                waves += 1
            last = at
        return waves
