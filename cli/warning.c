/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See warning.h. The codes are documented in docs/cli-json.md: only added, never renamed. */
#include "cli/warning.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "cli/text.h"
#include "dbus/names.h"

enum { CERTIFICATE_DAYS = 30 };

typedef struct Looked {
        json_object *to;
        const char *step; /* "incoming.tls" */
        json_object *evidence;
} Looked;

_printf_(3, 4) static void warn(Looked *looked, const char *code, const char *format, ...)
{
        _cleanup_free_ char *text = NULL;
        json_object *warning = json_object_new_object();
        va_list arguments;

        va_start(arguments, format);
        if (vasprintf(&text, format, arguments) < 0)
                text = NULL;
        va_end(arguments);
        value_set_text(warning, "code", code);
        value_set_text(warning, "step", looked->step);
        value_set_text(warning, "text", text);
        json_object_array_add(looked->to, warning);
}

static void look_at_port(Looked *looked)
{
        const char *four = value_text(looked->evidence, KEY_IPV4),
                   *six = value_text(looked->evidence, KEY_IPV6);

        if (four && six && strcmp(four, "works") == 0 && strcmp(six, "works") != 0)
                warn(looked, "ipv6-broken", "IPv6 is broken here (%s), IPv4 works.", six);
        else if (four && six && strcmp(six, "works") == 0 && strcmp(four, "works") != 0)
                warn(looked, "ipv4-broken", "IPv4 is broken here (%s), IPv6 works.", four);
}

/* TLS 1.2 with what TLS 1.3 has done away with: no forward secrecy, or no authenticated cipher (RFC 9325 section 4.2). */
static bool encryption_is_weak(json_object *evidence)
{
        const char *cipher = value_text_or(evidence, KEY_CIPHER, ""),
                   *exchange = value_text_or(evidence, KEY_EXCHANGE, "");

        if (strcmp(value_text_or(evidence, KEY_TLS, ""), "TLSv1.2") != 0)
                return false;
        return strcmp(exchange, "RSA") == 0 ||
               (!strstr(cipher, "GCM") && !strstr(cipher, "CHACHA20") && !strstr(cipher, "CCM"));
}

static void look_at_tls(Looked *looked)
{
        uint64_t days = value_number(looked->evidence, KEY_DAYS_LEFT, UINT64_MAX);
        const char *host = value_text_or(looked->evidence, KEY_HOST, "the server");
        char time[TEXT_SHORT];

        if (days <= CERTIFICATE_DAYS) {
                text_time(time, value_number(looked->evidence, KEY_NOT_AFTER, 0));
                warn(looked, "certificate-ends",
                     "The certificate of %s ends in %" PRIu64 " day%s (%.10s).", host, days,
                     days == 1 ? "" : "s", time);
        }
        if (value_flag(looked->evidence, KEY_APPROVED))
                warn(looked, "certificate-approved",
                     "The certificate of %s does not verify; its key was approved.", host);
        if (encryption_is_weak(looked->evidence))
                warn(looked, "weak-encryption", "%s has only TLS 1.2 with a weak cipher (%s).",
                     host, value_text_or(looked->evidence, KEY_CIPHER, "?"));
}

static bool list_has(json_object *list, const char *word)
{
        for (size_t i = 0; i < value_length(list); i++)
                if (strncasecmp(value_item(list, i), word, strlen(word)) == 0)
                        return true;
        return false;
}

static void look_at_service(Looked *looked)
{
        json_object *capabilities = value_list(looked->evidence, KEY_CAPABILITIES);
        const char *protocol = value_text_or(looked->evidence, KEY_PROTOCOL, "");

        if (strcmp(protocol, "pop3") == 0 && value_length(capabilities) > 0 &&
            !list_has(capabilities, "UIDL"))
                warn(looked, "no-uidl",
                     "The server cannot tell messages apart (no UIDL): mail cannot be left there.");
}

static void look_at_mailbox(Looked *looked)
{
        uint64_t days = value_number(looked->evidence, KEY_EXPIRE, UINT64_MAX),
                 delay = value_number(looked->evidence, KEY_LOGIN_DELAY, 0);
        char duration[TEXT_SHORT], count[TEXT_SHORT];

        if (days == 0)
                warn(looked, "expires-at-once",
                     "The server removes mail as soon as it was fetched (EXPIRE 0).");
        else if (days != UINT64_MAX)
                warn(looked, "expires", "The server removes mail after %s.",
                     text_count(count, days, "day"));
        if (delay > 0)
                warn(looked, "login-delay", "The server allows one login in %s.",
                     text_duration(duration, delay * USEC_PER_SEC));
}

static void look_at_sender(Looked *looked)
{
        const char *reply = value_text(looked->evidence, KEY_REPLY);

        if (reply)
                warn(looked, "sender-restricted",
                     "The server hesitates to take mail from %s: \"%s\"",
                     value_text_or(looked->evidence, KEY_SENDER, "this sender"), reply);
}

json_object *warnings_of_steps(json_object *steps)
{
        static const struct {
                const char *step;
                void (*look)(Looked *looked);
        } looks[] = {
                { ".port", look_at_port },       { ".tls", look_at_tls },
                { ".service", look_at_service }, { ".mailbox", look_at_mailbox },
                { ".sender", look_at_sender },
        };
        json_object *warnings = json_object_new_array();

        for (size_t i = 0; i < value_length(steps); i++) {
                json_object *step = json_object_array_get_idx(steps, i);
                const char *status = value_text_or(step, "status", "");
                Looked looked = { warnings, value_text_or(step, "id", ""),
                                  value_object(step, "evidence") };
                const char *dot = strchr(looked.step, '.');

                if (!dot || (strcmp(status, "passed") != 0 && strcmp(status, "warned") != 0))
                        continue;
                for (size_t k = 0; k < ELEMENTS(looks); k++)
                        if (strcmp(looks[k].step, dot) == 0)
                                looks[k].look(&looked);
        }
        return warnings;
}
