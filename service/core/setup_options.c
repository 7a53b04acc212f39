/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading what callers give: every key is in a closed table, every value has a range, and what is wrong is named. */
#include <string.h>

#include "base/text.h"
#include "core/setup_internal.h"
#include "dbus/names.h"

typedef struct OptionKey {
        const char *key;
        DictType type;
} OptionKey;

static const char *type_word(DictType type)
{
        switch (type) {
        case DICT_TEXT:
                return "a string";
        case DICT_BOOL:
                return "a boolean";
        case DICT_NUMBER:
                return "a number";
        case DICT_LIST:
                return "a list of strings";
        case DICT_DICT:
                return "a dictionary";
        }
        return "another type";
}

/* Unknown keys and wrong types, before any value is looked at. */
static int check_keys(Core *core, const Dict *dict, const OptionKey *keys, size_t n_keys,
                      const char **ret_why)
{
        for (size_t i = 0; dict && i < dict->n_entries; i++) {
                const DictEntry *entry = &dict->entries[i];
                const OptionKey *known = NULL;

                for (size_t k = 0; k < n_keys; k++)
                        if (strcmp(keys[k].key, entry->key) == 0)
                                known = &keys[k];
                if (!known)
                        return core_why(core, ret_why, SETUP_INVALID_KEY, "unknown key '%s'",
                                        entry->key);
                if (known->type != entry->type)
                        return core_why(core, ret_why, SETUP_INVALID_KEY, "'%s' must be %s",
                                        entry->key, type_word(known->type));
        }
        return 0;
}

/* Where the keys of a server stand, for the errors: Probe has no sides. */
static const char *server_place(const Setup *setup, Side side)
{
        if (setup->kind == SETUP_PROBE)
                return "";
        return side == SIDE_INCOMING ? KEY_INCOMING "." : KEY_OUTGOING ".";
}

int setup_read_server(Setup *setup, Side side, const Dict *server, const char **ret_why)
{
        static const OptionKey keys[] = { { KEY_HOST, DICT_TEXT },
                                          { KEY_PORT, DICT_NUMBER },
                                          { KEY_SECURITY, DICT_TEXT },
                                          { KEY_PROTOCOL, DICT_TEXT },
                                          { KEY_USER, DICT_TEXT } };
        Endpoint e = { .protocol = side == SIDE_INCOMING ? PROTOCOL_POP3 : PROTOCOL_SMTP };
        SetupSide *s = &setup->sides[side];
        const char *host = dict_text(server, KEY_HOST), *user = dict_text(server, KEY_USER);
        const char *security = dict_text(server, KEY_SECURITY),
                   *protocol = dict_text(server, KEY_PROTOCOL);
        const char *place = server_place(setup, side);
        uint64_t port;
        int r;

        r = check_keys(setup->core, server, keys, ELEMENTS(keys), ret_why);
        if (r != 0)
                return r;
        port = dict_number(server, KEY_PORT, 0);
        if (side == SIDE_INCOMING &&
            (text_equal(protocol, "imap") || (!protocol && (port == 993 || port == 143))))
                e.protocol = PROTOCOL_IMAP;
        if (protocol && strcmp(protocol, protocol_name(e.protocol)) != 0)
                return core_why(setup->core, ret_why, SETUP_NOT_SUPPORTED,
                                "'%sprotocol' can only be %s", place, protocol_name(e.protocol));
        if (security && security_from_name(security, &e.security) < 0)
                return core_why(setup->core, ret_why, SETUP_INVALID_KEY,
                                "'%ssecurity' must be tls or starttls", place);
        if (e.security == SECURITY_NONE)
                return core_why(
                        setup->core, ret_why, SETUP_INVALID_KEY,
                        "'%ssecurity' none is refused: a password is never sent unencrypted",
                        place);
        port = dict_number(server, KEY_PORT, protocol_default_port(e.protocol, e.security));
        if (port < 1 || port > 65535)
                return core_why(setup->core, ret_why, SETUP_INVALID_KEY,
                                "'%sport' must be 1 to 65535", place);
        e.port = (uint16_t) port;
        /* A well-known port tells the security that was not given. */
        if (!security && (e.port == 110 || e.port == 143 || e.port == 587 || e.port == 25))
                e.security = SECURITY_STARTTLS;
        if (user && (!*user || strlen(user) > LIMIT_ADDRESS))
                return core_why(setup->core, ret_why, SETUP_INVALID_KEY,
                                "'%suser' is empty or too long", place);
        if (!host) {
                /* What is given counts, the rest is found. */
                s->port_wish = dict_find(server, KEY_PORT) ? e.port : 0;
                s->has_security_wish = security != NULL;
                s->security_wish = e.security;
                return user ? text_set(&s->user_wish, user) : 0;
        }
        r = host_normalize(&e.host, host);
        if (r == -EINVAL)
                return core_why(setup->core, ret_why, SETUP_INVALID_KEY,
                                "'%shost' is not a host name", place);
        if (r == 0)
                r = text_set(&e.user, user             ? user
                                      : setup->address ? setup->address->address
                                                       : NULL);
        if (r < 0) {
                endpoint_deinit(&e);
                return r;
        }
        endpoint_deinit(&s->by_hand);
        s->by_hand = e;
        return 0;
}

static int read_until(Setup *setup, const char *until, const char **ret_why)
{
        if (!until)
                return 0;
        if (step_from_name(until, &setup->options.until) < 0)
                return core_why(setup->core, ret_why, SETUP_INVALID_KEY, "'until' is not a step");
        setup->options.has_until = true;
        /* What stops halfway cannot become an account. */
        if (setup->options.until < STEP_HANDOVER)
                setup->options.dry_run = true;
        return 0;
}

/* "server", "none", "30d" */
static int keep_read(const char *text, Keep *ret, uint64_t *ret_days)
{
        size_t n;

        *ret_days = 0;
        *ret = text_equal(text, "none") ? KEEP_NOT : KEEP_ON_SERVER;
        if (*ret == KEEP_NOT || text_equal(text, "server"))
                return 0;
        if (text_scan_u64(text, strlen(text), 36500, ret_days, &n) < 0 || *ret_days == 0 ||
            !text_equal(text + n, "d"))
                return -EINVAL;
        *ret = KEEP_DAYS;
        return 0;
}

/* What Commit may be given, and StartSetup already: nobody wants to hear of a bad interval after the password. */
static int settings_apply(Core *core, AccountRecord *record, const Dict *settings,
                          const char **ret_why)
{
        const char *keep = dict_text(settings, KEY_KEEP),
                   *name = dict_text(settings, KEY_DISPLAY_NAME);
        uint64_t interval = dict_number(settings, KEY_INTERVAL, 0), days = 0;
        Keep kept = KEEP_ON_SERVER;

        if (keep && keep_read(keep, &kept, &days) < 0)
                return core_why(core, ret_why, SETUP_INVALID_KEY,
                                "'keep' must be server, none or a number of days: 30d");
        if (dict_find(settings, KEY_INTERVAL) &&
            (interval < core->config->interval_minimum_usec / USEC_PER_SEC || interval > 7 * 86400))
                return core_why(core, ret_why, SETUP_INVALID_KEY,
                                "'interval' must be %u seconds to 7 days",
                                (unsigned) (core->config->interval_minimum_usec / USEC_PER_SEC));
        if (keep) {
                record->keep = kept;
                record->keep_days = days;
        }
        if (interval)
                record->interval_usec = interval * USEC_PER_SEC;
        return name ? text_set(&record->display_name, name) : 0;
}

int setup_read_options(Setup *setup, const Dict *options, const char **ret_why)
{
        static const OptionKey keys[] = {
                { KEY_PROTOCOL, DICT_TEXT },     { KEY_DRY_RUN, DICT_BOOL },
                { KEY_UNTIL, DICT_TEXT },        { KEY_DETACHED, DICT_BOOL },
                { KEY_INCOMING, DICT_DICT },     { KEY_OUTGOING, DICT_DICT },
                { KEY_RECEIVE_ONLY, DICT_BOOL }, { KEY_DELETE_VERIFICATION, DICT_BOOL },
                { KEY_KEEP, DICT_TEXT },         { KEY_INTERVAL, DICT_NUMBER },
                { KEY_DISPLAY_NAME, DICT_TEXT }
        };
        const char *protocol = dict_text(options, KEY_PROTOCOL);
        int r;

        r = check_keys(setup->core, options, keys, ELEMENTS(keys), ret_why);
        if (r != 0)
                return r;
        if (protocol && strcmp(protocol, "imap") == 0)
                return core_why(setup->core, ret_why, SETUP_NOT_SUPPORTED,
                                "'protocol' imap is not supported yet");
        if (protocol && strcmp(protocol, "pop3") != 0 && strcmp(protocol, "auto") != 0)
                return core_why(setup->core, ret_why, SETUP_INVALID_KEY,
                                "'protocol' must be pop3 or auto");
        setup->options.dry_run = dict_bool(options, KEY_DRY_RUN, false);
        setup->options.detached = dict_bool(options, KEY_DETACHED, false);
        setup->options.receive_only = dict_bool(options, KEY_RECEIVE_ONLY, false);
        setup->options.delete_verification = dict_bool(options, KEY_DELETE_VERIFICATION, false);
        r = read_until(setup, dict_text(options, KEY_UNTIL), ret_why);
        if (r == 0)
                r = settings_apply(setup->core, &setup->record, options, ret_why);
        if (r == 0 && dict_dict(options, KEY_INCOMING))
                r = setup_read_server(setup, SIDE_INCOMING, dict_dict(options, KEY_INCOMING),
                                      ret_why);
        if (r == 0 && dict_dict(options, KEY_OUTGOING))
                r = setup_read_server(setup, SIDE_OUTGOING, dict_dict(options, KEY_OUTGOING),
                                      ret_why);
        return r;
}

int account_read_settings(Core *core, AccountRecord *record, const Dict *settings,
                          const char **ret_why)
{
        static const OptionKey keys[] = { { KEY_KEEP, DICT_TEXT },
                                          { KEY_INTERVAL, DICT_NUMBER },
                                          { KEY_DISPLAY_NAME, DICT_TEXT } };
        int r = check_keys(core, settings, keys, ELEMENTS(keys), ret_why);

        return r != 0 ? r : settings_apply(core, record, settings, ret_why);
}
