# SPDX-License-Identifier: LGPL-2.1-or-later
"""A real browser for one sign-in: chromium.py URL USER. Headless Chromium by its WebDriver types the name, presses the buttons, and the
address that it is sent to at last is printed. Runs inside the client's namespace.
"""
import json
import subprocess
import sys
import time
import urllib.request

PORT = 19515
ELEMENT = 'element-6066-11e4-a52e-4f735466cecf'         # of the WebDriver standard


def ask(method, path, **body):
    data = json.dumps(body).encode() if method == 'POST' else None
    request = urllib.request.Request(f'http://127.0.0.1:{PORT}{path}', data, {'Content-Type': 'application/json'}, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)['value']


def find(session, selector):
    try:
        return ask('POST', f'/session/{session}/elements', using='css selector', value=selector)
    except OSError:
        return []


def main():
    url, user = sys.argv[1:3]
    driver = subprocess.Popen(['/usr/bin/chromedriver', f'--port={PORT}', '--log-level=OFF'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    session = None
    try:
        for _ in range(200):
            try:
                ask('GET', '/status')
                break
            except OSError:
                time.sleep(0.1)
        options = {'args': ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run'],
                   'binary': '/usr/bin/chromium'}
        # Chromium has a store of certificates of its own.
        session = ask('POST', '/session', capabilities={'alwaysMatch': {'acceptInsecureCerts': True, 'goog:chromeOptions': options}})['sessionId']
        try:
            ask('POST', f'/session/{session}/url', url=url)
        except OSError:
            pass
        for _ in range(100):
            where = ask('GET', f'/session/{session}/url')
            if where.startswith('http://127.0.0.1:'):
                print(where)
                return 0
            names = find(session, 'input[name=login]')
            if names:
                ask('POST', f'/session/{session}/element/{names[0][ELEMENT]}/clear')
                ask('POST', f'/session/{session}/element/{names[0][ELEMENT]}/value', text=user)
                for one in find(session, 'input[name=password]'):
                    ask('POST', f'/session/{session}/element/{one[ELEMENT]}/value', text='x')
            buttons = find(session, 'button[type=submit], form button')
            if buttons:
                try:
                    ask('POST', f'/session/{session}/element/{buttons[0][ELEMENT]}/click')
                except OSError:
                    pass            # the page it leads to may be none: nobody listens there
            for _ in range(20):
                time.sleep(0.1)
                if ask('GET', f'/session/{session}/url') != where:
                    break
        print('the browser does not come back: ' + where, file=sys.stderr)
        return 1
    finally:
        if session:
            try:
                ask('DELETE', f'/session/{session}')
            except OSError:
                pass
        driver.terminate()
        driver.wait()


sys.exit(main())
