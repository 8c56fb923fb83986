"""Says without end who is who in a gallery, or finds it: ``python user.py FOLDER say|find``.

``say`` prints every statement once it is made: pairs of tracks that are one person, a person's
name, and a track that was split off.
"""

import sys

from reid_dhm.gallery.people.linking.run import link_gallery
from reid_dhm.gallery.store import statements
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.people import find_person

folder, role = sys.argv[1:]
with GalleryStore(folder) as gallery:
    ids = [tracklet.id for tracklet in gallery.tracklets()]
    print("ready", flush=True)
    if role == "find":
        while True:
            try:
                link_gallery(gallery)
            except Exception as error:  # people change all the time: try again
                if type(error).__name__ != "LockedError":
                    raise
    for number in range(0, len(ids) - 5, 5):
        one, other, third, fourth, fifth = ids[number : number + 5]
        person = statements.link(gallery, [one, other], "anna")
        print("same", one, other, flush=True)
        statements.name(gallery, find_person(gallery, person), f"name {number}", "anna")
        print("named", one, f"name {number}", flush=True)
        joined = statements.link(gallery, [third, fourth, fifth], "anna")
        statements.split(gallery, find_person(gallery, joined), [fifth], "anna")
        print("different", fourth, fifth, flush=True)
        into = [find_person(gallery, person), find_person(gallery, joined)]
        statements.merge(gallery, into, actor="anna")
        print("same", one, third, flush=True)
