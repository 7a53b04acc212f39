#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""waypost.conf(5) in scdoc, of the commented example; --check holds the example against the keys that service/core/config.c reads.

The example stays the one place where a key is described: a comment belongs to the keys below it up to the next comment, and what is
indented in it is shown as it is."""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
EXAMPLE = os.path.join(ROOT, 'systemd', 'waypost.conf.example')
SOURCE = os.path.join(ROOT, 'service', 'core', 'config.c')

HEAD = '''waypost.conf(5)

# NAME

waypost.conf - configuration of the mail account service

# SYNOPSIS

/etc/waypost/waypost.conf++
/etc/waypost/waypost.conf.d/\\*.conf

# DESCRIPTION

*waypostd*(8) reads this file when it starts; every key has a default, and without the file all of them hold. Then the files of the folder
beside it are read in the order of their names; later ones win. With *--user* the files are those of _$XDG\\_CONFIG\\_HOME/waypost_.

The form is that of INI files: sections, and in them _key = value_; a line that begins with # is a comment. Switches are *yes* or *no*.
A duration is a number with *ms*, *s*, *min*, *h*, *d* or *w*; a size is in bytes, with *K*, *M*, *G* or *T* in powers of 1024. What is not
known is told in the log with file and line and passed over; with a value that cannot be read the service does not start.

'''
TAIL = '''# SEE ALSO

*waypostd*(8), *waypost*(1)
'''
KEY = re.compile(r'#([a-z][a-z0-9-]*) =(.*)$')


def read_example():
    """[(section, [(comment lines, [(key, default)])])]"""
    sections = []
    with open(EXAMPLE) as f:
        for line in f.read().splitlines():
            key = KEY.match(line)
            if line.startswith('['):
                sections.append((line.strip('[]'), [([], [])]))
            elif not sections or not line:
                continue
            elif key:
                sections[-1][1][-1][1].append((key.group(1), key.group(2).strip()))
            elif line.startswith('#'):
                if sections[-1][1][-1][1]:
                    sections[-1][1].append(([], []))
                sections[-1][1][-1][0].append(line[1:].removeprefix(' '))
    return sections


def escape(text):
    return re.sub(r'([\\*_#`<>\[\]])', r'\\\1', text)


def write_comment(lines):
    out, literal = [], False
    for line in lines:
        if line.startswith('  ') != literal:
            literal = not literal
            out.append('\t```')
        out.append('\t' + (line if literal else escape(line)))
    return out + ['\t```'] * literal


def page():
    out = [HEAD]
    for name, groups in read_example():
        out.append(f'# [{name}]\n')
        for comment, keys in groups:
            lines = [f'*{escape(k)}*' + (f' = _{escape(v)}_' if v else '') for k, v in keys]
            out.append('++\n'.join(lines))
            out += write_comment(comment)
            out.append('')
    return '\n'.join(out) + '\n' + TAIL


def check():
    with open(SOURCE) as f:
        read = set(re.findall(r'\{ "([a-z]+)", "([a-z-]+)", read_', f.read()))
    told = {(name, key) for name, groups in read_example() for _, keys in groups for key, _ in keys}
    for section, key in sorted(read - told):
        print(f'{EXAMPLE} does not have {key} of [{section}]')
    for section, key in sorted(told - read):
        print(f'{SOURCE} does not read {key} of [{section}]')
    return read != told


if __name__ == '__main__':
    if '--check' in sys.argv:
        sys.exit(check())
    sys.stdout.write(page())
