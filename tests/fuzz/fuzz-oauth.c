/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The first octet says what the rest is read as: a reply of one kind or another, or a redirect. */
#include <string.h>

#include "base/limits.h"
#include "proto/oauth.h"
#include "proto/oauth_url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_redirect(const char *text, size_t len)
{
        static const char back[] = "http://127.0.0.1:1/callback";
        _cleanup_free_ char *uri = calloc(1, sizeof(back) + len);
        OauthRedirect redirect = {};

        if (!uri)
                return;
        memcpy(uri, back, sizeof(back) - 1);
        memcpy(uri + sizeof(back) - 1, text, len);
        if (oauth_redirect_read(&redirect, uri, back) == 0)
                assert((redirect.code != NULL) != (redirect.error[0] != 0));
        oauth_redirect_deinit(&redirect);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        const char *text = (const char *) data + 1;
        OauthMetadata metadata = {};
        OauthTokens tokens = {};
        OauthDevice device = {};
        OauthClient client = {};
        OauthError error;

        if (size == 0 || size > LIMIT_DOCUMENT)
                return 0;
        size--;
        switch (data[0] % 6) {
        case 0:
                if (oauth_tokens_read(&tokens, text, size) == 0)
                        assert(tokens.access);
                break;
        case 1:
                (void) oauth_metadata_read(&metadata, text, size, "https://a.b");
                break;
        case 2:
                (void) oauth_device_read(&device, text, size);
                break;
        case 3:
                (void) oauth_client_read(&client, text, size);
                break;
        case 4:
                (void) oauth_error_read(&error, text, size);
                break;
        case 5:
                read_redirect(text, size);
                break;
        }
        oauth_tokens_deinit(&tokens);
        oauth_metadata_deinit(&metadata);
        oauth_device_deinit(&device);
        oauth_client_deinit(&client);
        return 0;
}
