//! HTTP form of announce and scrape (BEP 3, 7, 21, 23, 24, 31, 48): what stands in the URL, and what is answered.
//!
//! Nothing is sent or received here. Both sides of the wire are in one place: a client writes an [`announce_url`] and reads
//! with [`decode_reply`]; a tracker reads with [`parse_announce`] and writes with [`encode_reply`] or [`encode_failure`].

mod query;
mod reply;

pub use query::{
    MAX_SCRAPE, MAX_VALUE, QueryError, UNKNOWN_LEFT, announce_url, parse_announce, parse_scrape, scrape_url,
};
pub use reply::{
    CompactReply, DEFAULT_INTERVAL, MAX_INTERVAL, MAX_PEERS, MAX_REPLY, MAX_TEXT, MAX_TRACKER_ID, ReplyError,
    RetryIn, ScrapeEntry, decode_reply, decode_scrape, encode_compact, encode_failure, encode_reply,
    encode_scrape,
};
