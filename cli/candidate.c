/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The servers that were found, as they are shown. */
#include "cli/candidate.h"

#include <stdio.h>
#include <string.h>

#include "cli/output.h"
#include "dbus/names.h"

enum { INDENT = 4 };

/* On what ground a password may go to a server; where nobody vouches for it, its owner has to be approved first. */
static const char *ground(json_object *server)
{
        static const struct {
                const char *trust, *text;
        } grounds[] = { { "user", "named by you" },
                        { "administrator", "named by the administrator" },
                        { "table", "in the provider table" },
                        { "provider", "named by the domain itself" },
                        { "ispdb", "in the ISPDB" },
                        { "domain", "inside the domain" },
                        { "none", "to be approved by you" } };
        const char *trust = value_text_or(server, KEY_TRUST, "none");

        for (size_t i = 0; i < ELEMENTS(grounds); i++)
                if (strcmp(trust, grounds[i].trust) == 0)
                        return grounds[i].text;
        return trust;
}

/* "pop3  pop.example.org:995/tls   inside the domain"; the ground on a line of its own where it has no room. */
static void add_server(Cli *cli, Lines *lines, json_object *server)
{
        unsigned columns = output_columns(cli), width = columns < 72 ? 34 : columns < 96 ? 48 : 60;
        char text[400];
        int n;

        n = snprintf(text, sizeof(text), "%*s%-5s %s:%u/%s", INDENT, "",
                     value_text_or(server, KEY_PROTOCOL, ""), value_text_or(server, KEY_HOST, ""),
                     (unsigned) value_number(server, KEY_PORT, 0),
                     value_text_or(server, KEY_SECURITY, ""));
        width = (unsigned) n > width ? (unsigned) n : width;
        if (width + 2 + strlen(ground(server)) <= columns)
                lines_add(lines, RANK_STAYS, "%-*s  %s", (int) width, text, ground(server));
        else {
                lines_add(lines, RANK_STAYS, "%s", text);
                lines_add(lines, RANK_STAYS, "%*s%s", INDENT + 6, "", ground(server));
        }
}

void candidate_lines(Cli *cli, Lines *lines, size_t index, json_object *candidate,
                     const char *address)
{
        json_object *incoming = value_object(candidate, KEY_INCOMING),
                    *outgoing = value_object(candidate, KEY_OUTGOING);
        const char *user = value_text(incoming ? incoming : outgoing, KEY_USER);
        bool strange = user && strcmp(user, address) != 0;

        lines_add(lines, RANK_STAYS, "%2zu. %s%s%s%s%s", index + 1, output_colour(cli, COLOUR_BOLD),
                  value_text_or(candidate, KEY_SOURCE, "-"), output_colour(cli, COLOUR_NONE),
                  strange ? ", sign in as " : "", strange ? user : "");
        if (incoming)
                add_server(cli, lines, incoming);
        if (outgoing)
                add_server(cli, lines, outgoing);
}
