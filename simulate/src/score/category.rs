//! How often the hub's category is the true one, beside how often the department's own was.

use super::records::{HubCase, Joined, TrueRecord};
use super::{Report, percent};

fn top(code: &str) -> &str {
    code.split('.').next().unwrap_or(code)
}

pub(super) fn report(joined: &Joined, report: &mut Report) {
    let feeds = joined.feeds();
    for feed in feeds.iter().copied().chain(["all"]) {
        let judged: Vec<(&TrueRecord, &HubCase, &str)> = joined
            .pairs()
            .filter(|(record, _)| feed == "all" || record.feed == feed)
            .filter_map(|(record, case)| Some((record, case, record.category.as_deref()?)))
            .collect();
        let whole = judged.len() as u64;
        let count = |is_right: &dyn Fn(&TrueRecord, &HubCase, &str) -> bool| {
            judged
                .iter()
                .filter(|(record, case, truth)| is_right(record, case, truth))
                .count() as u64
        };
        let exact = count(&|_, case, truth| case.category == truth);
        let same_top = count(&|_, case, truth| top(&case.category) == top(truth));
        let said = count(&|record, _, truth| record.said_category == truth);
        let none = count(&|_, case, _| case.category.is_empty());
        report.line(
            "category",
            "right to the last level",
            feed,
            percent(exact, whole),
            whole,
            "",
        );
        report.line(
            "category",
            "right at the top level",
            feed,
            percent(same_top, whole),
            whole,
            "",
        );
        report.line(
            "category",
            "right as the department said it",
            feed,
            percent(said, whole),
            whole,
            "a ceiling for whoever only reads codes",
        );
        report.line("category", "without a category", feed, none.to_string(), whole, "");
    }
}
