//! States of a case, and what the standards call them.

use crate::v1::CaseState;

/// One row of the table "standard term → ours".
#[derive(Debug, Clone, Copy)]
pub struct Term {
    /// The term as the standard or the system prints it.
    pub term: &'static str,
    /// Where the term is used.
    pub source: &'static str,
    /// Our state.
    pub state: CaseState,
}

/// Standard term → ours. Feeds whose words are not here map them in their manifest (`status:`).
pub const TERMS: &[Term] = &[
    term("受理", "12345", CaseState::Filed),
    term("信息采集", "GB/T 30428", CaseState::Filed),
    term("采集上报", "GB/T 30428", CaseState::Filed),
    term("案卷建立", "GB/T 30428", CaseState::Verified),
    term("核实立案", "GB/T 30428", CaseState::Verified),
    term("立案", "CJ/T 315", CaseState::Verified),
    term("任务派遣", "GB/T 30428", CaseState::Dispatched),
    term("转办", "12345", CaseState::Dispatched),
    term("派单", "12345", CaseState::Dispatched),
    term("签收", "12345", CaseState::InProgress),
    term("任务处置", "GB/T 30428", CaseState::InProgress),
    term("办理中", "12345", CaseState::InProgress),
    term("退单", "12345", CaseState::Returned),
    term("改派", "12345", CaseState::Transferred),
    term("延期", "12345", CaseState::Extended),
    term("挂账", "GB/T 30428", CaseState::Suspended),
    term("处理反馈", "GB/T 30428", CaseState::Resolved),
    term("办结", "12345", CaseState::Resolved),
    term("核查结案", "GB/T 30428", CaseState::Closed),
    term("结案", "CJ/T 315", CaseState::Closed),
    term("办结归档", "12345", CaseState::Closed),
    term("综合评价", "GB/T 30428", CaseState::Evaluated),
    term("回访", "12345", CaseState::Evaluated),
    term("重办", "12345", CaseState::Reopened),
    term("重复件", "12345", CaseState::Duplicate),
    term("撤单", "12345", CaseState::Withdrawn),
    term("open", "Open311", CaseState::Filed),
    term("closed", "Open311", CaseState::Closed),
];

const fn term(term: &'static str, source: &'static str, state: CaseState) -> Term {
    Term { term, source, state }
}

/// The state of a standard term, compared without regard to case.
pub fn state_of_term(text: &str) -> Option<CaseState> {
    TERMS
        .iter()
        .find(|known| known.term.eq_ignore_ascii_case(text.trim()))
        .map(|known| known.state)
}

/// Whether a case in this state stands in the counts: one incident is one count.
pub fn is_counted(state: CaseState) -> bool {
    !matches!(state, CaseState::Withdrawn | CaseState::Duplicate)
}

/// Whether a case in this state still asks for work.
pub fn is_open(state: CaseState) -> bool {
    !matches!(
        state,
        CaseState::Resolved | CaseState::Closed | CaseState::Evaluated | CaseState::Duplicate | CaseState::Withdrawn
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_term_stands_twice() {
        for (index, known) in TERMS.iter().enumerate() {
            assert!(
                TERMS[index + 1..].iter().all(|other| other.term != known.term),
                "{} stands twice",
                known.term
            );
        }
    }

    #[test]
    fn a_closed_order_is_not_open() {
        assert_eq!(state_of_term("结案"), Some(CaseState::Closed));
        assert_eq!(state_of_term("Open"), Some(CaseState::Filed));
        assert!(!is_open(CaseState::Closed));
        assert!(is_open(CaseState::Reopened));
    }
}
