# SPDX-License-Identifier: LGPL-2.1-or-later
"""The test lab of waypost: real servers, a private bus and a misbehaving server, on one machine.

See ../README.md for the interface that test suites use.
"""
