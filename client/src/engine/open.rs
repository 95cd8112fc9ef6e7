//! From an info to open, checked data: [`Opener`].

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{mpsc, oneshot};
use torrent_format::{Bitfield, Info, Layout};

use super::session::{AddTorrent, Phase, Shared, TorrentEvent, TorrentFailure};
use super::storage::{CheckProgress, OpenStorage, Storage, StorageError, StorageEvent};
use super::task::News;

/// A torrent's data, ready to be read and written.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) info: Info,
    pub(super) storage: Storage,
    /// Pieces that are there.
    pub(super) have: Bitfield,
    /// Pieces that are wanted.
    pub(super) wanted: Bitfield,
}

/// Opens a torrent's data, and tells the news on the way.
#[derive(Clone, Debug)]
pub(super) struct Opener {
    pub(super) torrent: AddTorrent,
    pub(super) shared: Arc<Shared>,
    /// Where the open storage will tell its own news.
    pub(super) events: mpsc::UnboundedSender<StorageEvent>,
    pub(super) news: News,
    /// The torrent is to stop: nobody waits for what is being opened.
    called_off: Arc<AtomicBool>,
}

impl Opener {
    pub(super) fn new(
        torrent: AddTorrent,
        shared: Arc<Shared>,
        events: mpsc::UnboundedSender<StorageEvent>,
        news: News,
    ) -> Self {
        Self { torrent, shared, events, news, called_off: Arc::default() }
    }

    /// The info is known.
    pub(super) fn tell_info(&self, info: &Info) {
        self.news.tell(TorrentEvent::Info(info.clone()));
        self.news.snapshot.send_modify(|snapshot| snapshot.info = Some(info.clone()));
    }

    /// Ends what is being opened with [`StorageError::CalledOff`], if it is hashing yet.
    pub(super) fn call_off(&self) {
        self.called_off.store(true, Ordering::Relaxed);
    }

    /// On a thread of its own, since it hashes for as long as it takes: one that neither a network thread nor the end of the program has
    /// to wait for.
    pub(super) fn open(&self, info: Info) -> impl Future<Output = Result<Opened, TorrentFailure>> + use<> {
        let opener = self.clone();
        async move {
            let (done, outcome) = oneshot::channel();
            let path = opener.torrent.dir.clone();
            let thread = std::thread::Builder::new().name("check".to_owned()).spawn(move || {
                // Nobody waits any more if the torrent was stopped.
                let _ = done.send(opener.open_blocking(info));
            });
            thread.map_err(|source| StorageError::Io {
                action: "can't start a thread to check",
                path,
                source,
            })?;
            outcome.await.expect("opening does not panic")
        }
    }

    fn open_blocking(&self, info: Info) -> Result<Opened, TorrentFailure> {
        let Self { torrent, shared, events, news, called_off } = self;
        self.tell_info(&info);
        news.snapshot.send_modify(|snapshot| snapshot.phase = Phase::Checking);
        let selected = (torrent.select.0)(&info).map_err(TorrentFailure::Select)?;
        let wanted = wanted(info.layout(), &selected);
        let options = OpenStorage {
            info: info.clone(),
            dir: torrent.dir.clone(),
            state_dir: shared.config.state_dir.clone(),
            access: torrent.access,
            check: torrent.check,
            selected,
            allocate: torrent.allocate,
            pool: shared.pool.clone(),
        };
        let progress = |progress: CheckProgress| {
            news.snapshot.send_modify(|snapshot| snapshot.check = progress);
            if called_off.load(Ordering::Relaxed) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let (storage, have) = Storage::open(options, events.clone(), progress)?;
        news.tell(TorrentEvent::Checked { bytes_done: bytes_of_both(info.layout(), &have, &wanted) });
        Ok(Opened { info, storage, have, wanted })
    }
}

/// The pieces that hold any byte of a selected file. No flags: all.
fn wanted(layout: &Layout, selected: &[bool]) -> Bitfield {
    if selected.is_empty() {
        return Bitfield::all(layout.piece_count());
    }
    let mut wanted = Bitfield::none(layout.piece_count());
    let files = (0..layout.file_count()).filter(|&file| selected.get(file).copied().unwrap_or(false));
    for piece in files.flat_map(|file| layout.file_pieces(file)).filter_map(|index| layout.piece(index)) {
        wanted.set(piece);
    }
    wanted
}

fn bytes_of_both(layout: &Layout, one: &Bitfield, other: &Bitfield) -> u64 {
    let both = layout.pieces().filter(|&piece| one.has(piece) && other.has(piece));
    both.map(|piece| u64::from(layout.piece_payload(piece))).sum()
}

#[cfg(test)]
mod tests {
    use torrent_format::PieceIndex;

    use super::*;

    #[test]
    fn pieces_of_selected_files_are_wanted_also_those_they_share() {
        let layout = Layout::new(10, [15, 10, 0, 20]).unwrap();
        let indices = |selected: &[bool]| {
            let wanted = wanted(&layout, selected);
            layout.pieces().filter(|&piece| wanted.has(piece)).map(PieceIndex::get).collect::<Vec<_>>()
        };
        assert_eq!(indices(&[]), [0, 1, 2, 3, 4]);
        assert_eq!(indices(&[true, false, false, false]), [0, 1]);
        assert_eq!(indices(&[false, true, false, false]), [1, 2]);
        assert!(indices(&[false, false, true, false]).is_empty());
        assert_eq!(indices(&[false, false, false, true]), [2, 3, 4]);
    }

    #[test]
    fn only_bytes_that_are_wanted_count_as_done() {
        let layout = Layout::new(10, [25]).unwrap();
        let mut have = Bitfield::none(3);
        have.set(layout.piece(0).unwrap());
        have.set(layout.piece(2).unwrap());
        assert_eq!(bytes_of_both(&layout, &have, &Bitfield::all(3)), 15);
        assert_eq!(bytes_of_both(&layout, &have, &Bitfield::none(3)), 0);
    }
}
