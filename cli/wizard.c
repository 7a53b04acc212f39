/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Going through a setup with whoever sits there. */
#include "cli/wizard.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/ask.h"
#include "cli/cause.h"
#include "cli/need.h"
#include "cli/output.h"
#include "cli/screen.h"
#include "cli/step.h"
#include "dbus/names.h"

/* Does anything still work, whatever is needed? */
static bool still_working(Setup *setup)
{
        json_object *steps = setup_steps(setup);

        for (size_t i = 0; i < value_length(steps); i++)
                if (step_is(json_object_array_get_idx(steps, i), "running"))
                        return true;
        return false;
}

static bool has_ended(Setup *setup, SetupEnd *ret)
{
        if (setup_state_is(setup, SETUP_FAILED))
                *ret = SETUP_END_FAILED;
        else if (setup_state_is(setup, SETUP_SUCCEEDED))
                *ret = SETUP_END_SUCCEEDED;
        else if (setup_state_is(setup, SETUP_CANCELLED))
                *ret = SETUP_END_CANCELLED;
        else if (setup_state_is(setup, SETUP_READY) && !setup->account)
                *ret = SETUP_END_READY;
        else
                return false;
        return true;
}

/* The side that failed; NULL where it was before any server. */
static const char *failed_side(Setup *setup)
{
        const char *id = value_text_or(setup_failed_step(setup), KEY_ID, "");

        if (strncmp(id, KEY_OUTGOING ".", sizeof(KEY_OUTGOING)) == 0)
                return KEY_OUTGOING;
        return strncmp(id, KEY_INCOMING ".", sizeof(KEY_INCOMING)) == 0 ? KEY_INCOMING : NULL;
}

/* The side whose sign-in, or what comes with it, failed after a password was sent; NULL. */
static const char *refused_side(Setup *setup)
{
        static const char *const names[] = { "login", "mailbox", "sender" };
        json_object *step = setup_failed_step(setup);
        const char *name = step ? step_name(step) : "";

        for (size_t i = 0; i < ELEMENTS(names); i++)
                if (strcmp(name, names[i]) == 0)
                        return failed_side(setup) ?: KEY_INCOMING;
        return NULL;
}

/* Nothing could be found for the address, so it may be another one. */
static bool address_failed(Setup *setup)
{
        json_object *step = setup_step_of_cause(setup);

        return step && strcmp(value_text_or(step, KEY_ID, ""), "discovery") == 0;
}

enum { AGAIN = 't', PASSWORD = 'p', SERVERS = 's', ADDRESS = 'a', GIVE_UP = 'g', MOST_CHOICES = 5 };

static void choices_read(Setup *setup, const Answers *answers, bool failed,
                         Choice choices[MOST_CHOICES + 1])
{
        size_t n = 0;

        if (setup->account)
                choices[n++] = (Choice){ AGAIN, "try again with another mail" };
        else if (failed)
                choices[n++] = (Choice){ AGAIN, "try again" };
        else
                choices[n++] = (Choice){ AGAIN, "ask me again" };
        if (failed && !setup->account && refused_side(setup))
                choices[n++] = (Choice){ PASSWORD, "another password" };
        if (answers->may_set_servers && !setup->account)
                choices[n++] = (Choice){ SERVERS, "other servers" };
        if (answers->may_start_over && !setup->account && address_failed(setup))
                choices[n++] = (Choice){ ADDRESS, "another address" };
        choices[n++] = setup->account ? (Choice){ GIVE_UP, "go on without" }
                                      : (Choice){ GIVE_UP, "give up" };
        choices[n] = (Choice){};
}

/* Nothing is known any more of what was answered; what is needed is asked anew. */
static void forget_refusals(Setup *setup)
{
        json_object_put(setup->answered);
        setup->answered = json_object_new_object();
        setup->dirty = true;
}

/* The address with the domain that may have been meant; NULL for none. */
static char *suggested_address(Setup *setup)
{
        json_object *evidence = value_object(setup_step_of_cause(setup), KEY_EVIDENCE);
        const char *address = value_text_or(setup->properties, KEY_ADDRESS, ""),
                   *domain = value_text(evidence, KEY_SUGGESTION), *at = strrchr(address, '@');
        char *suggested;

        if (!domain || !at ||
            asprintf(&suggested, "%.*s@%s", (int) (at - address), address, domain) < 0)
                return NULL;
        return suggested;
}

/* *@ret_given false: none was typed, and none is suggested. */
static int ask_other_address(Setup *setup, bool *ret_given)
{
        _cleanup_free_ char *suggested = suggested_address(setup), *prompt = NULL, *answer = NULL;
        int r;

        if (asprintf(&prompt, suggested ? "Address [%s]:" : "Address:", suggested) < 0)
                return cli_failed(setup->cli, -ENOMEM, "Asking");
        r = ask_text(setup->cli, NULL, prompt, NULL, &answer);
        if (r)
                return r;
        if (answer && *answer)
                setup->other_address = TAKE(answer);
        else if (answer)
                setup->other_address = TAKE(suggested);
        *ret_given = setup->other_address;
        return 0;
}

/* One choice, carried out. *@ret_again false: the same choices once more. */
static int choose(Setup *setup, char key, bool failed, bool *ret_again)
{
        const char *side = refused_side(setup);
        int r;

        *ret_again = true;
        switch (key) {
        case PASSWORD:
                return answer_password_again(setup, side ?: KEY_INCOMING, ret_again);
        case SERVERS:
                forget_refusals(setup);
                return answer_other_servers(setup, failed_side(setup), ret_again);
        case ADDRESS:
                return ask_other_address(setup, ret_again);
        default:
                forget_refusals(setup);
                r = failed ? setup_retry(setup, "") : 0;
                /* It went on by itself meanwhile: look at it. */
                return r == CALL_REFUSED ? 0 : r;
        }
}

/* What stands in the way, its proof and remedies, and what can be done about it here and now. */
static int offer(Setup *setup, const Answers *answers, bool failed, bool *ret_again)
{
        _cleanup_json_ json_object *cause = NULL;
        _cleanup_lines_ Lines above = {};
        Choice choices[MOST_CHOICES + 1];
        char key;
        int r;

        *ret_again = false;
        if (!setup->cli->interactive || !answers->may_retry)
                return 0;
        r = failed ? setup_cause(setup, &cause) : 0;
        if (r)
                return r;
        if (cause)
                setup_cause_lines(setup, cause, &above);
        choices_read(setup, answers, failed, choices);
        while (!*ret_again) {
                r = ask_choice(setup->cli, &above, choices, &key);
                if (r)
                        return r;
                if (key == GIVE_UP) {
                        /* Where lines scroll it was seen already. */
                        setup->told = cause && !setup->cli->live;
                        return 0;
                }
                r = choose(setup, key, failed, ret_again);
                if (r)
                        return r;
        }
        return 0;
}

/* What to do at an end. *@ret_again: it goes on; else *@ret is the end. */
static int at_end(Setup *setup, const Answers *answers, SetupEnd *ret, bool *ret_again)
{
        bool failed = *ret == SETUP_END_FAILED;
        int r;

        *ret_again = false;
        if (!failed && *ret != SETUP_END_NEEDED)
                return 0;
        r = offer(setup, answers, failed, ret_again);
        if (r || !setup->other_address)
                return r;
        *ret = SETUP_END_ANOTHER;
        *ret_again = false;
        return 0;
}

int wizard_drive(Setup *setup, const Answers *answers, SetupEnd *ret)
{
        bool given, missing, again;
        int r;

        for (;;) {
                r = setup_refresh(setup);
                if (r)
                        return r;
                if (has_ended(setup, ret)) {
                        r = at_end(setup, answers, ret, &again);
                        if (r || !again)
                                return r;
                        continue;
                }
                r = answer_needs(setup, answers, &given, &missing);
                if (r)
                        return r;
                if (given)
                        continue;
                /* The other side may still have something to show. */
                if (missing && !setup->dirty && !still_working(setup)) {
                        *ret = SETUP_END_NEEDED;
                        r = at_end(setup, answers, ret, &again);
                        if (r || !again)
                                return r;
                        continue;
                }
                r = answer_wait(setup);
                if (r)
                        return r;
        }
}

int wizard_conclude(Setup *setup, SetupEnd end, const char *what, json_object **ret_cause)
{
        int r;

        r = setup_cause(setup, ret_cause);
        if (r)
                return r;
        switch (end) {
        case SETUP_END_READY:
        case SETUP_END_SUCCEEDED:
        case SETUP_END_ANOTHER:
                return 0;
        case SETUP_END_NEEDED:
                setup_print_needs(setup);
                return EXIT_NEEDED;
        case SETUP_END_CANCELLED:
                screen_end(setup->cli);
                output_note(setup->cli, "waypost: The %s was cancelled.\n", what);
                return EXIT_OURS;
        case SETUP_END_FAILED:
                break;
        }
        if (!*ret_cause) {
                screen_end(setup->cli);
                output_note(setup->cli, "waypost: The %s failed without a cause.\n", what);
                return EXIT_OURS;
        }
        setup_print_cause(setup, *ret_cause);
        return cause_exit(*ret_cause);
}

int wizard_run(Setup *setup, const Answers *answers, WizardConclude conclude)
{
        _cleanup_json_ json_object *cause = NULL;
        SetupEnd end;
        int r;

        r = wizard_drive(setup, answers, &end);
        if (r == 0)
                r = conclude(setup->cli, setup, end, &cause);
        setup_print_json(setup, cause, NULL);
        setup_cancel(setup);
        return r;
}
