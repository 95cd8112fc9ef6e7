"""A libtorrent set up for speed on one machine.

Usage: libtorrent.py TORRENT DIRECTORY ADDRESS:PORT [SEEDER:PORT]

Says `ready` and waits until TORRENT is there. Without SEEDER it takes all of DIRECTORY for good and says `seeding`. With it, it downloads
from there and says `finished` when it has the last piece, and `written` when that has left its cache. It seeds until it is killed.
"""

import os
import sys
import time

import libtorrent as lt

source, directory, address = sys.argv[1:4]
seeder = sys.argv[4] if len(sys.argv) > 4 else None
wanted = {
    "listen_interfaces": address,
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_outgoing_utp": False,
    "enable_incoming_utp": False,
    "out_enc_policy": 2,
    "in_enc_policy": 2,
    "allow_multiple_connections_per_ip": True,
    "alert_mask": lt.alert.category_t.status_notification
    | lt.alert.category_t.error_notification
    | lt.alert.category_t.storage_notification,
    # Speed.
    "aio_threads": 4,
    "max_queued_disk_bytes": 32 << 20,
    "max_out_request_queue": 1500,
    "max_allowed_in_request_queue": 3000,
    "send_buffer_watermark": 3 << 20,
    "send_buffer_low_watermark": 1 << 20,
    "send_buffer_watermark_factor": 150,
    "send_not_sent_low_watermark": 512 << 10,
    "unchoke_slots_limit": -1,
    "connections_limit": 8000,
    "listen_queue_size": 3000,
    "connection_speed": 500,
}
known = lt.default_settings()
session = lt.session({name: value for name, value in wanted.items() if name in known})
print("ready", flush=True)
while not os.path.exists(source):
    time.sleep(0.001)
parameters = lt.add_torrent_params()
parameters.ti = lt.torrent_info(source)
parameters.save_path = directory
parameters.flags &= ~(lt.torrent_flags.paused | lt.torrent_flags.auto_managed)
if seeder:
    host, _, port = seeder.rpartition(":")
    parameters.peers = [(host, int(port))]
else:
    # As resumed: the seed mode would hash what it sends.
    parameters.have_pieces = [True] * parameters.ti.num_pieces()
torrent = session.add_torrent(parameters)
while not seeder and not torrent.status().is_seeding:
    time.sleep(0.01)
if not seeder:
    print("seeding", flush=True)
while True:
    session.wait_for_alert(250)
    for alert in session.pop_alerts():
        if seeder and isinstance(alert, lt.torrent_finished_alert):
            print("finished", flush=True)
            torrent.flush_cache()
        elif seeder and isinstance(alert, lt.cache_flushed_alert):
            print("written", flush=True)
        elif alert.category() & lt.alert.category_t.error_notification:
            print("error:", alert.message(), flush=True)
