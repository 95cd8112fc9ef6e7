//! Looking at what is there before anything is touched: what was found, what is believed of it, and what hashing says.

use std::ops::ControlFlow;
use std::path::Path;

use torrent_format::{Bitfield, PieceIndex};

use super::beneath::{Beneath, Nearby, Seen, Stamp};
use super::check::hash_pieces;
use super::files::{Place, failure, mismatch};
use super::journal::Record;
use super::open::Opening;
use super::plan::{self, Evidence, Standing, Trust};
use super::{Access, Check, CheckProgress, StorageError};

/// A file as it was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) place: Place,
    pub(super) seen: Seen,
    /// Both its own name and `NAME.part` exist; this is the one of them that is looked at.
    pub(super) both: bool,
}

/// What was found, what is believed of it, and what hashing said.
pub(super) struct Survey {
    pub(super) found: Vec<Option<Found>>,
    pub(super) evidence: Vec<Evidence>,
    pub(super) have: Bitfield,
    /// Known to be on the disk for good.
    pub(super) durable: Bitfield,
    /// Taken for right because the user said so: this goes into no record, so that later starts hash it.
    pub(super) believed: Bitfield,
    /// Per file: pieces of it that are there, and pieces that were hashed and are wrong.
    pub(super) valid: Vec<u32>,
    pub(super) wrong: Vec<u32>,
}

impl Opening<'_> {
    pub(super) fn look_at_all(&self) -> Result<(Vec<Option<Found>>, Vec<Evidence>), StorageError> {
        let layout = self.layout;
        let spill = self.look_at_spill()?;
        let mut found = Vec::with_capacity(layout.file_count());
        let mut evidence = Vec::with_capacity(layout.file_count());
        let mut nearby = self.files.root().nearby();
        for file in 0..layout.file_count() {
            let here = self.look(file, &mut nearby)?;
            let (place, identity) = match here {
                Some(found) => (found.place, Some(found.seen.stamp.identity)),
                None if self.info.files()[file].pad => (Place::Pad, None),
                None if !self.selected[file] && self.access != Access::Seed => (Place::Spill, None),
                None => (Place::Nowhere, None),
            };
            self.files.set(file, place, identity, None);
            evidence.push(self.evidence(file, place, here, spill));
            found.push(here);
        }
        if let Some(stamp) = spill {
            self.files.set(self.files.spill(), Place::Spill, Some(stamp.identity), None);
        }
        Ok((found, evidence))
    }

    /// `proven`: pieces that were hashed already, and are right.
    pub(super) fn survey(
        &self,
        found: Vec<Option<Found>>,
        evidence: Vec<Evidence>,
        proven: &[PieceIndex],
        progress: &mut dyn FnMut(CheckProgress) -> ControlFlow<()>,
    ) -> Result<Survey, StorageError> {
        let layout = self.layout;
        let wanted = plan::wanted(layout, &self.selected);
        let nothing = Record::new(&self.subject);
        let record = self.old_record().unwrap_or(&nothing);
        let mut have = Bitfield::none(layout.piece_count());
        let mut to_hash = Vec::new();
        let mut known = Bitfield::none(layout.piece_count());
        for &piece in proven {
            known.set(piece);
        }
        for piece in layout.pieces().filter(|&piece| wanted.has(piece) && !known.has(piece)) {
            match plan::judge(layout, piece, &evidence, record) {
                Standing::Had => drop(have.set(piece)),
                Standing::ToHash => to_hash.push(piece),
                Standing::Lacking => {}
            }
        }
        let durable = have.clone();
        let mut believed = have.clone();
        for piece in layout.pieces().filter(|&piece| record.durable.has(piece)) {
            believed.clear(piece);
        }
        for &piece in proven {
            have.set(piece);
        }
        let mut wrong = vec![0; layout.file_count()];
        for (&piece, good) in to_hash.iter().zip(hash_pieces(&self.files, self.info, &to_hash, progress)?) {
            if good {
                have.set(piece);
            } else {
                layout.spans(layout.piece_range(piece)).for_each(|span| wrong[span.file] += 1);
            }
        }
        let count = |file| {
            layout.file_pieces(file).filter_map(|index| layout.piece(index)).filter(|&p| have.has(p)).count()
        };
        let valid = (0..layout.file_count()).map(|file| count(file) as u32).collect();
        Ok(Survey { found, evidence, have, durable, believed, valid, wrong })
    }

    /// What lies in the place of a selected file, or, when seeding, of any.
    fn look(&self, file: usize, nearby: &mut Nearby<'_>) -> Result<Option<Found>, StorageError> {
        let entry = &self.info.files()[file];
        if entry.pad || (self.access != Access::Seed && !self.selected[file]) {
            return Ok(None);
        }
        let mut look = |place| {
            let path = self.files.relative(file, place);
            nearby.look(path).map_err(failure("can't use", self.files.path(file, place)))
        };
        let own = look(Place::Own)?;
        let part = if self.access == Access::Seed || entry.length == 0 { None } else { look(Place::Part)? };
        let both = own.is_some() && part.is_some();
        // A file of its own name and the right length may be whole; one of another length can't be, and then what we were
        // working on counts.
        let own = own.map(|it| (Place::Own, it)).filter(|(_, seen)| !both || seen.stamp.size == entry.length);
        let part = part.map(|it| (Place::Part, it));
        Ok(own.or(part).map(|(place, seen)| Found { place, seen, both }))
    }

    pub(super) fn look_at_spill(&self) -> Result<Option<Stamp>, StorageError> {
        let Some((dir, name)) = self.paths.spill.parent().zip(self.paths.spill.file_name()) else {
            return Ok(None);
        };
        match Beneath::open(dir).and_then(|dir| dir.look(Path::new(name))) {
            Ok(found) => Ok(found.map(|seen| seen.stamp)),
            Err(_) if self.access == Access::Seed => Ok(None),
            Err(error) => Err(failure("can't use", self.paths.spill.clone())(error)),
        }
    }

    fn evidence(&self, file: usize, place: Place, found: Option<Found>, spill: Option<Stamp>) -> Evidence {
        let range = self.layout.file_range(file);
        let length = range.end - range.start;
        let (stamp, present, holder) = match (place, found, spill) {
            (Place::Pad, ..) => return Evidence { trust: Trust::All, present: length },
            (Place::Spill, _, Some(stamp)) => {
                (stamp, stamp.size.saturating_sub(range.start), self.files.spill())
            }
            (_, Some(found), _) => (found.seen.stamp, found.seen.stamp.size, file),
            _ => return Evidence { trust: Trust::Missing, present: 0 },
        };
        let trust = match self.check {
            Check::Trust if place == Place::Own && present == length => Trust::All,
            Check::Full => Trust::Nothing,
            _ if self.is_recorded(file, holder, place, stamp) => Trust::Record,
            _ => Trust::Nothing,
        };
        Evidence { trust, present }
    }

    /// Whether this is the file that the record speaks of, and nobody else has changed it.
    fn is_recorded(&self, file: usize, holder: usize, place: Place, stamp: Stamp) -> bool {
        let Some(record) = self.old_record() else { return false };
        // A file that was not selected then had its bytes elsewhere.
        let same_holder = record.selected[file] == (holder == file);
        let same_file = record.files[holder].is_some_and(|known| {
            known.stamp.identity == stamp.identity && (known.touched || known.stamp == stamp)
        });
        // What bears its own name is whole; if the record does not know it as whole, it is not what the record speaks of.
        let as_whole = place != Place::Own
            || self
                .layout
                .file_pieces(file)
                .filter_map(|index| self.layout.piece(index))
                .all(|piece| record.durable.has(piece));
        same_holder && same_file && as_whole
    }

    /// Seeding: every selected byte must be there. Looked at before anything is hashed.
    pub(super) fn require_lengths(&self, found: &[Option<Found>]) -> Result<(), StorageError> {
        for (file, found) in found.iter().enumerate() {
            let length = self.files.length(file);
            if !self.selected[file] || length == 0 {
                continue;
            }
            let path = self.files.path(file, Place::Own);
            match found {
                None => return Err(mismatch("no such file", path)),
                Some(found) if found.seen.stamp.size != length => {
                    return Err(mismatch(
                        &format!("is {} bytes long, not {length}", found.seen.stamp.size),
                        path,
                    ));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Seeding: and it must be right.
    pub(super) fn require_right_pieces(&self, survey: &Survey) -> Result<(), StorageError> {
        let Some(file) =
            (0..self.layout.file_count()).find(|&file| self.selected[file] && survey.wrong[file] > 0)
        else {
            return Ok(());
        };
        let problem =
            format!("{} of {} pieces are wrong", survey.wrong[file], self.layout.file_pieces(file).len());
        Err(mismatch(&problem, self.files.path(file, Place::Own)))
    }
}
