# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a folder has ever shown, and the promises that no event may break.

Whatever is done to a tree, a client that has seen (UIDVALIDITY, UID) once may keep what it saw for
ever. So a test takes a snapshot after each event, and each snapshot is held against all before it:

- under one UIDVALIDITY a UID never shows other bytes or another date, and never comes back once it
  was gone;
- a UID that is new is not below the UIDNEXT that was told before;
- UIDNEXT and HIGHESTMODSEQ never go down; UIDs ascend.
"""


class Snapshot:
    def __init__(self, box, messages):
        self.uidvalidity = box.uidvalidity
        self.uidnext = box.uidnext
        self.highestmodseq = box.highestmodseq
        self.messages = messages        # {UID: dict of FETCH items}
        self.answer = box.answer

    @property
    def uids(self):
        return sorted(self.messages)

    def body(self, uid):
        return self.messages[uid]["BODY[]"]

    def bodies(self):
        return [self.body(uid) for uid in self.uids]

    def date(self, uid):
        return self.messages[uid]["INTERNALDATE"]

    def flags(self, uid):
        return set(self.messages[uid]["FLAGS"]) - {"\\Recent"}

    def all_flags(self):
        return {uid: self.flags(uid) for uid in self.uids}


class History:
    """All that was seen of one mailbox; `test` gets the assertions.

    dates: whether an INTERNALDATE that changes is a failure.
    """

    def __init__(self, test, dates=True):
        self.test = test
        self.dates = dates
        self.shown = {}         # (uidvalidity, uid) -> (body, date)
        self.next = {}          # uidvalidity -> highest UIDNEXT told
        self.modseq = {}        # uidvalidity -> highest HIGHESTMODSEQ told
        self.gone = set()       # (uidvalidity, uid)
        self.alive = {}         # uidvalidity -> UIDs of its last snapshot
        self.last = None

    def look(self, client, name="INBOX"):
        """Select `name` in this session, take a snapshot, hold it against the past."""
        for _ in range(3):
            box = client.select(name, " (CONDSTORE)")
            messages = client.fetch("1:*", "FLAGS MODSEQ INTERNALDATE RFC822.SIZE BODY.PEEK[]") \
                if box.exists else {}
            # An edit in place is noticed when the file is opened: its old UID then shows nothing,
            # and is gone at the next sync.
            if all(items.get("BODY[]") is not None for items in messages.values()):
                break
        else:
            self.test.fail(f"messages without a body: {messages!r:.500}")
        snapshot = Snapshot(box, messages)
        self.test.assertEqual(len(messages), box.exists, "FETCH 1:* and EXISTS differ")
        self._hold(snapshot)
        self.last = snapshot
        return snapshot

    def _hold(self, now):
        test, validity = self.test, now.uidvalidity
        test.assertEqual([u for u in now.uids if u >= now.uidnext], [], "UID at or above UIDNEXT")
        test.assertGreaterEqual(now.uidnext, self.next.get(validity, 0), "UIDNEXT went down")
        test.assertGreaterEqual(now.highestmodseq or 0, self.modseq.get(validity, 0),
                                "HIGHESTMODSEQ went down under the same UIDVALIDITY")
        for uid, items in now.messages.items():
            key = (validity, uid)
            test.assertEqual(int(items["RFC822.SIZE"]), len(items["BODY[]"]), f"size of {key}")
            test.assertNotIn(key, self.gone, f"{key} came back after it was gone")
            shows = (items["BODY[]"], items["INTERNALDATE"] if self.dates else None)
            if key in self.shown:
                test.assertEqual(shows, self.shown[key], f"{key} shows something else now")
            else:
                test.assertGreaterEqual(uid, self.next.get(validity, 0),
                                        f"new message under the old UID {key}")
                self.shown[key] = shows
        for uid in self.alive.get(validity, set()) - set(now.uids):
            self.gone.add((validity, uid))
        self.alive[validity] = set(now.uids)
        self.next[validity] = max(now.uidnext, self.next.get(validity, 0))
        self.modseq[validity] = max(now.highestmodseq or 0, self.modseq.get(validity, 0))
