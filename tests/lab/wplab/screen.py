# SPDX-License-Identifier: LGPL-2.1-or-later
"""What stands on a terminal at last, of the bytes that were sent to it: the few sequences that the client uses, without colours.
There is no last row: nothing scrolls away."""
import re

TOKEN = re.compile(r'\x1b\[\??([0-9;]*)([A-Za-z])|\r|\n|[^\x1b\r\n]+')


def final_screen(text):
    """Lines, without blanks at their ends."""
    lines, row, column = [''], 0, 0
    for token in TOKEN.finditer(text):
        what, count = token.group(2), int(token.group(1) or 1) if (token.group(1) or '1').isdigit() else 1
        if token.group() == '\r':
            column = 0
        elif token.group() == '\n':
            row += 1
            lines += [''] * (row + 1 - len(lines))
        elif what is None:
            line = lines[row].ljust(column)
            lines[row] = line[:column] + token.group() + line[column + len(token.group()):]
            column += len(token.group())
        elif what == 'A':
            row = max(0, row - count)
        elif what == 'C':
            column += count
        elif what in 'KJ':
            lines[row] = lines[row][:column]
            if what == 'J':
                del lines[row + 1:]
        elif what not in 'mhl':
            raise ValueError(f'{token.group()!r} is not known here')
    while lines and not lines[-1].strip():
        lines.pop()
    return [line.rstrip() for line in lines]
