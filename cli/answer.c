/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Giving a setup what it needs. The surprising thing: a need that was answered stays in Needs until the service's own work has gone on;
 * so what was answered is remembered until it vanishes or the login it was for has moved. */
#include "cli/answer.h"

#include <errno.h>
#include <string.h>

#include "cli/ask.h"
#include "cli/candidate.h"
#include "cli/need.h"
#include "cli/output.h"
#include "cli/server.h"
#include "cli/sign_in.h"
#include "cli/text.h"
#include "cli/verb.h"
#include "dbus/names.h"

/* --- from the command line --------------------------------------------------------------------------------------- */

void answers_deinit(Answers *answers)
{
        answers->password = secret_free(answers->password);
        answers->outgoing_password = secret_free(answers->outgoing_password);
}

int answers_read(Cli *cli, const Arguments *arguments, Answers *ret)
{
        const char *file = argument_text(arguments, "password-file"),
                   *outgoing = argument_text(arguments, "outgoing-password-file"),
                   *how = argument_text(arguments, "sign-in");
        int r;

        if (file && outgoing && strcmp(file, "-") == 0 && strcmp(outgoing, "-") == 0)
                return usage_error(cli, arguments->verb,
                                   "Both passwords cannot come from standard input.");
        r = argument_check(cli, arguments, "sign-in",
                           (const char *const[]){ "browser", "device", NULL });
        if (r)
                return r;
        ret->sign_in = how != NULL;
        ret->flow = !how ? NULL : strcmp(how, "device") == 0 ? FLOW_DEVICE : FLOW_CODE;
        ret->yes = argument_given(arguments, "yes");
        ret->domain = argument_text(arguments, "approve-domain");
        ret->certificate = argument_text(arguments, "approve-certificate");
        if (file)
                r = secret_read_file(cli, &ret->password, file);
        if (r == 0 && outgoing)
                r = secret_read_file(cli, &ret->outgoing_password, outgoing);
        return r;
}

/* --- servers ----------------------------------------------------------------------------------------------------- */

enum { MOST_CANDIDATES = 5 }; /* that have room on a screen */

/* What can be said to a question for a server, above it. */
static void server_lines(Setup *setup, const Lines *above, bool numbers, Lines *to)
{
        for (size_t i = 0; above && i < above->n; i++)
                lines_add(to, above->list[i].rank, "%s", above->list[i].text);
        lines_wrap(to, output_columns(setup->cli), "",
                   numbers ? "A number from the list, or HOST, HOST:PORT, HOST:PORT/tls or "
                             "HOST:PORT/starttls; Enter alone for none."
                           : "HOST, HOST:PORT, HOST:PORT/tls or HOST:PORT/starttls; Enter alone "
                             "for none.");
}

/* A server that was typed, in @ret; a line more when it is none. */
static int read_server(Setup *setup, const char *answer, Lines *lines, json_object **ret)
{
        _cleanup_free_ char *why = NULL;
        int r = server_read(answer, ret, &why);

        if (r < 0)
                return cli_failed(setup->cli, r, "Reading the answer");
        if (r)
                lines_wrap(lines, output_columns(setup->cli), "", why);
        return 0;
}

/* The candidate whose number was typed, borrowed; NULL and a line more when the list has no such number. */
static json_object *read_number(const char *answer, json_object *candidates, Lines *lines)
{
        size_t n = value_length(candidates);
        uint64_t number;

        if (text_to_number(answer, 1, n, &number) == 0)
                return json_object_array_get_idx(candidates, (size_t) number - 1);
        lines_add(lines, RANK_STAYS, "There is no %.20s; the last one is %zu.", answer, n);
        return NULL;
}

/* One line; asked again until it is a server, the number of one of @candidates (NULL: none to choose from), or nothing. */
static int ask_server(Setup *setup, const Lines *above, const char *side, json_object *candidates,
                      json_object **ret, json_object **ret_candidate)
{
        bool outgoing = strcmp(side, KEY_OUTGOING) == 0;
        _cleanup_lines_ Lines lines = {};

        server_lines(setup, above, candidates, &lines);
        *ret = *ret_candidate = NULL;
        while (!*ret && !*ret_candidate) {
                _cleanup_free_ char *answer = NULL;
                int r = ask_text(setup->cli, &lines,
                                 outgoing ? "Server to send through:" : "Server to receive from:",
                                 NULL, &answer);

                if (r || !answer || !*answer)
                        return r;
                if (candidates && strspn(answer, "0123456789") == strlen(answer))
                        *ret_candidate = read_number(answer, candidates, &lines);
                else
                        r = read_server(setup, answer, &lines, ret);
                if (r)
                        return r;
        }
        return 0;
}

static int ask_servers(Setup *setup, const Lines *above, const char *side, json_object *candidates,
                       bool *ret_given)
{
        static const char *const sides[] = { KEY_INCOMING, KEY_OUTGOING };
        _cleanup_json_ json_object *servers = json_object_new_object();
        int r;

        *ret_given = false;
        for (size_t i = 0; i < ELEMENTS(sides); i++) {
                json_object *server, *candidate;

                if (side && strcmp(side, sides[i]) != 0)
                        continue;
                r = ask_server(setup, above, sides[i], i == 0 ? candidates : NULL, &server,
                               &candidate);
                if (r)
                        return r;
                if (candidate) {
                        *ret_given = true;
                        return setup_choose(setup, value_text_or(candidate, KEY_ID, ""));
                }
                if (server)
                        json_object_object_add(servers, sides[i], server);
        }
        if (json_object_object_length(servers) == 0)
                return 0;
        *ret_given = true;
        return setup_set_servers(setup, servers);
}

/* Those of the candidates that have a server for @side (NULL: all of them); the caller owns it. */
static json_object *candidates_for(Setup *setup, const char *side)
{
        json_object *all = setup_candidates(setup), *some = json_object_new_array();

        for (size_t i = 0; i < value_length(all); i++) {
                json_object *candidate = json_object_array_get_idx(all, i);

                if (!side || value_object(candidate, side))
                        json_object_array_add(some, json_object_get(candidate));
        }
        return some;
}

int answer_other_servers(Setup *setup, const char *side, bool *ret_given)
{
        _cleanup_json_ json_object *candidates = candidates_for(setup, side);
        _cleanup_lines_ Lines above = {};
        size_t n = value_length(candidates);

        if (n)
                lines_add(&above, RANK_STAYS, "Servers that were found, the best first");
        for (size_t i = 0; i < n && i < MOST_CANDIDATES; i++)
                candidate_lines(setup->cli, &above, i, json_object_array_get_idx(candidates, i),
                                value_text_or(setup->properties, "address", ""));
        if (n > MOST_CANDIDATES)
                lines_add(&above, RANK_STAYS, "    and %zu more", n - MOST_CANDIDATES);
        return ask_servers(setup, &above, NULL, n ? candidates : NULL, ret_given);
}

/* --- one need ---------------------------------------------------------------------------------------------------- */

/* What a need came to. */
typedef enum Answer { ANSWER_GIVEN, ANSWER_NONE, ANSWER_LATER } Answer;

/* Nobody waits for it any more, or it was answered by itself meanwhile. */
static bool was_moot(Setup *setup, Answer *ret)
{
        if (setup->moot)
                *ret = ANSWER_LATER;
        return setup->moot;
}

static int ask_password(Setup *setup, const Lines *above, bool app, bool optional, Secret **ret)
{
        _cleanup_free_ char *prompt = NULL;

        if (asprintf(&prompt, "%s%s:", app ? "App password" : "Password",
                     optional ? " (Enter alone: go on without)" : "") < 0)
                return cli_failed(setup->cli, -ENOMEM, "Asking");
        return ask_secret(setup->cli, above, prompt, &setup->moot, ret);
}

/* The service doubts that this is an app password. Nothing is changed without a word: the blanks go when the user says so, and what
 * looks wrong is sent when he insists. @ret_again: send @secret once more, or *@ret_other (owned) instead. */
static int settle_doubt(Setup *setup, const sd_bus_error *error, const Secret *secret,
                        bool *ret_again, Secret **ret_other)
{
        bool spaces = sd_bus_error_has_name(error, ERROR_SECRET_SPACES), yes = false;
        _cleanup_free_ char *message = text_printable(error->message ?: "");
        _cleanup_lines_ Lines above = {};
        int r;

        *ret_again = false;
        lines_wrap(&above, output_columns(setup->cli), "", message ?: "");
        r = ask_yes(setup->cli, &above, spaces ? "Remove the blanks?" : "Send it all the same?",
                    NULL, &yes);
        if (r || (!yes && !spaces))
                return r;
        *ret_again = true;
        if (yes && spaces) {
                *ret_other = secret_without_blanks(secret);
                return *ret_other ? 0 : cli_failed(setup->cli, -ENOMEM, "Removing blanks");
        }
        return 0;
}

/* @ret_taken: whether the service has it. */
static int send_password(Setup *setup, const char *side, const Secret *secret, bool *ret_taken)
{
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_secret_ Secret *other = NULL;
        int r;

        *ret_taken = true;
        r = setup_send_password(setup, side, secret, &error);
        if (r != CALL_REFUSED)
                return r;
        if (!setup->cli->interactive || (!sd_bus_error_has_name(&error, ERROR_SECRET_SPACES) &&
                                         !sd_bus_error_has_name(&error, ERROR_SECRET_SHAPE)))
                return cli_refused(setup->cli, &error);
        r = settle_doubt(setup, &error, secret, ret_taken, &other);
        if (r || !*ret_taken)
                return r;
        sd_bus_error_free(&error);
        r = setup_send_password(setup, side, other ?: secret, &error);
        return r == CALL_REFUSED ? cli_refused(setup->cli, &error) : r;
}

static int answer_password(Setup *setup, const Answers *answers, json_object *need, Answer *ret)
{
        const char *side = value_text_or(need, KEY_SIDE, "");
        bool outgoing = strcmp(side, KEY_OUTGOING) == 0;
        const Secret *given = outgoing && answers->outgoing_password ? answers->outgoing_password
                                                                     : answers->password;
        _cleanup_secret_ Secret *typed = NULL;
        _cleanup_lines_ Lines above = {};
        bool taken;
        int r;

        *ret = ANSWER_NONE;
        /* One that was given and is asked for again was not good enough: it is not tried twice. */
        if (!given || setup->sent[outgoing]) {
                if (!setup->cli->interactive)
                        return 0;
                need_lines(setup->cli, need, &above);
                r = ask_password(setup, &above, need_is_for_app_password(need),
                                 answers->password_optional, &typed);
                if (r || was_moot(setup, ret) || secret_is_empty(typed))
                        return r;
                given = typed;
        }
        *ret = ANSWER_GIVEN;
        setup->sent[outgoing] = true;
        r = send_password(setup, side, given, &taken);
        if (r == 0 && !taken)
                *ret = ANSWER_LATER; /* and asked for again */
        if (r == 0 && taken && !outgoing && answers->outgoing_password)
                r = send_password(setup, KEY_OUTGOING, answers->outgoing_password, &taken);
        return r;
}

/* A password that was given by the command line does where the provider takes one besides. */
static int answer_authorization(Setup *setup, const Answers *answers, json_object *need,
                                Answer *ret)
{
        bool given = false;
        int r;

        *ret = ANSWER_NONE;
        if (answers->password && !answers->sign_in && value_text(need, KEY_ALTERNATIVE))
                return answer_password(setup, answers, need, ret);
        if (!setup->cli->interactive && !answers->sign_in)
                return 0;
        r = sign_in(setup, need, answers->flow, &given);
        if (r == 0 && given)
                *ret = ANSWER_GIVEN;
        else if (r == 0)
                (void) was_moot(setup, ret);
        return r;
}

static int approve(Setup *setup, json_object *need, Answer *ret)
{
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        setup->dirty = true;
        r = cli_call_texts(setup->cli, setup->path, INTERFACE_SETUP, "Approve", NULL, &error,
                           value_text_or(need, KEY_TOKEN, ""), NULL);
        if (r == CALL_REFUSED && sd_bus_error_has_name(&error, ERROR_STALE)) {
                /* What we showed is no longer what is asked: look again. */
                *ret = ANSWER_LATER;
                return 0;
        }
        if (r == CALL_REFUSED)
                return cli_refused(setup->cli, &error);
        *ret = ANSWER_GIVEN;
        return r;
}

static int answer_server(Setup *setup, const Answers *answers, json_object *need, Answer *ret)
{
        bool yes = answers->yes || need_is_within(need, answers->domain);
        _cleanup_lines_ Lines above = {};
        int r = 0;

        *ret = ANSWER_NONE;
        if (!yes && setup->cli->interactive) {
                need_lines(setup->cli, need, &above);
                r = ask_yes(setup->cli, &above, "Is this your mail provider?", &setup->moot, &yes);
                if (r == 0 && was_moot(setup, ret))
                        return 0;
        }
        return r || !yes ? r : approve(setup, need, ret);
}

/* "yes" in full: this one is not to be clicked away. */
static int answer_certificate(Setup *setup, const Answers *answers, json_object *need, Answer *ret)
{
        bool yes = need_has_key(need, answers->certificate);
        _cleanup_free_ char *answer = NULL;
        _cleanup_lines_ Lines above = {};
        int r = 0;

        *ret = ANSWER_NONE;
        if (!yes && setup->cli->interactive) {
                need_lines(setup->cli, need, &above);
                r = ask_text(setup->cli, &above, "Trust this key? Type yes in full:", &setup->moot,
                             &answer);
                if (r == 0 && was_moot(setup, ret))
                        return 0;
                yes = answer && strcmp(answer, "yes") == 0;
        }
        return r || !yes ? r : approve(setup, need, ret);
}

static int answer_missing_servers(Setup *setup, const Answers *answers, json_object *need,
                                  Answer *ret)
{
        _cleanup_lines_ Lines above = {};
        bool given = false;
        int r = 0;

        *ret = ANSWER_NONE;
        if (!setup->cli->interactive || !answers->may_set_servers)
                return 0;
        need_lines(setup->cli, need, &above);
        r = ask_servers(setup, &above, value_text_or(need, KEY_SIDE, KEY_INCOMING), NULL, &given);
        if (given)
                *ret = ANSWER_GIVEN;
        return r;
}

static int answer_action(Setup *setup, const Answers *answers, json_object *need, Answer *ret)
{
        _cleanup_free_ char *answer = NULL;
        _cleanup_lines_ Lines above = {};
        int r;

        *ret = ANSWER_NONE;
        if (!setup->cli->interactive)
                return 0;
        need_lines(setup->cli, need, &above);
        r = ask_text(setup->cli, &above, "Press Enter when that is done:", &setup->moot, &answer);
        if (r || was_moot(setup, ret) || !answer)
                return r;
        r = setup_retry(setup, "");
        if (r == CALL_REFUSED)
                return approve(setup, need, ret);
        *ret = ANSWER_GIVEN;
        return r;
}

/* The mail may still be found without anybody's help; answer_wait() asks for the code beside. */
static int answer_code(Setup *setup, const Answers *answers, json_object *need, Answer *ret)
{
        *ret = ANSWER_LATER;
        return 0;
}

static const struct Answerer {
        const char *kind;
        int (*answer)(Setup *setup, const Answers *answers, json_object *need, Answer *ret);
} answerers[] = {
        { NEED_PASSWORD, answer_password },       { NEED_AUTHORIZATION, answer_authorization },
        { NEED_SERVER_APPROVAL, answer_server },  { NEED_CERTIFICATE_APPROVAL, answer_certificate },
        { NEED_SERVERS, answer_missing_servers }, { NEED_USER_ACTION, answer_action },
        { NEED_VERIFICATION_CODE, answer_code },
};

static int answer_need(Setup *setup, const Answers *answers, json_object *need, Answer *ret)
{
        *ret = ANSWER_NONE;
        for (size_t i = 0; i < ELEMENTS(answerers); i++)
                if (need_is(need, answerers[i].kind))
                        return answerers[i].answer(setup, answers, need, ret);
        return 0;
}

/* --- all of them ------------------------------------------------------------------------------------------------- */

int answer_needs(Setup *setup, const Answers *answers, bool *ret_given, bool *ret_missing)
{
        /* What is shown may change while somebody is asked. */
        _cleanup_json_ json_object *needs = json_object_get(setup_needs(setup));
        Answer answer;
        int r;

        *ret_given = *ret_missing = false;
        for (size_t i = 0; i < value_length(needs) && !*ret_given; i++) {
                json_object *need = json_object_array_get_idx(needs, i);
                _cleanup_free_ char *key = need_key(need);

                if (!key)
                        return cli_failed(setup->cli, -ENOMEM, "Answering");
                if (value_has(setup->answered, key)) {
                        /* false: nobody could or would answer it */
                        *ret_missing |= !value_flag(setup->answered, key);
                        continue;
                }
                setup->asking = key;
                setup->moot = false;
                r = answer_need(setup, answers, need, &answer);
                setup->asking = NULL;
                if (r)
                        return r;
                *ret_given = answer == ANSWER_GIVEN || setup->moot;
                *ret_missing |= answer == ANSWER_NONE;
                if (answer != ANSWER_LATER)
                        json_object_object_add(setup->answered, key,
                                               json_object_new_boolean(answer == ANSWER_GIVEN));
        }
        return 0;
}

static json_object *code_need(Setup *setup)
{
        json_object *needs = setup_needs(setup);

        for (size_t i = 0; i < value_length(needs); i++)
                if (need_is(json_object_array_get_idx(needs, i), NEED_VERIFICATION_CODE))
                        return json_object_array_get_idx(needs, i);
        return NULL;
}

static int confirm_code(Setup *setup, const char *code)
{
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        setup->dirty = true;
        r = cli_call_texts(setup->cli, setup->path, INTERFACE_SETUP, "ConfirmCode", NULL, &error,
                           code, NULL);
        if (r != CALL_REFUSED)
                return r;
        output_note(setup->cli, "That is not the code of this mail.\n");
        return 0;
}

static int ask_code(Setup *setup, json_object *need)
{
        _cleanup_free_ char *code = NULL, *key = need_key(need);
        _cleanup_lines_ Lines above = {};
        int r;

        if (!key)
                return cli_failed(setup->cli, -ENOMEM, "Asking");
        lines_wrap(
                &above, output_columns(setup->cli), "",
                "A mail is on its way to yourself; its arrival is waited for. If you see it first, "
                "type the code that it shows.");
        setup->asking = key;
        setup->moot = false;
        r = ask_text(setup->cli, &above, "Code (Enter alone: keep waiting):", &setup->moot, &code);
        setup->asking = NULL;
        /* What came meanwhile was read, and is still to be looked at. */
        if (r || setup->moot) {
                setup->dirty = true;
                return r;
        }
        setup->code_declined = !code || !*code;
        return setup->code_declined ? 0 : confirm_code(setup, code);
}

int answer_wait(Setup *setup)
{
        json_object *need = code_need(setup);
        int r = 0;

        if (setup->dirty)
                return 0;
        if (need && setup->cli->interactive && !setup->code_declined)
                return ask_code(setup, need);
        while (r == 0 && !setup->dirty) {
                uint64_t pause = view_pause(&setup->view);

                r = cli_wait(setup->cli, pause);
                if (r == 0 && pause != UINT64_MAX && !setup->dirty)
                        r = view_update(&setup->view, setup->properties);
        }
        return r;
}

/* --- after a failure --------------------------------------------------------------------------------------------- */

int answer_password_again(Setup *setup, const char *side, bool *ret_given)
{
        _cleanup_secret_ Secret *typed = NULL;
        int r;

        *ret_given = false;
        r = ask_secret(setup->cli, NULL, "Password:", NULL, &typed);
        if (r || secret_is_empty(typed))
                return r;
        setup->sent[strcmp(side, KEY_OUTGOING) == 0] = true;
        return send_password(setup, side, typed, ret_given);
}
