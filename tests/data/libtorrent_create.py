"""Creates and checks torrents with libtorrent, for interop tests and benchmarks.

Usage: libtorrent_create.py version
       libtorrent_create.py create [v1|v2|hybrid PIECE_LENGTH PAYLOAD OUTPUT]...
       libtorrent_create.py check [TORRENT DIRECTORY]...

`create` says `V1_HASH V2_HASH` (`-`: none) in a line a torrent. v1 lists files bytewise by their joined path, as mktorrent does;
v2 and hybrid in libtorrent's canonical order, which is that of the file tree. `check` adds each torrent on data that is there,
and says `V1_HASH V2_HASH PROGRESS`, in the order given, once all are checked; it never downloads.
"""

import os
import sys

import libtorrent as lt

ONLY = {"v1": lt.create_torrent.v1_only, "v2": lt.create_torrent.v2_only, "hybrid": 0}


def files_below(payload):
    """Paths relative to the directory that holds `payload`, with lengths."""
    parent, name = os.path.split(os.path.abspath(payload))
    if os.path.isfile(payload):
        return [(name, os.path.getsize(payload))]
    found = []
    for directory, _, names in os.walk(payload):
        for file in names:
            path = os.path.join(directory, file)
            found.append((os.path.relpath(path, parent), os.path.getsize(path)))
    return sorted(found, key=lambda entry: entry[0].encode())


def create(form, piece_length, payload, output):
    storage = lt.file_storage()
    for path, length in files_below(payload):
        storage.add_file(path, length)
    torrent = lt.create_torrent(storage, int(piece_length), ONLY[form])
    lt.set_piece_hashes(torrent, os.path.dirname(os.path.abspath(payload)))
    with open(output, "wb") as file:
        file.write(lt.bencode(torrent.generate()))


def hashes(info):
    both = info.info_hashes()
    return f"{both.v1 if both.has_v1() else '-'} {both.v2 if both.has_v2() else '-'}"


def check(torrents):
    session = lt.session({
        "listen_interfaces": "", "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
        "alert_mask": lt.alert.category_t.status_notification | lt.alert.category_t.error_notification,
        "alert_queue_size": 100000,
    })
    handles = []
    for torrent, directory in torrents:
        # Not auto-managed: all are checked at once. In upload mode nothing is written.
        parameters = {"ti": lt.torrent_info(torrent), "save_path": directory, "flags": lt.torrent_flags.upload_mode}
        handles.append(session.add_torrent(parameters))
    checked = set()
    while len(checked) < len(handles):
        session.wait_for_alert(1000)
        for alert in session.pop_alerts():
            if isinstance(alert, (lt.torrent_error_alert, lt.file_error_alert)):
                sys.exit(alert.message())
            if isinstance(alert, lt.torrent_checked_alert):
                checked.add(handles.index(alert.handle))
    for handle in handles:
        print(hashes(handle.torrent_file()), f"{handle.status().progress_ppm / 1e6:.6f}")


def main():
    arguments = sys.argv[2:]
    if sys.argv[1] == "version":
        print(lt.__version__)
    elif sys.argv[1] == "create":
        for job in zip(*[iter(arguments)] * 4):
            create(*job)
            print(hashes(lt.torrent_info(job[3])))
    elif sys.argv[1] == "check":
        check(list(zip(*[iter(arguments)] * 2)))


main()
