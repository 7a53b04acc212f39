/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One step of a setup and its proof in words. A new step of a later service is shown, too: its evidence is then told
 * key by key. */
#include "cli/step.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "cli/text.h"
#include "dbus/names.h"

enum { MAX_PROOF = 400 }; /* bytes of one value that are shown on a line */

static json_object *item(json_object *list, size_t index)
{
        return index < value_length(list) ? json_object_array_get_idx(list, index) : NULL;
}

static const char *item_text(json_object *list, size_t index)
{
        json_object *text = item(list, index);

        return json_object_is_type(text, json_type_string) ? json_object_get_string(text) : "";
}

json_object *steps_from_property(json_object *property)
{
        json_object *steps;

        if (!json_object_is_type(property, json_type_array))
                return NULL;
        steps = json_object_new_array();
        for (size_t i = 0; i < value_length(property); i++) {
                json_object *from = item(property, i), *to = json_object_new_object();

                value_set_text(to, "id", item_text(from, 0));
                value_set_text(to, "status", item_text(from, 1));
                value_set_text(to, KEY_CAUSE, item_text(from, 2));
                json_object_object_add(to, "usec", json_object_get(item(from, 3)));
                json_object_object_add(to, "evidence", json_object_get(item(from, 4)));
                json_object_array_add(steps, to);
        }
        return steps;
}

json_object *needs_from_property(json_object *property)
{
        json_object *needs;

        if (!json_object_is_type(property, json_type_array))
                return NULL;
        needs = json_object_new_array();
        for (size_t i = 0; i < value_length(property); i++) {
                json_object *from = item(property, i), *to = json_object_new_object();
                json_object *details = item(from, 1);

                value_set_text(to, "kind", item_text(from, 0));
                if (json_object_is_type(details, json_type_object)) {
                        json_object_object_foreach(details, key, value)
                                json_object_object_add(to, key, json_object_get(value));
                }
                json_object_array_add(needs, to);
        }
        return needs;
}

bool step_is(json_object *step, const char *status)
{
        return strcmp(value_text_or(step, "status", ""), status) == 0;
}

bool step_has_ended(json_object *step)
{
        static const char *const ended[] = { "passed", "warned", "failed", "skipped" };

        for (size_t i = 0; i < ELEMENTS(ended); i++)
                if (step_is(step, ended[i]))
                        return true;
        return false;
}

const char *step_name(json_object *step)
{
        const char *id = value_text_or(step, KEY_ID, "?"), *dot = strchr(id, '.');

        return dot ? dot + 1 : id;
}

/* A growing line; parts are joined by ", ". */
typedef struct Proof {
        FILE *to;
        bool begun;
        bool bad; /* the step failed */
} Proof;

_printf_(2, 3) static void add(Proof *proof, const char *format, ...)
{
        _cleanup_free_ char *text = NULL;
        va_list arguments;

        va_start(arguments, format);
        if (vasprintf(&text, format, arguments) < 0)
                text = NULL;
        va_end(arguments);
        if (!text)
                return;
        fprintf(proof->to, "%s%s", proof->begun ? ", " : "", text);
        proof->begun = true;
}

static void add_text(Proof *proof, json_object *evidence, const char *key, const char *format)
{
        const char *text = value_text(evidence, key);

        if (text)
                add(proof, "%s%.*s", format, MAX_PROOF, text);
}

static void add_list(Proof *proof, json_object *evidence, const char *key, const char *before)
{
        json_object *list = value_list(evidence, key);

        for (size_t i = 0; i < value_length(list) && i < 8; i++)
                add(proof, "%s%.*s", i == 0 ? before : "", MAX_PROOF, value_item(list, i));
}

static void prove_address(Proof *proof, json_object *e)
{
        add_text(proof, e, KEY_ADDRESS, "");
        if (!proof->begun)
                add_text(proof, e, KEY_DOMAIN, "domain ");
}

static void add_server(Proof *proof, json_object *e, const char *side)
{
        json_object *server = value_object(e, side);
        const char *host = value_text(server, KEY_HOST);

        if (host)
                add(proof, "%s %s:%" PRIu64 " %s", side, host, value_number(server, KEY_PORT, 0),
                    value_text_or(server, KEY_SECURITY, ""));
}

static void prove_discovery(Proof *proof, json_object *e)
{
        char buffer[TEXT_SHORT];

        /* What was guessed and is not there would only mislead; each source's own words are for "waypost discover". */
        if (proof->bad) {
                if (value_has(e, KEY_SOURCES))
                        add(proof, "%s asked",
                            text_count(buffer, value_length(value_list(e, KEY_SOURCES)), "source"));
                return;
        }
        add_server(proof, e, KEY_INCOMING);
        add_server(proof, e, KEY_OUTGOING);
        if (value_has(e, KEY_CANDIDATES))
                add(proof, "%s",
                    text_count(buffer, value_number(e, KEY_CANDIDATES, 0), "candidate"));
        add_text(proof, e, KEY_SOURCE, "from ");
}

static void prove_dns(Proof *proof, json_object *e)
{
        const char *host = value_text(e, KEY_HOST), *canonical = value_text(e, KEY_CANONICAL);

        add_text(proof, e, KEY_HOST, "");
        add_list(proof, e, KEY_ADDRESSES, "");
        if (host && canonical && strcmp(host, canonical) != 0)
                add(proof, "alias of %s", canonical);
}

static void prove_port(Proof *proof, json_object *e)
{
        const char *peer = value_text(e, KEY_PEER);

        if (peer)
                add(proof, "connected to %s", peer);
        if (peer && value_has(e, KEY_PORT) && !strchr(peer, ' '))
                fprintf(proof->to, " port %" PRIu64, value_number(e, KEY_PORT, 0));
        /* One that went well was said above. */
        if (!peer || value_length(value_list(e, KEY_ATTEMPTS)) > 1)
                add_list(proof, e, KEY_ATTEMPTS, "");
}

static void prove_tls(Proof *proof, json_object *e)
{
        const char *subject = value_text(e, KEY_SUBJECT), *host = value_text(e, KEY_HOST);
        char buffer[TEXT_SHORT];

        if (value_flag(e, KEY_APPROVED))
                add(proof, "approved by you");
        add_text(proof, e, KEY_ISSUER, "by ");
        if (value_has(e, KEY_DAYS_LEFT))
                add(proof, "%s left", text_count(buffer, value_number(e, KEY_DAYS_LEFT, 0), "day"));
        add_list(proof, e, KEY_VERIFY_ERRORS, "");
        add_text(proof, e, KEY_TLS, "");
        if (subject && (!host || strcmp(subject, host) != 0))
                add(proof, "for %.*s", MAX_PROOF, subject);
}

static void prove_service(Proof *proof, json_object *e)
{
        json_object *capabilities = value_list(e, KEY_CAPABILITIES);
        const char *greeting = value_text(e, KEY_GREETING);
        char buffer[TEXT_SHORT];

        if (greeting)
                add(proof, "\"%.*s\"", MAX_PROOF, greeting);
        if (capabilities && value_length(capabilities) > 0)
                add(proof, "%zu %s", value_length(capabilities),
                    value_length(capabilities) == 1 ? "capability" : "capabilities");
        if (value_has(e, KEY_LOGIN_DELAY))
                add(proof, "at most one login in %s",
                    text_duration(buffer, value_number(e, KEY_LOGIN_DELAY, 0) * USEC_PER_SEC));
        add_text(proof, e, KEY_FIRST_BYTES, "it began with ");
}

static void prove_login(Proof *proof, json_object *e)
{
        const char *user = value_text(e, KEY_USER), *method = value_text(e, KEY_METHOD);

        if (user)
                add(proof, "as %s%s%s", user, method ? " by " : "", method ?: "");
        else if (method)
                add(proof, "by %s", method);
}

static void prove_mailbox(Proof *proof, json_object *e)
{
        char buffer[TEXT_SHORT];

        if (value_has(e, KEY_MESSAGES))
                add(proof, "%s", text_count(buffer, value_number(e, KEY_MESSAGES, 0), "message"));
        if (value_has(e, KEY_OCTETS))
                add(proof, "%s", text_size(buffer, value_number(e, KEY_OCTETS, 0)));
        if (value_has(e, KEY_EXPIRE))
                add(proof, "kept there for %s",
                    text_count(buffer, value_number(e, KEY_EXPIRE, 0), "day"));
}

static void prove_sender(Proof *proof, json_object *e)
{
        add_text(proof, e, KEY_SENDER, proof->bad ? "as " : "may send as ");
}

static void prove_handover(Proof *proof, json_object *e)
{
        add_text(proof, e, KEY_LOCATION, "mail goes to ");
}

static void prove_verification(Proof *proof, json_object *e)
{
        const char *found = value_text(e, KEY_FOUND);
        char buffer[TEXT_SHORT];

        if (value_has(e, KEY_TRAVEL_USEC))
                add(proof, "sent to yourself and found again after %s",
                    text_duration(buffer, value_number(e, KEY_TRAVEL_USEC, 0)));
        else if (found && strcmp(found, "code") == 0)
                add(proof, "confirmed by its code");
        if (value_has(e, KEY_DELETED))
                add(proof, value_flag(e, KEY_DELETED) ? "deleted there" : "left there");
}

/* What every step may carry when it did not go well. */
static void prove_failure(Proof *proof, json_object *e)
{
        const char *reply = value_text(e, KEY_REPLY);

        if (reply)
                add(proof, "\"%.*s\"", MAX_PROOF, reply);
        add_text(proof, e, KEY_ERROR, "");
        add_text(proof, e, KEY_REASON, "");
}

static void prove_unknown(Proof *proof, json_object *e)
{
        if (!json_object_is_type(e, json_type_object))
                return;
        json_object_object_foreach(e, key, value)
        {
                if (json_object_is_type(value, json_type_string) ||
                    json_object_is_type(value, json_type_int))
                        add(proof, "%s %.*s", key, MAX_PROOF, json_object_get_string(value));
        }
}

typedef struct Prover {
        const char *step; /* without its side */
        void (*prove)(Proof *proof, json_object *evidence);
} Prover;

static const Prover provers[] = {
        { "address", prove_address },
        { "discovery", prove_discovery },
        { "dns", prove_dns },
        { "port", prove_port },
        { "tls", prove_tls },
        { "service", prove_service },
        { "login", prove_login },
        { "mailbox", prove_mailbox },
        { "sender", prove_sender },
        { "handover", prove_handover },
        { "verification", prove_verification },
};

static void prove(Proof *proof, json_object *step, bool with_code)
{
        const char *name = step_name(step);
        json_object *evidence = value_object(step, "evidence");

        proof->bad = step_is(step, "failed");
        if (with_code)
                add_text(proof, step, KEY_CAUSE, "");
        if (proof->bad)
                prove_failure(proof, evidence);
        for (size_t i = 0; i < ELEMENTS(provers); i++)
                if (strcmp(provers[i].step, name) == 0)
                        provers[i].prove(proof, evidence);
        if (!proof->begun)
                prove_unknown(proof, evidence);
}

char *step_proof(json_object *step, bool with_code)
{
        Proof proof = {};
        char *text = NULL;
        size_t len;

        proof.to = open_memstream(&text, &len);
        if (!proof.to)
                return NULL;
        prove(&proof, step, with_code);
        if (fclose(proof.to) != 0) {
                free(text);
                return NULL;
        }
        return text;
}

char *step_waits_for(json_object *step)
{
        enum { MOMENT = 2 };
        json_object *e = value_object(step, "evidence");
        uint64_t now = text_now(), since = value_number(e, KEY_SINCE, now),
                 budget = value_number(e, KEY_BUDGET, 0), waited = now > since ? now - since : 0;
        const char *at = value_text(e, KEY_PEER) ?: value_item(value_list(e, KEY_ADDRESSES), 0);
        char span[TEXT_SHORT], left[TEXT_SHORT + 16] = "", port[16] = "";
        bool colons;
        char *text;

        if (waited < MOMENT * USEC_PER_SEC)
                return NULL;
        if (!*at)
                at = value_text_or(e, KEY_HOST, "the server");
        if (value_has(e, KEY_PORT))
                snprintf(port, sizeof(port), ":%u", (unsigned) value_number(e, KEY_PORT, 0));
        if (budget > waited)
                snprintf(left, sizeof(left), " (%s left)",
                         text_span(span, budget - waited + USEC_PER_SEC - 1));
        colons = *port && strchr(at, ':');
        if (asprintf(&text, "no answer yet%s: %s%s%s%s", left, colons ? "[" : "", at,
                     colons ? "]" : "", port) < 0)
                return NULL;
        return text;
}

typedef struct Finding {
        const char *key, *words;
} Finding;

static const Finding findings[] = {
        { KEY_REPLY, "The server said: " },
        { KEY_SPEAKS, "What answers there speaks " },
        { KEY_INTERCEPTED, "Who stands between: " },
        { KEY_NETWORK, "This computer's network: " },
        { KEY_PORTAL, "This network wants a sign-in: " },
        { KEY_OFFSET, "This computer's clock: " },
        { KEY_CLOCK, "The time: " },
        { KEY_VERIFY_ERRORS, "The certificate: " },
        { KEY_IPV4, "By IPv4: " },
        { KEY_IPV6, "By IPv6: " },
        { KEY_CONTROLS, "Looked at beside: " },
        { KEY_SUGGESTED_HOST, "The same server calls itself " },
        { KEY_SUGGESTION, "A provider has nearly this name: " },
        { KEY_ALTERNATIVE, "What works instead: " },
};

static char *finding_text(json_object *evidence, const char *key)
{
        json_object *list = value_list(evidence, key);
        const char *text = value_text(evidence, key);
        char *all = NULL;
        size_t size;
        FILE *to;

        if (!text && value_length(list) == 0)
                return NULL;
        to = open_memstream(&all, &size);
        if (!to)
                return NULL;
        if (text)
                fprintf(to, strcmp(key, KEY_REPLY) == 0 ? "\"%s\"" : "%s", text);
        for (size_t i = 0; i < value_length(list); i++)
                fprintf(to, "%s%s", i ? "; " : "", value_item(list, i));
        if (fclose(to) == 0)
                return all;
        free(all);
        return NULL;
}

void step_findings(json_object *step, unsigned columns, Lines *to)
{
        for (size_t i = 0; i < ELEMENTS(findings); i++) {
                _cleanup_free_ char *text = finding_text(value_object(step, "evidence"),
                                                         findings[i].key);
                _cleanup_free_ char *line = NULL;

                if (text && asprintf(&line, "%s%s", findings[i].words, text) >= 0)
                        lines_wrap(to, columns, "  ", line);
        }
}
