/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Log lines with fields, to the journal when standard error is connected to it, otherwise to standard error.
 * Secrets cannot get here: Secret is opaque, and foreign text is made printable on the way out. */
#pragma once

#include <syslog.h>

#include "base/util.h"

typedef struct LogField {
        const char *name;  /* upper case, journal rules: WAYPOST_ACCOUNT; NULL ends the list */
        const char *value; /* NULL: left out */
} LogField;

/* Lines less important than @level (LOG_DEBUG...LOG_ERR) are dropped. Default LOG_INFO. */
void log_set_level(int level);
int log_level(void);
/* "debug", "info", "notice", "warning", "err". Returns 0, -EINVAL. */
int log_level_from_text(const char *text, int *ret);

void log_write(int level, const LogField *fields, const char *format, ...) _printf_(3, 4);

#define log_debug(...) log_write(LOG_DEBUG, NULL, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, NULL, __VA_ARGS__)
#define log_notice(...) log_write(LOG_NOTICE, NULL, __VA_ARGS__)
#define log_warning(...) log_write(LOG_WARNING, NULL, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERR, NULL, __VA_ARGS__)
/* For our own faults: logs "format: strerror" and evaluates to the (negative) @error. */
#define log_fault(error, ...) log_fault_(error, __VA_ARGS__)
int log_fault_(int error, const char *format, ...) _printf_(2, 3);
