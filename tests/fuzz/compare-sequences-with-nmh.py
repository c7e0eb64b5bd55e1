#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Random sequences files, given to nmh's mark and to libmh: both must leave the same file behind.

A file at which nmh gives up must be one that libmh has a problem with. Usage: [random seed] [count]
"""
import os
import random
import shutil
import subprocess
import sys
import tempfile

TOKENS = [b'1', b'2', b'3-5', b'7-9', b'10', b'4', b'002', b'03-05', b'3-', b'-3', b'5-3', b'1,2',
          b'x', b'2y', b'0', b'99', b'8-20', b'1-2-3', b'+4', b'11-99999']
NAMES = [b'a', b'b', b'cur', b'unseen', b'$F', b'foo_b', b'A', b'#', b'a b', b'\xc3\xa9', b'',
         b'1x']
# Not a name that ends in a blank before a NUL: nmh's first rewrite keeps the blank, its second
# drops it; libmh drops it at once.
ODD_NAMES = [b'-d', b'x\x00y', b'cur ', b'\x0bv', b'n' * 995, b'n' * 996, b'n' * 997]
BAD_LINES = [b'\n', b'junk\n', b'   \n', b'-\n', b'# c\n', b'\r\n']
COLONS = [b':', b': ', b': ', b' : ', b':\t']
BLANKS = [b' ', b' ', b' ', b'  ', b'\t', b'\r\n ', b'\n ', b'\n\t', b'\x0b']


def random_file(pick):
    text = b''
    for _ in range(pick.randint(0, 5)):
        if pick.random() < 0.04:
            text += pick.choice(BAD_LINES)
        text += pick.choice(NAMES if pick.random() < 0.9 else ODD_NAMES) + pick.choice(COLONS)
        text += pick.choice(BLANKS).join(pick.choice(TOKENS) for _ in range(pick.randint(0, 5)))
        if pick.random() < 0.02:
            text += b'\x00 7'
        text += pick.choice([b'\n', b'\n', b'\n', b'\n', b'\r\n', b' \n'])
    if pick.random() < 0.1:
        text = text.rstrip(b'\n')
    if pick.random() < 0.05:
        text += b'\n'
    return text


def find_mark():
    path = os.environ.get('PATH', '') + ':/usr/bin/mh:/usr/lib/mh:/usr/local/nmh/bin'
    return shutil.which('mark', path=path)


class Comparison:
    def __init__(self, home, mark, rewrite):
        self.file = os.path.join(home, 'Mail/inbox/.mh_sequences')
        self.rewrite = rewrite
        self.command = [mark, '+inbox', '3', '-sequence', 'zz', '-add']
        self.env = dict(os.environ, HOME=home, MH=os.path.join(home, '.mh_profile'))
        os.makedirs(os.path.dirname(self.file))
        with open(self.env['MH'], 'w') as profile:
            profile.write('Path: Mail\n')
        for number in range(1, 11):
            with open(os.path.join(home, 'Mail/inbox', str(number)), 'w') as message:
                message.write('Subject: x\n\nbody\n')

    def differs(self, text):
        with open(self.file, 'wb') as file:
            file.write(text)
        nmh = subprocess.run(self.command, env=self.env, stdin=subprocess.DEVNULL,
                             capture_output=True)
        ours = subprocess.run([self.rewrite], input=text, capture_output=True, check=True).stdout
        problems, ours = ours.split(b'\n', 1)
        if nmh.returncode != 0:
            return None if int(problems) > 0 else 'nmh gave up, libmh told nothing'
        with open(self.file, 'rb') as file:
            theirs = file.read()
        return None if theirs == ours else 'nmh left %r, libmh %r' % (theirs[:400], ours[:400])


def main():
    mark = find_mark()
    if mark is None:
        print('nmh is not installed')
        return 77
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else random.randrange(2 ** 32)
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    print('random seed', seed)
    pick = random.Random(seed)
    rewrite = os.path.join(os.environ.get('top_builddir', '.'), 'tests/fuzz/rewrite-sequences')
    failed = 0
    with tempfile.TemporaryDirectory() as home:
        comparison = Comparison(home, mark, rewrite)
        for _ in range(count):
            text = random_file(pick)
            difference = comparison.differs(text)
            if difference is not None:
                failed += 1
                print('FAIL: %r: %s' % (text[:400], difference))
    print('%d passed, %d failed' % (count - failed, failed))
    return 1 if failed else 0


sys.exit(main())
