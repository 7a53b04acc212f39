/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A server as written on the command line. Whether the host makes sense is the service's to say. */
#include "cli/server.h"

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

int server_parse(Cli *cli, const Verb *verb, const char *option, const char *text,
                 json_object **ret)
{
        _cleanup_free_ char *copy = strdup(text);
        _cleanup_json_ json_object *server = json_object_new_object();
        char *host, *port, *security;
        uint64_t number = 0;

        if (!copy || !split(copy, &host, &port, &security))
                return usage_error(cli, verb,
                                   "%s takes HOST:PORT/tls or HOST:PORT/starttls, not %s.", option,
                                   text);
        if (port && text_to_number(port, 1, 65535, &number) < 0)
                return usage_error(cli, verb, "%s is no port in %s.", port, text);
        if (security && strcmp(security, "tls") != 0 && strcmp(security, "starttls") != 0)
                return usage_error(cli, verb, "%s: after the slash stands tls or starttls, not %s.",
                                   option, security);
        value_set_text(server, KEY_HOST, host);
        if (port)
                json_object_object_add(server, KEY_PORT, json_object_new_uint64(number));
        if (security)
                value_set_text(server, KEY_SECURITY, security);
        *ret = TAKE(server);
        return 0;
}

bool server_looks_like(const char *text)
{
        _cleanup_free_ char *copy = strdup(text);
        char *host, *port, *security;

        return copy && !strchr(text, '@') && text[0] != '/' &&
               split(copy, &host, &port, &security) && port;
}
