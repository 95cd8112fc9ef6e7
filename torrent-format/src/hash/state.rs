//! Messages that come in parts.

use super::algorithm::{Algorithm, Sha1, Sha256};
use super::schedule::Job;
use super::{Block, Ending, GROUP, finish};

const BLOCK: usize = size_of::<Block>();

/// SHA-1 of a message that comes in parts.
pub type Sha1State = State<Sha1>;

/// SHA-256 of a message that comes in parts.
pub type Sha256State = State<Sha256>;

/// A message of which a part has been hashed.
#[derive(Clone, Debug)]
pub struct State<A: Algorithm> {
    words: A::Words,
    /// Bytes so far.
    length: u64,
    /// The last `length % 64` bytes, at its start.
    tail: Block,
}

impl<A: Algorithm> Default for State<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A: Algorithm> State<A> {
    /// Of the empty message.
    pub fn new() -> Self {
        Self { words: A::INITIAL, length: 0, tail: [0; BLOCK] }
    }

    /// How many bytes have been hashed.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Hashes the next part. To go on with several messages at once is faster: [`update_each`].
    pub fn update(&mut self, data: &[u8]) {
        update_each(std::slice::from_mut(self), &[data]);
    }

    /// With this part hashed.
    #[must_use]
    pub fn with(mut self, data: &[u8]) -> Self {
        self.update(data);
        self
    }

    /// The digest of what has been hashed. [`finish_each`] is faster for several.
    pub fn finish(&self) -> A::Digest {
        let mut words = self.words;
        A::compress_each(vec![Job { words: &mut words, blocks: self.ending().blocks() }]);
        A::digest(&words)
    }

    fn tail_length(&self) -> usize {
        (self.length % BLOCK as u64) as usize
    }

    /// Fills up the tail, and says how much that took and whether the tail is whole now.
    fn fill_tail(&mut self, data: &[u8]) -> (usize, bool) {
        let tail = self.tail_length();
        if tail == 0 {
            return (0, false);
        }
        let taken = data.len().min(BLOCK - tail);
        self.tail[tail..tail + taken].copy_from_slice(&data[..taken]);
        self.length += taken as u64;
        (taken, tail + taken == BLOCK)
    }

    fn ending(&self) -> Ending {
        Ending::new(&self.tail[..self.tail_length()], self.length)
    }
}

/// Hashes the next part of each of these messages, of whatever lengths.
///
/// # Panics
/// If there are not as many parts as messages.
pub fn update_each<A: Algorithm>(states: &mut [State<A>], parts: &[&[u8]]) {
    assert_eq!(states.len(), parts.len(), "a part for each message");
    let mut whole_tails = Vec::new();
    let mut bodies = Vec::with_capacity(parts.len());
    let mut rests = Vec::with_capacity(parts.len());
    for (state, part) in states.iter_mut().zip(parts) {
        let (taken, whole) = state.fill_tail(part);
        let (body, rest) = part[taken..].as_chunks();
        bodies.push(body);
        rests.push(rest);
        if whole {
            whole_tails.push(Job { words: &mut state.words, blocks: std::slice::from_ref(&state.tail) });
        }
    }
    if !whole_tails.is_empty() {
        A::compress_each(whole_tails);
    }
    let jobs = states.iter_mut().zip(&bodies);
    A::compress_each(jobs.map(|(state, body)| Job { words: &mut state.words, blocks: *body }).collect());
    for ((state, body), rest) in states.iter_mut().zip(bodies).zip(rests) {
        // A rest begins where a block does, unless the part ended within the tail and there is none.
        state.tail[..rest.len()].copy_from_slice(rest);
        state.length += (body.as_flattened().len() + rest.len()) as u64;
    }
}

/// Hashes zeros, so many for each of these messages: padding that is never written to a buffer, and quicker than what is.
///
/// # Panics
/// If there are not as many lengths as messages.
pub fn zeros_each(states: &mut [Sha1State], lengths: &[u64]) {
    assert_eq!(states.len(), lengths.len(), "a length for each message");
    let to_fill = |(state, &length): (&Sha1State, &u64)| {
        let tail = state.tail_length();
        let room = if tail == 0 { 0 } else { BLOCK - tail };
        length.min(room as u64)
    };
    let firsts: Vec<u64> = states.iter().zip(lengths).map(to_fill).collect();
    let zeros = [0; BLOCK];
    update_each(states, &firsts.iter().map(|&first| &zeros[..first as usize]).collect::<Vec<_>>());

    let left: Vec<u64> = lengths.iter().zip(firsts).map(|(length, first)| length - first).collect();
    let jobs = states.iter_mut().zip(&left);
    let jobs = jobs.map(|(state, left)| Job { words: &mut state.words, blocks: left / BLOCK as u64 });
    Sha1::compress_zeros_each(jobs.collect());
    for (state, left) in states.iter_mut().zip(left) {
        state.length += left;
        // Those that are the tail now; the others there don't count.
        if left > 0 {
            state.tail = zeros;
        }
    }
}

/// Appends the digest of each of these messages.
pub fn finish_each<A: Algorithm>(states: &[State<A>], digests: &mut Vec<A::Digest>) {
    for states in states.chunks(GROUP) {
        let mut words: Vec<_> = states.iter().map(|state| state.words).collect();
        finish::<A>(&mut words, &states.iter().map(State::ending).collect::<Vec<_>>(), digests);
    }
}
