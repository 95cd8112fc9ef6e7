//! The side that dialled.

use torrent_format::InfoHash;

use super::keys::{KEY_LENGTH, KeyPair, hashed_name};
use super::{Agreed, Cipher, Ciphers, MAX_PADDING, Method, Methods, MseError, Progress, VC};
use super::{length_at_end, padding, take};

/// A negotiation that we began.
#[derive(Debug)]
pub struct Initiator {
    keys: KeyPair,
    torrent: InfoHash,
    offer: Methods,
    initial: Vec<u8>,
    rng: fastrand::Rng,
    /// What has come and is not understood yet: at most what one step takes, and what was read with it.
    received: Vec<u8>,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Begin,
    AwaitKey,
    /// `mark`: the responder's padding ends where its verification constant stands, which is known once the key is.
    FindMark {
        mark: [u8; VC.len()],
        ciphers: Box<Ciphers>,
    },
    AwaitChoice(Box<Ciphers>),
    AwaitPadding {
        length: usize,
        method: Method,
        ciphers: Box<Ciphers>,
    },
    Over,
}

impl Initiator {
    /// Asks for this torrent, offers these ways to go on, and sends `initial` (a handshake) along. `seed`: for padding, which is no
    /// secret.
    pub fn new(keys: KeyPair, torrent: InfoHash, offer: Methods, initial: Vec<u8>, seed: u64) -> Self {
        let rng = fastrand::Rng::with_seed(seed);
        Self { keys, torrent, offer, initial, rng, received: Vec::new(), step: Step::Begin }
    }

    /// Takes what has come.
    ///
    /// # Errors
    /// See [`MseError`]. The connection is of no more use then.
    pub fn handle(&mut self, bytes: &[u8]) -> Result<Progress, MseError> {
        self.received.extend_from_slice(bytes);
        loop {
            let (next, send) = match std::mem::replace(&mut self.step, Step::Over) {
                Step::Begin => {
                    let key = [self.keys.public().as_slice(), &padding(&mut self.rng, MAX_PADDING)].concat();
                    (Step::AwaitKey, Some(key))
                }
                Step::AwaitKey => match take(&mut self.received, KEY_LENGTH) {
                    None => return Ok(self.wait(Step::AwaitKey)),
                    Some(theirs) => {
                        let (next, request) = self.request(&theirs)?;
                        (next, Some(request))
                    }
                },
                Step::FindMark { mark, mut ciphers } => {
                    match self.received.windows(mark.len()).take(MAX_PADDING + 1).position(|at| at == mark) {
                        Some(at) => {
                            self.received.drain(..at);
                            self.decrypt(mark.len(), &mut ciphers.inbound);
                            (Step::AwaitChoice(ciphers), None)
                        }
                        None if self.received.len() >= MAX_PADDING + mark.len() => {
                            return Err(MseError::NoMark);
                        }
                        None => return Ok(self.wait(Step::FindMark { mark, ciphers })),
                    }
                }
                Step::AwaitChoice(mut ciphers) => {
                    let Some(choice) = self.decrypt(6, &mut ciphers.inbound) else {
                        return Ok(self.wait(Step::AwaitChoice(ciphers)));
                    };
                    let method = self.chosen(&choice).ok_or(MseError::NoMethod)?;
                    let length = length_at_end(&choice);
                    if length > MAX_PADDING {
                        return Err(MseError::Padding);
                    }
                    (Step::AwaitPadding { length, method, ciphers }, None)
                }
                Step::AwaitPadding { length, method, mut ciphers } => {
                    if self.decrypt(length, &mut ciphers.inbound).is_none() {
                        return Ok(self.wait(Step::AwaitPadding { length, method, ciphers }));
                    }
                    let mut received = std::mem::take(&mut self.received);
                    let ciphers = match method {
                        Method::Plaintext => None,
                        Method::Rc4 => {
                            ciphers.inbound.apply(&mut received);
                            Some(*ciphers)
                        }
                    };
                    return Ok(Progress::Done(Box::new(Agreed { ciphers, received })));
                }
                Step::Over => return Ok(Progress::Wait),
            };
            self.step = next;
            if let Some(bytes) = send {
                return Ok(Progress::Send(bytes));
            }
        }
    }

    fn wait(&mut self, step: Step) -> Progress {
        self.step = step;
        Progress::Wait
    }

    fn decrypt(&mut self, length: usize, cipher: &mut Cipher) -> Option<Vec<u8>> {
        let mut bytes = take(&mut self.received, length)?;
        cipher.apply(&mut bytes);
        Some(bytes)
    }

    /// What is asked for, once their key is known.
    fn request(&mut self, theirs: &[u8]) -> Result<(Step, Vec<u8>), MseError> {
        let theirs = theirs.try_into().expect("so many were taken");
        let agreement = self.keys.agree(theirs)?;
        let mut outbound = agreement.initiators_cipher(self.torrent);
        let mut mark = VC;
        agreement.responders_cipher(self.torrent).apply(&mut mark);
        let inbound = agreement.responders_cipher(self.torrent);

        let padding = padding(&mut self.rng, MAX_PADDING);
        let mut hidden = VC.to_vec();
        hidden.extend_from_slice(&self.offer.to_bits().to_be_bytes());
        hidden.extend_from_slice(&(padding.len() as u16).to_be_bytes());
        hidden.extend_from_slice(&padding);
        hidden.extend_from_slice(&(self.initial.len() as u16).to_be_bytes());
        hidden.append(&mut self.initial);
        outbound.apply(&mut hidden);
        let request =
            [&agreement.mark()[..], &agreement.hide(hashed_name(self.torrent)), &hidden[..]].concat();
        Ok((Step::FindMark { mark, ciphers: Box::new(Ciphers { inbound, outbound }) }, request))
    }

    /// The one method that the responder has chosen, of those that it was offered.
    fn chosen(&self, choice: &[u8]) -> Option<Method> {
        let bits = u32::from_be_bytes(*choice.first_chunk()?);
        [Method::Plaintext, Method::Rc4].into_iter().find(|&it| it.bit() == bits && self.offer.has(it))
    }
}
