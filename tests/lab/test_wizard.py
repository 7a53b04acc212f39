# SPDX-License-Identifier: LGPL-2.1-or-later
"""The guided wizard in a real terminal, against real servers and the scripted one. Some screens are kept as text in docs/screens; what
is measured (durations, addresses, counts) is left out of the comparison. WAYPOST_SCREENS=1 writes them anew."""
import difflib
import os
import re
import signal
import subprocess

import pytest

from wplab.bus import Bus, SANITIZERS
from wplab.client import Connection
from wplab.mailbox import fill, messages
from wplab.run import PROJECT, until
from wplab.tmux import Tmux

SCREENS = os.path.join(PROJECT, 'docs', 'screens')
SPINNER = '⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏'


@pytest.fixture(scope='module')
def service(lab, build):
    # One lost verification mail would be looked for for three minutes.
    config = {'limits': {'setups-per-uid': 1000, 'accounts-per-uid': 1000}, 'verification': {'timeout': '3min'}}
    with Bus(build, lab=lab, config=config) as started, Connection(started) as client:
        started.client = client
        yield started


@pytest.fixture
def none(service):
    """No account is there."""
    yield service
    for account in service.client.accounts():
        service.client.call(account.path, 'org.waypost.Waypost1.Account', 'Remove', '')


def wizard(service, *arguments, columns=80, rows=24, **env):
    argv = service.command([service.binary('cli', 'waypost'), *arguments])
    return Tmux(argv, {**service.environment(), **SANITIZERS, **env}, columns, rows)


def then_shell(service, *arguments, **more):
    """The same, and afterwards how it has left the terminal."""
    script = 'trap : INT; "$@"; echo "status $?"; stty -a | grep -ow -e "-*echo" -e "-*icanon" -e "-*isig"; cat'
    argv = service.command(['/bin/sh', '-c', script, 'sh', service.binary('cli', 'waypost'), *arguments])
    return Tmux(argv, {**service.environment(), **SANITIZERS}, **more)


def normal(text):
    """What may differ from run to run, made the same; what has not been reached yet or is under way, left out. So is how the catalogue
    puts a cause, and with it how much of the list there is room for."""
    if re.search(r'^  t  ', text, re.M):
        text = re.sub(r'^ ✓.*\n|^Sending\n(?=\n)', '', text, flags=re.M)
        text = re.sub(r'(\([a-z]+\.[a-z-]+\)\n)(.*\n)*?(\n  t  )', r'\1\3', text)
    text = re.sub(f'^ [·{SPINNER}].*\n', '', text, flags=re.M)
    text = re.sub(r' +(<1 ms|\d+ ms|\d+\.\d\d s)\b', ' TIME', text)
    text = re.sub(r'2001:db8:[0-9a-f:]+|198\.51\.100\.\d+', 'ADDR', text)
    text = re.sub(r'(, ADDR)+', ', ADDR', text)
    text = re.sub(r'mail goes to .*', 'mail goes to LOCATION', text)
    text = re.sub(r'/\S*/mail/\d+/[0-9a-f]+\n([0-9a-f]+\n)?', 'LOCATION\n', text)
    text = re.sub(r'\d+ (new )?messages?, [\d.]+ k?B|nothing new', 'N messages', text)
    text = re.sub(r'\b[0-9a-f]{64}\b', 'KEY', text)
    text = re.sub(r'\d candidates?', 'N candidates', text)
    return re.sub(r' +$', '', text, flags=re.M)


def check_screen(name, text):
    path = os.path.join(SCREENS, name + '.txt')
    if os.environ.get('WAYPOST_SCREENS'):
        os.makedirs(SCREENS, exist_ok=True)
        with open(path, 'w') as f:
            text = re.sub(r'/tmp/waypost-lab\S+/state/(mail/\S+)\n(\S+)\n', r'/var/lib/waypost/\1\2\n', text)
            f.write(re.sub(r'/tmp/waypost-lab\S+', '/var/lib/waypost/mail/…', text) + '\n')
    with open(path) as f:
        kept, seen = normal(f.read()).splitlines(), normal(text + '\n').splitlines()
    assert kept == seen, '\n'.join(difflib.unified_diff(kept, seen, 'kept', 'seen', lineterm=''))


def password_file(lab, name, password):
    path = lab.run.file(name)
    if not os.path.exists(path):
        lab.run.write(name, password + '\n', 0o644)
    return f'--password-file={path}'


def objects_left(service):
    """Setups that have not ended."""
    return [path for path, interfaces in service.client.objects().items()
            if interfaces.get('org.waypost.Waypost1.Setup', {}).get('State') not in (None, 'cancelled', 'succeeded')]


# -- success

def test_from_nothing_to_mail(none):
    with wizard(none, 'add') as terminal:
        terminal.wait('^Address:')
        terminal.type('not an address')
        terminal.wait('not a mail address(.*\n)+Address:$')
        terminal.type('alice@exampleX', enter=False)
        terminal.key('BSpace', 'Left', 'C-w')                      # edited, and keys that mean nothing
        terminal.type('alice@example.test')
        terminal.wait('^Password:$')
        terminal.wait('✓  Mail service[^\n]*Postfix')
        check_screen('password', terminal.text())
        terminal.type('alicepw')
        assert terminal.finish() == 0
        text = terminal.text(history=True)
        assert 'alicepw' not in text
        check_screen('success', text)
        assert '\x1b[32m✓' in terminal.text(history=True, colours=True).replace('\x1b[39m', '')
    assert [a['Address'] for a in none.client.accounts()] == ['alice@example.test']


def test_answers_by_option_and_lines_into_a_pipe(none, lab):
    done = none.cli('add', 'alice@example.test', password_file(lab, 'alicepw', 'alicepw'), '--display-name', 'Alice', '--keep', 'none')
    assert done.returncode == 0 and done.stderr == '', done
    assert '\x1b' not in done.stdout and 'ok   incoming.tls' in done.stdout and 'is set up' in done.stdout
    assert not re.search('[✓✗·]', done.stdout)


def test_dumb_terminal(none):
    with wizard(none, 'add', 'alice@example.test', TERM='dumb') as terminal:
        terminal.wait('^Password: *$')
        terminal.type('alicepw')
        assert terminal.finish() == 0
        text = terminal.text(history=True)
        assert 'alicepw' not in text and re.search(r'^  ok   incoming\.login ', text, re.M) and '✓' not in text
        assert '\x1b' not in terminal.text(history=True, colours=True)


def test_dumb_terminal_with_a_mistaken_choice(none):
    with wizard(none, 'add', 'alice@example.test', '--incoming=closed.example.test:995/tls', TERM='dumb') as terminal:
        for answer in 'x', 'help':
            terminal.wait(r'^What now\? \[t/s/g\] *$')
            terminal.type(answer)
            terminal.wait(rf'^"{answer}" is no answer here: type one of these letters\.$')
        terminal.type('g')
        assert terminal.finish() == 4
        assert terminal.text(history=True).count('  s  other servers') == 1


def test_ascii_and_no_colour(none):
    with wizard(none, 'add', 'alice@example.test', LC_ALL='C', NO_COLOR='1') as terminal:
        terminal.wait('^Password:$')
        terminal.type('alicepw')
        assert terminal.finish() == 0
        text = terminal.text(history=True, colours=True)
        assert text.isascii() and '\x1b' not in text and re.search(r'^ ok Certificate ', text, re.M)


@pytest.mark.parametrize('columns, shows', [
    (80, r'[█░]{30} +\d+ %\n +\d+ of \d+ messages, [\d.]+ [kM]?B of [\d.]+ MB, [\d.]+ [kM]?B/s'),
    (60, r'[█░]{22} +\d+ %\n +\d+ of \d+ messages, [\d.]+ [kM]?B')])
def test_first_fetch_has_a_bar_with_rate_and_what_is_left(none, lab, columns, shows):
    if not os.path.exists(lab.maildir('big@example.test')):
        fill(lab.maildir('big@example.test'), messages(count=1000, seed=3, large_one=True))
    with wizard(none, 'add', 'big@example.test', password_file(lab, 'bigpw', 'bigpw'), columns=columns) as terminal:
        text = terminal.wait(shows)
        assert len([line for line in text.split('\n') if ' %' in line]) == 1 and max(map(len, text.split('\n'))) <= columns
        assert terminal.finish() == 0
        assert re.search(r'^ ✓  Fetch +\S+ \S+  \d+ new messages, ', terminal.text(history=True), re.M)


# -- what is needed

def test_approval_of_a_foreign_server(none):
    with wizard(none, 'add', 'alice@foreign.test') as terminal:
        terminal.wait(r'\[y/N\]$')
        terminal.wait('✓  Mail service[^\n]*Postfix')
        check_screen('approval', terminal.text())
        terminal.type('perhaps')                    # is not taken for a no
        terminal.wait(r'^"perhaps" is no answer here: type y or n\.\n[^\n]*\[y/N\]$')
        terminal.type('n')
        terminal.wait('What now')
        terminal.type('t')
        terminal.wait(r'\[y/N\]$')
        terminal.type('y')
        # The other side is somebody's, too.
        text = terminal.wait(r'^Password:$|\[y/N\]$')
        if '[y/N]' in text:
            terminal.type('y')
        terminal.wait(r'^Password:$')
        terminal.key('C-c')
        assert terminal.finish() == 130
    assert not objects_left(none)


def test_approval_of_a_certificate_needs_the_whole_word(none):
    with wizard(none, 'add', 'alice@example.test', '--incoming=self-signed.example.test:995/tls') as terminal:
        terminal.wait('Type yes in full:')
        terminal.wait('✓  Mail service[^\n]*Postfix')
        check_screen('certificate', terminal.text())
        terminal.type('y')
        terminal.wait('What now')
        terminal.type('t')
        terminal.wait('Type yes in full:')
        terminal.type('yes')
        terminal.wait(r'^Password:$')
        terminal.wait('✓  Certificate[^\n]*approved by you')
        terminal.key('C-c')
        assert terminal.finish() == 130


def test_servers_that_are_not_found_are_asked_for(none):
    with wizard(none, 'add', 'alice@nomail.test', '--receive-only') as terminal:
        terminal.wait('What now')
        terminal.type('s')
        terminal.wait('^Server to receive from:')
        terminal.type('pop.example.test:995/tls')
        terminal.wait('^Server to send through:')
        terminal.type('')
        terminal.wait(r'^Password:$')
        terminal.key('C-c')
        assert terminal.finish() == 130


@pytest.mark.long                   # the service waits for twenty seconds before it asks
def test_verification_that_does_not_come_asks_for_the_code(none, lab):
    with wizard(none, 'add', 'gone@example.test', password_file(lab, 'gonepw', 'gonepw')) as terminal:
        terminal.wait(r'Code \(Enter alone: keep waiting\):')
        terminal.type('000000')
        terminal.wait('not the code')
        terminal.key('C-c')
        assert terminal.finish() == 130
        assert 'The account is added and stays' in terminal.text(history=True)
    assert [a['Address'] for a in none.client.accounts()] == ['gone@example.test']


# -- what fails

def test_wrong_password_then_the_right_one(none):
    with wizard(none, 'add', 'alice@example.test') as terminal:
        terminal.wait('^Password:$')
        terminal.type('mistaken')
        terminal.wait('What now')
        check_screen('refused', terminal.text())
        terminal.type('x')
        terminal.wait(r'"x" is no answer here: type one of these letters\.\nWhat now\? \[t/p/s/g\]$')
        terminal.type('\x1b[Aagain')                 # every time; keys that mean nothing are none of it
        terminal.wait(r'^"again" is no answer here: type one of these letters\.\nWhat now')
        terminal.type('')
        text = terminal.wait(r'^Type one of these letters\.\nWhat now')
        assert 'no answer' not in text
        terminal.type('p')
        terminal.wait('^Password:$')
        terminal.type('alicepw')
        assert terminal.finish() == 0
        text = terminal.text(history=True)
        # What was mended is no part of the end.
        assert text.count('Certificate') == 2 and 'not accepted' not in text and 'mistaken' not in text


def test_giving_up_leaves_the_cause_on_the_screen(none):
    with wizard(none, 'add', 'bob@example.test') as terminal:
        terminal.wait('^Password:$')
        terminal.type('bobpw')
        terminal.wait('What now')
        terminal.type('g')
        assert terminal.finish() == 3
        text = terminal.text(history=True)
        assert text.count('(access.pop-disabled)') == 1 and '  1. ' in text and 'What now' not in text
    assert not objects_left(none) and not none.client.accounts()


def test_closed_port_then_another_server(none):
    with wizard(none, 'add', 'alice@example.test', '--incoming=closed.example.test:995/tls') as terminal:
        terminal.wait('What now')
        text = terminal.text()
        assert '(net.refused)' in text and '✗  Connect' in text and 's  other servers' in text
        check_screen('closed', text)
        terminal.type('s')
        terminal.wait('^Server to receive from:')
        terminal.type('pop.example.test:995/ssl')
        terminal.wait('After the slash stands tls or starttls')
        terminal.type('pop.example.test:995/tls')
        terminal.wait('^Server to send through:')
        terminal.type('')
        terminal.wait('^Password:$')
        terminal.type('alicepw')
        assert terminal.finish() == 0


def test_another_one_of_the_servers_that_were_found(none):
    with wizard(none, 'add', 'alice@example.test') as terminal:
        terminal.wait('^Password:$')
        terminal.wait('✓  Mail service[^\n]*Postfix')
        terminal.type('mistaken')
        terminal.wait('What now')
        terminal.type('s')
        text = terminal.wait('^Server to receive from:$')
        found = re.findall(r'^ ?(\d+)\. \w+\n {4}(pop3|imap) +(\S+):(\d+)/(tls|starttls)  +\w', text, re.M)
        assert len(found) > 1 and [int(f[0]) for f in found] == list(range(1, len(found) + 1)), text
        check_screen('servers', text)
        terminal.type('99')
        terminal.wait(f'^There is no 99; the last one is {len(found)}\\.$')
        terminal.type(found[1][0])
        # The password that is known goes there, too.
        terminal.wait('^ .  Mail service.*(.*\n)+ ✗  Sign in(.*\n)+What now')
        terminal.type('p')
        terminal.wait('^Password:$')
        terminal.type('alicepw')
        assert terminal.finish() == 0
    account, = none.client.accounts()
    assert (account['Incoming']['host'], account['Incoming']['port']) == (found[1][2], int(found[1][3]))


def test_only_servers_that_can_help_are_listed(none):
    """Where the server to receive from was named by hand, what was found only sends."""
    with wizard(none, 'add', 'alice@example.test', '--incoming=closed.example.test:995/tls') as terminal:
        terminal.wait('What now')
        terminal.type('s')
        text = terminal.wait('^Server to receive from:$')
        assert 'that were found' not in text and 'A number' not in text, text
        terminal.type('1')
        terminal.wait('^Server to send through:$')
        terminal.key('C-c')
        assert terminal.finish() == 130


@pytest.mark.parametrize('address', ['alice@no-such.test', 'alice@nullmx.test', 'alice@nomail.test'])
def test_wrong_address_then_the_right_one(none, address):
    with wizard(none, 'add', address) as terminal:
        terminal.wait('^  a  another address$')
        terminal.type('a')
        terminal.wait('^Address:$')
        terminal.type('')                           # none after all
        terminal.wait('^What now')
        terminal.type('a')
        terminal.wait('^Address:$')
        terminal.type('not an address')
        terminal.wait('not a mail address(.*\n)+Address:$')
        terminal.type('alice@example.test')
        terminal.wait('^alice@example.test\n(.*\n)+Password:$')
        terminal.type('alicepw')
        assert terminal.finish() == 0
    assert [a['Address'] for a in none.client.accounts()] == ['alice@example.test']
    assert not objects_left(none)


def test_no_servers_then_another_address(none):
    with wizard(none, 'add', 'alice@hollow.test') as terminal:
        for side in 'receive from', 'send through':
            terminal.wait(f'^Server to {side}:$')
            terminal.type('')
        terminal.wait('^  a  another address$')
        terminal.type('a')
        terminal.wait('^Address:$')
        terminal.type('alice@example.test')
        terminal.wait('^alice@example.test\n(.*\n)+Password:$')
        terminal.key('C-c')
        assert terminal.finish() == 130
    assert not objects_left(none)


def test_typing_error_with_the_address_that_was_meant(none):
    with wizard(none, 'add', 'tim@gmial.com') as terminal:
        terminal.wait('What now')
        check_screen('typing-error', terminal.text())
        terminal.type('a')
        terminal.wait(r'^Address \[tim@gmail\.com\]:$')
        terminal.type('')
        terminal.wait(r'^tim@gmail\.com\n(.*\n)* ✓  Find servers[^\n]*table')
        terminal.key('C-c')
        assert terminal.finish() == 130
        assert 'Interrupted. Nothing was added.' in terminal.text()
    assert not objects_left(none) and not none.client.accounts()


def test_other_address_interrupted(none):
    with wizard(none, 'add', 'alice@no-such.test') as terminal:
        terminal.wait('What now')
        terminal.type('a')
        terminal.wait('^Address:$')
        terminal.type('not an address')
        terminal.wait('not a mail address(.*\n)+Address:$')
        terminal.key('C-c')
        assert terminal.finish() == 130
        assert 'Interrupted. Nothing was added.' in terminal.text()
    assert not objects_left(none)


def test_silent_port_says_what_is_waited_for(none):
    with wizard(none, 'add', 'alice@example.test', '--incoming=silent.example.test:995/tls') as terminal:
        text = terminal.wait(r'Connect +\d\.\d\d s  no answer yet \(\d+ s left\): 198\.51\.100\.\d+:995$')
        assert 'Password' not in text
        # What is typed meanwhile does not appear.
        terminal.type('nothing', enter=False)
        terminal.wait(r'no answer yet \(1[0-6] s left\)')
        assert 'nothing' not in terminal.text(history=True)
        terminal.key('C-c')
        assert terminal.finish() == 130
        assert 'Interrupted. Nothing was added.' in terminal.text()


def test_silent_port_in_lines(none):
    argv = none.command([none.binary('cli', 'waypost'), 'add', 'alice@example.test', '--incoming=silent.example.test:995/tls'])
    process = subprocess.Popen(argv, env={**none.environment(), **SANITIZERS}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    for line in process.stdout:
        if re.match(r'  \.\.\.  incoming\.port +\S+ s  no answer yet \(1\d s left\): 198\.51\.100\.\d+:995$', line):
            break
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and errors == 'Interrupted. Nothing was added.\n' and 'no answer yet' not in rest


# -- interrupted

STAGES = {
    'address': ([], '^Address:'),
    'silent port': (['alice@example.test', '--incoming=silent.example.test:995/tls'], 'no answer yet'),
    'approval': (['alice@foreign.test'], r'\[y/N\]$'),
    'certificate': (['alice@example.test', '--incoming=self-signed.example.test:995/tls'], 'in full:$'),
    'password': (['alice@example.test'], '^Password:$'),
    'failure': (['alice@example.test', '--incoming=closed.example.test:995/tls'], 'What now'),
}


@pytest.mark.parametrize('stage', STAGES)
def test_interrupt_cleans_up(none, stage):
    arguments, shown = STAGES[stage]
    with then_shell(none, 'add', *arguments) as terminal:
        terminal.wait(shown)
        terminal.key('C-c')
        text = terminal.wait('^status 130\n(.*\n)*isig\nicanon\necho')
        assert 'Interrupted. Nothing was added.' in text
        assert terminal.tmux('display-message', '-p', '#{cursor_flag}').strip() == '1'
    assert not objects_left(none) and not none.client.accounts()


def test_interrupt_while_it_fetches_leaves_the_account(none, lab):
    if not os.path.exists(lab.maildir('big@example.test')):
        fill(lab.maildir('big@example.test'), messages(count=1000, seed=3, large_one=True))
    with wizard(none, 'add', 'big@example.test', password_file(lab, 'bigpw', 'bigpw')) as terminal:
        terminal.wait(r'^ . +Fetch ')
        terminal.key('C-c')
        assert terminal.finish() == 130
        text = terminal.text(history=True)
        assert 'Interrupted. The account is added and stays' in text and ' %' not in text
    assert [a['Address'] for a in none.client.accounts()] == ['big@example.test']


# -- sizes

def test_sixty_columns(none):
    with wizard(none, 'add', 'alice@foreign.test', columns=60, rows=20) as terminal:
        terminal.wait(r'\[y/N\]$')
        terminal.wait('✓  Mail service[^\n]*mx.example')
        text = terminal.text()
        assert all(len(line) <= 60 for line in text.split('\n')) and '    example.test' in text
        check_screen('narrow', text)
        terminal.key('C-c')
        assert terminal.finish() == 130


@pytest.mark.parametrize('columns', [40, 60, 72])
def test_found_servers_in_narrow_terminals(none, columns):
    with wizard(none, 'discover', 'alice@example.test', columns=columns, rows=60) as terminal:
        assert terminal.finish() == 0
        text = terminal.text(history=True)
    # The ground beside the server or whole on the line below it, never broken by the terminal.
    grounds = re.findall(r'^    (?:pop3|imap|smtp) +\S+:\d+/\w+(?:  +|\n {10})named by the domain itself$', text, re.M)
    assert grounds and len(grounds) == len(re.findall(r'^    (?:pop3|imap|smtp) ', text, re.M)), text


def test_resizing_leaves_one_picture(none):
    with wizard(none, 'add', 'alice@example.test') as terminal:
        terminal.wait('^Password:$')
        terminal.wait('✓  Mail service[^\n]*Postfix')
        before = terminal.text()
        for columns, rows, shows in ((50, 24, 'by Waypost Lab In…$'), (120, 24, ' TLSv1.3, for mail.example.test$'),
                                     (40, 12, 'by Wayp…$'), (80, 24, '364 days left$')):
            terminal.resize(columns, rows)
            text = terminal.wait(rf'Certificate[^\n]+{shows}(.*\n)+Password:$')
            assert text.count('Password:') == 1 and text.count('Receiving') <= 1 and text.count('Certificate') <= 2, text
        assert terminal.text().split('\n')[-20:] == before.split('\n')[-20:]
        terminal.type('alicepw')
        assert terminal.finish() == 0


def test_suspended_and_taken_up_again(none):
    """Ctrl-Z: the terminal is the shell's, and ours again afterwards."""
    argv = none.command(['/bin/bash', '--norc', '-i', '-c',
                         f'set -m; {none.binary("cli", "waypost")} add alice@example.test; stty -a | grep -ow -e "-*echo"; fg'])
    with Tmux(argv, {**none.environment(), **SANITIZERS}) as terminal:
        terminal.wait('^Password:$')
        terminal.key('C-z')
        until(lambda: '\necho\n' in terminal.text(history=True), 'the shell to have the terminal', 30)
        terminal.wait('^Password:$(?!(.*\n)*echo$)')
        terminal.type('alicepw')
        assert terminal.finish() == 0
        text = terminal.text(history=True)
        assert 'is set up' in text and 'alicepw' not in text and '\necho\n' in text


# -- the other verbs at a terminal

def test_watch_is_live(none, lab):
    assert none.cli('add', 'alice@example.test', password_file(lab, 'alicepw', 'alicepw')).returncode == 0
    with wizard(none, 'watch') as terminal:
        terminal.wait(r'^ ✓  alice@example\.test +active')
        lab.deliver('alice@example.test', b'Subject: hello\n\nhello\n')
        assert none.cli('fetch', 'alice@example.test').returncode == 0
        terminal.wait(r'alice@example\.test +1 new message arrived(.*\n)+ ✓  alice')
        terminal.key('C-c')
        assert terminal.finish() == 130


# -- completions

ASKED = [('waypost ', ['add', 'doctor', 'configure', 'causes']), ('waypost add --pass', ['--password-file']),
         ('waypost list --js', ['--json']), ('waypost configure --keep ', ['server', 'none']),
         ('waypost show ', ['alice@example.test']), ('waypost causes tls.cert-ex', ['tls.cert-expired'])]
BASH = """. "$1"; COMP_LINE=$2; COMP_POINT=${#2}; compopt() { :; }; _waypost; printf '%s\\n' "${COMPREPLY[@]}" """


@pytest.fixture
def with_alice(none, lab):
    assert none.cli('add', 'alice@example.test', password_file(lab, 'alicepw', 'alicepw'), '--no-wait').returncode == 0
    return none


@pytest.mark.parametrize('argv, script', [(['/bin/bash', '--norc', '-c', BASH, 'bash'], 'waypost.bash'),
                                          (['/usr/bin/fish', '--no-config', '-c', 'source $argv[1]; complete -C $argv[2]'],
                                           'waypost.fish')])
def test_completions(with_alice, argv, script):
    for line, shown in ASKED:
        command = with_alice.command([*argv, os.path.join(with_alice.build, 'cli', script), line])
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
                              env={**with_alice.environment(), **SANITIZERS, 'TERM': 'dumb', 'HOME': '/'})
        assert done.returncode == 0 and 'completions' not in done.stdout, done
        # An address is completed behind the @ that bash breaks words at.
        assert all(re.search(rf'^{word}\b', done.stdout, re.M) for word in shown), (line, done)


def test_completions_of_zsh(with_alice):
    with Tmux(with_alice.command(['/bin/zsh', '-f', '-i']), {**with_alice.environment(), **SANITIZERS}, 120, 40) as terminal:
        terminal.type(f'fpath=({with_alice.build}/cli $fpath); autoload -U compinit; compinit -u -D; LISTMAX=1000; PS1="ready> "; clear')
        for line, shown in ASKED:
            terminal.wait('^ready> *$')
            terminal.type(line, enter=False)
            terminal.key('Tab', 'Tab')
            for word in shown:
                terminal.wait(rf'(^|\s){word}\b')
            assert 'completions' not in terminal.text()
            terminal.key('C-c')
            terminal.type('clear')
