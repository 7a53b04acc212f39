# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lab itself: each server answers as the README promises, the scripted one plays what is written, the
independent reader reads what is there, and nothing is left of a run."""
import os
import poplib
import re
import signal
import smtplib
import socket
import ssl
import subprocess
import time

import pytest

from wplab import mailbox
from wplab.lab import BAD, MAIL_DOMAINS, NET4, Lab
from wplab.reader import Reader, plain, read_mailbox
from wplab.run import CLEAN_ENV, LabError, Run, alive, wait_gone
from wplab.scripted import DIALOGUES, Dialogue, DialogueError, ScriptedServer

HERE = os.path.dirname(os.path.abspath(__file__))


def pop(lab, host='pop.example.test', user='alice@example.test', password='alicepw'):
    """The server's answer to the login, and poplib's connection."""
    tls = lab.pki.client_context().wrap_socket(lab.connect(host, 995), server_hostname=host)

    class Pop(poplib.POP3):
        def _create_socket(self, timeout):
            return tls
    client = Pop(host, 995)
    client.user(user)
    try:
        return client.pass_(password).decode(), client
    except poplib.error_proto as error:
        return error.args[0].decode(), client


def login(*args, **keys):
    """The server's answer to a login alone; the session, which would lock the mailbox, is ended."""
    answer, client = pop(*args, **keys)
    client.close()
    return answer


def submission(lab, host='smtp.example.test'):
    tls = lab.pki.client_context().wrap_socket(lab.connect(host, 465), server_hostname=host)
    client = smtplib.SMTP()
    client.sock = tls
    client.getreply()
    client.ehlo('client.test')
    return client


def dig(lab, name, kind):
    done = lab.client.call(['/usr/bin/dig', '+noall', '+answer', '+comments', '+time=1', '+tries=1', name, kind], text=True)
    status = re.search(r'status: (\w+)', done.stdout)
    answers = [line.split(None, 4)[4] for line in done.stdout.splitlines() if line and not line.startswith(';')]
    return status[1] if status else 'none', answers


# -- DNS

@pytest.mark.parametrize('name,kind,status,answer', [
    ('example.test', 'MX', 'NOERROR', '10 mx.example.test.'),
    ('_pop3s._tcp.example.test', 'SRV', 'NOERROR', '10 1 995 pop.example.test.'),
    ('_pop3._tcp.example.test', 'SRV', 'NOERROR', '0 0 0 .'),
    ('_submissions._tcp.foreign.test', 'SRV', 'NOERROR', '0 1 465 smtp.example.test.'),
    ('mail.example.test', 'AAAA', 'NOERROR', '2001:db8:100::10'),
    ('nullmx.test', 'MX', 'NOERROR', '0 .'),
    ('nomail.test', 'MX', 'NOERROR', None),
    ('_pop3s._tcp.guess.test', 'SRV', 'NXDOMAIN', None),
    ('loop.example.test', 'A', 'SERVFAIL', None),
    ('signed.test', 'MX', 'NOERROR', '10 mx.signed.test.'),
    ('bogus.test', 'MX', 'SERVFAIL', None),
    ('broken.test', 'MX', 'SERVFAIL', None),
    ('refused.test', 'MX', 'REFUSED', None),
    ('timeout.test', 'MX', 'none', None),
    ('nothing.test', 'MX', 'NXDOMAIN', None),
    ('example.invalid', 'MX', 'NXDOMAIN', None)])
def test_dns(lab, name, kind, status, answer):
    got, answers = dig(lab, name, kind)
    assert got == status
    assert (answer in answers) if answer else True


def test_zone_changes(lab):
    lab.zones['nomail.test'].append('later MX 5 mx.example.test.')
    lab.reload_zone('nomail.test')
    assert dig(lab, 'later.nomail.test', 'MX') == ('NOERROR', ['5 mx.example.test.'])


# -- mail servers

@pytest.mark.parametrize('domain', MAIL_DOMAINS)
def test_pop_login(lab, domain):
    assert login(lab, user=f'alice@{domain}').startswith('+OK')


@pytest.mark.parametrize('user,says', [
    ('bob', '-ERR [SYS/PERM] Your account is not enabled for POP access.'),
    ('carl', '-ERR [AUTH] Application-specific password required: https://example.test/help'),
    ('dora', '-ERR [SYS/TEMP] Temporary authentication failure.'),
    ('locked', '-ERR [IN-USE] Mailbox is locked by another session.'),
    ('hasty', '-ERR [LOGIN-DELAY] You may log in once every 15 minutes.'),
    ('expired', '-ERR [AUTH] Password expired')])
def test_pop_refusal(lab, user, says):
    assert login(lab, user=f'{user}@example.test', password=user + 'pw').startswith(says)


def test_wrong_password(lab):
    assert login(lab, password='wrong').startswith('-ERR [AUTH] Authentication failed.')
    with pytest.raises(smtplib.SMTPAuthenticationError) as error:
        submission(lab).login('alice@example.test', 'wrong')
    assert error.value.smtp_code == 535


@pytest.mark.parametrize('kind,code', [('expired', 10), ('not-yet-valid', 9), ('wrong-name', 62), ('self-signed', 18),
                                       ('unknown-ca', 20), ('missing-intermediate', 20)])
@pytest.mark.parametrize('port', [995, 465, 110, 587])
def test_bad_certificate(lab, kind, code, port):
    host = f'{kind}.example.test'
    sock = lab.connect(host, port)
    if port in (110, 587):
        f = sock.makefile('rwb', buffering=0)
        f.readline()
        for line, last in ((b'EHLO x', b'250 '), (b'STARTTLS', b'220')) if port == 587 else ((b'STLS', b'+OK'),):
            f.write(line + b'\r\n')
            while not f.readline().startswith(last):
                pass
    with pytest.raises(ssl.SSLCertVerificationError) as error:
        lab.pki.client_context().wrap_socket(sock, server_hostname=host)
    assert error.value.verify_code == code


def test_weak_key(lab):
    with pytest.raises(ssl.SSLError, match='key too weak'):
        lab.pki.client_context().wrap_socket(lab.connect('weak-key.example.test', 995),
                                             server_hostname='weak-key.example.test')


def test_ports(lab):
    with pytest.raises(ConnectionRefusedError):
        lab.connect('closed.example.test', 995)
    with pytest.raises(TimeoutError):
        lab.connect('silent.example.test', 995, timeout=0.3)
    with pytest.raises(OSError, match='unreachable'):
        lab.connect('noroute.example.test', 995)


def test_submission(lab):
    """The mail goes through Postfix to the mailbox, in IPv6 too; the greylisted and the refused say so."""
    client = submission(lab)
    client.login('eve@example.test', 'evepw')
    client.sendmail('eve@example.test', ['eve@example.test'], b'Subject: round trip\r\n\r\n.dot\r\n')
    arrived = until_mail(lab, 'eve')
    assert b'Subject: round trip\n' in arrived[0].data and arrived[0].data.endswith(b'\n\n.dot\n')
    for rcpt, code in (('later', 451), ('unknownrcpt', 550), ('nobody', 550)):
        with pytest.raises(smtplib.SMTPRecipientsRefused) as error:
            client.sendmail('eve@example.test', [f'{rcpt}@example.test'], b'x')
        assert error.value.recipients[f'{rcpt}@example.test'][0] == code
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        client.sendmail('alice@example.test', ['eve@example.test'], b'x')


def until_mail(lab, user, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = read_mailbox(lab, f'{user}@example.test', user + 'pw')
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f'no mail for {user}\n' + lab.run.log('postfix/mail.log')[-2000:])


def test_sender_not_owned(lab):
    client = submission(lab)
    client.login('badfrom@example.test', 'badfrompw')
    client.mail('badfrom@example.test')
    code, text = client.rcpt('badfrom@example.test')
    assert code == 553 and b'5.7.1' in text and b'not owned by user' in text


def test_no_sending(lab):
    assert login(lab, user='nosend@example.test', password='nosendpw').startswith('+OK')
    with pytest.raises(smtplib.SMTPAuthenticationError) as error:
        submission(lab).login('nosend@example.test', 'nosendpw')
    assert error.value.smtp_code == 535


def test_discarded(lab):
    client = submission(lab)
    client.login('gone@example.test', 'gonepw')
    client.sendmail('gone@example.test', ['gone@example.test'], b'Subject: lost\r\n\r\n')
    wait_log(lab, 'postfix/mail.log', 'to=<gone@example.test>, relay=none.*status=sent')
    assert read_mailbox(lab, 'gone@example.test', 'gonepw') == []


def wait_log(lab, name, pattern, seconds=10):
    end = time.monotonic() + seconds
    while not re.search(pattern, lab.run.log(name)):
        assert time.monotonic() < end, lab.run.log(name)[-2000:]
        time.sleep(0.02)


def test_mx(lab):
    """Mail from outside is taken on port 25, for mailboxes only."""
    sock = lab.connect('mx.example.test', 25)
    client = smtplib.SMTP()
    client.sock = sock
    client.getreply()
    client.ehlo('outside.test')
    client.sendmail('a@outside.test', ['frank@example.test'], b'Subject: from outside\r\n\r\n')
    assert b'from outside' in until_mail(lab, 'frank')[0].data
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        client.sendmail('a@outside.test', ['b@elsewhere.test'], b'x')


def test_accounts_change(lab):
    lab.set_account('new@example.test', password='first')
    assert login(lab, user='new@example.test', password='first').startswith('+OK')
    lab.set_account('new@example.test', password='second, "quoted" \\ ü', pop3='[SYS/PERM] closed')
    assert login(lab, user='new@example.test', password='first').startswith('-ERR [AUTH]')
    lab.set_account('new@example.test', password='third', pop3=None, sender='other@example.test')
    assert login(lab, user='new@example.test', password='third').startswith('+OK')
    client = submission(lab)
    client.login('new@example.test', 'third')
    client.mail('new@example.test')
    assert client.rcpt('new@example.test')[0] == 553
    lab.remove_account('new@example.test')
    assert login(lab, user='new@example.test', password='third').startswith('-ERR [AUTH]')


def test_autoconfig(lab):
    """Seen by a program of the client side, which trusts the lab's CA because the machine does."""
    ask = ['/usr/bin/curl', '-sS', '--max-time', '5', '-w', '%{http_code}']
    found = lab.client.call(ask + ['https://autoconfig.auto.test/mail/config-v1.1.xml?emailaddress=x'], text=True)
    assert found.returncode == 0, found.stderr
    assert '<hostname>in.auto.test</hostname>' in found.stdout and found.stdout.endswith('200')
    assert lab.client.call(ask + ['https://autoconfig.auto.test/other'], text=True).stdout.endswith('404')
    assert ('autoconfig.auto.test', '/mail/config-v1.1.xml?emailaddress=x') in [r[:2] for r in lab.web.requests]


def test_trust_by_folder(lab):
    """OpenSSL's own defaults (bundle and hashed folder) trust the lab's CA on the client side only."""
    ask = ['/usr/bin/openssl', 's_client', '-verify_return_error', '-connect', 'pop.example.test:995', '-brief']
    for more in ([], ['-no-CAfile', '-CApath', '/etc/ssl/certs']):
        done = lab.client.call(ask + more, text=True)
        assert 'Verification: OK' in done.stderr, done.stderr
    assert 'Verification: OK' not in lab.server.call(ask, text=True).stderr


def test_cut_and_reset(lab):
    _, client = pop(lab, user='frank@example.test', password='frankpw')
    lab.cut(995)
    with pytest.raises(TimeoutError):
        lab.connect('pop.example.test', 995, timeout=0.3)
    lab.cut(995, False)
    assert client.noop().startswith(b'+OK')
    lab.reset(995)
    with pytest.raises(OSError):
        client.noop()


# -- mailbox and reader

def test_reader_agrees_with_poplib(lab):
    """On mail that poplib does not mangle."""
    items = [(f'm{n}', mailbox.header(n) + b'\nline\n.dot\n' + b'x' * n + b'\n') for n in range(20)]
    mailbox.fill(lab.maildir('alice@guess.test'), items)
    mine = read_mailbox(lab, 'alice@guess.test', 'alicepw')
    _, client = pop(lab, user='alice@guess.test')
    uidls = [line.decode().split(' ', 1)[1] for line in client.uidl()[1]]
    theirs = [b'\n'.join(client.retr(n)[1]) + b'\n' for n in range(1, 21)]
    client.quit()
    assert [m.uidl for m in mine] == uidls and len(set(uidls)) == 20
    assert [m.data for m in mine] == theirs == [data for _, data in items]


def test_hurting_mailbox(lab):
    """Dovecot adds a final newline; it does not stuff a dot at the very start of a message, so that dot is lost
    to every client that obeys RFC 1939. Everything else comes as it is stored."""
    items = mailbox.messages(count=520)
    assert len(items) == 520 and items == mailbox.messages(count=520)
    mailbox.fill(lab.maildir('big@example.test'), items)
    read = read_mailbox(lab, 'big@example.test', 'bigpw')
    assert len(read) == 520
    for (name, data), message in zip(items, read):
        want = data.replace(b'\r\n', b'\n')
        want += b'' if want.endswith(b'\n') else b'\n'
        assert message.data == (want[1:] if name == 'dot-first' else want), name


@pytest.mark.parametrize('octets,data', [
    (b'', b''), (b'a\r\n', b'a\n'), (b'..\r\n', b'.\n'), (b'a\r\n..b\r\n', b'a\n.b\n'), (b'a\n.b\r\n', b'a\n.b\n'),
    (b'a\r.b\r\n', b'a\r.b\n'), (b'a\r\r\n..\r\r\n', b'a\r\n.\r\n'), (b'...\r\n', b'..\n')])
def test_plain(octets, data):
    assert plain(octets) == data


def test_reader_odd_octets(scripted):
    port = scripted.play(0, 'pop-odd-octets')
    sock = scripted.pki.client_context().wrap_socket(socket.create_connection(('127.0.0.1', port)),
                                                     server_hostname='odd.example.test')
    with Reader(sock, 'alice', 'pw') as reader:
        assert [m.data for m in reader.messages()] == [
            b'', b'Subject: bare LF\n\none\ntwo\n.\nthree\r..four\n', b'.\n..\n.\r\n', b'Subject: \xe4\0\x80\n\n\r\n\n\n']


# -- the scripted server

def all_dialogues():
    return sorted(name for name in os.listdir(DIALOGUES) if name.endswith('.dlg'))


@pytest.mark.parametrize('name', all_dialogues())
def test_dialogue_parses(name):
    assert Dialogue.load(name).steps


@pytest.mark.parametrize('text,error', [
    ('send x\nfrobnicate', 'text:2: unknown word'), ('serve\non x\nsend y', 'without "end"'), ('end', 'without "serve"'),
    ('on x', 'outside'), ('serve\nsend x\nend', 'before the first'), ('sleep', 'needs an argument'),
    ('silence now', 'takes no'), ('serve\non (\nend', 'text:2'), ('serve\non x\nbecome y\nend', 'no such block')])
def test_dialogue_errors(text, error):
    with pytest.raises(DialogueError, match=re.escape(error)):
        Dialogue(text)


def talk(port, *data, tls=None):
    """Sends and reads to the end; tells how the server ended it."""
    sock = socket.create_connection(('127.0.0.1', port), timeout=5)
    if tls:
        sock = tls.wrap_socket(sock, server_hostname='odd.example.test')
    for d in data:
        sock.sendall(d)
    got = b''
    try:
        while True:
            more = sock.recv(4096)
            if not more:
                return got, 'end'
            got += more
    except ConnectionResetError:
        return got, 'reset'
    except ssl.SSLEOFError:
        return got, 'no close_notify'
    except TimeoutError:
        return got, 'silence'
    finally:
        sock.close()


def test_scripted_words(scripted):
    port = scripted.play_text(0, 'send a\\x41\\0\nraw b\\\\\nlines 2 {n}.\ngarbage 3\nclose', 'expect ^HELLO\nsend hi\nreset',
                              'serve\non ^X\nsend x\non ^GO\ndone\ndefault ?\nend\nserve two\non ^Y\nsend y\nbecome three\nend\n'
                              'serve three\non ^Z\nsend z\nclose\nend')
    got, end = talk(port)
    assert got[:-3] == b'aA\0\r\nb\\1.\r\n2.\r\n' and end == 'end'
    assert talk(port, b'hello there\r\n') == (b'hi\r\n', 'reset')
    assert talk(port, b'x\r\nq\r\ngo\r\ny\r\nz\r\n') == (b'x\r\n?\r\ny\r\nz\r\n', 'end')
    assert talk(port, b'x\r\nq\r\ngo\r\ny\r\nw\r\n') == (b'x\r\n?\r\ny\r\n', 'end')
    scripted.wait_ended(port, 4)
    assert scripted.trouble(port) == ["no rule for b'w'"]
    assert scripted.received(port).startswith(b'hello there\r\nx\r\n') and len(scripted.connections(port)) == 4


def test_scripted_expectation_fails(scripted):
    port = scripted.play_text(0, 'expect ^HELLO\nsend hi')
    assert talk(port, b'goodbye\r\n')[0] == b''
    assert 'expected' in scripted.trouble(port)[0]


def test_scripted_login_is_counted(scripted):
    port = scripted.play(0, 'pop-wrong-password')
    tls = scripted.pki.client_context()
    got, end = talk(port, b'USER alice\r\nPASS canary-secret\r\nQUIT\r\n', tls=tls)
    assert b'-ERR [AUTH] Authentication failed.\r\n' in got and end == 'end'
    assert scripted.logins(port) == 1 and b'canary-secret' in scripted.received(port)


def test_scripted_drip(scripted):
    port = scripted.play_text(0, 'drip 20\nsend 12345678\nclose')
    start = time.monotonic()
    assert talk(port)[0] == b'12345678\r\n'
    assert time.monotonic() - start >= 0.2


@pytest.mark.parametrize('name', ['pop-ok-starttls', 'pop-stls-injected'])
def test_scripted_starttls(scripted, name):
    port = scripted.play(0, name)
    tls = scripted.pki.client_context()
    sock = socket.create_connection(('127.0.0.1', port), timeout=5)
    sock.sendall(b'STLS\r\n')
    got = b''
    while not got.endswith(b'-ERR injected\r\n' if 'injected' in name else b'negotiation.\r\n'):
        got += sock.recv(4096)
    assert (b'injected' in got) == ('injected' in name)
    sock = tls.wrap_socket(sock, server_hostname='odd.example.test')
    sock.sendall(b'USER alice\r\nPASS pw\r\nSTAT\r\nQUIT\r\n')
    got = b''
    while b'Bye' not in got:
        got += sock.recv(4096)
    assert b'+OK Logged in.\r\n+OK 3 ' in got and scripted.trouble(port) == []


def test_scripted_flood_ends_with_the_client(scripted):
    port = scripted.play(0, 'pop-endless-line-plain')
    sock = socket.create_connection(('127.0.0.1', port))
    assert len(sock.recv(100000, socket.MSG_WAITALL)) == 100000
    sock.close()
    scripted.wait_ended(port)


def test_scripted_smtp(scripted):
    port = scripted.play(0, 'smtp-app-password')
    got, _ = talk(port, b'EHLO x\r\nAUTH PLAIN AGEAYg==\r\nQUIT\r\n', tls=scripted.pki.client_context())
    assert b'\r\n534-5.7.9 Application-specific password required.' in got and got.endswith(b'221 2.0.0 Bye\r\n')


def test_scripted_in_lab(lab):
    lab.scripted.play(4995, 'pop-gmail-stat-disabled')
    tls = lab.pki.client_context().wrap_socket(lab.connect('odd.example.test', 4995), server_hostname='odd.example.test')
    tls.sendall(b'USER a\r\nPASS b\r\nSTAT\r\nQUIT\r\n')
    got = b''
    while b'Bye' not in got:
        got += tls.recv(4096)
    assert b'-ERR [SYS/PERM] Your account is not enabled for POP access.' in got
    assert lab.scripted.logins(4995) == 1


# -- nothing is left

def leftovers(path, pids):
    return [p for p in pids if alive(p)] + ([path] if os.path.exists(path) else [])


def test_two_at_once_and_nothing_left(lab):
    with Lab() as other:
        assert login(other).startswith('+OK') and login(lab).startswith('+OK')
        lab.set_account('only@example.test', password='x')
        assert login(other, user='only@example.test', password='x').startswith('-ERR')
        pids = [other.server.pid, other.client.pid, other.dovecot.pid, other.postfix.pid, other.dns.knot, other.run.process.pid]
        path = other.path
    assert leftovers(path, pids) == []


@pytest.mark.parametrize('how', [signal.SIGTERM, signal.SIGINT, signal.SIGKILL, None])
def test_nothing_left_after(how):
    """However the harness dies, the guard ends what it started. None: by an exception."""
    program = ('import sys, time; sys.path.insert(0, sys.argv[1]); sys.dont_write_bytecode = True\n'
               'from wplab.lab import Lab\n'
               'with Lab() as lab:\n'
               '    print(lab.path, lab.server.pid, lab.client.pid, lab.dovecot.pid, lab.postfix.pid, lab.run.process.pid, flush=True)\n'
               + ('    time.sleep(60)\n' if how else '    raise SystemExit(3)\n'))
    process = subprocess.Popen(['/usr/bin/python3', '-c', program, HERE], stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True, env=CLEAN_ENV)
    path, *pids = process.stdout.readline().split()
    pids = [int(p) for p in pids]
    if how:
        assert leftovers(path, pids) == [*pids, path]
        process.send_signal(how)
    process.wait()
    process.stdout.close()
    for pid in pids:
        assert wait_gone(pid, 10)
    assert leftovers(path, pids) == []


def test_guard_tells_what_does_not_start():
    with Run('waypost-test') as run:
        with pytest.raises(LabError, match='No such file'):
            run.spawn(['/nonexistent/program'])
        with pytest.raises(LabError, match='not installed'):
            run.spawn(['no-such-program'])
