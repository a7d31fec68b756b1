"""store-sqlite keeps records in an SQLite file: the retained ones until they expire, and of all the newest.

Beside what every store does it has the powers "terms" and "ttl"."""

import os
import secrets
import sqlite3
import threading
import time

import kit

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["dir"],
    "additionalProperties": False,
    "properties": {
        "dir": {"type": "string", "minLength": 1},
        "keep": {"type": "integer", "minimum": 1000},
    },
}

TABLES = """
    CREATE TABLE IF NOT EXISTS record (position INTEGER PRIMARY KEY, message BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS retained (topic TEXT PRIMARY KEY, expires_ms INTEGER NOT NULL, message BLOB NOT NULL) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS ends ON retained (expires_ms) WHERE expires_ms > 0;
    CREATE TABLE IF NOT EXISTS committed (origin BLOB, ref INTEGER, position INTEGER, PRIMARY KEY (origin, ref)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS term (first INTEGER NOT NULL, id BLOB NOT NULL, started_ms INTEGER NOT NULL);
"""

PAGE_RECORDS, PAGE_BYTES = 256, 1 << 20
SWEEP_SECONDS = 1  # what has expired is to be cleared within 5 s


class Store:
    """One SQLite file, which this process has for itself. Everything below is guarded by changed, which tells of each commit."""

    def __init__(self, config):
        self.keep = config.get("keep", 100_000)  # records for Follow
        os.makedirs(config["dir"], mode=0o700, exist_ok=True)
        self.db = sqlite3.connect(os.path.join(config["dir"], "store.db"), isolation_level=None, check_same_thread=False)
        self.db.execute("PRAGMA locking_mode = EXCLUSIVE")  # a second process is told that the database is locked
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = FULL")  # each commit is on the disk before it returns
        self.db.executescript(TABLES)
        self.began, self.began_ms = time.monotonic(), int(time.time() * 1000)
        self.term = secrets.token_bytes(8)
        self.oldest, self.head = self.db.execute("SELECT coalesce(min(position), 1), coalesce(max(position), 0) FROM record").fetchone()
        self.db.execute("INSERT INTO term VALUES (?, ?, ?)", (self.head + 1, self.term, self.began_ms))
        self.changed = threading.Condition()
        self.closing = threading.Event()
        self.sweeper = threading.Thread(target=self.sweep, daemon=True)
        self.sweeper.start()

    def close(self):
        self.closing.set()
        self.sweeper.join()
        with self.changed:
            self.db.close()

    def now_ms(self):
        """The time, by a clock that goes on evenly whatever is done to the machine's."""
        return self.began_ms + int((time.monotonic() - self.began) * 1000)

    def list_terms(self, request, context):
        with self.changed:
            rows = self.db.execute("SELECT id, first, started_ms FROM term ORDER BY rowid").fetchall()
        return kit.store.ListTermsResponse(terms=[kit.store.Term(id=id, first=first, started_ms=ms) for id, first, ms in rows])

    def sweep(self):
        """Clears the retained records that have expired: everybody who follows is told by a record without a payload."""
        while not self.closing.wait(SWEEP_SECONDS):
            with self.changed:
                rows = self.db.execute("SELECT topic FROM retained WHERE expires_ms > 0 AND expires_ms <= ?", (self.now_ms(),)).fetchall()
                if rows:
                    self.commit([kit.store.Record(topic=topic, retain=True, time_ms=self.now_ms()) for topic, in rows])
                    self.changed.notify_all()

    def load_retained(self, request, context):
        with self.changed:
            head = self.head
        topic = ""
        while True:
            with self.changed:
                rows = self.db.execute("SELECT topic, message FROM retained WHERE topic > ? ORDER BY topic LIMIT ?", (topic, PAGE_RECORDS))
                page = page_of(kit.store.Record.FromString(message) for _, message in rows)
            if not page:
                break
            yield kit.store.LoadRetainedResponse(records=page)
            topic = page[-1].topic
        yield kit.store.LoadRetainedResponse(head=head, last=True)

    def follow(self, request, context):
        context.add_callback(self.wake)  # when the broker has ended the call
        with self.changed:
            target = self.head
        after, caught_up = request.after, False
        while context.is_active():
            with self.changed:
                if after + 1 < self.oldest:
                    raise kit.Trimmed(f"the oldest record has offset {self.oldest}")
                page = self.records_after(after, request.origin)
                if page:
                    after = page[-1].offset
                elif caught_up:
                    self.changed.wait()
                    continue
                head = self.head
            answer = kit.store.FollowResponse(records=page)
            if not caught_up and after >= target:
                answer.caught_up.term, answer.caught_up.head = self.term, head
                caught_up = True
            yield answer

    def records_after(self, offset, origin):
        """The next page of records. Those that the asking broker has appended itself it needs no more than named."""
        rows = self.db.execute("SELECT message FROM record WHERE position > ? ORDER BY position LIMIT ?", (offset, PAGE_RECORDS))
        page = page_of(kit.store.Record.FromString(message) for message, in rows)
        for i, record in enumerate(page):
            if origin and record.origin == origin:
                page[i] = kit.store.Record(offset=record.offset, origin=record.origin, ref=record.ref, elided=True)
        return page

    def append(self, requests, context):
        for request in requests:
            with self.changed:
                results = self.commit(request.records)
            self.wake()
            yield kit.store.AppendResponse(batch=request.batch, results=results)

    def commit(self, records):
        """Commits a batch. If that fails nobody knows what is on the disk, so the process ends: the next one reads it."""
        head, results = self.head, []
        try:
            self.db.execute("BEGIN IMMEDIATE")
            for record in records:
                known = self.db.execute("SELECT position FROM committed WHERE origin = ? AND ref = ?", (record.origin, record.ref)).fetchone()
                if known and record.origin:
                    results.append(kit.store.AppendResult(offset=known[0], duplicate=True))
                    continue
                head += 1
                self.insert(head, record)
                results.append(kit.store.AppendResult(offset=head))
            self.trim(head)
            self.db.execute("COMMIT")
        except sqlite3.Error as problem:
            kit.log.error("commit: %s", problem)
            os._exit(1)
        self.head = head
        self.oldest = max(self.oldest, head - self.keep + 1)
        return results

    def insert(self, offset, record):
        record.offset = offset
        message = record.SerializeToString()
        self.db.execute("INSERT INTO record VALUES (?, ?)", (offset, message))
        if record.origin:
            self.db.execute("INSERT INTO committed VALUES (?, ?, ?)", (record.origin, record.ref, offset))
        if record.retain and record.payload:
            self.db.execute("REPLACE INTO retained VALUES (?, ?, ?)", (record.topic, record.expires_ms, message))
        elif record.retain:
            self.db.execute("DELETE FROM retained WHERE topic = ?", (record.topic,))

    def trim(self, head):
        """Forgets the records, and what is known of repeats, that are older than the newest keep."""
        self.db.execute("DELETE FROM record WHERE position <= ?", (head - self.keep,))
        self.db.execute("DELETE FROM committed WHERE position <= ?", (head - self.keep,))

    def wake(self):
        with self.changed:
            self.changed.notify_all()


def page_of(records):
    """The first of records, at most PAGE_BYTES of them together, but at least one."""
    page, size = [], 0
    for record in records:
        size += record.ByteSize()
        if page and size > PAGE_BYTES:
            break
        page.append(record)
    return page


if __name__ == "__main__":
    kit.serve(name="store-sqlite", version="0.1.0", kind="store", schema=SCHEMA, capabilities=["durability:fsync", "terms", "ttl"], make=Store)
