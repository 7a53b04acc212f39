/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What cmocka wants before its own header, for the tests of this floor. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
