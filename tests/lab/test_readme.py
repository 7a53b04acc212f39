# SPDX-License-Identifier: LGPL-2.1-or-later
"""The README's examples of the bus are run as they stand there: the busctl walk, the Python client, the C client."""
import json
import os
import re
import subprocess

import pytest

from wplab import mailbox
from wplab.bus import Bus
from wplab.client import Connection
from wplab.run import CLEAN_ENV, PROJECT


def section(title):
    with open(os.path.join(PROJECT, 'README.md')) as f:
        return re.search(rf'^## {title}\n(.*?)(?=^## |\Z)', f.read(), re.S | re.M)[1]


def example(language, title='Talk to it over the bus'):
    found = re.findall(rf'^```{language}\n(.*?)^```$', section(title), re.S | re.M)
    assert len(found) == 1, language
    return found[0]


@pytest.fixture(scope='module')
def bus(lab, build):
    with Bus(build, lab=lab) as started:
        yield started


def run(bus, argv, **more):
    return subprocess.run(bus.command(argv), capture_output=True, text=True, timeout=120, env=bus.environment(), **more)


def test_busctl_walk(lab, bus):
    mailbox.fill(lab.maildir('alice@example.test'), [(str(i), mailbox.header(i)) for i in range(3)])
    done = run(bus, ['/bin/bash', '-eux', '-c', example('sh')], stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.split('\n')
    assert said[0] == 's "waiting"' and '"password"' in said[1] and said[2] == 's "ready"' and re.fullmatch(r't \d+', said[3])
    assert said[4] == 's "active"' and said[5].startswith('s "/')
    with Connection(bus) as root:
        account = root.accounts()[0]
        root.wait(lambda: account['MessagesFetched'] >= 3)
        root.wait(lambda: account['CanSend'])
        account.remove()


def test_python_client(lab, bus):
    text = example('python')
    assert len([line for line in text.splitlines() if line.strip()]) <= 23          # 20 and the imports
    path = lab.run.write('client.py', text)
    for password, status in (('wrong', 1), ('evepw', 0)):
        done = run(bus, ['/usr/bin/python3', '-W', 'ignore', path, 'eve@example.test'], input=password + '\n')
        assert done.returncode == status, done.stdout + done.stderr
    assert re.fullmatch(r'/org/waypost/Waypost1/account/[0-9a-f]{32}\n', done.stdout), done.stdout


def test_c_client(lab, bus):
    """Compiled without a warning; tells how many new messages there were, and what is wrong."""
    text = example('c')
    assert len([line for line in text.splitlines() if line.strip() not in ('', '{', '}')]) <= 43
    source, program = lab.run.write('fetch.c', text), lab.run.file('fetch')
    flags = subprocess.run(['pkg-config', '--cflags', '--libs', 'libsystemd'], capture_output=True, text=True, env=CLEAN_ENV, check=True).stdout.split()
    built = subprocess.run(['cc', '-Wall', '-Wextra', '-Wno-unused-parameter', '-Werror', '-o', program, source, *flags], capture_output=True, text=True,
                           env=CLEAN_ENV)
    assert built.returncode == 0, built.stderr
    with Connection(bus) as root:
        root.make_account('frank', receive_only=True)
        mailbox.fill(lab.maildir('frank@example.test'), [(f'c{i}', mailbox.header(i)) for i in range(4)])
        done = run(bus, [program, 'frank@example.test'])
        assert (done.returncode, done.stdout) == (0, '4 new messages\n'), done
        done = run(bus, [program, 'never@example.test'])
        assert done.returncode == 1 and 'No account' in done.stderr


def test_what_is_said_to_be_installed(build):
    """Each path that the README names is one that meson installs."""
    with open(os.path.join(build, 'meson-info', 'intro-installed.json')) as f:
        installed = {os.path.basename(p) for p in json.load(f).values()}
    text = section('Install it for real')
    for name in ('waypostd', 'waypost.conf.example'):
        assert name in text and name in installed
    assert {'waypost', 'waypost.service', 'org.waypost.Waypost1.conf', 'org.waypost.Waypost1.service', 'org.waypost.Waypost1.policy', 'waypost.1'} <= installed
    assert example('sh', 'Install it for real').startswith('scripts/install ')
