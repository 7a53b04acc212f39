/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* All facts of a server's certificate and of the TLS session, kept whether or not it verifies. Holds no OpenSSL
 * object: the facts outlive the connection. */
#pragma once

#include "base/limits.h"
#include "base/util.h"

typedef enum CertificateFault {
        CERTIFICATE_EXPIRED = 1 << 0,
        CERTIFICATE_NOT_YET_VALID = 1 << 1,
        CERTIFICATE_WRONG_NAME = 1 << 2,
        CERTIFICATE_SELF_SIGNED = 1 << 3, /* the leaf is its own issuer and not trusted */
        /* A chain that ends in an unknown root, or a leaf whose issuer was not sent and is unknown. For a lone leaf the
         * difference is not always knowable without a network: then both bits are set. */
        CERTIFICATE_UNTRUSTED_CA = 1 << 4,
        CERTIFICATE_INCOMPLETE_CHAIN = 1 << 5,
        CERTIFICATE_REVOKED = 1 << 6,
        CERTIFICATE_WEAK = 1 << 7,    /* key, signature or digest below the security level */
        CERTIFICATE_INVALID = 1 << 8, /* anything else: purpose, signature, CA flag */
} CertificateFault;

typedef struct Certificate {
        unsigned faults; /* CertificateFault bits; 0: verifies for the host that was asked for */
        char **errors;   /* OpenSSL's words for each verify error, deepest last, each once */
        char *subject, *issuer; /* common name or else the whole name, printable */
        char **names; /* DNS and IP subject alternative names, A-labels, at most LIMIT_CERT_NAMES */
        uint64_t not_before_usec, not_after_usec; /* since 1970 */
        char spki_sha256[65], sha256[65]; /* lower-case hex: public key info, whole certificate */
        char *key;                        /* "RSA 2048", "EC P-256" */
        unsigned chain_len;               /* certificates that the server sent */
        char *protocol, *cipher;          /* "TLSv1.3", "TLS_AES_256_GCM_SHA384" */
        char *exchange; /* the group of the key exchange: "DH 1024", "RSA" for none */
        unsigned exchange_bits, cipher_bits;
        bool legacy;   /* below TLS 1.3, and without secure renegotiation (RFC 5746) */
        bool approved; /* does not verify, but its key is the approved one */
} Certificate;

Certificate *certificate_free(Certificate *certificate);
DEFINE_CLEANUP(Certificate, certificate_free);
int certificate_copy(Certificate **ret, const Certificate *certificate);
/* "expired", "wrong-name" ...; one bit. */
const char *certificate_fault_name(CertificateFault fault);
