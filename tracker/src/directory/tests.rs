//! A directory with its threads, without HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::Runtime;
use torrent_format::announce::{AnnounceEvent, AnnounceRequest};
use torrent_format::{InfoHash, InfoHashes, PeerId};

use super::catalogue::{DirectoryError, Inserted};
use super::facts::Live;
use super::history::Sample;
use super::record::Remarks;
use super::threads::write_hour;
use super::{Address, Directory, DirectoryConfig, Meter, plan};
use crate::access::Lists;
use crate::core::{Clock, Tracker};
use crate::keys::Keys;
use crate::swarm::{Picked, Settings, Shards};
use crate::tokens::Tokens;

struct Running {
    directory: Arc<Directory>,
    stopped: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    runtime: Runtime,
    _dir: tempfile::TempDir,
}

impl Running {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let address: Address = format!("sqlite:{}", dir.path().join("d").display()).parse().unwrap();
        let settings = Settings { notes_changes: true, ..Settings::default() };
        let shards = Shards::new(1, &settings);
        let tracker = Tracker::new(
            shards,
            Clock::start(),
            &crate::Config::default(),
            Lists::default(),
            Keys::default(),
            None,
        );
        let config = DirectoryConfig { store: None, open_publish: true, public_url: None };
        let meter = Meter(Vec::new());
        let (directory, work) =
            plan(Arc::new(tracker), &config, &address, Tokens::default(), 1, meter).unwrap();
        let stopped = Arc::new(AtomicBool::new(false));
        let threads = work.into_iter().map(|(_, run)| {
            let stopped = stopped.clone();
            thread::spawn(move || run(stopped))
        });
        Self { directory, threads: threads.collect(), stopped, runtime: Runtime::new().unwrap(), _dir: dir }
    }

    fn publish(&self, name: &str) -> (InfoHashes, Result<Inserted, DirectoryError>) {
        let hash: String = name.chars().cycle().take(20).collect();
        let torrent = format!(
            "d4:infod6:lengthi5e4:name{}:{name}12:piece lengthi16384e6:pieces20:{hash}ee",
            name.len()
        );
        let upload = self.directory.prepare(torrent.into_bytes(), &Remarks::default(), None).unwrap();
        (upload.record.hashes, self.runtime.block_on(self.directory.insert(upload)))
    }

    fn announce(&self, hashes: InfoHashes, left: u64, event: AnnounceEvent) {
        let request = AnnounceRequest {
            info_hash: hashes.primary(),
            peer_id: PeerId([b'p'; 20]),
            port: 1,
            uploaded: 0,
            downloaded: 0,
            left,
            event,
            numwant: None,
            key: None,
            tracker_id: None,
        };
        let picked = Picked { v4: None, v6: None, limit: 0 };
        self.directory.tracker.announce(
            Duration::ZERO,
            SocketAddr::from(([10, 0, 0, 1], 1)),
            &request,
            picked,
        );
    }

    fn history(&self, hashes: InfoHashes) -> Vec<Sample> {
        let read = self.directory.read(move |directory, store| {
            let id = directory.facts().find_any(hashes).ok_or(DirectoryError::Unknown)?;
            Ok(store.history(id, 0)?)
        });
        self.runtime.block_on(read).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopped.store(true, Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

#[test]
fn an_hour_is_written_where_something_changed() {
    let running = Running::start();
    let (alive, _) = running.publish("alive");
    let (dead, _) = running.publish("dead");
    let hour = |hour: u32| {
        write_hour(&running.directory, hour);
        // What is asked of the writer now is done after that.
        running.publish("after").1.unwrap();
    };
    running.announce(alive, 1, AnnounceEvent::Started);
    hour(100);
    hour(101);
    running.announce(alive, 0, AnnounceEvent::Completed);
    hour(102);
    running.announce(alive, 0, AnnounceEvent::Stopped);
    hour(103);
    hour(104);
    let sample = |hour, seeders, leechers, completed| Sample { hour, seeders, leechers, completed };
    assert_eq!(running.history(alive), [sample(100, 0, 1, 0), sample(102, 1, 0, 1), sample(103, 0, 0, 1)]);
    assert_eq!(running.history(dead), []);
    hour(102 + super::history::HOURS + 1);
    assert_eq!(running.history(alive), [sample(103, 0, 0, 1)], "older ones are forgotten");
}

#[test]
fn what_was_there_before_it_was_listed_counts_at_once() {
    let running = Running::start();
    let hashes = running.publish("first").0;
    let id = running.directory.facts().find_any(hashes).unwrap();
    running.announce(hashes, 0, AnnounceEvent::Started);
    running.directory.refresh();
    assert_eq!(running.directory.facts().live(id), Live { seeders: 1, leechers: 0 });
    running.runtime.block_on(running.directory.remove(id, hashes)).unwrap();
    assert_eq!(running.directory.facts().find(&InfoHash([b'f'; 20])), None);
    let again = running.publish("first").1.unwrap();
    assert!(!again.is_duplicate && again.id != id);
    assert_eq!(running.directory.facts().live(again.id), Live { seeders: 1, leechers: 0 });
}
