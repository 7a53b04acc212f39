# SPDX-License-Identifier: LGPL-2.1-or-later
"""Both ends of polkit, played in this process: an authority that answers when it is told to, and an agent that says yes or no.

The real polkitd is what the tests use wherever it will do (Bus(polkit=True)); the authority is for what it never does on purpose:
take its time, vanish, answer nonsense.
"""
import os
import pwd
import threading

from gi.repository import Gio, GLib

from .client import Connection
from .run import until

AUTHORITY = 'org.freedesktop.PolicyKit1'
AUTHORITY_PATH, AUTHORITY_INTERFACE = '/org/freedesktop/PolicyKit1/Authority', 'org.freedesktop.PolicyKit1.Authority'
AUTHORITY_XML = '''<node><interface name="org.freedesktop.PolicyKit1.Authority">
<method name="CheckAuthorization"><arg type="(sa{sv})" direction="in"/><arg type="s" direction="in"/><arg type="a{ss}" direction="in"/>
<arg type="u" direction="in"/><arg type="s" direction="in"/><arg type="(bba{ss})" direction="out"/></method>
<method name="CancelCheckAuthorization"><arg type="s" direction="in"/></method></interface></node>'''
AGENT_XML = '''<node><interface name="org.freedesktop.PolicyKit1.AuthenticationAgent">
<method name="BeginAuthentication"><arg type="s" direction="in"/><arg type="s" direction="in"/><arg type="s" direction="in"/>
<arg type="a{ss}" direction="in"/><arg type="s" direction="in"/><arg type="a(sa{sv})" direction="in"/></method>
<method name="CancelAuthentication"><arg type="s" direction="in"/></method></interface></node>'''


class Served:
    """A connection that serves one object, from a thread of its own. @uid: whose the bus takes it to be."""

    def __init__(self, bus, path, xml, uid=0):
        os.seteuid(uid)             # of the whole process, for as long as the bus looks at it
        try:
            self.connection = Connection(bus)
        finally:
            os.seteuid(0)
        self.context = self.connection.context
        self.loop = GLib.MainLoop.new(self.context, False)
        self.context.push_thread_default()
        try:
            interface = Gio.DBusNodeInfo.new_for_xml(xml).interfaces[0]
            self.connection.gio.register_object(path, interface, self.on_call, None, None)
        finally:
            self.context.pop_thread_default()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        self.context.push_thread_default()
        self.loop.run()

    def close(self):
        self.loop.quit()
        self.thread.join()
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Authority(Served):
    """`with Authority(bus) as a:` has polkit's name. @verdict: True, False, 'challenge', 'nonsense'; None holds questions back in .held."""

    def __init__(self, bus, verdict=None):
        self.verdict, self.held, self.questions, self.cancelled = verdict, [], [], []
        super().__init__(bus, AUTHORITY_PATH, AUTHORITY_XML, pwd.getpwnam('polkitd').pw_uid)
        self.connection.call('/org/freedesktop/DBus', 'org.freedesktop.DBus', 'RequestName', 'su', AUTHORITY, 4,
                             destination='org.freedesktop.DBus')

    def on_call(self, _connection, _sender, _path, _interface, method, parameters, invocation):
        if method == 'CancelCheckAuthorization':
            self.cancelled.append(parameters.unpack()[0])
            invocation.return_value(None)
            return
        self.questions.append(parameters.unpack())
        if self.verdict is None:
            self.held.append(invocation)
        else:
            self.answer(invocation, self.verdict)

    @staticmethod
    def answer(invocation, verdict):
        if verdict == 'nonsense':
            invocation.return_dbus_error('org.freedesktop.PolicyKit1.Error.Failed', 'nonsense')
        else:
            invocation.return_value(GLib.Variant('((bba{ss}))', ((verdict is True, verdict == 'challenge', {}),)))

    def wait_held(self, count):
        until(lambda: len(self.held) >= count, f'{count} questions to polkit')
        return self.held[:count]

    def release(self, verdict):
        held, self.held = self.held, []
        for invocation in held:
            self.answer(invocation, verdict)


class Agent(Served):
    """Authenticates for the process @pid of @uid, as what stands on a desktop would: as root when @yes, else it gives up; None:
    it thinks for ever, and what polkit takes back is in .cancelled."""

    def __init__(self, bus, pid, uid, yes):
        self.yes, self.asked, self.cancelled, self.held = yes, [], [], []
        super().__init__(bus, '/agent', AGENT_XML)
        with open(f'/proc/{pid}/stat') as f:
            start = int(f.read().rpartition(')')[2].split()[19])
        subject = ('unix-process', {'pid': GLib.Variant('u', pid), 'start-time': GLib.Variant('t', start),
                                    'uid': GLib.Variant('i', uid)})
        self.connection.call(AUTHORITY_PATH, AUTHORITY_INTERFACE, 'RegisterAuthenticationAgent', '(sa{sv})ss', subject, 'C', '/agent',
                             destination=AUTHORITY)

    def on_call(self, connection, _sender, _path, _interface, method, parameters, invocation):
        if method != 'BeginAuthentication':
            self.cancelled.append(parameters.unpack()[0])
            invocation.return_value(None)
            return
        action, message, _icon, details, cookie, _identities = parameters.unpack()
        self.asked.append((action, message, details))
        if self.yes is None:
            self.held.append((cookie, invocation))
            return
        if self.yes:
            identity = ('unix-user', {'uid': GLib.Variant('u', 0)})
            connection.call(AUTHORITY, AUTHORITY_PATH, AUTHORITY_INTERFACE, 'AuthenticationAgentResponse2',
                            GLib.Variant('(us(sa{sv}))', (0, cookie, identity)), None, Gio.DBusCallFlags.NONE, 10000, None,
                            lambda c, result: (c.call_finish(result), invocation.return_value(None)))
        else:
            invocation.return_value(None)
