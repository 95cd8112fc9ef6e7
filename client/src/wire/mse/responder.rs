//! The side that was dialled.

use torrent_format::InfoHash;

use super::keys::{Agreement, KEY_LENGTH, KeyPair, hashed_name};
use super::{Agreed, Ciphers, MAX_INITIAL_PAYLOAD, MAX_PADDING, Method, Methods, MseError, Progress, VC};
use super::{length_at_end, padding, take};

/// A negotiation that the other side began.
#[derive(Debug)]
pub struct Responder {
    keys: KeyPair,
    accept: Methods,
    rng: fastrand::Rng,
    /// What has come and is not understood yet: at most what one step takes, and what was read with it.
    received: Vec<u8>,
    torrent: Option<InfoHash>,
    step: Step,
}

#[derive(Debug)]
enum Step {
    AwaitKey,
    FindMark(Agreement),
    AwaitOffer(Box<Ciphers>),
    AwaitPadding { length: usize, method: Method, ciphers: Box<Ciphers> },
    AwaitInitial { length: usize, method: Method, ciphers: Box<Ciphers> },
    Answered { initial: Vec<u8>, method: Method, ciphers: Box<Ciphers> },
    Over,
}

/// What the initiator says of the torrent that it wants.
#[derive(Clone, Copy, Debug)]
pub struct Proof([u8; 20]);

impl Proof {
    /// Whether it is the one of this name.
    pub fn is(&self, name: InfoHash) -> bool {
        self.0 == hashed_name(name)
    }
}

impl Responder {
    /// Takes these ways to go on. `seed`: for padding, which is no secret.
    pub fn new(keys: KeyPair, accept: Methods, seed: u64) -> Self {
        let rng = fastrand::Rng::with_seed(seed);
        Self { keys, accept, rng, received: Vec::new(), torrent: None, step: Step::AwaitKey }
    }

    /// The torrent that the initiator has proven to know.
    pub fn torrent(&self) -> Option<InfoHash> {
        self.torrent
    }

    /// Takes what has come. `find` knows which torrent is meant.
    ///
    /// Until the other side has proven to know a torrent, no more is sent than has come.
    ///
    /// # Errors
    /// See [`MseError`]. The connection is of no more use then.
    pub fn handle(
        &mut self,
        bytes: &[u8],
        find: impl Fn(&Proof) -> Option<InfoHash>,
    ) -> Result<Progress, MseError> {
        self.received.extend_from_slice(bytes);
        loop {
            let next = match std::mem::replace(&mut self.step, Step::Over) {
                Step::AwaitKey => {
                    let Some(theirs) = take(&mut self.received, KEY_LENGTH) else {
                        return Ok(self.wait(Step::AwaitKey));
                    };
                    let agreement = self.keys.agree(theirs.first_chunk().expect("so many were taken"))?;
                    self.step = Step::FindMark(agreement);
                    let padding = padding(&mut self.rng, self.received.len().min(MAX_PADDING));
                    return Ok(Progress::Send([self.keys.public().as_slice(), &padding].concat()));
                }
                Step::FindMark(agreement) => {
                    let mark = agreement.mark();
                    match self.received.windows(mark.len()).take(MAX_PADDING + 1).position(|at| at == mark) {
                        Some(at) if self.received.len() >= at + 2 * mark.len() => {
                            self.received.drain(..at + mark.len());
                            Step::AwaitOffer(self.identify(&agreement, &find)?)
                        }
                        None if self.received.len() >= MAX_PADDING + mark.len() => {
                            return Err(MseError::NoMark);
                        }
                        _ => return Ok(self.wait(Step::FindMark(agreement))),
                    }
                }
                Step::AwaitOffer(mut ciphers) => {
                    let Some(offer) = self.decrypt(VC.len() + 6, &mut ciphers) else {
                        return Ok(self.wait(Step::AwaitOffer(ciphers)));
                    };
                    let (constant, offer) = offer.split_at(VC.len());
                    if constant != VC {
                        return Err(MseError::WrongKey);
                    }
                    let bits = offer.first_chunk().map_or(0, |bits| u32::from_be_bytes(*bits));
                    let method = self.accept.choose(Methods::from_bits(bits)).ok_or(MseError::NoMethod)?;
                    let length = length_at_end(offer);
                    if length > MAX_PADDING {
                        return Err(MseError::Padding);
                    }
                    Step::AwaitPadding { length, method, ciphers }
                }
                Step::AwaitPadding { length, method, mut ciphers } => {
                    let Some(bytes) = self.decrypt(length + 2, &mut ciphers) else {
                        return Ok(self.wait(Step::AwaitPadding { length, method, ciphers }));
                    };
                    let length = length_at_end(&bytes);
                    if length > MAX_INITIAL_PAYLOAD {
                        return Err(MseError::InitialPayload);
                    }
                    Step::AwaitInitial { length, method, ciphers }
                }
                Step::AwaitInitial { length, method, mut ciphers } => {
                    let Some(initial) = self.decrypt(length, &mut ciphers) else {
                        return Ok(self.wait(Step::AwaitInitial { length, method, ciphers }));
                    };
                    let answer = self.answer(method, &mut ciphers);
                    self.step = Step::Answered { initial, method, ciphers };
                    return Ok(Progress::Send(answer));
                }
                Step::Answered { initial: mut received, method, mut ciphers } => {
                    let ciphers = match method {
                        Method::Plaintext => None,
                        Method::Rc4 => {
                            ciphers.inbound.apply(&mut self.received);
                            Some(*ciphers)
                        }
                    };
                    received.append(&mut self.received);
                    return Ok(Progress::Done(Box::new(Agreed { ciphers, received })));
                }
                Step::Over => return Ok(Progress::Wait),
            };
            self.step = next;
        }
    }

    fn wait(&mut self, step: Step) -> Progress {
        self.step = step;
        Progress::Wait
    }

    fn decrypt(&mut self, length: usize, ciphers: &mut Ciphers) -> Option<Vec<u8>> {
        let mut bytes = take(&mut self.received, length)?;
        ciphers.inbound.apply(&mut bytes);
        Some(bytes)
    }

    /// The keys of the connection, once the torrent is known.
    fn identify(
        &mut self,
        agreement: &Agreement,
        find: impl Fn(&Proof) -> Option<InfoHash>,
    ) -> Result<Box<Ciphers>, MseError> {
        let hidden = take(&mut self.received, 20).expect("so many are there");
        let hidden = *hidden.first_chunk().expect("so many were taken");
        let torrent = find(&Proof(agreement.hide(hidden))).ok_or(MseError::UnknownTorrent)?;
        self.torrent = Some(torrent);
        Ok(Box::new(Ciphers {
            inbound: agreement.initiators_cipher(torrent),
            outbound: agreement.responders_cipher(torrent),
        }))
    }

    /// Which method is chosen.
    fn answer(&mut self, method: Method, ciphers: &mut Ciphers) -> Vec<u8> {
        let padding = padding(&mut self.rng, MAX_PADDING);
        let mut answer = VC.to_vec();
        answer.extend_from_slice(&method.bit().to_be_bytes());
        answer.extend_from_slice(&(padding.len() as u16).to_be_bytes());
        answer.extend_from_slice(&padding);
        ciphers.outbound.apply(&mut answer);
        answer
    }
}
