/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What an account's owner may choose. */
#include "cli/settings.h"

#include <string.h>

#include "dbus/names.h"

/* The service looks at it, too; here it is a usage error, before anything has begun. */
static int check_keep(Cli *cli, const Arguments *arguments, const char *keep)
{
        size_t digits = keep ? strspn(keep, "0123456789") : 0;

        if (!keep || strcmp(keep, "server") == 0 || strcmp(keep, "none") == 0 ||
            (digits > 0 && strcmp(keep + digits, "d") == 0))
                return 0;
        return usage_error(cli, arguments->verb,
                           "--keep takes server, none or days like 30d, not %s.", keep);
}

/* Names have no comma; who has one in his uses the bus. */
static void settings_folders(json_object *settings, const char *names)
{
        json_object *list = json_object_new_array();

        for (const char *p = names; list && *p;) {
                size_t len = strcspn(p, ",");

                if (len > 0)
                        json_object_array_add(list, json_object_new_string_len(p, (int) len));
                p += len + (p[len] == ',');
        }
        json_object_object_add(settings, KEY_FOLDERS, list);
}

int settings_read(Cli *cli, const Arguments *arguments, json_object **ret)
{
        _cleanup_json_ json_object *settings = json_object_new_object();
        const char *keep = argument_text(arguments, KEY_KEEP),
                   *name = argument_text(arguments, KEY_DISPLAY_NAME),
                   *delivery = argument_text(arguments, KEY_DELIVERY);
        uint64_t interval = 0;
        int r;

        r = check_keep(cli, arguments, keep);
        if (r == 0)
                r = argument_number(cli, arguments, KEY_INTERVAL, 1, 7 * 86400, &interval);
        if (r)
                return r;
        if (keep)
                value_set_text(settings, KEY_KEEP, keep);
        if (delivery)
                value_set_text(settings, KEY_DELIVERY, delivery);
        if (name)
                value_set_text(settings, KEY_DISPLAY_NAME, name);
        if (argument_given(arguments, KEY_FOLDERS))
                settings_folders(settings, argument_text(arguments, KEY_FOLDERS) ?: "");
        if (interval)
                json_object_object_add(settings, KEY_INTERVAL, json_object_new_uint64(interval));
        *ret = TAKE(settings);
        return 0;
}
