/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See autoconfig.h. Reads documents as they are, not as the draft wants them: prefixes before names, mixed order, values of
 * unknown kinds. What a document says is a hypothesis; whether it is acceptable is not decided here. */
#include <expat.h>
#include <string.h>

#include "base/buffer.h"
#include "base/text.h"
#include "proto/address.h"
#include "proto/autoconfig.h"

enum {
        METHODS_MAX = 16,
        ATTRIBUTES_MAX = 64, /* of one element */
        METHOD_LEN_MAX = 64,
        DOMAINS_MAX = 1024,
        CHECK_INTERVAL_MAX = 7 * 24 * 60, /* minutes; more is no advice for a mail account */
};

typedef enum Element {
        ELEMENT_OTHER,
        ELEMENT_CLIENT_CONFIG,
        ELEMENT_EMAIL_PROVIDER,
        ELEMENT_DISPLAY_NAME,
        ELEMENT_DOMAIN,
        ELEMENT_OAUTH,
        ELEMENT_ISSUER,
        ELEMENT_ENABLE,
        ELEMENT_SERVER, /* incomingServer and outgoingServer of a type that we know */
        ELEMENT_HOSTNAME,
        ELEMENT_PORT,
        ELEMENT_SOCKET_TYPE,
        ELEMENT_USERNAME,
        ELEMENT_AUTHENTICATION,
        ELEMENT_POP3,
} Element;

typedef struct Reader {
        XML_Parser xml;
        const char *address;
        Autoconfig *autoconfig;
        Element path[LIMIT_DEPTH];
        unsigned depth, n_elements;
        Buffer text; /* of the innermost element that has a meaning */
        bool too_long;
        AutoconfigServer server; /* being read */
        bool broken;             /* that one is dropped at its end */
        int error;
} Reader;

static void server_deinit(AutoconfigServer *server)
{
        free(server->host);
        free(server->user);
        list_free(server->methods);
        *server = (AutoconfigServer){};
}

Autoconfig *autoconfig_free(Autoconfig *autoconfig)
{
        if (!autoconfig)
                return NULL;
        for (size_t i = 0; i < autoconfig->n_servers; i++)
                server_deinit(&autoconfig->servers[i]);
        free(autoconfig->display_name);
        free(autoconfig->enable_url);
        list_free(autoconfig->domains);
        free(autoconfig->oauth_issuer);
        free(autoconfig);
        return NULL;
}

static void reader_fail(Reader *reader, int error)
{
        if (reader->error == 0)
                reader->error = error;
        (void) XML_StopParser(reader->xml, XML_FALSE);
}

/* --- placeholders ------------------------------------------------------------------------------------------- */

/* The length of the placeholder at @p, 0 for none. A file of a large provider forgets the last '%': at the end of a value it
 * may be missing. */
static size_t placeholder_len(const char *p, const char *name)
{
        size_t n = strlen(name);

        if (strncmp(p, name, n) != 0)
                return 0;
        return p[n] == '%' ? n + 1 : p[n] == 0 ? n : 0;
}

/* What one placeholder stands for. Filled in one pass over the original text: what an address brings is not read again. */
static size_t fill_one(const char *p, const char *address, Buffer *to, int *r)
{
        const char *at = strrchr(address, '@');
        size_t n;

        n = placeholder_len(p, "%EMAILADDRESS");
        if (n > 0) {
                *r = buffer_append_text(to, address);
                return n;
        }
        n = placeholder_len(p, "%EMAILLOCALPART");
        if (n > 0) {
                *r = buffer_append(to, address, at ? (size_t) (at - address) : strlen(address));
                return n;
        }
        n = placeholder_len(p, "%EMAILDOMAIN");
        if (n > 0) {
                *r = buffer_append_text(to, at ? at + 1 : "");
                return n;
        }
        *r = buffer_append(to, p, 1);
        return 1;
}

/* Returns 0, -ENOMEM, -ENOBUFS when the result is too long. */
static int fill(char **ret, const char *value, const char *address)
{
        _cleanup_buffer_ Buffer to = BUFFER(LIMIT_STRING);
        int r = 0;

        while (*value && r == 0)
                value += fill_one(value, address, &to, &r);
        return r < 0 ? r : buffer_take(&to, ret);
}

/* --- values ------------------------------------------------------------------------------------------------- */

static int server_host(Reader *reader, const char *value)
{
        _cleanup_free_ char *filled = NULL;
        int r;

        if (reader->server.host)
                return 0;
        r = fill(&filled, value, reader->address);
        if (r == 0)
                r = host_normalize(&reader->server.host, filled);
        if (r < 0 && r != -ENOMEM)
                reader->broken = true;
        return r == -ENOMEM ? r : 0;
}

static void server_port(Reader *reader, const char *value)
{
        uint64_t port;

        if (reader->server.port != 0)
                return;
        if (text_to_u64(value, 65535, &port) < 0 || port == 0)
                reader->broken = true;
        else
                reader->server.port = (uint16_t) port;
}

/* May repeat: the first one that we know. */
static void server_security(Reader *reader, const char *value)
{
        static const struct {
                const char *value, *security;
        } table[] = {
                { "SSL", "tls" },
                { "TLS", "tls" },
                { "STARTTLS", "starttls" },
                { "plain", "none" },
        };

        for (size_t i = 0; i < ELEMENTS(table) && !reader->server.security[0]; i++)
                if (text_equal_nocase(value, table[i].value))
                        memcpy(reader->server.security, table[i].security,
                               strlen(table[i].security) + 1);
}

static int server_user(Reader *reader, const char *value)
{
        int r;

        if (reader->server.user || !*value)
                return 0;
        r = fill(&reader->server.user, value, reader->address);
        if (r == -ENOBUFS)
                reader->broken = true;
        return r == -ENOMEM ? r : 0;
}

static int server_method(Reader *reader, const char *value)
{
        int r;

        if (!*value || strlen(value) > METHOD_LEN_MAX)
                return 0;
        r = list_append(&reader->server.methods, value, METHODS_MAX);
        return r == -ENOMEM ? r : 0;
}

/* --- attributes --------------------------------------------------------------------------------------------- */

static const char *local_name(const char *name)
{
        const char *colon = strrchr(name, ':');

        return colon ? colon + 1 : name;
}

static const char *attribute(const char **attributes, const char *name)
{
        for (; attributes[0]; attributes += 2)
                if (text_equal_nocase(local_name(attributes[0]), name))
                        return attributes[1];
        return NULL;
}

/* Only a page to be opened in a browser; anything else is not offered to be clicked. */
static int read_enable(Reader *reader, const char **attributes)
{
        const char *url = attribute(attributes, "visiturl");

        if (reader->autoconfig->enable_url || !url || strlen(url) > LIMIT_STRING ||
            !text_is_clean(url, strlen(url)) || strchr(url, ' ') ||
            (!text_starts_nocase(url, "https://") && !text_starts_nocase(url, "http://")))
                return 0;
        return text_set(&reader->autoconfig->enable_url, url);
}

static void read_check_interval(Reader *reader, const char **attributes)
{
        const char *minutes = attribute(attributes, "minutes");
        uint64_t value;

        if (minutes && text_to_u64(minutes, CHECK_INTERVAL_MAX, &value) == 0)
                reader->server.check_interval_minutes = value;
}

static Element server_begin(Reader *reader, const char **attributes, bool incoming)
{
        static const char types[][5] = { "pop3", "imap", "smtp" };
        const char *type = attribute(attributes, "type");

        for (size_t i = 0; type && i < ELEMENTS(types); i++)
                if (text_equal_nocase(type, types[i]) && incoming == (i < 2)) {
                        server_deinit(&reader->server);
                        memcpy(reader->server.type, types[i], sizeof(types[i]));
                        reader->broken = false;
                        return ELEMENT_SERVER;
                }
        return ELEMENT_OTHER;
}

/* A server is usable with host, port and security; the rest can be guessed or asked. */
static void server_end(Reader *reader)
{
        Autoconfig *autoconfig = reader->autoconfig;
        AutoconfigServer *server = &reader->server;

        if (reader->broken || !server->host || server->port == 0 || !server->security[0] ||
            autoconfig->n_servers == LIMIT_SERVERS) {
                server_deinit(server);
                return;
        }
        if (!text_equal(server->type, "pop3"))
                server->check_interval_minutes = 0;
        autoconfig->servers[autoconfig->n_servers++] = *server;
        *server = (AutoconfigServer){};
}

/* --- the document ------------------------------------------------------------------------------------------- */

static Element element_in_server(const char *name, const char **attributes)
{
        static const struct {
                const char *name;
                Element element;
        } table[] = {
                { "hostname", ELEMENT_HOSTNAME },
                { "port", ELEMENT_PORT },
                { "socketType", ELEMENT_SOCKET_TYPE },
                { "username", ELEMENT_USERNAME },
                { "authentication", ELEMENT_AUTHENTICATION },
                { "pop3", ELEMENT_POP3 },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                const char *system = attribute(attributes, "system");

                if (!text_equal(name, table[i].name))
                        continue;
                /* Version 1.2: methods of web protocols have their place here too. */
                if (table[i].element == ELEMENT_AUTHENTICATION && system &&
                    !text_equal_nocase(system, "sasl"))
                        return ELEMENT_OTHER;
                return table[i].element;
        }
        return ELEMENT_OTHER;
}

/* What @name means below @parent; reads the attributes that matter. */
static Element element_begin(Reader *reader, Element parent, const char *name,
                             const char **attributes)
{
        if (text_equal(name, "enable") &&
            (parent == ELEMENT_CLIENT_CONFIG || parent == ELEMENT_EMAIL_PROVIDER)) {
                if (read_enable(reader, attributes) < 0)
                        reader_fail(reader, -ENOMEM);
                return ELEMENT_ENABLE;
        }
        if (text_equal(name, "oAuth2") &&
            (parent == ELEMENT_CLIENT_CONFIG || parent == ELEMENT_EMAIL_PROVIDER))
                return ELEMENT_OAUTH;
        if (parent == ELEMENT_OAUTH)
                return text_equal(name, "issuer") ? ELEMENT_ISSUER : ELEMENT_OTHER;
        if (parent == ELEMENT_CLIENT_CONFIG)
                return text_equal(name, "emailProvider") ? ELEMENT_EMAIL_PROVIDER : ELEMENT_OTHER;
        if (parent == ELEMENT_EMAIL_PROVIDER) {
                if (text_equal(name, "incomingServer"))
                        return server_begin(reader, attributes, true);
                if (text_equal(name, "outgoingServer"))
                        return server_begin(reader, attributes, false);
                if (text_equal(name, "domain"))
                        return ELEMENT_DOMAIN;
                return text_equal(name, "displayName") ? ELEMENT_DISPLAY_NAME : ELEMENT_OTHER;
        }
        if (parent == ELEMENT_SERVER)
                return element_in_server(name, attributes);
        if (parent == ELEMENT_POP3 && text_equal(name, "checkInterval"))
                read_check_interval(reader, attributes);
        return ELEMENT_OTHER;
}

static void on_start(void *userdata, const char *qualified, const char **attributes)
{
        Reader *reader = userdata;
        const char *name = local_name(qualified);
        Element element;

        if (reader->error)
                return;
        if (reader->depth == LIMIT_DEPTH || ++reader->n_elements > LIMIT_XML_ELEMENTS ||
            XML_GetSpecifiedAttributeCount(reader->xml) > 2 * ATTRIBUTES_MAX) {
                reader_fail(reader, -EBADMSG);
                return;
        }
        if (reader->depth == 0) {
                /* Many web servers answer every path with a page of their own. */
                if (!text_equal(name, "clientConfig")) {
                        reader_fail(reader, -EBADMSG);
                        return;
                }
                element = ELEMENT_CLIENT_CONFIG;
        } else
                element = element_begin(reader, reader->path[reader->depth - 1], name, attributes);
        reader->path[reader->depth++] = element;
        buffer_clear(&reader->text);
        reader->too_long = false;
}

static char *trimmed(char *text)
{
        size_t len;

        text += strspn(text, " \t\r\n");
        len = strlen(text);
        while (len > 0 && strchr(" \t\r\n", text[len - 1]))
                text[--len] = 0;
        return text;
}

static int read_domain(Reader *reader, const char *value)
{
        _cleanup_free_ char *domain = NULL;
        int r = host_normalize(&domain, value);

        if (r == 0)
                r = list_append(&reader->autoconfig->domains, domain, DOMAINS_MAX);
        return r == -ENOMEM ? r : 0;
}

/* Often a bare host name instead of a URL. */
static int read_issuer(Reader *reader, const char *value)
{
        char **to = &reader->autoconfig->oauth_issuer;
        _cleanup_free_ char *host = NULL;
        int r;

        if (*to || strchr(value, ' '))
                return 0;
        if (text_starts_nocase(value, "https://"))
                return text_set(to, value);
        r = host_normalize(&host, value);
        if (r == 0)
                r = text_format(to, "https://%s", host);
        return r == -ENOMEM ? r : 0;
}

static int element_end(Reader *reader, Element element, const char *value)
{
        switch (element) {
        case ELEMENT_SERVER:
                server_end(reader);
                return 0;
        case ELEMENT_HOSTNAME:
                return server_host(reader, value);
        case ELEMENT_PORT:
                server_port(reader, value);
                return 0;
        case ELEMENT_SOCKET_TYPE:
                server_security(reader, value);
                return 0;
        case ELEMENT_USERNAME:
                return server_user(reader, value);
        case ELEMENT_AUTHENTICATION:
                return server_method(reader, value);
        case ELEMENT_DISPLAY_NAME:
                if (reader->autoconfig->display_name || !*value)
                        return 0;
                return text_set(&reader->autoconfig->display_name, value);
        case ELEMENT_DOMAIN:
                return read_domain(reader, value);
        case ELEMENT_ISSUER:
                return read_issuer(reader, value);
        case ELEMENT_OTHER:
        case ELEMENT_CLIENT_CONFIG:
        case ELEMENT_EMAIL_PROVIDER:
        case ELEMENT_OAUTH:
        case ELEMENT_ENABLE:
        case ELEMENT_POP3:
                return 0;
        }
        return 0;
}

static bool element_has_text(Element element)
{
        return element == ELEMENT_DISPLAY_NAME || element == ELEMENT_DOMAIN ||
               element == ELEMENT_ISSUER ||
               (element >= ELEMENT_HOSTNAME && element <= ELEMENT_AUTHENTICATION);
}

static void on_end(void *userdata, const char *name)
{
        Reader *reader = userdata;
        char empty[1] = "", *value;
        Element element;
        int r;

        if (reader->error)
                return;
        element = reader->path[--reader->depth];
        value = trimmed(reader->text.data ? reader->text.data : empty);
        if (element_has_text(element) &&
            (reader->too_long || !text_is_clean(value, strlen(value)))) {
                reader->broken = true;
                return;
        }
        r = element_end(reader, element, value);
        if (r < 0)
                reader_fail(reader, r);
        buffer_clear(&reader->text);
        reader->too_long = false;
}

static void on_text(void *userdata, const char *text, int len)
{
        Reader *reader = userdata;
        int r;

        if (reader->error || reader->depth == 0 ||
            !element_has_text(reader->path[reader->depth - 1]))
                return;
        r = buffer_append(&reader->text, text, (size_t) len);
        if (r == -ENOBUFS)
                reader->too_long = true;
        else if (r < 0)
                reader_fail(reader, r);
}

/* No document type, so no entities: nothing to expand and nothing to fetch. */
static void on_doctype(void *userdata, const char *name, const char *system, const char *public,
                       int has_subset)
{
        reader_fail(userdata, -EBADMSG);
}

/* In pieces: what expat still holds after one of them is a tag or a comment without an end, which would cost memory for each of its
 * attributes. */
static int reader_feed(Reader *reader, const char *document, size_t len)
{
        enum { PIECE = 4096 };
        size_t fed = 0;

        do {
                size_t n = MIN(len - fed, (size_t) PIECE);

                if (XML_Parse(reader->xml, document + fed, (int) n, fed + n == len) !=
                    XML_STATUS_OK)
                        return XML_GetErrorCode(reader->xml) == XML_ERROR_NO_MEMORY ? -ENOMEM
                                                                                    : -EBADMSG;
                fed += n;
                if (fed < len &&
                    (XML_Index) fed - XML_GetCurrentByteIndex(reader->xml) > LIMIT_XML_TOKEN)
                        return -EBADMSG;
        } while (fed < len);
        return 0;
}

static int reader_run(Reader *reader, const char *document, size_t len)
{
        int r;

        XML_SetUserData(reader->xml, reader);
        XML_SetElementHandler(reader->xml, on_start, on_end);
        XML_SetCharacterDataHandler(reader->xml, on_text);
        XML_SetStartDoctypeDeclHandler(reader->xml, on_doctype);

        r = reader_feed(reader, document, len);
        return reader->error < 0 ? reader->error : r;
}

int autoconfig_parse(Autoconfig **ret, const char *document, size_t len, const char *address)
{
        _cleanup_(autoconfig_freep) Autoconfig *autoconfig = NULL;
        Reader reader = { .address = address, .text = BUFFER(LIMIT_STRING) };
        int r;

        /* Blanks before the declaration are not well-formed, but a common slip of scripts that print it. */
        while (len > 0 && strchr(" \t\r\n", *document) && *document) {
                document++;
                len--;
        }
        if (len > LIMIT_DOCUMENT)
                return -EBADMSG;
        autoconfig = calloc(1, sizeof(*autoconfig));
        reader.xml = XML_ParserCreate(NULL);
        if (!autoconfig || !reader.xml) {
                XML_ParserFree(reader.xml);
                return -ENOMEM;
        }
        reader.autoconfig = autoconfig;
        r = reader_run(&reader, document, len);
        XML_ParserFree(reader.xml);
        buffer_deinit(&reader.text);
        server_deinit(&reader.server);
        if (r < 0)
                return r;
        if (autoconfig->n_servers == 0)
                return -EBADMSG;
        *ret = TAKE(autoconfig);
        return 0;
}
