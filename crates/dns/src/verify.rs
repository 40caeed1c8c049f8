//! Asking until the server shows what was published.

use std::{collections::BTreeSet, time::Duration};

use freehold_core::model::{DomainName, Edit, EditKey, RecordKind};
use futures::StreamExt;
use hickory_proto::rr::RecordType;
use tokio::time::{Instant, sleep};

use crate::{
    ask::{Answer, AskError, NameServer},
    ownership::joined,
};

/// Questions asked at a time.
const AT_ONCE: usize = 32;
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What one name shall answer.
#[derive(Debug, PartialEq, Eq)]
struct Question {
    name: DomainName,
    kind: RecordType,
    want: Want,
}

#[derive(Debug, PartialEq, Eq)]
enum Want {
    /// Exactly these; none means that the record is gone. The TTL counts where it alone changed
    /// (a cache before the server counts it down).
    Values(BTreeSet<String>, Option<u32>),
    /// Any answer.
    Something,
}

/// A name that does not answer as it should.
#[derive(Debug, thiserror::Error)]
#[error("{name} {kind}: want {want}, got {got}")]
pub(crate) struct NotShown {
    name: DomainName,
    kind: RecordType,
    want: String,
    got: String,
}

/// Asks for every edit until it shows or the deadline passes; returns those that do not.
pub(crate) async fn unshown(
    server: &NameServer,
    edits: &[Edit],
    deadline: Instant,
) -> Vec<NotShown> {
    let questions = edits.iter().filter_map(question);
    futures::stream::iter(questions)
        .map(|question| settle(server, question, deadline))
        .buffer_unordered(AT_ONCE)
        .filter_map(|failure| async { failure })
        .collect()
        .await
}

fn question(edit: &Edit) -> Option<Question> {
    match &edit.key {
        EditKey::Zone { zone } => {
            Some(Question { name: zone.clone(), kind: RecordType::SOA, want: Want::Something })
        }
        EditKey::Rrset { name, kind, ttl, .. } => {
            let values: BTreeSet<_> = edit.new.iter().cloned().collect();
            let same = !values.is_empty() && values == edit.old.iter().cloned().collect();
            let kind = match kind {
                RecordKind::A => RecordType::A,
                RecordKind::Ptr => RecordType::PTR,
            };
            let want = Want::Values(values, same.then_some(*ttl));
            Some(Question { name: name.clone(), kind, want })
        }
        EditKey::Target { .. } => None,
    }
}

async fn settle(server: &NameServer, question: Question, deadline: Instant) -> Option<NotShown> {
    let mut pause = FIRST_PAUSE;
    loop {
        let answer = server.ask_type(&question.name, question.kind).await;
        if answer.as_ref().is_ok_and(|answer| question.is_met(answer)) {
            return None;
        }
        if Instant::now() + pause >= deadline {
            return Some(question.not_shown(answer));
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

impl Question {
    fn is_met(&self, answer: &Answer) -> bool {
        match &self.want {
            _ if !answer.authoritative => false,
            Want::Something => !answer.values.is_empty(),
            Want::Values(values, _) if values.is_empty() => answer.absent,
            Want::Values(values, ttl) => {
                answer.values == *values && ttl.is_none_or(|ttl| answer.ttl == Some(ttl))
            }
        }
    }

    fn not_shown(self, answer: Result<Answer, AskError>) -> NotShown {
        let ttl = match &self.want {
            Want::Values(_, Some(ttl)) => Some(*ttl),
            _ => None,
        };
        let want = match self.want {
            Want::Something => "an answer".to_owned(),
            Want::Values(values, Some(ttl)) => format!("{} for {ttl} s", joined(&values)),
            Want::Values(values, None) => joined(&values),
        };
        let got = match answer {
            Ok(Answer { ttl: Some(got), ref values, .. }) if ttl.is_some() => {
                format!("{} for {got} s", joined(values))
            }
            Ok(answer) => answer.to_string(),
            Err(error) => error.to_string(),
        };
        NotShown { name: self.name, kind: self.kind, want, got }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(old: &[&str], new: &[&str]) -> Edit {
        let texts = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        Edit {
            plugin: "dns main".to_owned(),
            vm: None,
            key: EditKey::Rrset {
                zone: "z.org".parse().unwrap(),
                name: "a.z.org".parse().unwrap(),
                kind: RecordKind::A,
                ttl: 60,
            },
            old: texts(old),
            new: texts(new),
        }
    }

    fn answer(values: &[&str], ttl: u32) -> Answer {
        Answer {
            values: values.iter().map(|value| (*value).to_owned()).collect(),
            ttl: (!values.is_empty()).then_some(ttl),
            authoritative: true,
            code: "No Error".to_owned(),
            absent: values.is_empty(),
        }
    }

    #[test]
    fn is_met_by_exactly_the_new_values() {
        let question = question(&edit(&[], &["10.0.0.1", "10.0.0.2"])).unwrap();
        assert!(question.is_met(&answer(&["10.0.0.2", "10.0.0.1"], 5)));
        assert!(!question.is_met(&answer(&["10.0.0.1"], 60)));
        assert!(!question.is_met(&answer(&["10.0.0.1", "10.0.0.2", "10.0.0.3"], 60)));
        let hearsay = Answer { authoritative: false, ..answer(&["10.0.0.1", "10.0.0.2"], 60) };
        assert!(!question.is_met(&hearsay));
        let text = question.not_shown(Ok(answer(&["10.0.0.9"], 60))).to_string();
        assert_eq!(text, "a.z.org A: want 10.0.0.1 10.0.0.2, got 10.0.0.9");
    }

    #[test]
    fn asks_for_the_ttl_where_it_alone_changed() {
        let question = question(&edit(&["10.0.0.1"], &["10.0.0.1"])).unwrap();
        assert!(question.is_met(&answer(&["10.0.0.1"], 60)));
        assert!(!question.is_met(&answer(&["10.0.0.1"], 300)));
        let text = question.not_shown(Ok(answer(&["10.0.0.1"], 300))).to_string();
        assert_eq!(text, "a.z.org A: want 10.0.0.1 for 60 s, got 10.0.0.1 for 300 s");
    }

    #[test]
    fn wants_removed_records_gone_for_certain() {
        let question = question(&edit(&["10.0.0.1"], &[])).unwrap();
        assert!(question.is_met(&answer(&[], 0)));
        assert!(!question.is_met(&answer(&["10.0.0.1"], 60)));
        let refused = Answer { absent: false, authoritative: false, ..answer(&[], 0) };
        assert!(!question.is_met(&refused));
    }
}
