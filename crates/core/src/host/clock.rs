//! Whether a host's clock agrees with ours.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{command::Command, ssh::Stdin, transport::Transport, trouble::Trouble};

/// Returns by how many seconds a host's clock is ahead of ours; behind where negative. What the question
/// takes on its way is no difference.
pub(crate) async fn ahead(of: &Transport, deadline: Duration) -> Result<i64, Trouble> {
    let command = Command::new("exec date +%s", [])?;
    let before = now();
    let said = of.run(&command, Stdin::Nothing, deadline).await?.good()?;
    let text = String::from_utf8_lossy(&said);
    let there = text.trim().parse::<i64>();
    let there = there.map_err(|error| Trouble::failed(format!("`date +%s`: {error}")))?;
    Ok(difference(before, there, now()))
}

fn difference(before: i64, there: i64, after: i64) -> i64 {
    if there > after { there - after } else { (there - before).min(0) }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn this_machine_agrees_with_itself() {
        assert_eq!(ahead(&Transport::Local, Duration::from_secs(30)).await.unwrap(), 0);
    }

    #[test]
    fn what_the_way_takes_is_no_difference() {
        for (there, want) in [(100, 0), (107, 0), (110, 0), (111, 1), (99, -1), (0, -100)] {
            assert_eq!(difference(100, there, 110), want, "{there}");
        }
    }
}
