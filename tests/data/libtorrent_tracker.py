"""A libtorrent that announces and scrapes, for the tests of the tracker.

Usage: libtorrent_tracker.py TORRENT DIRECTORY INTERFACES whole|partial

`partial` wants the first file alone. It says each of its alerts in a line, and `finished` once it has all that it wants; then it
announces again every second, without regard to what trackers ask for, and goes on until it is killed. No DHT, LSD, uTP, port
mapping, PEX or encryption: what it learns of the world, it has from its tracker.
"""

import sys

import libtorrent as lt

torrent, directory, interfaces, wanted = sys.argv[1:]
session = lt.session({
    "listen_interfaces": interfaces,
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_outgoing_utp": False,
    "enable_incoming_utp": False,
    "out_enc_policy": 2,
    "in_enc_policy": 2,
    "min_announce_interval": 1,
    "min_reconnect_time": 1,
    "announce_to_all_trackers": True,
    "announce_to_all_tiers": True,
    "alert_mask": lt.alert.category_t.status_notification | lt.alert.category_t.error_notification
    | lt.alert.category_t.tracker_notification | lt.alert.category_t.peer_notification,
})
parameters = lt.add_torrent_params()
parameters.ti = lt.torrent_info(torrent)
parameters.save_path = directory
if wanted == "partial":
    parameters.file_priorities = [4] + [0] * (parameters.ti.num_files() - 1)
handle = session.add_torrent(parameters)
scraped = False
while True:
    session.wait_for_alert(1000)
    for alert in session.pop_alerts():
        print("alert", alert.message(), flush=True)
    status = handle.status()
    if status.is_finished:
        print("finished", flush=True)
        handle.force_reannounce(0, -1, 1)
    if not scraped and status.state != lt.torrent_status.checking_files:
        handle.scrape_tracker(-1)
        scraped = True
