"""The tables of a gallery's SQLite file, as steps that bring an older file up to date.

docs/gallery.md explains every table.
"""

from __future__ import annotations

import sqlite3

STEPS: tuple[tuple[str, str], ...] = (
    (
        "create the tables",
        """
CREATE TABLE gallery (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    fingerprint TEXT,
    model TEXT,
    dim INTEGER,
    generation INTEGER NOT NULL DEFAULT 0,
    deletions INTEGER NOT NULL DEFAULT 0
);
INSERT INTO gallery (only) VALUES (1);
CREATE TABLE cameras (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE
);
CREATE TABLE videos (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    hash TEXT NOT NULL UNIQUE,
    camera INTEGER NOT NULL REFERENCES cameras ON DELETE CASCADE,
    source TEXT NOT NULL,
    fps REAL NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    start_time REAL,
    utc_offset INTEGER NOT NULL DEFAULT 0,
    resumable INTEGER NOT NULL,
    settings TEXT NOT NULL,
    position INTEGER NOT NULL DEFAULT 0,
    complete INTEGER NOT NULL DEFAULT 0,
    num_frames INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX videos_camera ON videos (camera);
CREATE TABLE chunks (
    video INTEGER NOT NULL REFERENCES videos ON DELETE CASCADE,
    first_frame INTEGER NOT NULL,
    frames BLOB NOT NULL,
    detections BLOB NOT NULL,
    PRIMARY KEY (video, first_frame)
);
CREATE TABLE pending (
    id INTEGER PRIMARY KEY,
    video INTEGER NOT NULL REFERENCES videos ON DELETE CASCADE,
    track INTEGER NOT NULL,
    frame INTEGER NOT NULL,
    time REAL NOT NULL,
    x1 REAL NOT NULL, y1 REAL NOT NULL, x2 REAL NOT NULL, y2 REAL NOT NULL,
    quality REAL NOT NULL,
    jpeg BLOB NOT NULL,
    UNIQUE (video, track, frame)
);
CREATE TABLE tracklets (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    video INTEGER NOT NULL REFERENCES videos ON DELETE CASCADE,
    track INTEGER NOT NULL,
    start REAL NOT NULL,
    "end" REAL NOT NULL,
    first_frame INTEGER NOT NULL,
    last_frame INTEGER NOT NULL,
    num_boxes INTEGER NOT NULL,
    person TEXT,
    UNIQUE (video, track)
);
CREATE INDEX tracklets_person ON tracklets (person) WHERE person IS NOT NULL;
CREATE TABLE embeddings (
    tracklet INTEGER PRIMARY KEY REFERENCES tracklets ON DELETE CASCADE,
    mean BLOB NOT NULL
);
CREATE TABLE boxes (
    tracklet INTEGER PRIMARY KEY REFERENCES tracklets ON DELETE CASCADE,
    boxes BLOB NOT NULL
);
CREATE TABLE crops (
    id INTEGER PRIMARY KEY,
    tracklet INTEGER NOT NULL REFERENCES tracklets ON DELETE CASCADE,
    rank INTEGER NOT NULL,
    frame INTEGER NOT NULL,
    time REAL NOT NULL,
    x1 REAL NOT NULL, y1 REAL NOT NULL, x2 REAL NOT NULL, y2 REAL NOT NULL,
    quality REAL NOT NULL,
    embedding BLOB NOT NULL,
    jpeg BLOB NOT NULL,
    UNIQUE (tracklet, rank)
);
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time TEXT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    detail TEXT NOT NULL
);
""",
    ),
    (
        "remember deleted spans of unfinished videos",
        """
CREATE TABLE forgotten (
    video INTEGER NOT NULL REFERENCES videos ON DELETE CASCADE,
    after REAL,
    before REAL
);
""",
    ),
    (
        "people: sets of tracklets, found or confirmed, and pairs that are two people",
        """
CREATE TABLE people (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT UNIQUE
);
CREATE TABLE members (
    tracklet INTEGER PRIMARY KEY REFERENCES tracklets ON DELETE CASCADE,
    person INTEGER NOT NULL REFERENCES people ON DELETE CASCADE,
    confirmed_by TEXT,
    confirmed_at TEXT
);
CREATE INDEX members_person ON members (person);
CREATE TABLE different (
    first INTEGER NOT NULL REFERENCES tracklets ON DELETE CASCADE,
    second INTEGER NOT NULL REFERENCES tracklets ON DELETE CASCADE,
    said_by TEXT NOT NULL,
    said_at TEXT NOT NULL,
    PRIMARY KEY (first, second),
    CHECK (first < second)
);
CREATE INDEX different_second ON different (second);
ALTER TABLE gallery ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
ALTER TABLE gallery ADD COLUMN thresholds TEXT;
INSERT INTO people (name) SELECT DISTINCT person FROM tracklets WHERE person IS NOT NULL
    ORDER BY person;
INSERT INTO members SELECT t.key, p.id, coalesce(a.actor, 'unknown'),
    coalesce(a.time, strftime('%Y-%m-%dT%H:%M:%f000+00:00', 'now'))
    FROM tracklets t JOIN people p ON p.name = t.person LEFT JOIN audit a ON a.id = (
    SELECT max(id) FROM audit WHERE action = 'merge'
    AND CASE WHEN json_valid(detail) THEN json_extract(detail, '$.person') END = p.name);
UPDATE tracklets SET person = NULL;
DROP INDEX tracklets_person;
""",
    ),
    (
        "embeddings of another model, kept aside until all tracklets have them",
        """
CREATE TABLE new_model (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    fingerprint TEXT NOT NULL,
    model TEXT NOT NULL,
    dim INTEGER NOT NULL
);
CREATE TABLE new_means (
    tracklet INTEGER PRIMARY KEY REFERENCES tracklets ON DELETE CASCADE,
    mean BLOB NOT NULL
);
CREATE TABLE new_crops (
    crop INTEGER PRIMARY KEY REFERENCES crops ON DELETE CASCADE,
    rank INTEGER NOT NULL,
    embedding BLOB NOT NULL
);
""",
    ),
    (
        "hidden people, statements that can be undone, and cases",
        """
ALTER TABLE people ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0;
CREATE TABLE changes (
    entry INTEGER PRIMARY KEY REFERENCES audit,
    rows TEXT NOT NULL
);
CREATE TABLE cases (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    owner TEXT NOT NULL,
    title TEXT NOT NULL,
    notes TEXT NOT NULL,
    search TEXT NOT NULL,
    made TEXT NOT NULL,
    changed TEXT NOT NULL
);
CREATE TABLE case_images (
    id INTEGER PRIMARY KEY,
    of_case INTEGER NOT NULL REFERENCES cases ON DELETE CASCADE,
    jpeg BLOB NOT NULL
);
CREATE INDEX case_images_case ON case_images (of_case);
CREATE TABLE case_marks (
    id INTEGER PRIMARY KEY,
    of_case INTEGER NOT NULL REFERENCES cases ON DELETE CASCADE,
    tracklet INTEGER NOT NULL REFERENCES tracklets ON DELETE CASCADE,
    confirmed INTEGER NOT NULL,
    similarity REAL,
    probability REAL,
    note TEXT NOT NULL,
    said_by TEXT NOT NULL,
    said_at TEXT NOT NULL,
    UNIQUE (of_case, tracklet)
);
CREATE INDEX case_marks_tracklet ON case_marks (tracklet);
""",
    ),
    (
        "numbers instead of people's names in the audit log; travel times between cameras",
        """
UPDATE audit SET detail = json_set(detail, '$.person', (SELECT id FROM people
    WHERE name = json_extract(detail, '$.person')))
    WHERE CASE WHEN json_valid(detail) THEN json_type(detail, '$.person') END = 'text';
CREATE TABLE travel_times (
    first INTEGER NOT NULL REFERENCES cameras ON DELETE CASCADE,
    second INTEGER NOT NULL REFERENCES cameras ON DELETE CASCADE,
    seconds REAL NOT NULL,
    PRIMARY KEY (first, second),
    CHECK (first < second)
);
CREATE INDEX travel_times_second ON travel_times (second);
""",
    ),
    (
        "watched people, what is announced of them, and who has got it",
        """
CREATE TABLE watched (
    person INTEGER PRIMARY KEY REFERENCES people ON DELETE CASCADE,
    said_by TEXT NOT NULL,
    said_at TEXT NOT NULL,
    after INTEGER NOT NULL
);
CREATE TABLE announcements (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    person INTEGER NOT NULL REFERENCES people ON DELETE CASCADE,
    video INTEGER NOT NULL REFERENCES videos ON DELETE CASCADE,
    tracklet INTEGER REFERENCES tracklets ON DELETE CASCADE,
    start REAL NOT NULL,
    "end" REAL NOT NULL,
    made TEXT NOT NULL
);
CREATE INDEX announcements_person ON announcements (person);
CREATE INDEX announcements_video ON announcements (video);
CREATE INDEX announcements_tracklet ON announcements (tracklet);
CREATE TABLE receivers (
    name TEXT NOT NULL PRIMARY KEY,
    last INTEGER NOT NULL
);
""",
    ),
)
"""Name and SQL of every step; step n makes schema version n, so steps are only ever appended."""


def upgrade(connection: sqlite3.Connection) -> None:
    """Apply the steps that a file lacks; to be called within a transaction."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    for number, (_, script) in enumerate(STEPS[version:], version + 1):
        for statement in script.split(";\n"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number}")
