use super::keys::{KeyPair, hashed_name};
use super::*;
use torrent_format::InfoHash;

const TORRENT: InfoHash = InfoHash([7; 20]);
const OTHER: InfoHash = InfoHash([8; 20]);
const HANDSHAKE: &[u8] = b"\x13BitTorrent protocol and so on";

fn keys(seed: u8) -> KeyPair {
    KeyPair::new([seed; SECRET_LENGTH])
}

fn initiator(offer: Methods, seed: u64) -> Initiator {
    Initiator::new(keys(3), TORRENT, offer, HANDSHAKE.to_vec(), seed)
}

fn responder(accept: Methods, seed: u64) -> Responder {
    Responder::new(keys(5), accept, seed)
}

fn find(proof: &Proof) -> Option<InfoHash> {
    [OTHER, TORRENT].into_iter().find(|&name| proof.is(name))
}

/// One end and what is on its way to it.
struct End<T> {
    machine: T,
    arriving: Vec<u8>,
    sent: usize,
    heard: usize,
    agreed: Option<Agreed>,
}

impl<T> End<T> {
    fn new(machine: T) -> Self {
        Self { machine, arriving: Vec::new(), sent: 0, heard: 0, agreed: None }
    }

    /// Hands over `cut` bytes at most; what comes of it goes to `other`.
    fn turn(
        &mut self,
        cut: usize,
        other: &mut Vec<u8>,
        handle: impl Fn(&mut T, &[u8]) -> Result<Progress, MseError>,
    ) -> Result<(), MseError> {
        let mut bytes: Vec<u8> = self.arriving.drain(..cut.min(self.arriving.len())).collect();
        self.heard += bytes.len();
        loop {
            match handle(&mut self.machine, &bytes)? {
                Progress::Wait => return Ok(()),
                Progress::Send(sent) => {
                    self.sent += sent.len();
                    other.extend(sent);
                }
                Progress::Done(agreed) => {
                    self.agreed = Some(*agreed);
                    return Ok(());
                }
            }
            bytes.clear();
        }
    }
}

/// Lets both talk until they agree, handing over `cut` bytes at a time.
fn negotiate(
    initiator: Initiator,
    responder: Responder,
    cut: usize,
) -> Result<(Agreed, Agreed, Option<InfoHash>), MseError> {
    let (mut a, mut b) = (End::new(initiator), End::new(responder));
    for _ in 0..100_000 {
        if a.agreed.is_none() {
            a.turn(cut, &mut b.arriving, Initiator::handle)?;
        }
        if b.agreed.is_none() {
            b.turn(cut, &mut a.arriving, |it, bytes| it.handle(bytes, find))?;
        }
        if b.machine.torrent().is_none() {
            assert!(b.sent <= b.heard, "sent {} of {} before it knew anything", b.sent, b.heard);
        }
        if let (Some(_), Some(_)) = (&a.agreed, &b.agreed) {
            let torrent = b.machine.torrent();
            return Ok((a.agreed.unwrap(), b.agreed.unwrap(), torrent));
        }
    }
    panic!("they wait for each other");
}

/// What one side says through its ciphers, as the other reads it through its own.
fn say(from: &mut Agreed, to: &mut Agreed, text: &[u8]) -> (Vec<u8>, bool) {
    let mut bytes = text.to_vec();
    if let Some(ciphers) = &mut from.ciphers {
        ciphers.outbound.apply(&mut bytes);
    }
    let hidden = bytes != text;
    if let Some(ciphers) = &mut to.ciphers {
        ciphers.inbound.apply(&mut bytes);
    }
    (bytes, hidden)
}

#[test]
fn both_sides_agree_however_the_bytes_are_cut() {
    for (offer, accept, hidden) in [
        (Methods::ANY, Methods::ANY, false),
        (Methods::ANY, Methods::RC4, true),
        (Methods::RC4, Methods::ANY, true),
        (Methods::RC4, Methods::RC4, true),
    ] {
        for (seed, cut) in [(1, 1), (2, 7), (3, 100), (4, usize::MAX), (5, usize::MAX), (6, usize::MAX)] {
            let outcome = negotiate(initiator(offer, seed), responder(accept, seed + 100), cut);
            let (mut a, mut b, torrent) = outcome.unwrap();
            assert_eq!(torrent, Some(TORRENT));
            assert_eq!((&b.received[..], a.received.len()), (HANDSHAKE, 0), "seed {seed}, cut {cut}");
            assert_eq!(say(&mut a, &mut b, b"hello"), (b"hello".to_vec(), hidden));
            assert_eq!(say(&mut b, &mut a, b"a longer answer"), (b"a longer answer".to_vec(), hidden));
            assert_eq!(say(&mut a, &mut b, b"and so on"), (b"and so on".to_vec(), hidden));
        }
    }
}

#[test]
fn what_follows_the_negotiation_at_once_is_kept_and_readable() {
    for accept in [Methods::ANY, Methods::RC4] {
        let (mut a, mut b) = (End::new(initiator(Methods::ANY, 1)), End::new(responder(accept, 2)));
        a.turn(0, &mut b.arriving, Initiator::handle).unwrap();
        b.turn(usize::MAX, &mut a.arriving, |it, bytes| it.handle(bytes, find)).unwrap();
        a.turn(usize::MAX, &mut b.arriving, Initiator::handle).unwrap();
        b.turn(usize::MAX, &mut a.arriving, |it, bytes| it.handle(bytes, find)).unwrap();
        let mut more = b"an answer to the handshake".to_vec();
        if let Some(ciphers) = &mut b.agreed.as_mut().unwrap().ciphers {
            ciphers.outbound.apply(&mut more);
        }
        a.arriving.extend(more);
        a.turn(usize::MAX, &mut b.arriving, Initiator::handle).unwrap();
        assert_eq!(a.agreed.unwrap().received, b"an answer to the handshake");
    }
}

#[test]
fn the_arithmetic_is_that_of_the_specification() {
    let public = |secret: u8| {
        let mut bytes = [0; SECRET_LENGTH];
        bytes[SECRET_LENGTH - 1] = secret;
        *KeyPair::new(bytes).public()
    };
    assert_eq!(public(1)[KEY_LENGTH - 2..], [0, 2]);
    assert_eq!(public(9)[KEY_LENGTH - 2..], [2, 0]);
    let (a, b) = (keys(3), keys(200));
    let (ours, theirs) = (a.agree(b.public()).unwrap(), b.agree(a.public()).unwrap());
    assert_eq!(ours.mark(), theirs.mark());
    assert_eq!(ours.hide(ours.hide(hashed_name(TORRENT))), hashed_name(TORRENT));
}

/// What the initiator sends when it has the responder's key: the mark, the name, and the rest, as this writes it.
fn request(hidden: &[u8], torrent: InfoHash) -> (Responder, Vec<u8>) {
    let (ours, responder) = (keys(3), responder(Methods::ANY, 2));
    let agreement = ours.agree(keys(5).public()).unwrap();
    let mut hidden = hidden.to_vec();
    agreement.initiators_cipher(torrent).apply(&mut hidden);
    let name = agreement.hide(hashed_name(torrent));
    (responder, [ours.public().as_slice(), &agreement.mark(), &name, &hidden].concat())
}

/// How a responder takes these bytes, whole or drop by drop.
fn outcome(responder: Responder, bytes: &[u8]) -> Result<(), MseError> {
    let mut end = End::new(responder);
    end.arriving = bytes.to_vec();
    while !end.arriving.is_empty() && end.agreed.is_none() {
        end.turn(64, &mut Vec::new(), |it, bytes| it.handle(bytes, find))?;
    }
    Ok(())
}

fn offer(constant: [u8; 8], bits: u32, padding: u16, rest: &[u8]) -> Vec<u8> {
    [&constant[..], &bits.to_be_bytes(), &padding.to_be_bytes(), rest].concat()
}

#[test]
fn p63_a_key_that_is_none_is_refused_by_both() {
    let mut last = [0xff; KEY_LENGTH];
    let prime = "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A63A36210000000000090563";
    for (at, byte) in last.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&prime[2 * at..2 * at + 2], 16).unwrap();
    }
    let prime = last;
    last[KEY_LENGTH - 1] -= 1;
    let mut one = [0; KEY_LENGTH];
    one[KEY_LENGTH - 1] = 1;
    for key in [[0; KEY_LENGTH], one, last, prime, [0xff; KEY_LENGTH]] {
        assert_eq!(outcome(responder(Methods::ANY, 1), &key), Err(MseError::WeakKey));
        let mut initiator = initiator(Methods::ANY, 1);
        assert!(matches!(initiator.handle(&[]), Ok(Progress::Send(_))));
        assert_eq!(initiator.handle(&key).unwrap_err(), MseError::WeakKey);
    }
}

#[test]
fn p64_p65_padding_without_an_end_is_read_for_so_long() {
    // Most of all the marks of both sides can't be in it by chance.
    let noise = |length: usize| [keys(9).public().as_slice(), &vec![0x55; length]].concat();
    assert_eq!(outcome(responder(Methods::ANY, 1), &noise(MAX_PADDING + 19)), Ok(()));
    assert_eq!(outcome(responder(Methods::ANY, 1), &noise(MAX_PADDING + 20)), Err(MseError::NoMark));
    let mut initiator = initiator(Methods::ANY, 1);
    assert!(matches!(initiator.handle(&[]), Ok(Progress::Send(_))));
    assert!(matches!(initiator.handle(&noise(MAX_PADDING + 7)), Ok(Progress::Send(_))));
    assert!(matches!(initiator.handle(&[]), Ok(Progress::Wait)));
    assert_eq!(initiator.handle(&[0x55]).unwrap_err(), MseError::NoMark);
    let (responder, bytes) = request(&offer(VC, 3, 513, &[]), TORRENT);
    assert_eq!(outcome(responder, &bytes), Err(MseError::Padding));
}

#[test]
fn p66_p67_what_can_not_be_gone_on_with_is_refused() {
    let fine = offer(VC, 3, 0, &[0, 0]);
    for (case, hidden, torrent, expected) in [
        ("fine", fine.clone(), TORRENT, Ok(())),
        ("P66 nothing offered", offer(VC, 0, 0, &[0, 0]), TORRENT, Err(MseError::NoMethod)),
        ("P66 unknown", offer(VC, 0xffff_fffc, 0, &[0, 0]), TORRENT, Err(MseError::NoMethod)),
        ("P66 known among unknown", offer(VC, 0xffff_ffff, 0, &[0, 0]), TORRENT, Ok(())),
        ("P67", offer(VC, 3, 0, &[0xff, 0xff]), TORRENT, Err(MseError::InitialPayload)),
        ("another key", offer([1; 8], 3, 0, &[0, 0]), TORRENT, Err(MseError::WrongKey)),
        ("a stranger", fine, InfoHash([9; 20]), Err(MseError::UnknownTorrent)),
    ] {
        let (responder, bytes) = request(&hidden, torrent);
        assert_eq!(outcome(responder, &bytes), expected, "{case}");
    }
}

#[test]
fn p68_plain_is_not_taken_where_it_was_not_offered() {
    for (offered, accepted) in [
        (Methods::RC4, Methods { plaintext: true, rc4: false }),
        (Methods { plaintext: true, rc4: false }, Methods::RC4),
    ] {
        let outcome = negotiate(initiator(offered, 1), responder(accepted, 2), usize::MAX);
        assert_eq!(outcome.unwrap_err(), MseError::NoMethod);
    }
    // A responder that chooses plain all the same, both, or nothing.
    for bits in [1_u32, 3, 0, 4] {
        let mut initiator = initiator(Methods::RC4, 1);
        assert!(matches!(initiator.handle(&[]), Ok(Progress::Send(_))));
        let theirs = keys(5);
        assert!(matches!(initiator.handle(theirs.public()), Ok(Progress::Send(_))));
        let mut answer = offer(VC, bits, 0, &[]);
        theirs.agree(keys(3).public()).unwrap().responders_cipher(TORRENT).apply(&mut answer);
        assert_eq!(initiator.handle(&answer).unwrap_err(), MseError::NoMethod, "{bits}");
    }
}

#[test]
fn noise_never_panics() {
    let mut rng = fastrand::Rng::with_seed(11);
    for seed in 0..40 {
        let noise: Vec<u8> = padding(&mut rng, 2_000);
        let _ = outcome(responder(Methods::ANY, seed), &noise);
        let (responder, mut bytes) = request(&offer(VC, 3, 40, &noise[..noise.len().min(300)]), TORRENT);
        let at = rng.usize(..bytes.len());
        bytes[at] ^= 1 << rng.u8(..8);
        let _ = outcome(responder, &bytes);
    }
}
