/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For the tests of this floor: a network of their own, a fiber to run on, servers on threads, certificates and a
 * resolver. Servers are plain blocking code; what a test wants them to do is one function. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>

#include "base/fiber.h"
#include "wire/address.h"
#include "wire/dns.h"
#include "wire/stream.h"

/* A fresh network namespace with loopback up, so that any port can be had. Before any thread. Ends the program with
 * status 77 (skipped) where that is not allowed. */
void network_own(void);

/* Runs @func on a fiber of a fresh loop until it ends; a negative result fails the test, and so does a fiber that
 * was left behind. */
void fiber_run(FiberFunc func, void *arg);
#define FIBER_TEST(name)                       \
        static int name##_fiber(void *arg);    \
        static void name(void **state)         \
        {                                      \
                fiber_run(name##_fiber, NULL); \
        }                                      \
        static int name##_fiber(void *arg)

/* --- servers ----------------------------------------------------------------------------------------------- */

typedef struct Server Server;
/* Serves one connection on the server's thread; @fd is closed after it. */
typedef void (*Serve)(int fd, void *arg);

/* Listens on @address:@port, 0 for any. */
Server *server_start(const char *address, uint16_t port, Serve serve, void *arg);
uint16_t server_port(const Server *server);
unsigned server_n_connections(const Server *server);
/* Waits for the connection that is being served. Returns NULL. */
Server *server_stop(Server *server);
DEFINE_CLEANUP(Server, server_stop);

void serve_text(int fd, const char *text);
/* Reads and drops until the client closes. */
void serve_until_closed(int fd);
/* Closes with RST. */
void serve_reset(int fd);

/* A stream to 127.0.0.1:@port. */
Stream *stream_to(uint16_t port);
/* A stream on one end of a socketpair; the other end is @ret_fd, blocking. */
Stream *stream_pair(int *ret_fd);

/* --- certificates ------------------------------------------------------------------------------------------ */

typedef struct Cert {
        X509 *x509;
        EVP_PKEY *key;
} Cert;

typedef struct CertSpec {
        const char *name;       /* common name */
        size_t name_len;        /* 0: up to its NUL */
        const char *dns, *dns2; /* subject alternative names */
        const char *ip;
        const char *issuer_url; /* authority information access */
        const Cert *issuer;     /* NULL: itself */
        const Cert
                *named_issuer; /* put into the authority key identifier: the issuer of the issuer */
        int start_days, end_days; /* from now; 0 and 0 stand for -1 and 365 */
        int rsa_bits;             /* 0: EC P-256 */
        bool ca, sha1;
} CertSpec;

Cert cert_make(CertSpec spec);
void cert_deinit(Cert *cert);
#define _cleanup_cert_ _cleanup_(cert_deinit)
/* Writes a PEM file of its own under /tmp and returns its path; the caller unlinks and frees it. */
char *cert_file(const Cert *cert);
void unlink_freep(char **path);
/* Lower-case hex SHA-256 of the public key information. */
void cert_spki(const Cert *cert, char ret[65]);

/* What a TLS server sends and does after its handshake. */
typedef struct TlsServe {
        const Cert *cert, *sent[3];
        void (*talk)(SSL *ssl, void *arg); /* NULL: reads until the client closes */
        void *arg;
        const char *ciphers; /* of TLS 1.2, then 1.3 is off */
        unsigned n_read;     /* octets of payload that came; after server_stop() */
        bool shaken;
} TlsServe;
/* A Serve; @arg is a TlsServe. */
void serve_tls(int fd, void *arg);

/* --- a resolver -------------------------------------------------------------------------------------------- */

/* Knows the names of the table in helper.c, by UDP and TCP. */
typedef struct Resolver Resolver;
Resolver *resolver_start(uint16_t port);
unsigned resolver_n_questions(const Resolver *resolver);
Resolver *resolver_stop(Resolver *resolver);
DEFINE_CLEANUP(Resolver, resolver_stop);
/* A resolv.conf that names 127.0.0.1:@port; unlinked and freed by the caller. */
char *resolver_file(uint16_t port);
