"""A BitTorrent client around libtorrent, for interop tests.

Usage: libtorrent_peer.py show TORRENT
       libtorrent_peer.py peer TORRENT|MAGNET DIRECTORY ADDRESS PORT [lsd] [pex] [peer=ADDRESS:PORT] [settings=JSON]

`show` prints the v1 info hash. `peer` checks what is in DIRECTORY, downloads what is missing, has libtorrent hash it all once more,
says each step in a line, and seeds until it is killed. No DHT, port mapping, uTP or encryption unless the settings say so, and LSD and
PEX only if asked for: what it learns of the world, it has from its tracker, and from the peer that is named.
"""

import json
import sys

import libtorrent as lt

SETTINGS = {
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_outgoing_utp": False,
    "enable_incoming_utp": False,
    "out_enc_policy": 2,
    "in_enc_policy": 2,
    "min_reconnect_time": 1,
    "alert_mask": lt.alert.category_t.status_notification | lt.alert.category_t.error_notification
    | lt.alert.category_t.tracker_notification | lt.alert.category_t.peer_notification,
}


def say(*words):
    print(*words, flush=True)


def main():
    source = sys.argv[2]
    if sys.argv[1] == "show":
        say("info hash", lt.torrent_info(source).info_hash())
        return
    directory, address, port, *words = sys.argv[3:]
    parameters = lt.parse_magnet_uri(source) if source.startswith("magnet:") else lt.add_torrent_params()
    if not source.startswith("magnet:"):
        parameters.ti = lt.torrent_info(source)
    parameters.save_path = directory
    given = [json.loads(word.removeprefix("settings=")) for word in words if word.startswith("settings=")]
    settings = {**SETTINGS, "enable_lsd": "lsd" in words, "listen_interfaces": f"{address}:{port}"}
    for more in given:
        settings.update(more)
    session = lt.session(settings, flags=0)
    for plugin in ["ut_metadata", "smart_ban"] + ["ut_pex"] * ("pex" in words):
        session.add_extension(plugin)
    torrent = session.add_torrent(parameters)
    for word in words:
        if word.startswith("peer="):
            host, peer_port = word.removeprefix("peer=").rsplit(":", 1)
            torrent.connect_peer((host, int(peer_port)))
    checked = rechecking = False
    while True:
        session.wait_for_alert(1000)
        for alert in session.pop_alerts():
            say("alert", alert.message())
            if isinstance(alert, lt.torrent_checked_alert):
                say("rechecked" if rechecking else "checked", f"{torrent.status().progress:.4f}")
                checked = True
                if torrent.status().is_seeding:
                    say("seeding")
            elif isinstance(alert, lt.torrent_finished_alert) and checked and not rechecking:
                # Downloaded, not found here: that comes before the end of the first check.
                rechecking = True
                torrent.force_recheck()
            elif isinstance(alert, lt.torrent_error_alert) and "do not describe the same data" in alert.message():
                # libtorrent 2.0.8 is too quick to say so of a hybrid whose piece layers it had to ask for: a piece of which it knows
                # both hashes, but which it has not written yet, counts as one that failed by v1 when its layer comes.
                torrent.clear_error()
                torrent.resume()


main()
