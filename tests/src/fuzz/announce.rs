//! What clients say to a tracker, in queries and in packets: what is read is bounded, and reads back equal once written again.

use torrent_format::announce::http::{self, MAX_SCRAPE, MAX_VALUE, UNKNOWN_LEFT};
use torrent_format::announce::udp::{self, Action, Header};
use torrent_format::announce::{AnnounceEvent, AnnounceRequest};

use super::within_memory;

/// A query of an announce or a scrape.
pub(super) fn query(input: &[u8]) -> bool {
    let announce = within_memory(input.len(), || http::parse_announce(input));
    let scrape = within_memory(input.len(), || http::parse_scrape(input));
    for error in [announce.as_ref().err(), scrape.as_ref().err()].into_iter().flatten() {
        let reason = error.to_string();
        assert!(reason.len() < 200 && !reason.contains(char::is_control), "{reason:?}");
    }
    if let Ok(info_hashes) = &scrape {
        assert!((1..=MAX_SCRAPE).contains(&info_hashes.len()));
        let url = http::scrape_url("http://t.example/announce", info_hashes).expect("it has a scrape");
        let written = url.split_once('?').expect("it has a query").1;
        assert_eq!(http::parse_scrape(written.as_bytes()).as_ref(), Ok(info_hashes));
    }
    if let Ok(request) = &announce {
        check_request(request);
        assert!(request.tracker_id.as_ref().is_none_or(|id| id.len() <= MAX_VALUE));
        let url = http::announce_url("http://t.example/announce", request);
        let written = url.split_once('?').expect("it has a query").1;
        let again = http::parse_announce(written.as_bytes());
        // An id in raw bytes may be three times as long once it is escaped.
        if request.tracker_id.as_ref().is_none_or(|id| 3 * id.len() <= MAX_VALUE) {
            assert_eq!(again, Ok(as_written(request)));
        }
    }
    announce.is_ok() || scrape.is_ok()
}

/// A packet to a tracker.
pub(super) fn packet(input: &[u8]) -> bool {
    let Some(header) = Header::parse(input) else {
        assert!(input.len() < udp::HEADER || input[8..11] != [0; 3] || input[11] > 2);
        return false;
    };
    let options: usize = udp::url_data(input).map(<[u8]>::len).sum();
    assert!(options <= input.len());
    let announce = within_memory(input.len(), || udp::parse_announce(input));
    if let Ok(request) = &announce {
        check_request(request);
        let path: Vec<u8> = udp::url_data(input).flatten().copied().collect();
        let path = String::from_utf8_lossy(&path).into_owned();
        let written = udp::announce(header.connection_id, header.transaction, request, &path);
        assert_eq!(udp::parse_announce(&written), Ok(as_written(request)));
        assert_eq!(udp::url_data(&written).collect::<Vec<_>>().concat(), path.as_bytes());
        let again = Header::parse(&written).expect("it has a header");
        assert_eq!(again, Header { action: Action::Announce, ..header });
    }
    let scrape = udp::parse_scrape(input).map(Iterator::collect::<Vec<_>>);
    if let Ok(info_hashes) = &scrape {
        assert!((1..=udp::MAX_SCRAPE).contains(&info_hashes.len()));
        let written = udp::scrape(header.connection_id, header.transaction, info_hashes);
        assert_eq!(udp::parse_scrape(&written).map(Iterator::collect::<Vec<_>>).as_ref(), Ok(info_hashes));
    }
    match header.action {
        Action::Connect => header.connection_id == udp::PROTOCOL_ID,
        Action::Announce => announce.is_ok(),
        Action::Scrape => scrape.is_ok(),
    }
}

fn check_request(request: &AnnounceRequest) {
    assert!(request.port != 0 || request.event == AnnounceEvent::Stopped);
}

/// A size that is not known is written as a number that every tracker takes for a leecher's.
fn as_written(request: &AnnounceRequest) -> AnnounceRequest {
    let left = if request.left == u64::MAX { UNKNOWN_LEFT } else { request.left };
    AnnounceRequest { left, ..request.clone() }
}
