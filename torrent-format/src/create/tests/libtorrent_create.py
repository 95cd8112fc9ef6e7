"""Makes torrents with libtorrent. Arguments, five for each: v1|v2|hybrid, PIECE_LENGTH, links|-, PATH, OUTPUT."""

import os
import sys

import libtorrent as lt

FLAGS = {"v1": lt.create_torrent.v1_only, "v2": lt.create_torrent.v2_only, "hybrid": 0}


def make(form, piece_length, links, path, output):
    flags = FLAGS[form] | (lt.create_torrent.symlinks if links == "links" else 0)
    found = lt.file_storage()
    lt.add_files(found, path, flags=flags)
    order = range(found.num_files())
    if form == "v1":
        # As mktorrent has them; libtorrent sorts v2 and hybrid ones, and takes these as they come.
        order = sorted(order, key=lambda i: found.file_path(i).encode())
    files = lt.file_storage()
    for i in order:
        name, length, attributes, link = found.file_path(i), found.file_size(i), found.file_flags(i), ""
        if attributes & lt.file_storage.flag_symlink:
            # libtorrent 2.0 takes a link for executable, which its mode says of every link, and its target for a path below the
            # root, which it is only of links right there.
            attributes = lt.file_storage.flag_symlink
            place = os.path.join(os.path.dirname(path), name)
            link = os.path.relpath(os.path.join(os.path.dirname(place), os.readlink(place)), path)
        files.add_file(name, length, attributes, 0, link)
    torrent = lt.create_torrent(files, int(piece_length), flags)
    lt.set_piece_hashes(torrent, os.path.dirname(path))
    with open(output, "wb") as out:
        out.write(lt.bencode(torrent.generate()))


arguments = sys.argv[1:]
for first in range(0, len(arguments), 5):
    make(*arguments[first:first + 5])
