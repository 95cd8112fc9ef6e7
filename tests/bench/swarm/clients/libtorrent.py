"""A BitTorrent client around libtorrent.

Usage: libtorrent.py peer|rider TORRENT DIRECTORY ADDRESS

Says `ready`, waits until TORRENT is there, checks what is in DIRECTORY, downloads what is missing, says `had BYTES` every second and
`finished` when it has the last piece, and seeds until it is killed. A `rider` never uploads.
"""

import os
import sys
import time

import libtorrent as lt

role, source, directory, address = sys.argv[1:]
settings = {
    "listen_interfaces": address + ":6881",
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_outgoing_utp": False,
    "enable_incoming_utp": False,
    "out_enc_policy": 2,
    "in_enc_policy": 2,
    "alert_mask": lt.alert.category_t.status_notification | lt.alert.category_t.error_notification,
}
if role == "rider":
    # The optimistic slot stays: what is asked for in it is refused.
    settings |= {"unchoke_slots_limit": 0, "max_allowed_in_request_queue": 0, "allowed_fast_set_size": 0}
session = lt.session(settings)
print("ready", flush=True)
while not os.path.exists(source):
    time.sleep(0.01)
parameters = lt.add_torrent_params()
parameters.ti = lt.torrent_info(source)
parameters.save_path = directory
torrent = session.add_torrent(parameters)
told = 0.0
while True:
    session.wait_for_alert(250)
    for alert in session.pop_alerts():
        if isinstance(alert, lt.torrent_finished_alert):
            print("finished", flush=True)
        elif alert.category() & lt.alert.category_t.error_notification:
            print("error:", alert.message(), flush=True)
    if time.monotonic() - told >= 1:
        told = time.monotonic()
        status = torrent.status()
        print("had", status.total_done, flush=True)
        if role == "rider" and status.total_payload_upload:
            print("error: a rider has uploaded", status.total_payload_upload, flush=True)
