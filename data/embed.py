# SPDX-License-Identifier: LGPL-2.1-or-later
"""Turns a JSON file into a C array: embed.py INPUT OUTPUT NAME. The JSON is checked and written without blanks."""
import json
import sys

source, target, name = sys.argv[1:]
with open(source, encoding="utf-8") as f:
    data = json.dumps(json.load(f), separators=(",", ":"), ensure_ascii=False).encode()
with open(target, "w", encoding="ascii") as f:
    f.write(f"/* Generated from {source.rsplit('/', 1)[-1]}. */\n")
    f.write(f"extern const char {name}[];\nextern const unsigned {name}_len;\n")
    f.write(f"const unsigned {name}_len = {len(data)};\nconst char {name}[] = {{\n")
    for i in range(0, len(data), 16):
        f.write("        " + " ".join(f"{b - 256 if b > 127 else b}," for b in data[i : i + 16]) + "\n")
    f.write("        0\n};\n")
