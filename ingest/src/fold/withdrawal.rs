//! Which correction row cancels which record (St. Louis: a row with `Count = -1`), whatever came first.
//!
//! Records and correction rows of one match key are two sorted lists. Of n records and m corrections the first min(n, m) of each, in
//! the order of their record ids (as bytes), are paired. So the result depends on the sets only, never on the order of arrival, and
//! what finds no partner waits visibly instead of being guessed. All rows of one match key are in one partition of the log.

use super::case::Side;

/// Records and correction rows that share a match key.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Group {
    /// Ids of records that stand, sorted.
    #[prost(string, repeated, tag = "1")]
    pub records: Vec<String>,
    /// Ids of correction rows, sorted.
    #[prost(string, repeated, tag = "2")]
    pub corrections: Vec<String>,
}

/// A member that found its partner, or lost it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flip {
    /// The member.
    pub record_id: String,
    /// Whether it has a partner now.
    pub paired: bool,
}

impl Group {
    /// Whether nothing stands here any more.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.corrections.is_empty()
    }

    /// Moves a member from one side to another (none: outside), and returns whose partner changed, but for the member itself.
    pub fn shift(&mut self, record_id: &str, from: Option<Side>, to: Option<Side>) -> Vec<Flip> {
        let before = self.paired();
        let (records_before, corrections_before) =
            (self.records[..before].to_vec(), self.corrections[..before].to_vec());
        if let Some(side) = from {
            let members = self.side_mut(side);
            if let Ok(index) = members.binary_search_by(|member| member.as_str().cmp(record_id)) {
                members.remove(index);
            }
        }
        if let Some(side) = to {
            let members = self.side_mut(side);
            if let Err(index) = members.binary_search_by(|member| member.as_str().cmp(record_id)) {
                members.insert(index, record_id.to_owned());
            }
        }
        let after = self.paired();
        let mut flips = Vec::new();
        flips_between(&records_before, &self.records[..after], record_id, &mut flips);
        flips_between(&corrections_before, &self.corrections[..after], record_id, &mut flips);
        flips
    }

    /// Whether a member has a partner.
    pub fn is_paired(&self, record_id: &str, side: Side) -> bool {
        let members = match side {
            Side::Record => &self.records,
            Side::Correction => &self.corrections,
        };
        members
            .binary_search_by(|member| member.as_str().cmp(record_id))
            .is_ok_and(|index| index < self.paired())
    }

    fn paired(&self) -> usize {
        self.records.len().min(self.corrections.len())
    }

    fn side_mut(&mut self, side: Side) -> &mut Vec<String> {
        match side {
            Side::Record => &mut self.records,
            Side::Correction => &mut self.corrections,
        }
    }
}

/// Who is in one sorted list and not in the other, but for the member that moved.
fn flips_between(before: &[String], after: &[String], moved: &str, flips: &mut Vec<Flip>) {
    let mut note = |from: &[String], missing_in: &[String], paired: bool| {
        for record_id in from {
            if record_id != moved && missing_in.binary_search(record_id).is_err() {
                flips.push(Flip {
                    record_id: record_id.clone(),
                    paired,
                });
            }
        }
    };
    note(before, after, false);
    note(after, before, true);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_correction_waits_for_its_record() {
        let mut group = Group::default();
        assert!(group.shift("c1", None, Some(Side::Correction)).is_empty());
        assert!(!group.is_paired("c1", Side::Correction));
        let flips = group.shift("r1", None, Some(Side::Record));
        assert_eq!(
            flips,
            [Flip {
                record_id: "c1".to_owned(),
                paired: true
            }]
        );
        assert!(group.is_paired("r1", Side::Record));
    }

    #[test]
    fn the_first_records_are_cancelled_whatever_came_first() {
        let mut group = Group::default();
        group.shift("r2", None, Some(Side::Record));
        let flips = group.shift("c1", None, Some(Side::Correction));
        assert_eq!(
            flips,
            [Flip {
                record_id: "r2".to_owned(),
                paired: true
            }]
        );
        let flips = group.shift("r1", None, Some(Side::Record));
        assert_eq!(
            flips,
            [Flip {
                record_id: "r2".to_owned(),
                paired: false
            }]
        );
        assert!(group.is_paired("r1", Side::Record));
    }

    #[test]
    fn a_record_that_leaves_gives_its_correction_to_the_next() {
        let mut group = Group::default();
        for (id, side) in [("r1", Side::Record), ("r2", Side::Record), ("c1", Side::Correction)] {
            group.shift(id, None, Some(side));
        }
        let flips = group.shift("r1", Some(Side::Record), None);
        assert_eq!(
            flips,
            [Flip {
                record_id: "r2".to_owned(),
                paired: true
            }]
        );
        group.shift("r2", Some(Side::Record), None);
        assert!(!group.is_paired("c1", Side::Correction));
        group.shift("c1", Some(Side::Correction), None);
        assert!(group.is_empty());
    }
}
