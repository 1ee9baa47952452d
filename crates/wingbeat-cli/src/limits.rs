//! The limits of subscriptions and outside systems.

use serde_json::Value;

use crate::arguments::{Limits, OfSubscription, named};
use crate::exit::{Exit, Failed};
use crate::fleet::Fleet;
use crate::output::{say, say_json};

/// Sets limits in all processes.
pub(crate) async fn set(
    fleet: &Fleet,
    path: &str,
    limits: &Limits,
    more: &OfSubscription,
    json: bool,
) -> Result<Exit, Failed> {
    let (service, name) = named(&limits.which)?;
    let query = query(limits, more)?;
    let path = format!("{path}/{service}/{name}/limits{query}");
    let answer = fleet.first("POST", &path).await;
    let which = &limits.which;
    let answer = answer.map_err(|why| Failed::new(why.exit, format!("{which}: {why}")))?;
    if json {
        say_json(&answer)?;
    } else {
        say(&format!("{which}: {}\n", described(&answer)))?;
    }
    Ok(Exit::Fine)
}

/// Returns the query of a request. No rate may add to it.
fn query(limits: &Limits, more: &OfSubscription) -> Result<String, Failed> {
    let rate = limits.rate.as_deref();
    let is_plain = |text: &str| {
        text.chars()
            .all(|it| it.is_ascii_alphanumeric() || it == '/')
    };
    if let Some(wrong) = rate.filter(|text| !is_plain(text)) {
        let text = format!("{wrong:?} is no rate: write it as `50/s` or `300/min`");
        return Err(Failed::local(text));
    }
    let number = |it: Option<u64>| it.map(|it| it.to_string());
    let all = [
        ("concurrency", number(limits.concurrency)),
        ("rate", rate.map(str::to_owned)),
        ("per_tenant", number(more.per_tenant)),
        ("priority", more.priority.clone()),
    ];
    let set = all
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", value?)));
    let set: Vec<_> = set.collect();
    Ok(if set.is_empty() {
        String::new()
    } else {
        format!("?{}", set.join("&"))
    })
}

/// Returns limits in words.
fn described(answer: &Value) -> String {
    let mut text = format!("at most {} at once in each process", answer["concurrency"]);
    if let Some(each) = answer["per_tenant"].as_u64() {
        text.push_str(&format!(", {each} for one tenant"));
    }
    if let Some(priority) = answer["priority"].as_str().filter(|it| *it != "normal") {
        text.push_str(&format!(", {priority} priority"));
    }
    let rate = answer["rate"].as_str();
    text.push_str(&rate.map_or(", no rate".to_owned(), |rate| format!(", {rate} in all")));
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn limits(concurrency: Option<u64>, rate: Option<&str>) -> Limits {
        Limits {
            which: "mails.send".into(),
            concurrency,
            rate: rate.map(str::to_owned),
        }
    }

    #[test]
    fn only_the_limits_that_are_set_are_sent() {
        let none = OfSubscription::default();
        let query = |limits, more| super::query(&limits, more).expect("it is right");
        assert_eq!(query(limits(None, None), &none), "");
        assert_eq!(query(limits(Some(4), None), &none), "?concurrency=4");
        let more = OfSubscription {
            per_tenant: Some(2),
            priority: Some("low".into()),
        };
        let all = query(limits(Some(4), Some("50/s")), &more);
        assert_eq!(all, "?concurrency=4&rate=50/s&per_tenant=2&priority=low");
        let wrong = super::query(&limits(None, Some("5/s&x=1")), &none);
        assert_eq!(wrong.expect_err("it is wrong").exit, Exit::Usage);
    }

    #[test]
    fn limits_are_described_in_words() {
        let none = json!({ "concurrency": 64, "rate": null, "priority": "normal" });
        assert_eq!(
            described(&none),
            "at most 64 at once in each process, no rate"
        );
        let all = json!({ "concurrency": 64, "rate": "50/s", "per_tenant": 2, "priority": "high" });
        let words = "at most 64 at once in each process, 2 for one tenant, high priority, 50/s \
                     in all";
        assert_eq!(described(&all), words);
    }
}
