# SPDX-License-Identifier: LGPL-2.1-or-later
"""An LMTP server on a socket of the file system that keeps what it takes, or says no as it is told."""
import os
import re
import socket

from .listening import Listening


class LmtpSink(Listening):
    """@answers: what is said behind a content, by a function of its octets (default: 250). @chunking: BDAT is offered."""

    def __init__(self, path, chunking=False):
        self.path, self.chunking = path, chunking
        self.taken, self.recipients, self.commands = [], [], []
        self.rcpt = b'250 2.1.5 ok'
        self.answer = lambda data: b'250 2.0.0 taken'
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        os.chmod(path, 0o666)
        listener.listen(16)
        self.listen_at(listener)

    def close(self):
        super().close()
        if os.path.exists(self.path):
            os.unlink(self.path)

    def mails(self):
        """What was taken, as a Maildir would have it, without the line that names the message."""
        return [re.sub(rb'\AX-Waypost-Id: [0-9a-f]{32}-\d+\n', b'', data.replace(b'\r\n', b'\n')) for data in self.taken]

    def serve(self, sock):
        try:
            with sock, sock.makefile('rb') as reader:
                self.session(sock, reader)
        except OSError:
            pass

    def session(self, sock, reader):
        sock.sendall(b'220 sink LMTP\r\n')
        while True:
            line = reader.readline()
            if not line:
                return
            words = line.split()
            verb = words[0].upper()
            self.commands.append(line.strip().decode('latin-1'))
            if verb == b'LHLO':
                sock.sendall(b'250-sink\r\n' + (b'250-CHUNKING\r\n' if self.chunking else b'') + b'250 PIPELINING\r\n')
            elif verb == b'RCPT':
                self.recipients.append(line.strip())
                sock.sendall(self.rcpt + b'\r\n')
            elif verb == b'DATA':
                sock.sendall(b'354 go on\r\n')
                data = b''
                while True:
                    piece = reader.readline()
                    if not piece:
                        return
                    if piece == b'.\r\n':
                        break
                    data += piece[1:] if piece.startswith(b'.') else piece
                if not self.end(sock, data):
                    return
            elif verb == b'BDAT':
                data = reader.read(int(words[1]))
                if len(data) < int(words[1]) or not self.end(sock, data):
                    return
            elif verb == b'QUIT':
                sock.sendall(b'221 bye\r\n')
                return
            else:
                sock.sendall(b'250 ok\r\n')

    def end(self, sock, data):
        answer = self.answer(data)
        if answer is None:              # taken or not: nobody hears of it
            self.taken.append(data)
            return False
        if answer.startswith(b'2'):
            self.taken.append(data)
        sock.sendall(answer + b'\r\n')
        return True
