//! Torrents as programs are told of them: JSON, magnets, .torrent files.

use serde_json::{Value, json};
use torrent_format::safe_path::printable;
use torrent_format::{InfoHashes, Magnet, Metainfo};

use super::guard::Links;
use crate::directory::catalogue::{Listing, Results, Whole};
use crate::directory::history::Sample;
use crate::directory::record::Tag;

/// Most files of a torrent that are told of: more make a page that nobody reads. The .torrent has them all.
pub(super) const MAX_FILES: usize = 5000;

/// What a torrent is called in URLs: its v1 info hash, or that of v2 as a whole.
pub(super) fn path_name(hashes: InfoHashes) -> String {
    match (hashes.v1(), hashes.v2()) {
        (None, Some(v2)) => v2.to_string(),
        _ => hashes.primary().to_string(),
    }
}

/// A page of results.
pub(super) fn results(links: &Links, results: &Results, next: Option<String>) -> Value {
    let cursor = results.next.map(super::ask::show_cursor);
    let torrents: Vec<Value> = results.listings.iter().map(|listing| listed(links, listing)).collect();
    json!({"schema": 1, "total": results.total, "cursor": cursor, "next": next, "torrents": torrents})
}

/// A torrent in a list.
pub(super) fn listed(links: &Links, listing: &Listing) -> Value {
    let Listing { record, live, completed, .. } = listing;
    let name = path_name(record.hashes);
    let base = &links.base;
    json!({
        "info_hash": name,
        "info_hash_v1": record.hashes.v1().map(|hash| hash.to_string()),
        "info_hash_v2": record.hashes.v2().map(|hash| hash.to_string()),
        "title": record.title,
        "name": record.name,
        "tags": record.tags.iter().map(Tag::as_str).collect::<Vec<_>>(),
        "total_size": record.size,
        "file_count": record.files,
        "published": record.published,
        "seeders": live.seeders,
        "leechers": live.leechers,
        "completed": completed,
        "magnet": magnet_of(links, listing).to_string(),
        "url": format!("{base}/torrent/{name}"),
        "torrent_url": format!("{base}/torrent/{name}.torrent"),
    })
}

/// All of a torrent.
pub(super) fn whole(links: &Links, whole: &Whole) -> Value {
    let mut value = listed(links, &whole.listing);
    let (record, info) = (&whole.listing.record, &whole.metainfo.info);
    let files = info.files().iter().filter(|file| !file.pad).take(MAX_FILES);
    let files: Vec<Value> =
        files.map(|file| json!({"path": printable(file.path.as_str()), "length": file.length})).collect();
    value["schema"] = 1.into();
    value["magnet"] = magnet(links, whole).to_string().into();
    value["description"] = record.description.clone().into();
    value["owner"] = record.owner.clone().into();
    value["version"] = json!(version(&whole.metainfo));
    value["private"] = info.is_private().into();
    value["piece_length"] = info.layout().piece_length().into();
    value["piece_count"] = info.layout().piece_count().into();
    value["trackers"] = json!(whole.metainfo.trackers);
    value["web_seeds"] = json!(whole.metainfo.web_seeds);
    value["files"] = files.into();
    value
}

/// "v1", "v2" or "hybrid".
pub(super) fn version(metainfo: &Metainfo) -> &'static str {
    let version = metainfo.info.version();
    match (version.has_v1(), version.has_v2()) {
        (true, true) => "hybrid",
        (false, true) => "v2",
        _ => "v1",
    }
}

/// From what is known without the .torrent: enough to find the swarm by this tracker.
pub(super) fn magnet_of(links: &Links, listing: &Listing) -> Magnet {
    let record = &listing.record;
    Magnet {
        name: Some(record.name.clone()),
        length: Some(record.size),
        trackers: links.announce.clone(),
        ..Magnet::new(record.hashes)
    }
}

/// With this tracker first, then the torrent's own, and its web seeds.
pub(super) fn magnet(links: &Links, whole: &Whole) -> Magnet {
    let mut magnet = Magnet::from_metainfo(&whole.metainfo);
    magnet.trackers.retain(|url| !links.announce.contains(url));
    magnet.trackers.splice(0..0, links.announce.iter().cloned());
    magnet
}

/// The .torrent: the very bytes that were uploaded if they name this tracker; else this tracker is set before theirs, outside of the
/// info, which is what is hashed.
pub(super) fn torrent(links: &Links, whole: Whole) -> Vec<u8> {
    let names_us = whole.metainfo.trackers.iter().flatten().any(|url| links.announce.contains(url));
    if names_us {
        return whole.bytes;
    }
    let mut metainfo = whole.metainfo;
    metainfo.trackers.insert(0, links.announce.clone());
    metainfo.to_bytes()
}

/// The value of `Content-Disposition`: no name can break out of it.
pub(super) fn disposition(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || " .-_()".contains(c) { c } else { '_' })
        .collect();
    format!("attachment; filename=\"{plain}.torrent\"; filename*=UTF-8''{}.torrent", super::ask::escape(name))
}

/// How a torrent has been doing.
pub(super) fn history(samples: &[Sample]) -> Value {
    let samples: Vec<Value> = samples
        .iter()
        .map(|it| {
            json!({
                "at": u64::from(it.hour) * 3600,
                "seeders": it.seeders,
                "leechers": it.leechers,
                "completed": it.completed,
            })
        })
        .collect();
    json!({"schema": 1, "samples": samples})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h51_a_name_stays_within_its_quotes() {
        assert_eq!(
            disposition("a\"; x=\r\nSet-Cookie: é"),
            "attachment; filename=\"a__ x___Set-Cookie_ _.torrent\"; \
             filename*=UTF-8''a%22%3B%20x%3D%0D%0ASet-Cookie%3A%20%C3%A9.torrent"
        );
    }
}
