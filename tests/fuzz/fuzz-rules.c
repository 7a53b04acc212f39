/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A document of rules as an administrator may write it: taken or refused with a reason, and what was taken judges any text within its bounds. */
#include <string.h>

#include "base/text.h"
#include "probe/plain.h"
#include "probe/rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const char said[] =
                "-ERR [IN-USE] maildrop already locked, not now enabled, 请使用授权码登录";
        _cleanup_(rules_freep) Rules *rules = NULL;
        _cleanup_free_ char *why = NULL;
        char plain[PLAIN_MAX];
        Signs signs = { .place = PLACE_ANY, .speaks = SPEAKS_ANY };
        RulesVerdict verdict;
        int r;

        assert(rules_new(&rules) == 0);
        r = rules_add(rules, (const char *) data, size, &why);
        if (r == 0)
                r = rules_compile(rules, &why);
        assert(r == 0 || (r == -EBADMSG && why));
        if (r < 0)
                return 0;
        rules_set_fact(&signs, FACT_ERR);
        rules_see_code(rules, &signs, "IN-USE", 6);
        rules_see_host(rules, &signs, "pop.acme.example");
        rules_see_text(rules, &signs, plain, plain_text(plain, sizeof(plain), said, strlen(said)));
        /* the document may be the text, too */
        rules_see_text(rules, &signs, plain,
                       plain_text(plain, sizeof(plain), (const char *) data, size));
        if (rules_judge(rules, &signs, &verdict))
                assert(verdict.cause && rules_cause_at(rules, verdict.rule) == verdict.cause);
        return 0;
}
