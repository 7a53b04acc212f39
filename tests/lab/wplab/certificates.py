# SPDX-License-Identifier: LGPL-2.1-or-later
"""The matrix of certificates: good ones of every kind that is about, and each way to be bad, with the cause that it must end in.

They are made below the CA of pki.py and played by the scripted server; KINDS tells the cause of each ('' for the good ones).
"""
import datetime
import ipaddress
import os
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID, ObjectIdentifier

HOST = 'odd.example.test'
DAY, MINUTE = datetime.timedelta(days=1), datetime.timedelta(minutes=1)
INVALID, EXPIRED, EARLY, NAME, WEAK = ('tls.cert-invalid', 'tls.cert-expired', 'tls.cert-not-yet-valid', 'tls.cert-name-mismatch',
                                       'tls.weak-crypto')
SELF, UNKNOWN, CHAIN = 'tls.cert-self-signed', 'tls.cert-untrusted-ca', 'tls.cert-chain-incomplete'
KINDS = {}


def kind(name, cause):
    """Decorates a function of a Maker that returns (certificates to send, key[, what to do to the server's context])."""
    def note(function):
        KINDS[name] = (cause, function)
        return function
    return note


def name_of(cn):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn)])


class Maker:
    def __init__(self, pki):
        self.now = datetime.datetime.utcnow().replace(microsecond=0)
        self.pki = pki
        self.root, self.inter = self.load('ca'), self.load('inter')
        self.rsa = rsa.generate_private_key(65537, 2048)

    def load(self, stem):
        with open(self.pki.file(stem + '.pem'), 'rb') as f:
            cert = x509.load_pem_x509_certificate(f.read())
        with open(self.pki.file(stem + '.key'), 'rb') as f:
            return cert, serialization.load_pem_private_key(f.read(), None)

    def make(self, cn=HOST, issuer=None, sans=(HOST,), start=-DAY, end=365 * DAY, key=None, ca=False, path_length=None, usage=True,
             extended=(), digest=None, constraints=None, critical=None, issuer_url=None):
        """@issuer: (certificate, key); None: itself. Returns (certificate, key)."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        signer = issuer[1] if issuer else key
        subject = name_of(cn) if cn else x509.Name([])
        builder = (x509.CertificateBuilder().subject_name(subject)
                   .issuer_name(issuer[0].subject if issuer else subject)
                   .public_key(key.public_key()).serial_number(x509.random_serial_number())
                   .not_valid_before(self.now + start).not_valid_after(self.now + end)
                   .add_extension(x509.BasicConstraints(ca, path_length), True))
        if usage:
            builder = builder.add_extension(x509.KeyUsage(not ca, False, isinstance(key, rsa.RSAPrivateKey) and not ca, False, False, ca, ca,
                                                          False, False), True)
        if sans:
            names = [n if isinstance(n, x509.GeneralName) else x509.DNSName(n) for n in sans]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), not cn)
        if extended:
            builder = builder.add_extension(x509.ExtendedKeyUsage(list(extended)), False)
        if constraints:
            builder = builder.add_extension(x509.NameConstraints([x509.DNSName(n) for n in constraints], None), True)
        if issuer_url:                  # as every authority does whose root is in browsers
            builder = builder.add_extension(x509.AuthorityInformationAccess([x509.AccessDescription(
                AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(issuer_url))]), False)
        if critical:
            builder = builder.add_extension(x509.UnrecognizedExtension(ObjectIdentifier(critical), b'\x05\x00'), True)
        if not digest and not isinstance(signer, ed25519.Ed25519PrivateKey):
            digest = hashes.SHA256()
        return builder.sign(signer, digest), key

    def alone(self, **more):
        """Without what is above it."""
        cert, key = self.make(**more)
        return [cert], key

    def leaf(self, **more):
        """By the intermediate, which is sent with it."""
        cert, key = self.make(issuer=self.inter, **more)
        return [cert, self.inter[0]], key

    def below(self, issuer, **more):
        cert, key = self.make(issuer=issuer, **more)
        return [cert, issuer[0]], key

    def ca(self, cn='Another CA', issuer='root', **more):
        return self.make(cn, issuer=self.root if issuer == 'root' else issuer, sans=(), ca=True, **more)


# -- good

for _name, _more in {
        'good-ec-256': {}, 'good-wildcard': {'sans': ['*.example.test']}, 'good-many-names': {'sans': ['a.test', 'b.test', HOST, '*.c.test']},
        'good-upper-case': {'sans': [HOST.upper()]}, 'good-without-subject': {'cn': None},
        'good-server-purpose': {'extended': [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]},
        'good-without-usage': {'usage': False}, 'good-last-day': {'end': DAY}, 'good-since-a-minute': {'start': -MINUTE},
        'good-name-beside-address': {'sans': [x509.RFC822Name('a@example.test'), HOST]}}.items():
    KINDS[_name] = ('', lambda m, more=_more: m.leaf(**more))
KINDS['good-ec-384'] = ('', lambda m: m.leaf(key=ec.generate_private_key(ec.SECP384R1()), digest=hashes.SHA384()))
KINDS['good-rsa-2048'] = ('', lambda m: m.leaf(key=m.rsa))
KINDS['good-ed25519'] = ('', lambda m: m.leaf(key=ed25519.Ed25519PrivateKey.generate()))


@kind('good-root-sent', '')
def _(m):
    chain, key = m.leaf()
    return chain + [m.root[0]], key


@kind('good-wrong-order', '')
def _(m):
    middle = m.ca('Middle CA', issuer=m.inter)
    chain, key = m.below(middle)
    return [chain[0], m.inter[0], middle[0]], key


@kind('good-rsa-ca', '')
def _(m):
    return m.below(m.ca('RSA CA', key=m.rsa))


@kind('good-constraints-kept', '')
def _(m):
    return m.below(m.ca('Constrained CA', constraints=['example.test']))


# -- time

KINDS['expired-a-minute-ago'] = (EXPIRED, lambda m: m.leaf(start=-90 * DAY, end=-MINUTE))
KINDS['expired-years-ago'] = (EXPIRED, lambda m: m.leaf(start=-2000 * DAY, end=-1500 * DAY))
KINDS['valid-tomorrow'] = (EARLY, lambda m: m.leaf(start=DAY))
KINDS['expired-intermediate'] = (EXPIRED, lambda m: m.below(m.ca('Expired CA', start=-90 * DAY, end=-DAY)))
KINDS['early-intermediate'] = (EARLY, lambda m: m.below(m.ca('Early CA', start=DAY)))

# -- name

for _name, _sans in {'other-name': ['mail.other.test'], 'wildcard-too-high': ['*.test'], 'wildcard-too-deep': ['*.odd.example.test'],
                     'bare-wildcard': ['*'], 'parent-name': ['example.test'], 'address-only': [x509.IPAddress(ipaddress.ip_address('198.51.100.41'))],
                     'mail-address-only': [x509.RFC822Name('postmaster@odd.example.test')], 'longer-name': [HOST + '.evil.test'],
                     'prefixed-name': ['x' + HOST], 'uri-only': [x509.UniformResourceIdentifier('https://' + HOST)]}.items():
    KINDS['name-' + _name] = (NAME, lambda m, sans=_sans: m.leaf(cn='some server', sans=sans))
KINDS['name-only-in-subject'] = (NAME, lambda m: m.leaf(cn=HOST, sans=['other.test']))

# -- issuer

KINDS['self-signed-server'] = (SELF, lambda m: m.alone())
KINDS['self-signed-ca'] = (SELF, lambda m: m.alone(ca=True))
KINDS['stranger'] = (UNKNOWN, lambda m: m.alone(issuer=m.make('Some Company CA', sans=(), ca=True)))
KINDS['stranger-root-sent'] = (UNKNOWN, lambda m: m.below(m.make('Some Company CA', sans=(), ca=True)))


@kind('intermediate-missing', CHAIN)
def _(m):
    chain, key = m.leaf()
    return chain[:1], key


@kind('middle-missing', CHAIN)
def _(m):
    middle = m.ca('Middle Missing CA', issuer=m.inter)
    chain, key = m.below(middle, issuer_url='http://ca.example.test/middle.cer')
    return [chain[0], m.inter[0]], key


@kind('stranger-with-our-name', INVALID)
def _(m):
    """Says that our intermediate has signed it, and brings that along; the signature is somebody else's."""
    cert, key = m.make(issuer=(m.inter[0], ec.generate_private_key(ec.SECP256R1())))
    return [cert, m.inter[0]], key


@kind('broken-signature', INVALID)
def _(m):
    chain, key = m.leaf()
    der = bytearray(chain[0].public_bytes(serialization.Encoding.DER))
    der[-3] ^= 1
    return [x509.load_der_x509_certificate(bytes(der)), chain[1]], key


# -- what it is for

for _name, _purpose in {'clients': ExtendedKeyUsageOID.CLIENT_AUTH, 'programs': ExtendedKeyUsageOID.CODE_SIGNING,
                        'mails': ExtendedKeyUsageOID.EMAIL_PROTECTION}.items():
    KINDS['for-' + _name] = (INVALID, lambda m, purpose=_purpose: m.leaf(extended=[purpose]))
KINDS['issuer-is-no-ca'] = (INVALID, lambda m: m.below(m.make('No CA', issuer=m.root, sans=())))
KINDS['critical-and-unknown'] = (INVALID, lambda m: m.leaf(critical='1.3.6.1.4.1.99999.1'))
KINDS['constraints-broken'] = (INVALID, lambda m: m.below(m.ca('Constrained CA', constraints=['other.test'])))


@kind('too-long-a-path', INVALID)
def _(m):
    first = m.ca('Short CA', path_length=0)
    second = m.ca('Second CA', issuer=first)
    chain, key = m.below(second)
    return [*chain, first[0]], key


# -- weak

KINDS['rsa-1024'] = (WEAK, lambda m: m.leaf(key=rsa.generate_private_key(65537, 1024)))
KINDS['ca-rsa-1024'] = (WEAK, lambda m: m.below(m.ca('Small CA', key=rsa.generate_private_key(65537, 1024))))
KINDS['signed-by-sha1'] = (WEAK, lambda m: m.below(m.ca('RSA CA', key=m.rsa), digest=hashes.SHA1()))
KINDS['signed-by-md5'] = (WEAK, lambda m: m.below(m.ca('RSA CA', key=m.rsa), digest=hashes.MD5()))


@kind('ca-signed-by-sha1', WEAK)
def _(m):
    first = m.ca('RSA CA', key=m.rsa)
    chain, key = m.below(m.ca('SHA-1 CA', issuer=first, digest=hashes.SHA1()))
    return [*chain, first[0]], key


# -- no certificate's fault, but told at the same place


def only(version):
    def change(context):
        context.set_ciphers('DEFAULT@SECLEVEL=0')
        context.minimum_version = context.maximum_version = version
    return change


KINDS['only-tls-1.0'] = ('tls.version-unsupported', lambda m: (*m.leaf(), only(ssl.TLSVersion.TLSv1)))
KINDS['only-tls-1.1'] = ('tls.version-unsupported', lambda m: (*m.leaf(), only(ssl.TLSVersion.TLSv1_1)))
KINDS['good-tls-1.2'] = ('', lambda m: (*m.leaf(), only(ssl.TLSVersion.TLSv1_2)))


def make_all(pki):
    """{kind: (cause, context)}."""
    maker, made = Maker(pki), {}
    folder = os.path.join(pki.path, 'matrix')
    os.makedirs(folder, exist_ok=True)
    for name, (cause, function) in KINDS.items():
        chain, key, *change = function(maker)
        path = os.path.join(folder, name + '.pem')
        with open(path, 'wb') as f:
            f.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
                    + b''.join(c.public_bytes(serialization.Encoding.PEM) for c in chain))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers('DEFAULT@SECLEVEL=0')
        context.load_cert_chain(path)
        for one in change:
            one(context)
        made[name] = (cause, context)
    return made
