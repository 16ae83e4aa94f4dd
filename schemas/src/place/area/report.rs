//! What is odd about a boundary as its file has it. Nothing is changed here: the even-odd rule has a meaning for every set of rings.

use super::Area;

/// Something odd about an area, repaired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AreaReport {
    /// Code of the area.
    pub code: String,
    /// What was odd and how it was taken.
    pub problem: String,
}

/// The oddities of an area; `shells` says which of its rings the file calls shells (the others: holes).
pub(super) fn examine(area: &Area, shells: &[bool]) -> Option<AreaReport> {
    use geo::Validation as _;
    let holders = area.holders();
    let count = |called_shell: bool| {
        let taken_otherwise = |(is_shell, held_by): &(&bool, &Vec<usize>)| {
            **is_shell == called_shell && called_shell == (held_by.len() % 2 == 1)
        };
        shells.iter().zip(&holders).filter(taken_otherwise).count()
    };
    let mut problems = Vec::new();
    match count(true) {
        0 => {}
        number => problems.push(format!(
            "{number} of its shells lie inside another shell and were taken as holes"
        )),
    }
    match count(false) {
        0 => {}
        number => problems.push(format!(
            "{number} of its holes lie in no shell and were taken as shells"
        )),
    }
    // Shells and holes as the even-odd rule has them: what is still odd is a ring that crosses itself or another.
    if let Err(problem) = area.polygon().check_validation() {
        problems.push(format!("{problem}; taken by the even-odd rule"));
    }
    (!problems.is_empty()).then(|| AreaReport {
        code: area.code.clone(),
        problem: problems.join("; "),
    })
}
