/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See certificate.h. Reading facts out of X509 objects; verifying is OpenSSL's, done in tls.c. Names come from
 * strangers: they may hold NUL, control characters or no valid UTF-8, and are made printable once, here. */
#include <arpa/inet.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#include "base/digest.h"
#include "base/text.h"
#include "wire/certificate.h"
#include "wire/certificate_read.h"

enum { NAME_MAX_LEN = 256, ERRORS_MAX = 16 };

static void bio_freep(BIO **bio)
{
        BIO_free(*bio);
}

static void opensslp(unsigned char **p)
{
        OPENSSL_free(*p);
}

static void general_namesp(GENERAL_NAMES **names)
{
        GENERAL_NAMES_free(*names);
}

static void accessp(AUTHORITY_INFO_ACCESS **access)
{
        AUTHORITY_INFO_ACCESS_free(*access);
}

static void authority_keyidp(AUTHORITY_KEYID **id)
{
        AUTHORITY_KEYID_free(*id);
}

Certificate *certificate_free(Certificate *certificate)
{
        if (!certificate)
                return NULL;
        list_free(certificate->errors);
        list_free(certificate->names);
        free(certificate->subject);
        free(certificate->issuer);
        free(certificate->key);
        free(certificate->protocol);
        free(certificate->cipher);
        free(certificate->exchange);
        free(certificate);
        return NULL;
}

int certificate_copy(Certificate **ret, const Certificate *certificate)
{
        _cleanup_(certificate_freep) Certificate *copy = malloc(sizeof(*copy));

        if (!copy)
                return -ENOMEM;
        *copy = *certificate;
        copy->errors = copy->names = NULL;
        copy->subject = copy->issuer = copy->key = copy->protocol = copy->cipher = copy->exchange =
                NULL;
        if (list_copy(&copy->errors, certificate->errors) < 0 ||
            list_copy(&copy->names, certificate->names) < 0 ||
            text_set(&copy->subject, certificate->subject) < 0 ||
            text_set(&copy->issuer, certificate->issuer) < 0 ||
            text_set(&copy->key, certificate->key) < 0 ||
            text_set(&copy->protocol, certificate->protocol) < 0 ||
            text_set(&copy->cipher, certificate->cipher) < 0 ||
            text_set(&copy->exchange, certificate->exchange) < 0)
                return -ENOMEM;
        *ret = TAKE(copy);
        return 0;
}

const char *certificate_fault_name(CertificateFault fault)
{
        switch (fault) {
        case CERTIFICATE_EXPIRED:
                return "expired";
        case CERTIFICATE_NOT_YET_VALID:
                return "not-yet-valid";
        case CERTIFICATE_WRONG_NAME:
                return "wrong-name";
        case CERTIFICATE_SELF_SIGNED:
                return "self-signed";
        case CERTIFICATE_UNTRUSTED_CA:
                return "untrusted-ca";
        case CERTIFICATE_INCOMPLETE_CHAIN:
                return "incomplete-chain";
        case CERTIFICATE_REVOKED:
                return "revoked";
        case CERTIFICATE_WEAK:
                return "weak";
        case CERTIFICATE_INVALID:
                return "invalid";
        }
        return "invalid";
}

/* --- facts ----------------------------------------------------------------------------------------------- */

static int asn1_text(char **ret, const ASN1_STRING *string)
{
        _cleanup_(opensslp) unsigned char *utf8 = NULL;
        char *text;
        int n;

        n = ASN1_STRING_to_UTF8(&utf8, string);
        if (n < 0)
                text = text_printable_new(ASN1_STRING_get0_data(string),
                                          (size_t) ASN1_STRING_length(string), NAME_MAX_LEN);
        else
                text = text_printable_new(utf8, (size_t) n, NAME_MAX_LEN);
        if (!text)
                return -ENOMEM;
        *ret = text;
        return 0;
}

/* The common name, or else the whole name. */
static int name_text(char **ret, const X509_NAME *name)
{
        _cleanup_(bio_freep) BIO *bio = NULL;
        char *data = NULL, *text;
        long n;
        int i;

        i = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
        if (i >= 0)
                return asn1_text(ret, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, i)));
        bio = BIO_new(BIO_s_mem());
        if (!bio)
                return -ENOMEM;
        if (X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) < 0)
                return -EIO;
        n = BIO_get_mem_data(bio, &data);
        text = text_printable_new(n > 0 ? data : "", n > 0 ? (size_t) n : 0, NAME_MAX_LEN);
        if (!text)
                return -ENOMEM;
        *ret = text;
        return 0;
}

static int add_name(Certificate *certificate, const GENERAL_NAME *name)
{
        _cleanup_free_ char *text = NULL;
        char address[INET6_ADDRSTRLEN];
        const unsigned char *data;
        int len, r;

        if (name->type == GEN_DNS) {
                r = asn1_text(&text, name->d.dNSName);
                if (r < 0)
                        return r;
                r = list_append(&certificate->names, text, LIMIT_CERT_NAMES);
                return r == -ENOBUFS ? 0 : r;
        }
        if (name->type != GEN_IPADD)
                return 0;
        data = ASN1_STRING_get0_data(name->d.iPAddress);
        len = ASN1_STRING_length(name->d.iPAddress);
        if ((len != 4 && len != 16) ||
            !inet_ntop(len == 4 ? AF_INET : AF_INET6, data, address, sizeof(address)))
                return 0;
        r = list_append(&certificate->names, address, LIMIT_CERT_NAMES);
        return r == -ENOBUFS ? 0 : r;
}

static int read_names(Certificate *certificate, X509 *leaf)
{
        _cleanup_(general_namesp)
                GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);

        for (int i = 0; names && i < sk_GENERAL_NAME_num(names); i++) {
                int r = add_name(certificate, sk_GENERAL_NAME_value(names, i));

                if (r < 0)
                        return r;
        }
        return 0;
}

static uint64_t time_usec(const ASN1_TIME *at)
{
        struct tm tm = {};
        time_t seconds;

        if (!at || !ASN1_TIME_to_tm(at, &tm))
                return 0;
        seconds = timegm(&tm);
        return seconds > 0 ? (uint64_t) seconds * USEC_PER_SEC : 0;
}

static int read_digests(Certificate *certificate, X509 *leaf)
{
        _cleanup_(opensslp) unsigned char *whole = NULL, *info = NULL;
        int n, r;

        n = i2d_X509(leaf, &whole);
        if (n <= 0)
                return -EIO;
        r = sha256_text(whole, (size_t) n, certificate->sha256);
        if (r < 0)
                return r;
        n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(leaf), &info);
        if (n <= 0)
                return -EIO;
        return sha256_text(info, (size_t) n, certificate->spki_sha256);
}

static int read_key(Certificate *certificate, X509 *leaf)
{
        EVP_PKEY *key = X509_get0_pubkey(leaf);
        char group[80] = "";
        const char *type, *nist;
        int nid;

        if (!key)
                return text_set(&certificate->key, "unknown");
        if (EVP_PKEY_get_base_id(key) == EVP_PKEY_EC &&
            EVP_PKEY_get_group_name(key, group, sizeof(group), NULL)) {
                nid = OBJ_txt2nid(group);
                nist = nid == NID_undef ? NULL : EC_curve_nid2nist(nid);
                return text_format(&certificate->key, "EC %s", nist ? nist : group);
        }
        if (EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519)
                return text_set(&certificate->key, "Ed25519");
        if (EVP_PKEY_get_base_id(key) == EVP_PKEY_ED448)
                return text_set(&certificate->key, "Ed448");
        type = EVP_PKEY_get0_type_name(key);
        return text_format(&certificate->key, "%s %d", type ? type : "unknown",
                           EVP_PKEY_get_bits(key));
}

int certificate_read(Certificate **ret, X509 *leaf)
{
        _cleanup_(certificate_freep) Certificate *certificate = calloc(1, sizeof(*certificate));
        int r;

        if (!certificate)
                return -ENOMEM;
        r = name_text(&certificate->subject, X509_get_subject_name(leaf));
        if (r < 0)
                return r;
        r = name_text(&certificate->issuer, X509_get_issuer_name(leaf));
        if (r < 0)
                return r;
        r = read_names(certificate, leaf);
        if (r < 0)
                return r;
        r = read_digests(certificate, leaf);
        if (r < 0)
                return r;
        r = read_key(certificate, leaf);
        if (r < 0)
                return r;
        certificate->not_before_usec = time_usec(X509_get0_notBefore(leaf));
        certificate->not_after_usec = time_usec(X509_get0_notAfter(leaf));
        *ret = TAKE(certificate);
        return 0;
}

/* --- what is wrong --------------------------------------------------------------------------------------- */

bool certificate_error_is_end(int error)
{
        return error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT ||
               error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
               error == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE ||
               error == X509_V_ERR_CERT_UNTRUSTED;
}

static unsigned error_fault(int error)
{
        if (certificate_error_is_end(error))
                return 0;
        switch (error) {
        case X509_V_ERR_CERT_HAS_EXPIRED:
                return CERTIFICATE_EXPIRED;
        case X509_V_ERR_CERT_NOT_YET_VALID:
                return CERTIFICATE_NOT_YET_VALID;
        case X509_V_ERR_HOSTNAME_MISMATCH:
        case X509_V_ERR_IP_ADDRESS_MISMATCH:
                return CERTIFICATE_WRONG_NAME;
        case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
                return CERTIFICATE_SELF_SIGNED;
        case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
                return CERTIFICATE_UNTRUSTED_CA;
        case X509_V_ERR_CERT_REVOKED:
                return CERTIFICATE_REVOKED;
        case X509_V_ERR_EE_KEY_TOO_SMALL:
        case X509_V_ERR_CA_KEY_TOO_SMALL:
        case X509_V_ERR_CA_MD_TOO_WEAK:
                return CERTIFICATE_WEAK;
        default: /* some seventy more of OpenSSL's, none with a remedy of its own */
                return CERTIFICATE_INVALID;
        }
}

int certificate_add_error(Certificate *certificate, int error)
{
        const char *words = X509_verify_cert_error_string(error);
        int r;

        certificate->faults |= error_fault(error);
        if (list_contains_nocase(certificate->errors, words))
                return 0;
        r = list_append(&certificate->errors, words, ERRORS_MAX);
        return r == -ENOBUFS ? 0 : r;
}

/* RFC 5280 section 4.2.2.1: where the issuer's certificate can be had. CAs whose roots are in browsers must put it
 * into what they issue (Baseline Requirements 7.1.2.7.7), private ones hardly ever do. */
static bool names_issuer_url(X509 *cert)
{
        _cleanup_(accessp)
                AUTHORITY_INFO_ACCESS *access = X509_get_ext_d2i(cert, NID_info_access, NULL, NULL);

        for (int i = 0; access && i < sk_ACCESS_DESCRIPTION_num(access); i++) {
                const ACCESS_DESCRIPTION *one = sk_ACCESS_DESCRIPTION_value(access, i);

                if (OBJ_obj2nid(one->method) == NID_ad_ca_issuers && one->location->type == GEN_URI)
                        return true;
        }
        return false;
}

/* RFC 5280 section 4.2.1.1: an authority key identifier may name the issuer's issuer. Returns whether it does, and
 * whether that is the issuer itself: a root. */
static bool names_issuers_issuer(X509 *cert, bool *ret_root)
{
        _cleanup_(authority_keyidp) AUTHORITY_KEYID *id = X509_get_ext_d2i(
                cert, NID_authority_key_identifier, NULL, NULL);

        for (int i = 0; id && id->issuer && i < sk_GENERAL_NAME_num(id->issuer); i++) {
                const GENERAL_NAME *name = sk_GENERAL_NAME_value(id->issuer, i);

                if (name->type != GEN_DIRNAME)
                        continue;
                *ret_root = X509_NAME_cmp(name->d.directoryName, X509_get_issuer_name(cert)) == 0;
                return true;
        }
        return false;
}

static bool has_word(const char *text, const char *word)
{
        for (; *text; text++)
                if (text_starts_nocase(text, word))
                        return true;
        return false;
}

/* In this order: a chain that was sent beyond its leaf ends where a proper one ends, below the root, so the root is
 * what nobody knows. Then what the certificate itself says of its issuer. Then what the issuer calls itself, which is
 * a hint and no proof, but errs only between two causes with the same first remedy (ask who runs the server). */
unsigned certificate_judge_end(X509 *end, int depth)
{
        _cleanup_free_ char *issuer = NULL;
        bool root = false;

        if (depth > 0)
                return CERTIFICATE_UNTRUSTED_CA;
        if (names_issuers_issuer(end, &root))
                return root ? CERTIFICATE_UNTRUSTED_CA : CERTIFICATE_INCOMPLETE_CHAIN;
        if (names_issuer_url(end))
                return CERTIFICATE_INCOMPLETE_CHAIN;
        if (name_text(&issuer, X509_get_issuer_name(end)) == 0) {
                if (has_word(issuer, "intermediate") || has_word(issuer, "issuing"))
                        return CERTIFICATE_INCOMPLETE_CHAIN;
                if (has_word(issuer, "root"))
                        return CERTIFICATE_UNTRUSTED_CA;
        }
        return CERTIFICATE_INCOMPLETE_CHAIN | CERTIFICATE_UNTRUSTED_CA;
}
