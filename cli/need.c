/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One thing that a setup needs, in plain words. */
#include "cli/need.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/output.h"
#include "dbus/names.h"

bool need_is(json_object *need, const char *kind)
{
        return strcmp(value_text_or(need, "kind", ""), kind) == 0;
}

char *need_key(json_object *need)
{
        char *key;

        if (asprintf(&key, "%s %s %s %s", value_text_or(need, "kind", ""),
                     value_text_or(need, KEY_SIDE, ""), value_text_or(need, KEY_TOKEN, ""),
                     value_text_or(need, KEY_CAUSE, "")) < 0)
                return NULL;
        return key;
}

bool need_has_key(json_object *need, const char *spki)
{
        const char *shown = value_text(need, KEY_SPKI);

        if (!spki || !shown)
                return false;
        for (;;) {
                while (*spki == ':')
                        spki++;
                while (*shown == ':')
                        shown++;
                if (tolower((unsigned char) *spki) != tolower((unsigned char) *shown))
                        return false;
                if (!*spki)
                        return true;
                spki++;
                shown++;
        }
}

static void print_list(Cli *cli, json_object *list, const char *before)
{
        for (size_t i = 0; i < value_length(list); i++)
                output_note(cli, "%s%s", i == 0 ? before : ", ", value_item(list, i));
}

static const char *source_words(const char *source)
{
        static const char *const words[][2] = {
                { "srv", "the domain's DNS names it" },
                { "autoconfig", "the provider's configuration file names it" },
                { "guess", "the name was guessed" },
                { "by-hand", "you named it" },
                { "account", "the account has it" },
        };

        for (size_t i = 0; i < ELEMENTS(words); i++)
                if (strcmp(words[i][0], source) == 0)
                        return words[i][1];
        return source;
}

static void print_servers(Cli *cli, json_object *need)
{
        const char *side = value_text_or(need, KEY_SIDE, ""),
                   *source = value_text(need, KEY_SOURCE);
        json_object *hosts = value_list(need, KEY_HOSTS), *domains = value_list(need, KEY_DOMAINS);

        output_note(cli, "\n%s would be given to:\n",
                    strcmp(side, KEY_OUTGOING) == 0   ? "To send mail, the password"
                    : strcmp(side, KEY_INCOMING) == 0 ? "To receive mail, the password"
                                                      : "The password");
        print_list(cli, hosts, "  server ");
        if (value_length(domains) > 0)
                print_list(cli, domains, "  of the domain ");
        print_list(cli, value_list(need, KEY_ADDRESSES), "  at ");
        output_note(cli, "\n");
        if (source)
                output_note(cli, "  (%s)\n", source_words(source));
}

static void print_certificate(Cli *cli, json_object *need)
{
        json_object *errors = value_list(need, KEY_VERIFY_ERRORS);
        const char *host = value_text(need, KEY_HOST) ?: value_item(value_list(need, KEY_HOSTS), 0);

        output_note(cli, "\nThe certificate of %s cannot be verified.\n",
                    *host ? host : "the server");
        output_note(cli, "  subject      %s\n", value_text_or(need, KEY_SUBJECT, "unknown"));
        output_note(cli, "  issuer       %s\n", value_text_or(need, KEY_ISSUER, "unknown"));
        output_note(cli, "  SPKI SHA-256 %s\n", value_text_or(need, KEY_SPKI, "unknown"));
        for (size_t i = 0; i < value_length(errors); i++)
                output_note(cli, "  problem      %s\n", value_item(errors, i));
}

/* What to know before the first failure; the pages stand in the sentences. Else the page alone. */
static void print_hints(Cli *cli, json_object *need)
{
        json_object *hints = value_list(need, KEY_HINTS);
        const char *url = value_text(need, KEY_HINT_URL);

        for (size_t i = 0; i < value_length(hints); i++)
                output_note(cli, "  %s\n", value_item(hints, i));
        if (url && value_length(hints) == 0)
                output_note(cli, "  See %s\n", url);
}

static void print_password(Cli *cli, json_object *need)
{
        const char *user = value_text(need, KEY_USER);
        bool app = strcmp(value_text_or(need, KEY_SECRET_KIND, ""), "app-password") == 0;

        output_note(cli, "\nNeeded: %s%s%s%s. Give it by --password-file=FILE.\n",
                    app ? "an app password (the provider does not take the ordinary one)"
                        : "the password",
                    user ? " of " : "", user ?: "",
                    strcmp(value_text_or(need, KEY_SIDE, ""), KEY_OUTGOING) == 0 ? " for sending"
                                                                                 : "");
        print_hints(cli, need);
}

void need_print(Cli *cli, json_object *need)
{
        const char *url = value_text(need, KEY_HINT_URL);

        if (need_is(need, NEED_PASSWORD)) {
                print_password(cli, need);
        } else if (need_is(need, NEED_SERVER_APPROVAL)) {
                print_servers(cli, need);
                output_note(cli, "Needed: your approval of this server. Give it by --yes.\n");
        } else if (need_is(need, NEED_CERTIFICATE_APPROVAL)) {
                print_certificate(cli, need);
                output_note(cli,
                            "Needed: your approval of this key. If you know it to be right, give "
                            "it by\n  --approve-certificate=%s\n",
                            value_text_or(need, KEY_SPKI, "SHA256"));
        } else if (need_is(need, NEED_SERVERS)) {
                output_note(cli,
                            "\nNeeded: the %s server; it was not found. Name it by\n"
                            "  --%s=HOST:PORT/tls  or  --%s=HOST:PORT/starttls\n",
                            value_text_or(need, KEY_SIDE, "mail"),
                            value_text_or(need, KEY_SIDE, KEY_INCOMING),
                            value_text_or(need, KEY_SIDE, KEY_INCOMING));
        } else if (need_is(need, NEED_VERIFICATION_CODE)) {
                output_note(cli, "\nThe mail that was sent to yourself has not arrived yet.\n");
        } else {
                output_note(cli, "\nNeeded: %s, which this program cannot give.\n",
                            value_text_or(need, "kind", "something"));
                if (url)
                        output_note(cli, "  See %s\n", url);
        }
}

int need_ask_password(Cli *cli, json_object *setup, json_object *need, bool optional, Secret **ret)
{
        const char *user = value_text(need, KEY_USER) ?: value_text_or(setup, "address", "you"),
                   *host = value_text(need, KEY_HOST) ?: value_item(value_list(need, KEY_HOSTS), 0);
        bool app = strcmp(value_text_or(need, KEY_SECRET_KIND, ""), "app-password") == 0;
        _cleanup_free_ char *prompt = NULL;

        print_hints(cli, need);
        if (app && value_text(need, KEY_SECRET_SHAPE))
                output_note(cli, "  It looks like this: %s\n", value_text(need, KEY_SECRET_SHAPE));
        if (asprintf(&prompt, "%s for %s%s%s%s:", app ? "App password" : "Password", user,
                     *host ? " at " : "", host,
                     optional ? " (Enter alone: go on without)" : "") < 0)
                return cli_failed(cli, -ENOMEM, "Asking");
        return terminal_ask_secret(cli, prompt, ret);
}

int need_ask_servers(Cli *cli, json_object *need, bool *ret)
{
        print_servers(cli, need);
        return terminal_confirm(cli, "Is that right?", ret);
}

int need_ask_certificate(Cli *cli, json_object *need, bool *ret)
{
        _cleanup_free_ char *answer = NULL;
        int r;

        print_certificate(cli, need);
        output_note(cli, "Somebody between you and the server could look like this. Compare the "
                         "SPKI SHA-256 with what\nthe server's administrator tells you.\n");
        r = terminal_ask(cli, "Trust this key from now on? Type yes in full:", NULL, &answer);
        if (r)
                return r;
        *ret = answer && strcmp(answer, "yes") == 0;
        return 0;
}
