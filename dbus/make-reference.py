# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes docs/bus.md and docs/org.waypost.Waypost1.5.scd of the contract, dbus/*.xml. With --check nothing is written; it fails when they are
not up to date, or when a member, an argument or an error is not documented as the files do it.

A comment belongs to the element after it, and to those without a comment that it names with it ("Incoming, Outgoing: ..."). Its first line
begins with the name; then come "@argument: what it is" lines; a block that is indented deeper than the rest is kept as it stands."""
import re
import sys
import xml.dom.minidom
from pathlib import Path

root = Path(__file__).resolve().parent.parent
INTERFACES = ('Manager', 'Setup', 'Account')
PREFIX = 'org.waypost.Waypost1'
EMITS = 'org.freedesktop.DBus.Property.EmitsChangedSignal'
CHANGES = {'const': 'never changes', 'invalidates': 'changes are announced without the value'}
STANDARD = {'UnknownObject', 'AccessDenied', 'InteractiveAuthorizationRequired', 'NoMemory', 'InvalidArgs', 'PropertyReadOnly'}
problems = []


def problem(where, what):
    problems.append(f'{where}: {what}')


# -- reading

class Doc:
    """A comment: names, what each argument is, and blocks ('text' | 'kept', lines)."""

    def __init__(self, comment):
        lines = [line.rstrip() for line in comment.strip('\n').split('\n')]
        margin = len(lines[0]) - len(lines[0].lstrip())
        names, _, rest = lines[0].strip().partition(':')
        self.names = [n.strip() for n in names.split(',')]
        rest = rest.strip()
        body = ([rest[0].upper() + rest[1:]] if rest else []) + lines[1:]
        self.args, self.blocks = {}, []
        last, in_args = None, True
        for i, line in enumerate(body):
            deep = not (i == 0 and rest) and len(line) - len(line.lstrip()) > margin
            text = line.strip()
            found = re.match(r'@(\w+): *(.*)', text)
            if found and in_args:
                last = found[1]
                self.args[last] = found[2]
            elif in_args and last and text:
                self.args[last] += ' ' + text
            elif not text:
                in_args = in_args and not last
                self.blocks.append(('gap', ''))
            else:
                in_args = False
                self.add('kept' if deep else 'text', line[margin:] if deep else text)

    def add(self, kind, line):
        if self.blocks and self.blocks[-1][0] == kind:
            self.blocks[-1][1].append(line)
        else:
            self.blocks.append((kind, [line]))

    @property
    def text(self):
        return ' '.join(line for kind, lines in self.blocks if kind != 'gap' for line in lines)


def elements(interface):
    """(element, Doc or None)"""
    pending = None
    for node in interface.childNodes:
        if node.nodeType == node.COMMENT_NODE:
            pending = Doc(node.data)
        elif node.nodeType == node.ELEMENT_NODE:
            yield node, pending
            pending = None


def read(name):
    path = root / 'dbus' / f'{PREFIX}.{name}.xml'
    tree = xml.dom.minidom.parse(str(path))
    node = tree.getElementsByTagName('node')[0]
    comment = next(n.data for n in node.childNodes if n.nodeType == n.COMMENT_NODE)
    doc = Doc(re.sub(r'@short_description:.*', '', comment, count=1))
    short = re.search(r'@short_description: *(.*)', comment)[1]
    return tree.getElementsByTagName('interface')[0], doc, short


def arguments(element, direction):
    default = 'in' if element.tagName == 'method' else 'out'
    return [(a.getAttribute('type'), a.getAttribute('name')) for a in element.getElementsByTagName('arg')
            if (a.getAttribute('direction') or default) == direction]


def words(args):
    return ', '.join(f'{kind} {name}' for kind, name in args)


def signature(element):
    name = element.getAttribute('name')
    if element.tagName == 'property':
        return f'{element.getAttribute("type")} {name}'
    if element.tagName == 'signal':
        return f'{name}({words(arguments(element, "out"))})'
    out = arguments(element, 'out')
    return f'{name}({words(arguments(element, "in"))})' + (f' -> {words(out)}' if out else '')


def changes(element):
    for a in element.getElementsByTagName('annotation'):
        if a.getAttribute('name') == EMITS:
            return CHANGES[a.getAttribute('value')]
    return ''


def check(where, element, doc, errors):
    name = element.getAttribute('name')
    if doc and doc.names[0] != name and name not in doc.names:
        problem(where, f'the comment before {name} is of {doc.names[0]}')
    if not doc or element.tagName == 'property':
        return
    given = [n for _, n in arguments(element, 'in') + arguments(element, 'out')]
    if element.tagName == 'method' and given and doc.args and set(doc.args) != set(given):
        problem(where, f'{name} has the arguments {given}, documented are {sorted(doc.args)}')
    said = re.search(r'Possible errors: (.*)', doc.text)
    listed = re.sub(r'\([^()]*\)', '', said[1]).split('. ')[0] if said else ''
    for error in filter(None, re.split(r'[,\s]+', listed.rstrip('. '))):
        if error.rpartition('.')[2] not in errors | STANDARD:
            problem(where, f'{name} names the error {error}, which names.h does not have')


def members(interface, where, errors):
    """[(kind, [elements], Doc)]: those that share a comment together."""
    found, named = [], {}
    for element, doc in elements(interface):
        check(where, element, doc, errors)
        name = element.getAttribute('name')
        if doc is None and name in named:
            named[name][1].append(element)
            continue
        entry = (element.tagName, [element], doc)
        found.append(entry)
        for other in (doc.names if doc else ()):
            named[other] = entry
    return found


# -- writing

KINDS = (('method', 'Methods'), ('property', 'Properties'), ('signal', 'Signals'))


NAMES = re.compile(r'(/org/waypost[\w/]*\w|org\.(?:waypost|freedesktop)\.[\w.-]*\w)')


def plain(lines):
    return re.sub(r'@(\w+)', r'\1', ' '.join(lines))


def markdown_blocks(doc):
    for kind, lines in doc.blocks:
        if kind == 'text':
            yield re.sub(NAMES, r'`\1`', plain(lines)) + '\n'
        elif kind == 'kept':
            yield '```\n' + '\n'.join(lines) + '\n```\n'


def markdown(contract):
    out = ['# The bus', '', '<!-- Made of dbus/*.xml by dbus/make-reference.py: do not edit. -->', '',
           f'Bus name `{PREFIX}`, on the system bus (`waypostd --user`: on the session bus).', '']
    out += [f'- [{name}](#{name.lower()}): {short}' for name, (_, _, short, _) in contract.items()] + ['']
    for name, (_, doc, short, found) in contract.items():
        out += [f'## {name}', '', f'`{PREFIX}.{name}`: {short}.', '', *markdown_blocks(doc)]
        for kind, title in KINDS:
            if any(k == kind for k, _, _ in found):
                out += [f'### {title} of {name}', '']
            for _, group, own in (f for f in found if f[0] == kind):
                out += [f'#### `{signature(e)}`' for e in group] + ['']
                out += [f'- `{a}`: {text}' for a, text in own.args.items()] + ([''] if own.args else []) if own else []
                out += list(markdown_blocks(own)) if own else []
                said = changes(group[0]) if kind == 'property' else ''
                out += [said[0].upper() + said[1:] + '.', ''] if said else []
    return re.sub(r'\n{3,}', '\n\n', '\n'.join(out)).rstrip('\n') + '\n'


def scd(text):
    return re.sub(r'([\\_*`#])', r'\\\1', text)


def scd_blocks(doc, indent):
    for kind, lines in doc.blocks:
        if kind == 'text':
            yield indent + scd(plain(lines)) + '\n'
        elif kind == 'kept':
            yield '\n'.join(f'{indent}{l}' for l in ('```', *lines, '```')) + '\n'


def manual(contract):
    out = [f'{PREFIX}(5)', '', '; Made of dbus/*.xml by dbus/make-reference.py: do not edit.', '',
           '# NAME', '', f'{PREFIX} - the D-Bus interface of waypostd', '', '# DESCRIPTION', '',
           f'The bus name is *{PREFIX}*, on the system bus; with *waypostd --user* on the session bus.', '']
    for name, (_, doc, short, found) in contract.items():
        out += [f'# {name.upper()}', '', f'*{PREFIX}.{name}*: {scd(short)}.', '', *scd_blocks(doc, '')]
        for kind, title in KINDS:
            if any(k == kind for k, _, _ in found):
                out += [f'## {title}', '']
            for _, group, own in (f for f in found if f[0] == kind):
                said = changes(group[0]) if kind == 'property' else ''
                out += ['++\n'.join(f'*{scd(signature(e))}*' for e in group)]
                body = [f'\t_{scd(a)}_: {scd(text)}\n' for a, text in own.args.items()] if own else []
                body += list(scd_blocks(own, '\t')) if own else []
                body += [f'\t{said[0].upper() + said[1:]}.\n'] if said else []
                out += ['\n'.join(body).rstrip('\n'), '']
    out += ['# SEE ALSO', '', '*waypost*(1), *busctl*(1), *waypost-causes*(7)', '']
    return re.sub(r'\n{3,}', '\n\n', '\n'.join(out))


errors = set(re.findall(r'ERROR_PREFIX "(\w+)"', (root / 'dbus/names.h').read_text(encoding='utf-8')))
contract = {}
for interface in INTERFACES:
    tree, about, brief = read(interface)
    contract[interface] = (tree, about, brief, members(tree, interface, errors))
whole = ''.join((root / 'dbus' / f'{PREFIX}.{name}.xml').read_text(encoding='utf-8') for name in INTERFACES)
for error in sorted(errors):
    if not re.search(rf'\b{error}\b', whole):
        problem('names.h', f'no member says that it may give the error {error}')
for path, text in ((root / 'docs/bus.md', markdown(contract)), (root / f'docs/{PREFIX}.5.scd', manual(contract))):
    if path.exists() and path.read_text(encoding='utf-8') == text:
        continue
    if '--check' in sys.argv:
        problem(path.relative_to(root), 'is not up to date: run dbus/make-reference.py')
    else:
        path.write_text(text, encoding='utf-8')
print('\n'.join(problems))
sys.exit(bool(problems))
