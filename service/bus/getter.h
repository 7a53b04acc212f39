/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A property's getter in one line. Not for properties that are containers: those are written out. */
#pragma once

#include <systemd/sd-bus.h>

/* @expression sees the object as "object"; its type is what sd_bus_message_append() wants for @signature. */
#define DEFINE_GETTER(name, Type, signature, expression)                                           \
        static int name(sd_bus *sd, const char *path, const char *interface, const char *property, \
                        sd_bus_message *reply, void *userdata, sd_bus_error *error)                \
        {                                                                                          \
                const Type *object = userdata;                                                     \
                                                                                                   \
                return sd_bus_message_append(reply, signature, expression);                        \
        }                                                                                          \
        struct name##_semicolon
