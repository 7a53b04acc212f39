# SPDX-License-Identifier: LGPL-2.1-or-later
"""A session bus of one user without any rights, on which `waypostd --user` is activated. In the lab's client namespace."""
import os
import shlex
import subprocess

from .bus import BAD_LOG, NAME, SANITIZERS, Bus
from .run import CLEAN_ENV, LabError, alive, end_process, until

CONFIG = '''<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
  "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path={socket}</listen><auth>EXTERNAL</auth><servicedir>{services}</servicedir>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>
'''


class UserBus(Bus):
    """`with UserBus(build, lab, uid) as bus:` has .address, .home, .state (where the service keeps its things) and .program."""

    def __init__(self, build, lab, uid, config=None):
        super().__init__(build, lab=lab, config=config)
        self.uid = uid

    def start_all(self):
        number = next(n for n in range(1000) if not os.path.exists(self.run.file(f'user{n}')))
        self.path = self.run.file(f'user{number}')
        self.home = self.file('home')
        for folder in ('services', 'home', 'home/.config', 'home/.config/waypost'):
            os.makedirs(self.file(folder), exist_ok=True)
            os.chown(self.file(folder), self.uid, self.uid)
        os.chmod(self.home, 0o700)
        os.chown(self.path, self.uid, self.uid)
        self.log_path, self.address = self.file('service.log'), f'unix:path={self.file("bus.sock")}'
        with open(self.log_path, 'w'):
            os.chown(self.log_path, self.uid, self.uid)
        self.state, self.namespace = os.path.join(self.home, '.local/share/waypost'), self.lab.client
        self.write_service()
        with open(self.file('bus.conf'), 'w') as f:
            f.write(CONFIG.format(socket=self.file('bus.sock'), services=self.file('services')))
        user = ['/usr/bin/setpriv', f'--reuid={self.uid}', f'--regid={self.uid}', '--clear-groups', '--no-new-privs', '--']
        self.pid = self.run.spawn([*user, 'dbus-daemon', f'--config-file={self.file("bus.conf")}', '--nofork', '--nopidfile'],
                                  log=f'user{number}/bus.log', namespace=self.namespace, env=dict(CLEAN_ENV, HOME=self.home))
        until(lambda: self.listening() or not alive(self.pid), 'the session bus')
        if not alive(self.pid):
            raise LabError('the session bus does not start: ' + self.run.log(f'user{number}/bus.log'))

    def write_service(self):
        """As a user would configure it: by a file in his own folder."""
        sections = {'service': {'log-level': 'debug'}, 'network': {'ca-file': self.lab.bundle}}
        for section, keys in self.config.items():
            sections.setdefault(section, {}).update(keys)
        with open(os.path.join(self.home, '.config/waypost/waypost.conf'), 'w') as f:
            os.chown(f.name, self.uid, self.uid)
            f.write(''.join(f'[{s}]\n' + ''.join(f'{k}={v}\n' for k, v in keys.items()) for s, keys in sections.items()))
        self.program = self.binary('service', 'bus', 'waypostd')
        exports = ''.join(f'export {k}={shlex.quote(v)}\n' for k, v in SANITIZERS.items())
        script = self.file('waypostd.sh')
        with open(script, 'w') as f:
            f.write(f'#!/bin/sh\n{exports}exec {shlex.quote(self.program)} --user </dev/null >>{shlex.quote(self.log_path)} 2>&1\n')
        os.chmod(script, 0o755)
        with open(self.file('services', NAME + '.service'), 'w') as f:
            f.write(f'[D-BUS Service]\nName={NAME}\nExec={script}\n')

    def ask_bus(self, method, name):
        done = self.as_user(['/usr/bin/busctl', f'--address={self.address}', 'call', 'org.freedesktop.DBus', '/', 'org.freedesktop.DBus', method, 's',
                             name])
        return done.stdout.split()[1] if done.returncode == 0 else None

    def as_user(self, argv, env=None):
        return subprocess.run(self.command(argv, self.uid), capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60,
                              env={**CLEAN_ENV, 'HOME': self.home, 'DBUS_SESSION_BUS_ADDRESS': self.address, **SANITIZERS, **(env or {})})

    def check_log(self):
        found = BAD_LOG.search(self.log())
        if found:
            raise LabError('the service complained of itself:\n' + self.log()[max(0, found.start() - 500):found.start() + 4000])

    def stop_service(self, seconds=15):
        pid = self.service_pid()
        return True if pid is None else end_process(pid, seconds)
