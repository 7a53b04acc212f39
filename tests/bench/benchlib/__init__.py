# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the benchmarks share: a packet log (packets.py), and measuring and telling (measure.py)."""
