# SPDX-License-Identifier: LGPL-2.1-or-later
"""A throw-away CA with good certificates and one of each bad kind.

For every name, NAME.pem is the chain that a server sends and NAME.key its key. It needs no lab: the scripted
server uses it on the loopback as well.
"""
import datetime
import os
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


class Pki:
    def __init__(self, path, names, bad_names=None):
        """@names go into the good certificate; @bad_names maps a kind of BAD to the names of its certificate."""
        self.path, self.names = path, list(names)
        self.now = datetime.datetime.utcnow().replace(microsecond=0)
        os.makedirs(path, exist_ok=True)
        root = self.make('ca', 'Waypost Lab Root CA', ca=True, end=3650)
        inter = self.make('inter', 'Waypost Lab Intermediate CA', root, ca=True, end=3650)
        stranger = self.make('stranger', 'Stranger Root CA', ca=True, end=3650)
        signed = dict(issuer=inter, send=inter[:1])
        bad = bad_names or {}

        def leaf(kind, **more):
            own = bad.get(kind, self.names)
            self.make(kind, own[0], names=more.pop('names', own), **more)

        leaf('good', **signed)
        leaf('missing-intermediate', issuer=inter)
        leaf('self-signed')
        leaf('unknown-ca', issuer=stranger)
        leaf('expired', start=-90, end=-1, **signed)
        leaf('not-yet-valid', start=2, **signed)
        leaf('expires-soon', start=-80, end=5, **signed)
        leaf('wrong-name', names=['mail.other-host.test'], **signed)
        leaf('weak-key', key=rsa.generate_private_key(65537, 1024), **signed)

    def make(self, stem, cn, issuer=None, names=(), ca=False, start=-1, end=365, key=None, send=()):
        key = key or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn)])
        issuer_cert, issuer_key = issuer or (None, key)
        builder = (x509.CertificateBuilder().subject_name(subject)
                   .issuer_name(issuer_cert.subject if issuer_cert else subject)
                   .public_key(key.public_key()).serial_number(x509.random_serial_number())
                   .not_valid_before(self.now + start * DAY).not_valid_after(self.now + end * DAY)
                   .add_extension(x509.BasicConstraints(ca=ca, path_length=None), True)
                   .add_extension(x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False), True))
        if names:
            alt = x509.SubjectAlternativeName([x509.DNSName(n) for n in names])
            builder = builder.add_extension(alt, False)
        cert = builder.sign(issuer_key, hashes.SHA256())
        self.write(stem + '.key', key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                                    serialization.NoEncryption()), 0o600)
        chain = b''.join(c.public_bytes(serialization.Encoding.PEM) for c in (cert, *send))
        self.write(stem + '.pem', chain, 0o644)
        return cert, key

    def write(self, name, data, mode):
        fd = os.open(os.path.join(self.path, name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(fd, 'wb') as f:
            f.write(data)

    def file(self, name):
        return os.path.join(self.path, name)

    @property
    def ca(self):
        return self.file('ca.pem')

    def server_context(self, kind='good'):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if kind == 'weak-key':
            context.set_ciphers('DEFAULT@SECLEVEL=0')
        context.load_cert_chain(self.file(kind + '.pem'), self.file(kind + '.key'))
        return context

    def client_context(self):
        return ssl.create_default_context(cafile=self.ca)
