//! One process, asked over HTTP.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use wingbeat::BoxFuture;
use wingbeat::call::HyperClient;
use wingbeat::outgoing::Request;
use wingbeat::ports::HttpClient as _;

use crate::arguments::Place;
use crate::exit::{Exit, Failed};

/// The reason why there is no answer to a question.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// The process cannot be reached, or did not answer in time.
    #[error("it does not answer: {0}")]
    Silent(String),
    /// The process refuses the caller.
    #[error("it refuses the request: {0}")]
    Refused(String),
    /// There is no such thing, or the app is of a release without this part of the API.
    #[error("there is no such thing")]
    Absent,
    /// Another problem: its code and its text.
    #[error("{text} ({code})")]
    Problem {
        /// The code of the problem.
        code: String,
        /// Its text.
        text: String,
    },
}

/// A process that can be asked. Tests answer from recorded answers.
pub trait Ask: Send + Sync {
    /// Returns the name under which messages mention the process: its URL.
    fn name(&self) -> &str;

    /// Sends a request without a body, and returns the JSON of the answer.
    ///
    /// # Errors
    ///
    /// The reason why there is none.
    fn ask<'a>(
        &'a self,
        method: &'static str,
        path: &'a str,
    ) -> BoxFuture<'a, Result<Value, Unanswered>>;
}

/// A client of the operator's port of one process.
pub struct Client {
    url: String,
    token: Option<String>,
    timeout: Duration,
    http: Arc<HyperClient>,
}

impl Client {
    /// Creates clients of all processes.
    ///
    /// # Errors
    ///
    /// If a URL is invalid, or a file cannot be read.
    pub fn all(place: &Place) -> Result<Vec<Box<dyn Ask>>, Failed> {
        let token = match &place.token_file {
            Some(file) => Some(std::fs::read_to_string(file).map_err(|why| {
                Failed::local(format!("{} cannot be read: {why}", file.display()))
            })?),
            None => std::env::var("WINGBEAT_OPS_TOKEN").ok(),
        };
        let token = token.map(|it| it.trim().to_owned());
        let token = token.filter(|it| !it.is_empty());
        let mut tls = wingbeat::tls::TlsFiles::default();
        tls.ca.clone_from(&place.tls_ca);
        let http = HyperClient::with_tls(tls);
        let client = |url: &String| {
            let url = url.trim().trim_end_matches('/');
            let rest = url
                .strip_prefix("http://")
                .or_else(|| url.strip_prefix("https://"));
            if rest.is_none_or(|rest| rest.is_empty() || rest.contains(['@', '?', '#'])) {
                let text = format!("{url:?} is no URL such as http://127.0.0.1:9464");
                return Err(Failed::local(text));
            }
            Ok(Box::new(Self {
                url: url.to_owned(),
                token: token.clone(),
                timeout: Duration::from_secs(place.timeout),
                http: Arc::clone(&http),
            }) as Box<dyn Ask>)
        };
        place.url.iter().map(client).collect()
    }

    async fn send(&self, method: &'static str, path: &str) -> Result<Value, Unanswered> {
        let mut headers = vec![("accept".to_owned(), "application/json".to_owned())];
        if let Some(token) = &self.token {
            headers.push(("authorization".to_owned(), format!("Bearer {token}")));
        }
        let request = Request {
            method,
            url: format!("{}{path}", self.url),
            headers,
            body: Bytes::new(),
            timeout: self.timeout,
        };
        let answer = self.http.send(request).await;
        let answer = answer.map_err(|why| Unanswered::Silent(why.to_string()))?;
        let body = serde_json::from_slice::<Value>(&answer.body);
        match answer.status {
            200..=299 => body.map_err(|_| {
                let text = "its answer is not JSON: is this the operator's port of a Wingbeat app?";
                Unanswered::Problem {
                    code: "unknown_answer".into(),
                    text: text.into(),
                }
            }),
            status => Err(refusal(status, &body.unwrap_or_default())),
        }
    }
}

/// Reads the problem of an answer.
fn refusal(status: u16, body: &Value) -> Unanswered {
    let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
    match status {
        401 | 403 => Unanswered::Refused(text("detail")),
        404 => Unanswered::Absent,
        _ => {
            let (mut code, mut detail) = (text("code"), text("detail"));
            if code.is_empty() {
                code = format!("status {status}");
            }
            if detail.is_empty() {
                detail = "it answers with an error".into();
            }
            Unanswered::Problem { code, text: detail }
        }
    }
}

impl Ask for Client {
    fn name(&self) -> &str {
        &self.url
    }

    fn ask<'a>(
        &'a self,
        method: &'static str,
        path: &'a str,
    ) -> BoxFuture<'a, Result<Value, Unanswered>> {
        Box::pin(self.send(method, path))
    }
}

impl Unanswered {
    /// Returns the end of a command that needed this answer of `process`.
    #[must_use]
    pub fn failed(self, process: &str) -> Failed {
        let exit = match self {
            Self::Refused(_) => Exit::Refused,
            Self::Absent => Exit::Absent,
            // The command line has a value that the process does not accept.
            Self::Problem { ref code, .. } if code == "limit_invalid" => Exit::Usage,
            Self::Silent(_) | Self::Problem { .. } => Exit::Unreachable,
        };
        Failed::new(exit, format!("{process}: {self}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn place(url: &str) -> Place {
        Place {
            url: vec![url.into()],
            token_file: None,
            tls_ca: None,
            timeout: 1,
        }
    }

    #[test]
    fn a_url_is_checked_before_anything_is_asked() {
        for url in ["127.0.0.1:9464", "ftp://host", "http://", "http://a:b@host"] {
            let failed = Client::all(&place(url)).err().map(|it| it.exit);
            assert_eq!(failed, Some(Exit::Usage), "{url}");
        }
        let clients = Client::all(&place("http://127.0.0.1:9464/")).unwrap();
        assert_eq!(clients[0].name(), "http://127.0.0.1:9464");
    }

    #[test]
    fn a_problem_keeps_its_code_and_a_bare_status_has_one() {
        let problem = json!({ "code": "store_unavailable", "detail": "no connection" });
        let shown = refusal(503, &problem).to_string();
        assert_eq!(shown, "no connection (store_unavailable)");
        let shown = refusal(502, &Value::Null).to_string();
        assert_eq!(shown, "it answers with an error (status 502)");
        let refused = refusal(403, &json!({ "detail": "only with the token" }));
        assert_eq!(refused.failed("x").exit, Exit::Refused);
    }
}
