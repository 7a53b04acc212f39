# SPDX-License-Identifier: LGPL-2.1-or-later
"""ears.py ADDRESS: prints whatever the bus lets this user hear who asks for everything, until a line comes on standard input."""
import select
import sys

import gi
gi.require_version('Gio', '2.0')
from gi.repository import Gio, GLib            # noqa: E402

RULES = ["type='signal'", "type='method_call'", "type='method_return'", "type='error'", "eavesdrop='true'",
         "type='signal',eavesdrop='true'", "type='method_call',eavesdrop='true'", "type='method_return',eavesdrop='true'",
         "sender='org.waypost.Waypost1',eavesdrop='true'", "path_namespace='/org/waypost/Waypost1'"]


def connect():
    flags = Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT | Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION
    return Gio.DBusConnection.new_for_address_sync(sys.argv[1], flags)


def ask(connection, interface, method, signature, *args):
    connection.call_sync('org.freedesktop.DBus', '/org/freedesktop/DBus', interface, method, GLib.Variant(signature, args), None,
                         Gio.DBusCallFlags.NONE, 10000)


def hear(_connection, message, incoming):
    if incoming:
        heard.append(message.print_(0))
    return message


heard = []
ears = connect()
ears.add_filter(hear)
for rule in RULES:
    try:
        ask(ears, 'org.freedesktop.DBus', 'AddMatch', '(s)', rule)
    except GLib.Error:
        heard.append(f'refused: {rule}')
try:
    ask(connect(), 'org.freedesktop.DBus.Monitoring', 'BecomeMonitor', '(asu)', [], 0)
    heard.append('MONITOR ALLOWED')
except GLib.Error:
    heard.append('monitor refused')
print('listening', flush=True)
context = GLib.MainContext.default()
while not select.select([0], [], [], 0.02)[0]:
    while context.iteration(False):
        pass
# What was sent before the line came was handed out before this is answered.
ask(ears, 'org.freedesktop.DBus', 'GetId', '()')
while context.iteration(False):
    pass
print('\n'.join(heard), flush=True)
