/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A server as written on the command line. Whether the host makes sense is the service's to say. */
#include "cli/server.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/text.h"
#include "dbus/names.h"

/* Splits @text in place. @ret_port and @ret_security are NULL when missing. False when it has not that form. */
static bool split(char *text, char **ret_host, char **ret_port, char **ret_security)
{
        char *slash = strrchr(text, '/'), *colon, *end;

        *ret_security = *ret_port = NULL;
        if (slash) {
                *slash = '\0';
                *ret_security = slash + 1;
        }
        if (text[0] == '[') {
                end = strchr(text, ']');
                if (!end || (end[1] && end[1] != ':'))
                        return false;
                if (end[1] == ':')
                        *ret_port = end + 2;
                *end = '\0';
                *ret_host = text + 1;
                return **ret_host;
        }
        colon = strchr(text, ':');
        if (colon && strchr(colon + 1, ':'))
                return false;
        if (colon) {
                *colon = '\0';
                *ret_port = colon + 1;
        }
        *ret_host = text;
        return **ret_host;
}

static int say(char **ret_why, const char *format, ...) _printf_(2, 3);
static int say(char **ret_why, const char *format, ...)
{
        va_list arguments;
        int n;

        va_start(arguments, format);
        n = vasprintf(ret_why, format, arguments);
        va_end(arguments);
        return n < 0 ? -ENOMEM : 1;
}

int server_read(const char *text, json_object **ret, char **ret_why)
{
        _cleanup_free_ char *copy = strdup(text);
        _cleanup_json_ json_object *server = json_object_new_object();
        char *host, *port, *security;
        uint64_t number = 0;

        if (!copy)
                return -ENOMEM;
        if (!split(copy, &host, &port, &security) || strpbrk(host, " \t@"))
                return say(ret_why, "A server is HOST:PORT/tls or HOST:PORT/starttls, not %s.",
                           text);
        if (port && text_to_number(port, 1, 65535, &number) < 0)
                return say(ret_why, "%s is no port in %s.", port, text);
        if (security && strcmp(security, "tls") != 0 && strcmp(security, "starttls") != 0)
                return say(ret_why, "After the slash stands tls or starttls, not %s.", security);
        value_set_text(server, KEY_HOST, host);
        if (port)
                json_object_object_add(server, KEY_PORT, json_object_new_uint64(number));
        if (security)
                value_set_text(server, KEY_SECURITY, security);
        *ret = TAKE(server);
        return 0;
}

int server_parse(Cli *cli, const Verb *verb, const char *option, const char *text,
                 json_object **ret)
{
        _cleanup_free_ char *why = NULL;
        int r = server_read(text, ret, &why);

        if (r < 0)
                return cli_failed(cli, r, "Reading the server");
        return r ? usage_error(cli, verb, "%s: %s", option, why) : 0;
}

int servers_from_options(Cli *cli, const Arguments *arguments, json_object *options)
{
        static const char *const sides[] = { KEY_INCOMING, KEY_OUTGOING };
        const char *user = argument_text(arguments, "user-name");

        for (size_t i = 0; i < ELEMENTS(sides); i++) {
                const char *text = argument_text(arguments, sides[i]);
                json_object *server = NULL;
                int r;

                r = text ? server_parse(cli, arguments->verb, sides[i], text, &server) : 0;
                if (r)
                        return r;
                if (!text && !user)
                        continue;
                server = server ?: json_object_new_object();
                if (user)
                        value_set_text(server, KEY_USER, user);
                json_object_object_add(options, sides[i], server);
        }
        return 0;
}

bool server_looks_like(const char *text)
{
        _cleanup_free_ char *copy = strdup(text);
        char *host, *port, *security;

        return copy && !strchr(text, '@') && text[0] != '/' &&
               split(copy, &host, &port, &security) && port;
}
