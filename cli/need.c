/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One thing that a setup needs, in plain words. */
#include "cli/need.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

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

bool need_is_within(json_object *need, const char *domain)
{
        json_object *domains = value_list(need, KEY_DOMAINS);

        for (size_t i = 0; i < value_length(domains); i++)
                if (!domain || strcasecmp(value_item(domains, i), domain) != 0)
                        return false;
        return value_length(domains) > 0;
}

bool need_is_for_app_password(json_object *need)
{
        return strcmp(value_text_or(need, KEY_SECRET_KIND, ""), "app-password") == 0;
}

static const char *host_of(json_object *need)
{
        return value_text(need, KEY_HOST) ?: value_item(value_list(need, KEY_HOSTS), 0);
}

static char *joined(json_object *list)
{
        char *text = NULL;
        size_t size;
        FILE *to = open_memstream(&text, &size);

        for (size_t i = 0; to && i < value_length(list); i++)
                fprintf(to, "%s%s", i ? ", " : "", value_item(list, i));
        if (to && fclose(to) == 0)
                return text;
        free(text);
        return NULL;
}

static const char *source_words(const char *source)
{
        static const char *const words[][2] = {
                { "srv", "The DNS of your address's domain names them." },
                { "autoconfig", "Your provider's configuration file names them." },
                { "pacc", "Your provider's configuration file names them." },
                { "ispdb", "A public database of providers names them." },
                { "mx", "They follow from where mail to your address is delivered." },
                { "http",
                  "A configuration file that anybody on the way could have changed names them." },
                { "certificate", "A certificate of your domain's server names them." },
                { "guess", "Their names were guessed." },
                { "by-hand", "You named them." },
                { "account", "The account has them." },
        };

        for (size_t i = 0; source && i < ELEMENTS(words); i++)
                if (strcmp(words[i][0], source) == 0)
                        return words[i][1];
        return NULL;
}

/* The domain is what tells a provider from somebody else; it stands alone. */
static void server_lines(Cli *cli, json_object *need, Lines *to)
{
        _cleanup_free_ char *hosts = joined(value_list(need, KEY_HOSTS)),
                            *domains = joined(value_list(need, KEY_DOMAINS)),
                            *addresses = joined(value_list(need, KEY_ADDRESSES)), *line = NULL;
        const char *words = source_words(value_text(need, KEY_SOURCE));
        bool outgoing = strcmp(value_text_or(need, KEY_SIDE, ""), KEY_OUTGOING) == 0;

        lines_wrap(to, output_columns(cli), "",
                   outgoing ? "To send your mail, your password would be given to:"
                            : "To receive your mail, your password would be given to:");
        lines_add(to, RANK_DECORATION, "%s", "");
        lines_add(to, RANK_STAYS, "    %s%s%s", output_colour(cli, COLOUR_BOLD),
                  domains && *domains ? domains : hosts ?: "?", output_colour(cli, COLOUR_NONE));
        lines_add(to, RANK_DECORATION, "%s", "");
        if (asprintf(&line, "Server %s%s%s. %s", hosts ?: "?",
                     addresses && *addresses ? " at " : "", addresses ?: "", words ?: "") >= 0)
                lines_wrap(to, output_columns(cli), "", line);
}

static void certificate_lines(Cli *cli, json_object *need, Lines *to)
{
        json_object *errors = value_list(need, KEY_VERIFY_ERRORS);
        const char *host = host_of(need);

        lines_add(to, RANK_STAYS,
                  "Nobody vouches for the certificate of %s%s%s:", output_colour(cli, COLOUR_BOLD),
                  *host ? host : "the server", output_colour(cli, COLOUR_NONE));
        for (size_t i = 0; i < value_length(errors); i++)
                lines_wrap(to, output_columns(cli), "  problem  ", value_item(errors, i));
        lines_wrap(to, output_columns(cli), "  subject  ",
                   value_text_or(need, KEY_SUBJECT, "unknown"));
        lines_wrap(to, output_columns(cli), "  issuer   ",
                   value_text_or(need, KEY_ISSUER, "unknown"));
        lines_wrap(to, output_columns(cli), "  key      ",
                   value_text_or(need, KEY_SPKI, "unknown"));
        lines_wrap(
                to, output_columns(cli), "",
                "Somebody between you and the server could look like this and read your password. "
                "Compare the key (SPKI SHA-256) with what the server's administrator tells you.");
}

/* What to know before the first failure; the pages stand in the sentences. Else the page alone. */
static void hint_lines(Cli *cli, json_object *need, Lines *to)
{
        json_object *hints = value_list(need, KEY_HINTS);
        const char *page = value_text(need, KEY_PASSWORD_URL) ?: value_text(need, KEY_HINT_URL);

        for (size_t i = 0; i < value_length(hints); i++)
                lines_wrap(to, output_columns(cli), "", value_item(hints, i));
        if (page && value_length(hints) == 0)
                lines_wrap(to, output_columns(cli), "See ", page);
}

static void password_lines(Cli *cli, json_object *need, Lines *to)
{
        const char *user = value_text_or(need, KEY_USER, "your account"), *host = host_of(need);
        bool outgoing = strcmp(value_text_or(need, KEY_SIDE, ""), KEY_OUTGOING) == 0;
        _cleanup_free_ char *line = NULL;

        if (asprintf(&line, "%s signs in to %s%s.", user, *host ? host : "the server",
                     outgoing ? ", to send" : "") >= 0)
                lines_wrap(to, output_columns(cli), "", line);
        if (need_is_for_app_password(need) && value_length(value_list(need, KEY_HINTS)) == 0)
                lines_wrap(to, output_columns(cli), "",
                           "The provider wants an app password here, not the ordinary one.");
        if (value_text(need, KEY_SECRET_SHAPE))
                lines_add(to, RANK_STAYS, "It looks like this: %s",
                          value_text(need, KEY_SECRET_SHAPE));
        hint_lines(cli, need, to);
}

static void servers_lines(Cli *cli, json_object *need, Lines *to)
{
        const char *side = value_text_or(need, KEY_SIDE, "");
        _cleanup_free_ char *line = NULL;

        if (asprintf(&line, "The server to %s was not found%s%s.",
                     strcmp(side, KEY_OUTGOING) == 0 ? "send through" : "receive from",
                     value_text(need, KEY_DOMAIN) ? " for " : "",
                     value_text_or(need, KEY_DOMAIN, "")) >= 0)
                lines_wrap(to, output_columns(cli), "", line);
        hint_lines(cli, need, to);
}

static void action_lines(Cli *cli, json_object *need, Lines *to)
{
        lines_wrap(to, output_columns(cli), "",
                   "Something has to be switched on at your provider first.");
        hint_lines(cli, need, to);
}

static void authorization_lines(Cli *cli, json_object *need, Lines *to)
{
        _cleanup_free_ char *line = NULL;

        if (asprintf(&line, "%s signs in at %s, in the browser.",
                     value_text_or(need, KEY_USER, "Your account"),
                     value_text_or(need, KEY_OAUTH_ISSUER, "the provider")) >= 0)
                lines_wrap(to, output_columns(cli), "", line);
        hint_lines(cli, need, to);
}

/* How it is given stands behind the lines. */
static void print_how(Cli *cli, json_object *need)
{
        if (need_is(need, NEED_PASSWORD))
                output_note(cli, "Needed: the password. Give it by --password-file=FILE.\n");
        else if (need_is(need, NEED_AUTHORIZATION))
                output_note(
                        cli,
                        "Needed: that you sign in. Do so by --sign-in=browser or --sign-in=device%s.\n",
                        value_text(need, KEY_ALTERNATIVE)
                                ? ", or give an app password by --password-file=FILE"
                                : "");
        else if (need_is(need, NEED_SERVER_APPROVAL))
                output_note(cli,
                            "Needed: your approval. Give it by --approve-domain=%s or --yes.\n",
                            value_item(value_list(need, KEY_DOMAINS), 0));
        else if (need_is(need, NEED_CERTIFICATE_APPROVAL))
                output_note(cli,
                            "Needed: your approval. If you know the key to be right, give it by\n"
                            "  --approve-certificate=%s\n",
                            value_text_or(need, KEY_SPKI, "SHA256"));
        else if (need_is(need, NEED_SERVERS))
                output_note(
                        cli,
                        "Needed: its name. Give it by --%s=HOST:PORT/tls or HOST:PORT/starttls.\n",
                        value_text_or(need, KEY_SIDE, KEY_INCOMING));
        else if (!need_is(need, NEED_VERIFICATION_CODE))
                output_note(cli, "Needed: %s, which cannot be given here.\n",
                            value_text_or(need, "kind", "something"));
}

void need_lines(Cli *cli, json_object *need, Lines *to)
{
        if (need_is(need, NEED_PASSWORD))
                password_lines(cli, need, to);
        else if (need_is(need, NEED_SERVER_APPROVAL))
                server_lines(cli, need, to);
        else if (need_is(need, NEED_CERTIFICATE_APPROVAL))
                certificate_lines(cli, need, to);
        else if (need_is(need, NEED_SERVERS))
                servers_lines(cli, need, to);
        else if (need_is(need, NEED_VERIFICATION_CODE))
                lines_wrap(to, output_columns(cli), "",
                           "The mail that was sent to yourself has not arrived yet.");
        else if (need_is(need, NEED_AUTHORIZATION))
                authorization_lines(cli, need, to);
        else if (need_is(need, NEED_USER_ACTION))
                action_lines(cli, need, to);
        else
                hint_lines(cli, need, to);
}

void need_print(Cli *cli, json_object *need)
{
        _cleanup_lines_ Lines lines = {};

        need_lines(cli, need, &lines);
        output_note(cli, "\n");
        for (size_t i = 0; i < lines.n; i++)
                output_note(cli, "%s\n", lines.list[i].text);
        print_how(cli, need);
}
