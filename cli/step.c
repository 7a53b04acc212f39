/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One step of a setup as a line with its proof. A new step of a later service is shown, too: its evidence is then told
 * key by key. */
#include "cli/step.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "cli/output.h"
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

bool step_has_ended(json_object *step)
{
        static const char *const ended[] = { "passed", "warned", "failed", "skipped" };
        const char *status = value_text_or(step, "status", "");

        for (size_t i = 0; i < ELEMENTS(ended); i++)
                if (strcmp(ended[i], status) == 0)
                        return true;
        return false;
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

        if (value_has(e, KEY_CANDIDATES))
                add(proof, "%s",
                    text_count(buffer, value_number(e, KEY_CANDIDATES, 0), "candidate"));
        add_server(proof, e, KEY_INCOMING);
        add_server(proof, e, KEY_OUTGOING);
        add_text(proof, e, KEY_SOURCE, "from ");
}

static void prove_dns(Proof *proof, json_object *e)
{
        const char *host = value_text(e, KEY_HOST), *canonical = value_text(e, KEY_CANONICAL);

        if (host && canonical && strcmp(host, canonical) != 0)
                add(proof, "%s is an alias of %s", host, canonical);
        else if (host)
                add(proof, "%s", host);
        add_list(proof, e, KEY_ADDRESSES, "");
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
        const char *subject = value_text(e, KEY_SUBJECT), *issuer = value_text(e, KEY_ISSUER);
        char buffer[TEXT_SHORT];

        add_text(proof, e, KEY_TLS, "");
        if (subject)
                add(proof, "certificate of %.*s%s%.*s", MAX_PROOF, subject, issuer ? " by " : "",
                    MAX_PROOF, issuer ?: "");
        if (value_has(e, KEY_DAYS_LEFT))
                add(proof, "%s left", text_count(buffer, value_number(e, KEY_DAYS_LEFT, 0), "day"));
        add_list(proof, e, KEY_VERIFY_ERRORS, "");
        if (value_flag(e, KEY_APPROVED))
                add(proof, "approved by you");
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
        add_list(proof, e, KEY_SOURCES, "");
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

static void prove(Proof *proof, json_object *step)
{
        const char *id = value_text_or(step, "id", ""), *dot = strchr(id, '.'),
                   *name = dot ? dot + 1 : id, *status = value_text_or(step, "status", "");
        json_object *evidence = value_object(step, "evidence");

        proof->bad = strcmp(status, "failed") == 0;
        add_text(proof, step, KEY_CAUSE, "");
        for (size_t i = 0; i < ELEMENTS(provers); i++)
                if (strcmp(provers[i].step, name) == 0)
                        provers[i].prove(proof, evidence);
        if (proof->bad)
                prove_failure(proof, evidence);
        if (!proof->begun)
                prove_unknown(proof, evidence);
}

char *step_proof(json_object *step)
{
        Proof proof = {};
        char *text = NULL;
        size_t len;

        proof.to = open_memstream(&text, &len);
        if (!proof.to)
                return NULL;
        prove(&proof, step);
        if (fclose(proof.to) != 0) {
                free(text);
                return NULL;
        }
        return text;
}

typedef struct Mark {
        const char *status, *word;
        Colour colour;
} Mark;

static const Mark marks[] = {
        { "passed", "ok", COLOUR_GREEN },
        { "warned", "warn", COLOUR_YELLOW },
        { "failed", "FAIL", COLOUR_RED },
};

void step_print(Cli *cli, json_object *step)
{
        const char *status = value_text_or(step, "status", "");
        _cleanup_free_ char *proof = step_proof(step);
        Mark mark = { status, status, COLOUR_NONE };
        char duration[TEXT_SHORT];

        if (strcmp(status, "skipped") == 0)
                return;

        for (size_t i = 0; i < ELEMENTS(marks); i++)
                if (strcmp(marks[i].status, status) == 0)
                        mark = marks[i];
        text_duration(duration, value_number(step, "usec", 0));
        output_progress(cli, "  %s%-4s%s %-17s %9s  %s\n", output_colour(cli, mark.colour),
                        mark.word, output_colour(cli, COLOUR_NONE), value_text_or(step, "id", "?"),
                        duration, proof ?: "");
}
