# SPDX-License-Identifier: LGPL-2.1-or-later
"""What systemd/waypost.service forbids is nothing that the service needs: the system calls and sockets of a whole
onboarding, fetch and removal are within the unit's filter. (systemd-analyze only reads the unit.)"""
import os
import re
import subprocess

from wplab.bus import Bus
from wplab.client import Connection
from wplab.run import CLEAN_ENV, PROJECT


def filter_set(name):
    """All system calls of @name, as of systemd-analyze syscall-filter."""
    done = subprocess.run(['/usr/bin/systemd-analyze', 'syscall-filter', name], capture_output=True, text=True, check=True,
                          env=CLEAN_ENV)
    calls = set()
    for word in done.stdout.splitlines()[1:]:
        word = word.strip()
        if word.startswith('@'):
            calls |= filter_set(word)
        elif word and not word.startswith('#'):
            calls.add(word)
    return calls


def settings(key):
    with open(os.path.join(PROJECT, 'systemd', 'waypost.service.in')) as f:
        return re.findall(rf'^{key}=(.*)$', f.read(), re.M)


def allowed():
    calls = filter_set('@default')
    for value in settings('SystemCallFilter'):
        named = set().union(*[filter_set(n) for n in value.lstrip('~').split()])
        calls = calls - named if value.startswith('~') else calls | named
    return calls | filter_set('@default')


def whole_life(bus):
    with Connection(bus) as client:
        setup = client.start_setup('alice@example.test')
        setup.wait_need('password')
        setup.set_password('alicepw')
        assert setup.wait_state('ready', 'failed') == 'ready'
        account = setup.commit()
        setup.wait_state('succeeded')
        assert account.fetch()['cause'] == ''
        account.remove()
        setup = client.start_setup('a@auto.test')
        setup.wait_state('waiting', 'failed')


def test_unit_allows_what_the_service_does(lab, build):
    # Into the service's log, which only its descriptors may write. LeakSanitizer would trace the traced.
    with Bus(build, lab=lab, wrapper=['/usr/bin/strace', '-f', '-qq', '-e', 'signal=none', '-o', '|cat'],
             env={'ASAN_OPTIONS': 'detect_leaks=0'}) as bus:
        whole_life(bus)
        bus.stop_service()
        trace = bus.log()
    used = set(re.findall(r'^\d+ +(\w+)\(', trace, re.M))
    assert {'connect', 'fsync', 'setxattr', 'sendmsg'} <= used, 'the trace is not whole'
    assert used - allowed() == set()
    families = set(re.findall(r'socket(?:pair)?\((AF_\w+)', trace))
    assert families and families <= set(settings('RestrictAddressFamilies')[0].split())
    writable_code = [line for line in trace.splitlines() if 'PROT_WRITE|PROT_EXEC' in line]
    assert settings('MemoryDenyWriteExecute') == ['yes'] and writable_code == []
