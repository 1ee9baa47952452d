//! The place in a table at which the next sweep continues.

use uuid::Uuid;

/// A walk over a table in the order of its ids, one page at a time, again and again.
///
/// Stores that delete old rows by the times in their ids use it, so that a sweep costs no more than
/// one page, however many rows have to stay.
///
/// ```
/// use uuid::Uuid;
/// use wingbeat_core::store::Walk;
///
/// let mut walk = Walk::default();
/// let last = Uuid::from_u128(7); // of the rows from `walk.from()` on
/// walk.advance(Some(last), true);
/// assert_eq!(walk.from(), last);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Walk {
    from: Uuid,
}

impl Walk {
    /// Returns the smallest id of the next page.
    #[must_use]
    pub fn from(&self) -> Uuid {
        self.from
    }

    /// Continues behind a page that ended with `last`, or begins again after the last page.
    pub fn advance(&mut self, last: Option<Uuid>, is_full: bool) {
        self.from = match last {
            // Rows with the last id may follow, unless the whole page had it.
            Some(last) if is_full && last != self.from => last,
            Some(last) if is_full => Uuid::from_u128(last.as_u128().saturating_add(1)),
            _ => Uuid::nil(),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_passes_every_page_and_begins_again() {
        let id = Uuid::from_u128;
        let mut walk = Walk::default();
        assert_eq!(walk.from(), Uuid::nil());
        walk.advance(Some(id(7)), true);
        assert_eq!(walk.from(), id(7));
        walk.advance(Some(id(7)), true);
        assert_eq!(walk.from(), id(8), "a page of one id");
        walk.advance(Some(id(9)), false);
        assert_eq!(walk.from(), Uuid::nil());
        walk.advance(None, false);
        assert_eq!(walk.from(), Uuid::nil());
    }
}
