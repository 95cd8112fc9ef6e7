//! What is to be hashed, and in which order: [`Plan`].

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::hashing::Hashes;
use super::info::info_bytes;
use super::{Builder, CreateError, Created, Format, Skipped, walk};
use crate::layout::{LayoutError, MAX_TOTAL};
use crate::lint::{Checked, Lint};
use crate::metainfo::{MAX_INFO_LENGTH, MetainfoError};
use crate::{Alignment, Info, Layout, Metainfo, SafePath};

/// What is to be hashed.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) builder: Builder,
    pub(super) name: String,
    pub(super) single_file: bool,
    /// In the order of the torrent's form.
    pub(super) files: Vec<PlannedFile>,
    /// What `layout` counts as files.
    pub(super) slots: Vec<Slot>,
    pub(super) layout: Layout,
    skipped: Vec<Skipped>,
}

/// What stands in the list of files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Slot {
    /// The file of this number in [`Plan::files`].
    File(usize),
    /// A pad file (BEP 47).
    Pad {
        /// Bytes.
        length: u64,
        /// Its name below `.pad`: its length.
        name: String,
    },
}

/// A file that is to be hashed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedFile {
    /// Where it is.
    pub source: PathBuf,
    /// Its path in the torrent, which begins with the torrent's name.
    pub path: SafePath,
    /// Bytes; 0 for a symbolic link.
    pub length: u64,
    /// If it is a symbolic link to be stored: the path that it leads to, below the torrent's name. It is among the other files' or
    /// above them.
    pub link: Option<String>,
    stamp: Stamp,
}

/// What tells that a file, or a link itself, has changed: its length and when it was modified.
type Stamp = (u64, Option<SystemTime>);

impl Plan {
    /// Puts the files in order, and divides them into pieces.
    pub(super) fn new(
        builder: Builder,
        name: String,
        single_file: bool,
        mut files: Vec<PlannedFile>,
        skipped: Vec<Skipped>,
    ) -> Result<Self, CreateError> {
        match builder.format {
            Format::V1 => files.sort_unstable_by(|a, b| a.path.cmp(&b.path)),
            Format::V2 | Format::Hybrid => {
                files.sort_unstable_by(|a, b| a.path.elements().cmp(b.path.elements()));
            }
        }

        let lengths = files.iter().map(|file| file.length);
        let total = lengths.clone().try_fold(0_u64, u64::checked_add).filter(|&total| total <= MAX_TOTAL);
        if total.ok_or(LayoutError::TooLong)? == 0 {
            return Err(CreateError::Empty { path: builder.path });
        }
        let piece_length = builder.piece_length.choose(builder.format, lengths)?;
        let slots = slots(builder.format, &files, piece_length);
        let alignment = match builder.format {
            Format::V1 | Format::Hybrid => Alignment::EndToEnd,
            Format::V2 => Alignment::Pieces,
        };
        let lengths = slots.iter().map(|slot| match slot {
            Slot::File(file) => (files[*file].length, false),
            Slot::Pad { length, .. } => (*length, true),
        });
        let layout = Layout::of_files(piece_length.into(), alignment, lengths)?;
        let plan = Self { builder, name, single_file, files, slots, layout, skipped };
        plan.check_length()?;
        Ok(plan)
    }

    /// The torrent's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The files in their order.
    pub fn files(&self) -> &[PlannedFile] {
        &self.files
    }

    /// What is there and is not taken.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// How the files divide into pieces.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Which form the torrent has.
    pub fn format(&self) -> Format {
        self.builder.format
    }

    /// Bytes of the files, padding not among them.
    pub fn total(&self) -> u64 {
        self.layout.total()
    }

    /// Bytes of padding: 0 but in a hybrid. Clients that don't know BEP 47 store and fetch it.
    pub fn padding(&self) -> u64 {
        self.pads().map(|(length, _)| length).sum()
    }

    /// What is odd about the torrent to be.
    pub fn lints(&self) -> Vec<Lint> {
        let pads: HashSet<String> =
            self.pads().map(|(_, name)| format!("{}/.pad/{name}", self.name)).collect();
        let checked = Checked {
            private: self.builder.private,
            has_tracker: self.builder.trackers.iter().any(|tier| !tier.is_empty()),
            piece_length: self.layout.piece_length(),
            total: self.total(),
            padding: self.padding(),
            paths: self.files.iter().filter(|file| file.link.is_none()).map(|file| file.path.as_str()),
            pads: pads.iter().map(String::as_str).collect(),
        };
        checked.lints()
    }

    /// Reads every byte, once. `progress` is told how many bytes have been hashed, from any of the threads.
    ///
    /// # Errors
    /// If a file can't be read or is not what it was when planned, or the torrent is larger than one that we would read.
    pub fn hash(self, progress: &(dyn Fn(u64) + Sync)) -> Result<Created, CreateError> {
        let hashes = self.hash_files(progress)?;
        let info = Info::from_bytes(&info_bytes(&self, &hashes.v1, &self.roots(&hashes.v2)))?;
        for (number, layer) in self.layers(&hashes.v2) {
            let known = info.set_layer(number, layer.to_vec());
            debug_assert!(known.is_ok(), "the root was made of it");
        }
        drop(hashes);
        let Builder { trackers, web_seeds, nodes, comment, created_by, creation_date, .. } = self.builder;
        let trackers = trackers.into_iter().filter(|tier| !tier.is_empty()).collect();
        let metainfo = Metainfo {
            trackers,
            web_seeds,
            nodes,
            comment,
            created_by,
            creation_date,
            ..Metainfo::new(info)
        };
        let bytes = metainfo.to_bytes();
        drop(metainfo);
        Ok(Created { metainfo: Metainfo::from_bytes(&bytes)?, bytes, skipped: self.skipped })
    }

    /// The files, with their numbers in the layout.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (usize, &PlannedFile)> {
        self.slots.iter().enumerate().filter_map(|(number, slot)| match slot {
            Slot::File(file) => Some((number, &self.files[*file])),
            Slot::Pad { .. } => None,
        })
    }

    /// The pad files: the length and the name of each.
    fn pads(&self) -> impl Iterator<Item = (u64, &str)> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::File(_) => None,
            Slot::Pad { length, name } => Some((*length, name.as_str())),
        })
    }

    /// What will be too long to be read again is refused before hours are spent on hashing it.
    fn check_length(&self) -> Result<(), CreateError> {
        let roots: Vec<_> = self.files.iter().map(|file| (file.length > 0).then_some([0; 32])).collect();
        match info_bytes(self, &Hashes::room_for(self).v1, &roots).len() > MAX_INFO_LENGTH as usize {
            true => Err(MetainfoError::TooLong.into()),
            false => Ok(()),
        }
    }
}

/// The files, and in a hybrid a pad file behind each that does not end with a piece: the last too, as the reference implementation of
/// BEP 52 and libtorrent have it. A lone file has none, so that it can be a torrent without a directory.
fn slots(format: Format, files: &[PlannedFile], piece_length: u32) -> Vec<Slot> {
    let whole = (0..files.len()).map(Slot::File);
    if format != Format::Hybrid || files.len() == 1 {
        return whole.collect();
    }
    let padded = whole.zip(files).flat_map(|(slot, file)| {
        let length = file.length.next_multiple_of(piece_length.into()) - file.length;
        let pad = (length > 0).then(|| Slot::Pad { length, name: length.to_string() });
        std::iter::once(slot).chain(pad)
    });
    padded.collect()
}

impl PlannedFile {
    pub(super) fn has_changed(&self) -> bool {
        stamp(&self.source, self.link.is_some()).map_or(true, |now| now != self.stamp)
    }
}

/// What tells whether a file, or a link itself, is still the same.
fn stamp(path: &Path, link: bool) -> io::Result<Stamp> {
    let metadata = if link { std::fs::symlink_metadata(path) } else { std::fs::metadata(path) }?;
    Ok((metadata.len(), metadata.modified().ok()))
}

impl walk::Found {
    /// What the torrent will say of it.
    pub(super) fn plan(self, name: &str) -> Result<PlannedFile, CreateError> {
        let not_utf8 =
            || CreateError::Name { path: self.source.clone(), problem: "it is not UTF-8".to_owned() };
        let names = self.relative.iter().map(|name| name.to_str().ok_or_else(not_utf8));
        let names = std::iter::once(Ok(name)).chain(names).collect::<Result<Vec<_>, _>>()?;
        let path = walk::check_names(&self.source, &names)?;
        let link = self.link.as_ref().map(|link| link.to_str().map(str::to_owned).ok_or_else(not_utf8));
        let link = link.transpose()?;
        let stamp = stamp(&self.source, link.is_some())
            .map_err(|source| CreateError::Io { path: self.source.clone(), source })?;
        let length = if link.is_some() { 0 } else { stamp.0 };
        Ok(PlannedFile { source: self.source, path, length, link, stamp })
    }
}
