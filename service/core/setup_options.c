/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading what callers give: every key is in a closed table, every value has a range, and what is wrong is named. */
#include <string.h>

#include "base/text.h"
#include "core/setup_internal.h"
#include "dbus/names.h"

/* Unknown keys and wrong types, before any value is looked at. */
int core_check_keys(Core *core, const Dict *dict, const DictKey *keys, size_t n_keys,
                    const char **ret_why)
{
        const char *what;
        const DictEntry *entry = dict_misfit(dict, keys, n_keys, &what);

        return entry ? core_why(core, ret_why, SETUP_INVALID_KEY, "'%s' %s", entry->key, what) : 0;
}

/* Where the keys of a server stand, for the errors: Probe has no sides. */
static const char *server_place(const Setup *setup, Side side)
{
        if (setup->kind == SETUP_PROBE)
                return "";
        return side == SIDE_INCOMING ? KEY_INCOMING "." : KEY_OUTGOING ".";
}

/* Is @protocol one of this side that is spoken? */
static int read_protocol(Setup *setup, Side side, const char *name, Wish *wish,
                         const char **ret_why)
{
        if (!name)
                return 0;
        if (protocol_from_name(name, &wish->protocol) < 0 ||
            (wish->protocol == PROTOCOL_SMTP) != (side == SIDE_OUTGOING))
                return core_why(setup->core, ret_why, SETUP_NOT_SUPPORTED,
                                "'%sprotocol' can only be %s", server_place(setup, side),
                                side == SIDE_OUTGOING ? "smtp" : "pop3 or imap");
        wish->has_protocol = true;
        return 0;
}

/* The numbers and words, checked; the host and user are not looked at. */
static int read_wish(Setup *setup, Side side, const Dict *server, Wish *wish, const char **ret_why)
{
        const char *security = dict_text(server, KEY_SECURITY), *user = dict_text(server, KEY_USER);
        const char *place = server_place(setup, side);
        uint64_t port = dict_number(server, KEY_PORT, 1);
        int r;

        r = read_protocol(setup, side, dict_text(server, KEY_PROTOCOL), wish, ret_why);
        if (r != 0)
                return r;
        if (security && security_from_name(security, &wish->security) < 0)
                return core_why(setup->core, ret_why, SETUP_INVALID_KEY,
                                "'%ssecurity' must be tls or starttls", place);
        wish->has_security = security != NULL;
        if (wish->has_security && wish->security == SECURITY_NONE)
                return core_why(
                        setup->core, ret_why, SETUP_INVALID_KEY,
                        "'%ssecurity' none is refused: a password is never sent unencrypted",
                        place);
        if (port < 1 || port > 65535)
                return core_why(setup->core, ret_why, SETUP_INVALID_KEY,
                                "'%sport' must be 1 to 65535", place);
        wish->port = dict_find(server, KEY_PORT) ? (uint16_t) port : 0;
        if (user && (!*user || strlen(user) > LIMIT_ADDRESS))
                return core_why(setup->core, ret_why, SETUP_INVALID_KEY,
                                "'%suser' is empty or too long", place);
        return 0;
}

/* The protocol that a server by hand speaks when nobody says so: its port may tell. */
static Protocol wish_protocol(const Setup *setup, Side side, const Wish *wish)
{
        if (wish->has_protocol)
                return wish->protocol;
        if (side == SIDE_OUTGOING)
                return PROTOCOL_SMTP;
        return wish->port == 143 || wish->port == 993 ||
                               (setup->options.imap && !setup->options.pop3)
                       ? PROTOCOL_IMAP
                       : PROTOCOL_POP3;
}

/* Host and port make a server: nothing of it has to be found. Takes host and user out of @wish. */
static void wish_to_endpoint(const Setup *setup, Side side, Wish *wish, Endpoint *ret)
{
        *ret = (Endpoint){ .protocol = wish_protocol(setup, side, wish),
                           .port = wish->port,
                           .security = wish->has_security ? wish->security
                                                          : port_security(wish->port),
                           .host = TAKE(wish->host),
                           .user = TAKE(wish->user) };
        wish_deinit(wish);
}

int setup_parse_server(Setup *setup, Side side, const Dict *server, Wish *ret, const char **ret_why)
{
        static const DictKey keys[] = { { KEY_HOST, DICT_TEXT },
                                        { KEY_PORT, DICT_NUMBER },
                                        { KEY_SECURITY, DICT_TEXT },
                                        { KEY_PROTOCOL, DICT_TEXT },
                                        { KEY_USER, DICT_TEXT } };
        _cleanup_(wish_deinit) Wish wish = {};
        const char *host = dict_text(server, KEY_HOST), *user = dict_text(server, KEY_USER);
        int r;

        r = core_check_keys(setup->core, server, keys, ELEMENTS(keys), ret_why);
        if (r == 0)
                r = read_wish(setup, side, server, &wish, ret_why);
        if (r != 0)
                return r;
        r = host ? host_normalize(&wish.host, host) : 0;
        if (r == -EINVAL)
                return core_why(setup->core, ret_why, SETUP_INVALID_KEY,
                                "'%shost' is not a host name", server_place(setup, side));
        if (r == 0 && wish.host && wish.port && !user && setup->address)
                user = setup->address->address;
        if (r == 0)
                r = text_set(&wish.user, user);
        if (r < 0)
                return r;
        wish_deinit(ret);
        *ret = wish;
        wish = (Wish){};
        return 0;
}

void setup_apply_server_take(Setup *setup, Side side, Wish *wish)
{
        SetupSide *s = &setup->sides[side];

        endpoint_deinit(&s->by_hand);
        wish_deinit(&s->wish);
        if (wish->host && wish->port)
                wish_to_endpoint(setup, side, wish, &s->by_hand);
        s->wish = *wish;
        *wish = (Wish){};
}

int setup_read_server(Setup *setup, Side side, const Dict *server, const char **ret_why)
{
        _cleanup_(wish_deinit) Wish wish = {};
        int r = setup_parse_server(setup, side, server, &wish, ret_why);

        if (r == 0)
                setup_apply_server_take(setup, side, &wish);
        return r;
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

static int read_protocols(Setup *setup, const char *name, const char **ret_why)
{
        bool any = !name || strcmp(name, "auto") == 0;

        setup->options.pop3 = any || strcmp(name, "pop3") == 0;
        setup->options.imap = any || strcmp(name, "imap") == 0;
        return setup->options.pop3 || setup->options.imap
                       ? 0
                       : core_why(setup->core, ret_why, SETUP_INVALID_KEY,
                                  "'protocol' must be pop3, imap or auto");
}

/* Names in UTF-8; INBOX is among them in any case. */
static int folders_read(Core *core, AccountRecord *record, char *const *list, const char **ret_why)
{
        _cleanup_buffer_ Buffer lines = BUFFER(LIMIT_FOLDERS * (LIMIT_FOLDER + 1)),
                                wire = BUFFER(LIMIT_FOLDER);
        int r = 0;

        if (list_len(list) > LIMIT_FOLDERS)
                return core_why(core, ret_why, SETUP_INVALID_KEY, "'folders' are too many");
        for (; list && *list && r == 0; list++) {
                buffer_clear(&wire);
                r = **list ? imap_name_from_utf8(&wire, *list) : -EINVAL;
                if (r == -EINVAL || r == -ENOBUFS)
                        return core_why(core, ret_why, SETUP_INVALID_KEY,
                                        "'folders' has a name that cannot be one");
                if (r == 0 && !text_equal_nocase(*list, "INBOX"))
                        r = buffer_printf(&lines, "%s\n", *list);
        }
        return r < 0 ? r : text_set(&record->folders, lines.len > 0 ? lines.data : NULL);
}

/* What Commit may be given, and StartSetup already: nobody wants to hear of a bad interval after the password. */
static int settings_apply(Core *core, AccountRecord *record, const Dict *settings,
                          const char **ret_why)
{
        const char *keep = dict_text(settings, KEY_KEEP),
                   *delivery = dict_text(settings, KEY_DELIVERY),
                   *name = dict_text(settings, KEY_DISPLAY_NAME);
        uint64_t interval = dict_number(settings, KEY_INTERVAL, 0), days = 0;
        Keep kept = KEEP_ON_SERVER;
        int r;

        if (keep && keep_read(keep, &kept, &days) < 0)
                return core_why(core, ret_why, SETUP_INVALID_KEY,
                                "'keep' must be server, none or a number of days: 30d");
        if (delivery && !text_equal(delivery, "maildir") && !text_equal(delivery, "lmtp"))
                return core_why(core, ret_why, SETUP_INVALID_KEY,
                                "'delivery' must be maildir or lmtp");
        if (text_equal(delivery, "lmtp") && !core->config->lmtp_socket)
                return core_why(core, ret_why, SETUP_INVALID_KEY,
                                "'delivery': the administrator has named no LMTP server");
        if (dict_find(settings, KEY_INTERVAL) &&
            (interval < core->config->interval_minimum_usec / USEC_PER_SEC || interval > 7 * 86400))
                return core_why(core, ret_why, SETUP_INVALID_KEY,
                                "'interval' must be %u seconds to 7 days",
                                (unsigned) (core->config->interval_minimum_usec / USEC_PER_SEC));
        if (keep) {
                record->keep = kept;
                record->keep_days = days;
        }
        if (delivery &&
            text_set(&record->delivery, text_equal(delivery, "lmtp") ? delivery : NULL) < 0)
                return -ENOMEM;
        if (interval)
                record->interval_usec = interval * USEC_PER_SEC;
        if (dict_find(settings, KEY_FOLDERS)) {
                r = folders_read(core, record, dict_list(settings, KEY_FOLDERS), ret_why);
                if (r != 0)
                        return r;
        }
        return name ? text_set(&record->display_name, name) : 0;
}

int setup_read_options(Setup *setup, const Dict *options, const char **ret_why)
{
        static const DictKey keys[] = {
                { KEY_PROTOCOL, DICT_TEXT },     { KEY_DRY_RUN, DICT_BOOL },
                { KEY_UNTIL, DICT_TEXT },        { KEY_DETACHED, DICT_BOOL },
                { KEY_INCOMING, DICT_DICT },     { KEY_OUTGOING, DICT_DICT },
                { KEY_RECEIVE_ONLY, DICT_BOOL }, { KEY_DELETE_VERIFICATION, DICT_BOOL },
                { KEY_KEEP, DICT_TEXT },         { KEY_DELIVERY, DICT_TEXT },
                { KEY_INTERVAL, DICT_NUMBER },   { KEY_DISPLAY_NAME, DICT_TEXT },
                { KEY_FOLDERS, DICT_LIST }
        };
        int r;

        r = core_check_keys(setup->core, options, keys, ELEMENTS(keys), ret_why);
        if (r != 0)
                return r;
        setup->options.dry_run = dict_bool(options, KEY_DRY_RUN, false);
        setup->options.detached = dict_bool(options, KEY_DETACHED, false);
        setup->options.receive_only = dict_bool(options, KEY_RECEIVE_ONLY, false);
        setup->options.delete_verification = dict_bool(options, KEY_DELETE_VERIFICATION, false);
        r = read_until(setup, dict_text(options, KEY_UNTIL), ret_why);
        if (r == 0)
                r = read_protocols(setup, dict_text(options, KEY_PROTOCOL), ret_why);
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
        static const DictKey keys[] = { { KEY_KEEP, DICT_TEXT },
                                        { KEY_DELIVERY, DICT_TEXT },
                                        { KEY_INTERVAL, DICT_NUMBER },
                                        { KEY_DISPLAY_NAME, DICT_TEXT },
                                        { KEY_FOLDERS, DICT_LIST } };
        int r = core_check_keys(core, settings, keys, ELEMENTS(keys), ret_why);

        return r != 0 ? r : settings_apply(core, record, settings, ret_why);
}
