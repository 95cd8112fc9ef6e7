//! Numbers of packets, which go round: [`Seq`].

/// The number of a packet, one of 65,536.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Seq(pub(super) u16);

impl Seq {
    pub(super) fn plus(self, packets: usize) -> Self {
        Self(self.0.wrapping_add(packets as u16))
    }

    pub(super) fn before(self) -> Self {
        Self(self.0.wrapping_sub(1))
    }

    /// How many packets after `other` it is, the shorter way round: negative if it comes before.
    pub(super) fn since(self, other: Self) -> i32 {
        i32::from(self.0.wrapping_sub(other.0) as i16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_round() {
        assert_eq!(Seq(65_534).plus(3), Seq(1));
        assert_eq!(Seq(0).before(), Seq(65_535));
        assert_eq!(Seq(2).since(Seq(65_535)), 3);
        assert_eq!(Seq(65_535).since(Seq(2)), -3);
        assert_eq!(Seq(7).since(Seq(7)), 0);
    }
}
