#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""nmh's mark and an IMAP client's STORE, both as fast as they can, on the same messages.

Each of them sets flags and clears others, in the same sequences and of the same messages; no flag of
a message is touched twice, so that a change that was lost is not hidden by a later one. In the end
every one is there, on both sides. The long form is 10,000 changes by each.
"""

import collections
import os
import random
import statistics
import sys
import threading
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import case  # noqa: E402
import mail_maker  # noqa: E402
import runner  # noqa: E402

EACH = 10_000 if runner.LONG else 200
SYSTEM = {"flagged": "\\Flagged", "replied": "\\Answered", "unseen": "\\Seen"}
NAMES = [*SYSTEM, *(f"work{n}" for n in range(17))]
MESSAGES = 2 * EACH // len(NAMES)


class Change:
    """Of one message and one sequence: into it, or out of it."""

    def __init__(self, number, name, add):
        self.number, self.name, self.add = number, name, add


class MarkAndStore(case.MhTestCase):
    def setUp(self):
        super().setUp()
        self.seed = int(os.environ.get("MH_TEST_SEED", time.time_ns() % 10**9))
        print(f"MH_TEST_SEED={self.seed}", flush=True)
        chance = random.Random(self.seed)
        every = [Change(number, name, chance.random() < 0.5)
                 for number in range(1, MESSAGES + 1) for name in NAMES]
        chance.shuffle(every)
        self.by_mark, self.by_store = every[:EACH], every[EACH:]
        for number in range(1, MESSAGES + 1):
            self.put(number, mail_maker.plain(number))
        before = collections.defaultdict(list)
        self.expected = {number: set() for number in range(1, MESSAGES + 1)}
        for change in every:
            if change.add:
                self.expected[change.number].add(change.name)
            else:
                before[change.name].append(change.number)
        self.nmh.write_sequences("inbox", {name: " ".join(map(str, sorted(numbers)))
                                           for name, numbers in before.items()})
        self.force_resync()
        self.client = self.select()
        self.errors = []
        self.took = {"mark": [], "STORE": []}

    def mark(self):
        for change in self.by_mark:
            began = time.monotonic()
            self.nmh.run("mark", "+inbox", str(change.number), "-sequence", change.name,
                         "-add" if change.add else "-delete", "-nozero")
            self.took["mark"].append(time.monotonic() - began)

    def store(self):
        for change in self.by_store:
            flag = SYSTEM.get(change.name, change.name)
            add = change.add != (flag == "\\Seen")
            began = time.monotonic()
            self.client.store(change.number, "+FLAGS" if add else "-FLAGS", flag)
            self.took["STORE"].append(time.monotonic() - began)

    def guarded(self, work):
        try:
            work()
        except Exception:  # noqa: BLE001: of whatever kind, it is told at the end
            self.errors.append(traceback.format_exc())

    def as_sequences(self, flags):
        names = {flag: name for name, flag in SYSTEM.items() if name != "unseen"}
        found = {names.get(flag, flag) for flag in flags if flag != "\\Seen"}
        return found if "\\Seen" in flags else found | {"unseen"}

    def test_each_change_of_both_is_there_at_the_end(self):
        began = time.monotonic()
        works = [threading.Thread(target=self.guarded, args=(work,))
                 for work in (self.mark, self.store)]
        for work in works:
            work.start()
        for work in works:
            work.join()
        self.assertEqual(self.errors, [], "\n".join(self.errors))
        for what, times in self.took.items():
            print(f"    {what}: {len(times)} in {sum(times):.1f} s, median "
                  f"{1000 * statistics.median(times):.1f} ms, most {1000 * max(times):.0f} ms; waited "
                  f"a second for the lock: {sum(took > 1 for took in times)}", flush=True)
        print(f"    both: {2 * EACH / (time.monotonic() - began):.0f} changes a second", flush=True)
        self.client.ok("NOOP")
        by_number = collections.defaultdict(set)
        for name, numbers in self.nmh.sequences_by_nmh("inbox").items():
            for number in numbers:
                by_number[number].add(name)
        fresh = self.select()
        for client in (self.client, fresh):
            told = {uid: self.as_sequences(flags) for uid, flags in client.flags().items()}
            self.assertEqual(self.differing(told), {}, "to IMAP")
        self.assertEqual(self.differing(by_number), {}, "to nmh")

    def differing(self, found):
        return {number: (sorted(wanted - found[number]), sorted(found[number] - wanted))
                for number, wanted in self.expected.items() if found[number] != wanted}


if __name__ == "__main__":
    runner.main(case.prepare)
