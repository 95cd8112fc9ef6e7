//! The examples that `--help` begins with.

pub(super) const SPRAT: &str = "\
Examples:
  sprat demo                          a whole swarm on this machine
  sprat share photos/                 give a directory to somebody, and print the line for the other end
  sprat get 'magnet:?xt=urn:btih:…'   download
  sprat create photos/ -t http://tracker.example/announce
  sprat seed photos.torrent

Every flag can be given by the environment too: SPRAT_GET_MAX_UPLOAD_LIMIT=1M is `sprat get -u 1M`.

Exit codes:
  0 ok · 1 failure · 2 usage · 3 configuration · 4 bad torrent, magnet or other input · 5 cannot write
  6 data does not match the torrent · 7 stopped unfinished · 8 timed out · 9 disk full
  10 network or tracker · 13 exists, and no --force · 130 Ctrl-C before completion
";

pub(super) const CREATE: &str = "\
Examples:
  sprat create photos/ -t http://tracker.example/announce
  sprat create disk.img -o - > disk.torrent
  sprat create src/ --gitignore --exclude '*.tmp' --print magnet
  sprat create data/ -l 1MiB --dry-run --print info-hash
  sprat create release/ --format v2 --symlinks store

The same files make the same torrent everywhere. The piece length is, if --piece-length does not
say, the smallest power of two from 16 KiB to 16 MiB that makes at most 2048 pieces; in v2 and
hybrid torrents, where every file begins a piece, it is not doubled when that would save less than
a quarter of the pieces. All cores hash, by the fastest way that the CPU has:
SPRAT_HASH_KERNEL=portable, avx2, sha-ni or avx512 limits it, for comparisons.
";

pub(super) const SHOW: &str = "\
Examples:
  sprat show photos.torrent
  sprat show photos.torrent --files
  sprat show --json 'magnet:?xt=urn:btih:…'
  sprat show old.torrent --diff new.torrent
  curl -s https://example.org/a.torrent | sprat show - --field info_hash_v1

Exit code 1 says that --lint or --diff found something.
";

pub(super) const VERIFY: &str = "\
Examples:
  sprat verify photos.torrent                 checks ./photos
  sprat verify photos.torrent /mnt/old/photos
  sprat verify photos.torrent --pieces

Exit code 6 says that the data does not match.
";

pub(super) const EDIT: &str = "\
Examples:
  sprat edit *.torrent --in-place --replace-tracker http://old.example/a http://new.example/a
  sprat edit photos.torrent -o public.torrent -t http://tracker.example/announce -c 'of 2026'
  sprat edit photos.torrent --dry-run --clear-trackers
  sprat edit photos.torrent -o mine.torrent --new-info-hash --source mine --private on

Trackers are cleared, removed, replaced and added, in this order. What is not named stays as it is,
also what sprat does not know. The info, and so the info hash, stays byte for byte, but with
--new-info-hash. Every file is read and edited before the first is written: one that can't be
leaves all as they were. Then each is replaced whole or not at all.
";

pub(super) const MAGNET: &str = "\
Examples:
  sprat magnet photos.torrent
  sprat magnet photos.torrent --no-trackers --peer 192.0.2.7:6881
  sprat magnet photos.torrent --v1            for clients that know no v2
  sprat magnet --resolve -o photos.torrent 'magnet:?xt=urn:btih:…'
";

pub(super) const GET: &str = "\
Examples:
  sprat get photos.torrent
  sprat get -o ~/Downloads 'magnet:?xt=urn:btih:…'
  sprat get photos.torrent --select-file 1,3-5
  sprat get photos.torrent --seed-ratio 1 --on-done 'notify-send \"$SPRAT_NAME\"'
  sprat get --json --timeout 2m *.torrent

What is there already is checked and completed. Stopped or killed, the same command goes on where it was.
";

pub(super) const SEED: &str = "\
Examples:
  sprat seed photos/ -t http://tracker.example/announce
  sprat seed photos.torrent --data /mnt/pictures
  sprat seed *.torrent --seed-time 2h -u 2M

A plain file or directory becomes a torrent in memory. The magnet of each torrent is printed on standard output.
";

pub(super) const SHARE: &str = "\
Examples:
  sprat share photos/
  sprat share disk.img --advertise host.example.org --http 0.0.0.0:6969 --port 6881

Runs a tracker and a seeder, and prints the line to be pasted on the other machine. If there is a firewall, both ports
have to be open: name them with --http and --port.
";

pub(super) const TRACKER: &str = "\
Examples:
  sprat tracker
  sprat tracker --http 192.0.2.7:6969 --udp 192.0.2.7:6969 --state /var/lib/sprat --metrics 127.0.0.1:9100
  sprat tracker --private --state keys/ & sprat tracker key create --state keys/ --comment Ann
  sprat tracker --store redis://redis.example/0
  sprat tracker --allow mine.txt --print-config
  sprat tracker --directory --state dir/ & sprat tracker token create --state dir/

The announce URLs are printed on standard output. SIGHUP reads the lists again. docs/tracker.md says more.
";

pub(super) const SEARCH: &str = "\
Examples:
  export SPRAT_DIRECTORY_URL=http://tracker.example:6969
  sprat search debian netinst
  sprat search '\"long term\" -beta iso|img' --sort seeders --min-seeders 1
  sprat get \"$(sprat search -1 'debian netinst')\"

The last word may be unfinished. Dots, underscores, hyphens, case and accents make no difference. Seeders are counted as
of now. Exit code 1: nothing was found.
";

pub(super) const PUBLISH: &str = "\
Examples:
  sprat publish data.torrent --title 'Survey 2026' --tags data,survey --token-file token
  sprat publish data.torrent --remove --token-file token

The file is kept as it is. A torrent that is listed already stays as it was. Whoever runs the tracker makes tokens with
`sprat tracker token create`; a directory that was started with --open-publish needs none.
";

pub(super) const DEMO: &str = "\
Examples:
  sprat demo
  sprat demo --size 512M
  sprat demo photos/

A tracker, a seeder that is short of bandwidth, and three downloaders, all on loopback. Everything is made in a
temporary directory, checked, and removed.
";

pub(super) const COMPLETIONS: &str = "\
Examples:
  sprat completions bash > ~/.local/share/bash-completion/completions/sprat
  sprat completions fish > ~/.config/fish/completions/sprat.fish
  sprat completions zsh > ~/.zfunc/_sprat
";

pub(super) const MAN: &str = "\
Examples:
  sprat man | man -l -
  sprat man ~/.local/share/man/man1
";
