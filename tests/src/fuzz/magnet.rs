//! Magnets and info hashes: what is read is bounded, harmless, and written so that it reads back equal.

use torrent_format::magnet::{MAX_MAGNET_ENTRIES, MAX_MAGNET_LENGTH};
use torrent_format::{InfoHash, InfoHashV2, InfoHashes, Magnet};

use super::within_memory;

pub(super) fn check(input: &[u8]) -> bool {
    let text = String::from_utf8_lossy(input);
    check_info_hash(&text);
    match within_memory(text.len(), || text.parse::<Magnet>()) {
        Ok(magnet) => {
            assert!(text.len() <= MAX_MAGNET_LENGTH);
            check_magnet(&magnet);
            true
        }
        Err(error) => {
            let line = error.to_string();
            assert!(line.len() < 1024 && !line.contains(char::is_control), "{line:?}");
            false
        }
    }
}

fn check_magnet(magnet: &Magnet) {
    assert!(magnet.hashes.v1().is_some() || magnet.hashes.v2().is_some());
    for entries in [&magnet.trackers, &magnet.web_seeds, &magnet.peers] {
        assert!(entries.len() <= MAX_MAGNET_ENTRIES);
        assert!(entries.iter().all(|entry| !entry.contains(char::is_control)));
    }
    for peer in &magnet.peers {
        let (host, port) = peer.rsplit_once(':').expect("a peer is host:port");
        assert!(port.parse::<u16>().expect("a port") > 0 && !host.is_empty());
    }
    assert!(magnet.web_seeds.iter().all(|url| url.to_ascii_lowercase().starts_with("http")));
    assert!(magnet.select.iter().all(|range| range.start() <= range.end()));
    assert!(magnet.select.windows(2).all(|pair| pair[0].end() + 1 < *pair[1].start()), "ascending, apart");

    let written = magnet.to_string();
    assert!(written.len() <= MAX_MAGNET_LENGTH && written.is_ascii());
    assert!(!written.contains(|c: char| c.is_control() || " \"'<>`".contains(c)), "{written}");
    assert_eq!(written.parse().as_ref(), Ok(magnet), "{written}");

    for part in [magnet.v1_only(), magnet.v2_only()].into_iter().flatten() {
        assert_eq!(part.to_string().parse().as_ref(), Ok(&part));
        assert_eq!(Magnet { hashes: magnet.hashes, ..part }, *magnet);
    }
    assert_eq!(magnet.v1_only().map(|v1| v1.hashes), magnet.hashes.v1().map(InfoHashes::from));
    assert_eq!(magnet.v2_only().map(|v2| v2.hashes), magnet.hashes.v2().map(InfoHashes::from));
}

fn check_info_hash(text: &str) {
    let hashes = text.parse::<InfoHashes>().ok();
    let v1 = text.parse::<InfoHash>().ok();
    let v2 = text.parse::<InfoHashV2>().ok();
    assert!(v1.is_none() || v2.is_none());
    assert_eq!(hashes, InfoHashes::new(v1, v2));
    if let Some(hashes) = hashes {
        assert_eq!(hashes.to_string().parse(), Ok(hashes));
        assert!(text.len() == 32 || hashes.to_string() == text.to_ascii_lowercase());
    }
}
