"""Nodes of the DHT around libtorrent, all of them on this machine's loopback.

Usage: libtorrent_dht.py COUNT DIRECTORY [TORRENT...]

All begin with the first one. It says "node PORT" for each, then "known PORT COUNT" whenever one knows more nodes or fewer. The last one seeds
the torrents, whose data is in DIRECTORY, and tells the DHT so again and again. It runs until it is killed. What protects a node
of the internet from its neighbours is off: here all have one address. That goes for peers too: the seeding one finds itself in the DHT, dials
itself, and bans what it knows under that address, which would be everybody if an address stood for one peer.
"""

import sys
import time
import warnings

import libtorrent as lt

SETTINGS = {
    "enable_dht": True,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "allow_multiple_connections_per_ip": True,
    "dht_restrict_routing_ips": False,
    "dht_restrict_search_ips": False,
    "dht_ignore_dark_internet": False,
    "dht_prefer_verified_node_ids": False,
    "dht_enforce_node_id": False,
    "dht_block_ratelimit": 100000,
    "dht_block_timeout": 1,
    "dht_upload_rate_limit": 10000000,
}

# Seconds between two announces.
ANNOUNCE = 5


def start(router):
    session = lt.session({**SETTINGS, "listen_interfaces": "127.0.0.1:0", "dht_bootstrap_nodes": router})
    while session.listen_port() == 0:
        time.sleep(0.01)
    print("node", session.listen_port(), flush=True)
    return session


def main():
    warnings.simplefilter("ignore", DeprecationWarning)
    count, directory, torrents = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    sessions = [start("")]
    router = f"127.0.0.1:{sessions[0].listen_port()}"
    sessions += [start(router) for _ in range(count - 1)]
    for session in sessions:
        for other in sessions:
            if other is not session:
                session.add_dht_node(("127.0.0.1", other.listen_port()))
    seeding = []
    for torrent in torrents:
        parameters = lt.add_torrent_params()
        parameters.ti = lt.torrent_info(torrent)
        parameters.save_path = directory
        parameters.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
        seeding.append(sessions[-1].add_torrent(parameters))
    known = {}
    announced = 0
    while True:
        for session in sessions:
            port, nodes = session.listen_port(), session.status().dht_nodes
            if known.get(port) != nodes:
                known[port] = nodes
                print("known", port, nodes, flush=True)
        if time.monotonic() - announced > ANNOUNCE:
            announced = time.monotonic()
            for torrent in seeding:
                torrent.force_dht_announce()
        time.sleep(0.2)


main()
