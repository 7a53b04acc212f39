# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the lab's small servers have in common: a listening socket, a thread for each connection, an end."""
import socket
import threading


class Listening:
    """A server has serve(sock) and calls listen_at() once it is ready. close() ends the listening, not the connections."""

    def listen_at(self, listener):
        self.listener = listener
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def port(self):
        return self.listener.getsockname()[1]

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
