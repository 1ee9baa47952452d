//! A mail server that keeps what it receives, and refuses what a test wants refused.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// The longest time for which a connection may be silent.
const SILENT_MAX: Duration = Duration::from_secs(60);
/// The longest line that is read.
const LINE_MAX: u64 = 64 << 10;

/// The TLS of a mail server.
#[derive(Clone)]
pub enum Security {
    /// None.
    Plain,
    /// The client may upgrade with `STARTTLS`.
    StartTls(Arc<ServerConfig>),
    /// From the first byte on.
    Implicit(Arc<ServerConfig>),
}

/// The step of a conversation that a scripted reply answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The new connection.
    Greeting,
    /// `EHLO`.
    Hello,
    /// `STARTTLS`.
    StartTls,
    /// `AUTH`.
    Login,
    /// `MAIL FROM`.
    Sender,
    /// `RCPT TO`.
    Recipient,
    /// `DATA`.
    Data,
    /// The end of the mail.
    Content,
}

/// A scripted reply.
#[derive(Clone, Debug)]
pub enum Reply {
    /// This line, such as `550 5.1.1 no such mailbox`.
    Line(String),
    /// The server keeps the mail, and cuts the connection instead of replying.
    Cut,
}

/// A received mail.
#[derive(Clone, Debug)]
pub struct Received {
    /// The sender of the envelope.
    pub from: String,
    /// The recipients of the envelope.
    pub to: Vec<String>,
    /// The mail: headers and body, lines as they were sent.
    pub content: String,
    /// The connection used TLS.
    pub secure: bool,
    /// The user that signed in.
    pub user: Option<String>,
}

impl Received {
    /// Returns the value of a header, its continuation lines joined.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let head = self.content.split("\r\n\r\n").next()?;
        let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
        let mut lines = unfolded.split("\r\n");
        lines.find_map(|line| {
            let (other, value) = line.split_once(':')?;
            other
                .eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    }
}

/// A mail server (SMTP with `STARTTLS` and `AUTH PLAIN`) on a free port of the loopback interface.
///
/// ```no_run
/// use wingbeat_servers::smtp::{Reply, Security, Smtp, Step};
///
/// let server = Smtp::start(Security::Plain, None);
/// server.script(Step::Recipient, Reply::Line("450 4.2.0 try again later".into()), 1);
/// println!("{}", server.address());
/// ```
pub struct Smtp {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    security: Security,
    /// User and password that the server requires.
    login: Option<(String, String)>,
    open: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    received: Vec<Received>,
    scripts: Vec<(Step, Reply, usize)>,
    refused: BTreeMap<String, String>,
    sockets: Vec<TcpStream>,
    connections: usize,
    /// Everything that clients sent without TLS.
    in_clear: String,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the scripted reply to a step, if there is one.
    fn scripted(&self, step: Step) -> Option<Reply> {
        let mut state = self.state();
        let found = state
            .scripts
            .iter_mut()
            .find(|(of, _, times)| *of == step && *times > 0)?;
        found.2 -= 1;
        Some(found.1.clone())
    }
}

impl Smtp {
    /// Starts a server. With a login, it takes mails only from clients that sign in with this user
    /// and password.
    #[must_use]
    pub fn start(security: Security, login: Option<(&str, &str)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            security,
            login: login.map(|(user, password)| (user.to_owned(), password.to_owned())),
            open: AtomicBool::new(true),
            state: Mutex::default(),
        });
        let accepting = accept(listener, Arc::clone(&shared));
        Self {
            address,
            shared,
            accepting: Mutex::new(Some(accepting)),
        }
    }

    /// Returns its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers a step with this reply, so many times.
    pub fn script(&self, step: Step, reply: Reply, times: usize) {
        self.shared.state().scripts.push((step, reply, times));
    }

    /// Answers every mail to this recipient with this line; `None` ends that.
    pub fn refuse(&self, recipient: &str, line: Option<&str>) {
        let mut state = self.shared.state();
        match line {
            Some(line) => state.refused.insert(recipient.to_owned(), line.to_owned()),
            None => state.refused.remove(recipient),
        };
    }

    /// Returns the mails that it has received.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.shared.state().received.clone()
    }

    /// Returns the number of connections that were opened.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.state().connections
    }

    /// Returns everything that clients sent without TLS.
    #[must_use]
    pub fn in_clear(&self) -> String {
        self.shared.state().in_clear.clone()
    }

    /// Cuts all connections and closes the port.
    pub fn stop(&self) {
        let mut accepting = self
            .accepting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(thread) = accepting.take() else {
            return;
        };
        self.shared.open.store(false, Ordering::SeqCst);
        drop(TcpStream::connect(self.address)); // Wakes the thread that accepts.
        drop(thread.join());
        for socket in self.shared.state().sockets.drain(..) {
            drop(socket.shutdown(Shutdown::Both));
        }
    }

    /// Opens the port again after [`stop`](Self::stop).
    pub fn start_again(&self) {
        let mut accepting = self
            .accepting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        assert!(accepting.is_none(), "the server runs");
        let listener = TcpListener::bind(self.address).expect("the port is still free");
        self.shared.open.store(true, Ordering::SeqCst);
        *accepting = Some(accept(listener, Arc::clone(&self.shared)));
    }
}

impl Drop for Smtp {
    fn drop(&mut self) {
        self.stop();
    }
}

fn accept(listener: TcpListener, shared: Arc<Shared>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        while let Ok((socket, _)) = listener.accept() {
            if !shared.open.load(Ordering::SeqCst) {
                return;
            }
            let mut state = shared.state();
            state.connections += 1;
            state.sockets.extend(socket.try_clone());
            drop(state);
            let shared = Arc::clone(&shared);
            // A connection that breaks off is no concern of the server.
            std::thread::spawn(move || drop(serve(socket, &shared)));
        }
    })
}

/// A connection, with or without TLS.
trait Line: Read + Write + Send {}
impl<T: Read + Write + Send> Line for T {}

struct Conversation<'a> {
    shared: &'a Shared,
    line: BufReader<Box<dyn Line>>,
    secure: bool,
    user: Option<String>,
    from: String,
    to: Vec<String>,
}

/// The end of a conversation.
struct End;

impl From<std::io::Error> for End {
    fn from(_: std::io::Error) -> Self {
        Self
    }
}

fn serve(socket: TcpStream, shared: &Shared) -> Result<(), End> {
    socket.set_read_timeout(Some(SILENT_MAX))?;
    socket.set_nodelay(true)?;
    let (line, secure): (Box<dyn Line>, bool) = match &shared.security {
        Security::Implicit(config) => (encrypted(socket.try_clone()?, config)?, true),
        _ => (Box::new(socket.try_clone()?), false),
    };
    let mut conversation = Conversation {
        shared,
        line: BufReader::new(line),
        secure,
        user: None,
        from: String::new(),
        to: Vec::new(),
    };
    conversation.answer(Step::Greeting, "220 a server of a test")?;
    loop {
        let command = conversation.read()?;
        let verb = command.split([' ', ':']).next().unwrap_or_default();
        match verb.to_ascii_uppercase().as_str() {
            "STARTTLS" => {
                let Security::StartTls(config) = &shared.security else {
                    conversation.say("502 5.5.1 there is no TLS")?;
                    continue;
                };
                conversation.answer(Step::StartTls, "220 2.0.0 go ahead")?;
                conversation.line = BufReader::new(encrypted(socket.try_clone()?, config)?);
                conversation.secure = true;
            }
            "QUIT" => return conversation.say("221 2.0.0 bye"),
            _ => conversation.take(&command)?,
        }
    }
}

fn encrypted(socket: TcpStream, config: &Arc<ServerConfig>) -> Result<Box<dyn Line>, End> {
    let connection = ServerConnection::new(Arc::clone(config)).map_err(|_| End)?;
    Ok(Box::new(StreamOwned::new(connection, socket)))
}

impl Conversation<'_> {
    fn read(&mut self) -> Result<String, End> {
        let mut text = Vec::new();
        let mut limited = (&mut self.line).take(LINE_MAX);
        if limited.read_until(b'\n', &mut text)? == 0 {
            return Err(End);
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        if !self.secure {
            self.shared.state().in_clear.push_str(&text);
        }
        Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    }

    fn say(&mut self, line: &str) -> Result<(), End> {
        let stream = self.line.get_mut();
        stream.write_all(format!("{line}\r\n").as_bytes())?;
        Ok(stream.flush()?)
    }

    /// Replies as the script says, else with this line. Returns whether the reply is the line.
    fn answer(&mut self, step: Step, line: &str) -> Result<bool, End> {
        match self.shared.scripted(step) {
            None => self.say(line).map(|()| true),
            Some(Reply::Line(other)) => self.say(&other).map(|()| false),
            Some(Reply::Cut) => Err(End),
        }
    }

    fn take(&mut self, command: &str) -> Result<(), End> {
        let upper = command.to_ascii_uppercase();
        let is_refused = self.shared.login.is_some() && self.user.is_none();
        if upper.starts_with("EHLO") {
            self.hello()
        } else if upper.starts_with("AUTH PLAIN") {
            self.login(command)
        } else if upper.starts_with("NOOP") {
            self.say("250 2.0.0 nothing done")
        } else if upper.starts_with("RSET") {
            self.to.clear();
            self.say("250 2.0.0 forgotten")
        } else if upper.starts_with("MAIL FROM:") && is_refused {
            self.say("530 5.7.0 sign in first")
        } else if upper.starts_with("MAIL FROM:") {
            self.from = address(command);
            self.to.clear();
            self.answer(Step::Sender, "250 2.1.0 sender taken")
                .map(drop)
        } else if upper.starts_with("RCPT TO:") {
            self.recipient(address(command))
        } else if upper == "DATA" && !self.to.is_empty() {
            self.data()
        } else {
            self.say("503 5.5.1 not now")
        }
    }

    fn hello(&mut self) -> Result<(), End> {
        let mut lines = vec!["250-a server of a test", "250-8BITMIME", "250-SMTPUTF8"];
        if matches!(self.shared.security, Security::StartTls(_)) && !self.secure {
            lines.push("250-STARTTLS");
        }
        if self.shared.login.is_some() {
            lines.push("250-AUTH PLAIN");
        }
        lines.push("250 ENHANCEDSTATUSCODES");
        self.answer(Step::Hello, &lines.join("\r\n")).map(drop)
    }

    fn login(&mut self, command: &str) -> Result<(), End> {
        let given = command
            .split(' ')
            .nth(2)
            .and_then(decoded)
            .unwrap_or_default();
        let expected = self.shared.login.as_ref();
        let expected = expected.map(|(user, password)| format!("\0{user}\0{password}"));
        if expected.as_deref() != Some(given.as_str()) {
            return self.say("535 5.7.8 wrong user or password");
        }
        if self.answer(Step::Login, "235 2.7.0 welcome")? {
            self.user = self.shared.login.as_ref().map(|(user, _)| user.clone());
        }
        Ok(())
    }

    fn recipient(&mut self, to: String) -> Result<(), End> {
        let refused = self.shared.state().refused.get(&to).cloned();
        if let Some(line) = refused {
            return self.say(&line);
        }
        if self.answer(Step::Recipient, "250 2.1.5 recipient taken")? {
            self.to.push(to);
        }
        Ok(())
    }

    fn data(&mut self) -> Result<(), End> {
        if !self.answer(Step::Data, "354 go ahead")? {
            return Ok(());
        }
        let mut lines = Vec::new();
        loop {
            let line = self.read()?;
            if line == "." {
                break;
            }
            // The client doubles a dot at the begin of a line (RFC 5321, section 4.5.2).
            lines.push(line.strip_prefix('.').map_or(line.clone(), str::to_owned));
        }
        let received = Received {
            from: self.from.clone(),
            to: std::mem::take(&mut self.to),
            content: lines.join("\r\n"),
            secure: self.secure,
            user: self.user.clone(),
        };
        let scripted = self.shared.scripted(Step::Content);
        if !matches!(scripted, Some(Reply::Line(_))) {
            self.shared.state().received.push(received);
        }
        match scripted {
            None => self.say("250 2.0.0 mail taken"),
            Some(Reply::Line(line)) => self.say(&line),
            Some(Reply::Cut) => Err(End),
        }
    }
}

/// The address between angle brackets.
fn address(command: &str) -> String {
    let inner = command
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'));
    inner
        .map(|(address, _)| address.to_owned())
        .unwrap_or_default()
}

/// Decodes Base64 (RFC 4648, section 4).
fn decoded(text: &str) -> Option<String> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let digit = ALPHABET.iter().position(|it| *it == byte)?;
        bits = bits << 6 | u32::try_from(digit).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_decoded() {
        assert_eq!(
            decoded("AHNob3AAc2VjcmV0").as_deref(),
            Some("\0shop\0secret")
        );
        assert_eq!(
            decoded("AHNob3AAc2VjcmU=").as_deref(),
            Some("\0shop\0secre")
        );
        assert_eq!(decoded("!"), None);
    }
}
