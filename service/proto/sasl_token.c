/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See sasl_token.h. */
#include <string.h>

#include "base/text.h"
#include "proto/json.h"
#include "proto/sasl_token.h"

/* RFC 6750 section 2.1, b68token: anything else would be a way to say more than a token. */
static bool token_is_sendable(const Secret *token)
{
        const char *p = secret_data(token);

        for (size_t i = 0; i < secret_len(token); i++)
                if (p[i] <= ' ' || p[i] > '~' || p[i] == ',' || p[i] == '"' || p[i] == '\\')
                        return false;
        return secret_len(token) > 0;
}

/* RFC 5801 section 4: a saslname writes "," and "=" as =2C and =3D. */
static int append_saslname(Buffer *to, const char *user)
{
        int r = 0;

        for (const char *p = user; *p && r == 0; p++)
                r = *p == ','   ? buffer_append_text(to, "=2C")
                    : *p == '=' ? buffer_append_text(to, "=3D")
                                : buffer_append(to, p, 1);
        return r;
}

int sasl_token_message(Buffer *to, bool bearer, const char *user, const Secret *token,
                       const char *host, uint16_t port)
{
        int r;

        if (!*user || !text_is_clean(user, strlen(user)) || !token_is_sendable(token))
                return -EINVAL;
        if (bearer) {
                r = buffer_append_text(to, "n,a=");
                if (r == 0)
                        r = append_saslname(to, user);
                if (r == 0)
                        r = buffer_printf(to, ",\001host=%s\001port=%u", host, port);
        } else {
                r = buffer_printf(to, "user=%s", user);
        }
        if (r == 0)
                r = buffer_append_text(to, "\001auth=Bearer ");
        if (r == 0)
                r = buffer_append(to, secret_data(token), secret_len(token));
        return r < 0 ? r : buffer_append_text(to, "\001\001");
}

static void error_field(char *to, size_t size, json_object *object, const char *key)
{
        json_object *value = json_member(object, key);
        const char *text;

        /* Some write the status as a number. */
        if (!value || (!json_object_is_type(value, json_type_string) &&
                       !json_object_is_type(value, json_type_int)))
                return;
        text = json_object_get_string(value);
        if (text)
                text_printable(to, size, text, strlen(text));
}

void sasl_token_error_read(SaslTokenError *to, const void *data, size_t len)
{
        json_object *object = NULL;

        *to = (SaslTokenError){};
        text_printable(to->text, sizeof(to->text), data, len);
        if (json_read(&object, data, len) < 0)
                return;
        if (json_object_is_type(object, json_type_object)) {
                error_field(to->status, sizeof(to->status), object, "status");
                error_field(to->scope, sizeof(to->scope), object, "scope");
                error_field(to->configuration, sizeof(to->configuration), object,
                            "openid-configuration");
        }
        json_object_put(object);
}
